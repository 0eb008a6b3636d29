//! LUKS1 recipes.

use super::{Draft1, Recipe};

const ACTIVE: usize = 0;
const ITERATIONS: usize = 4;
const SALT: usize = 8;
const OFFSET: usize = 40;
const STRIPES: usize = 44;

pub(super) fn recipes() -> Vec<Recipe> {
    let mut all = Vec::new();
    start(&mut all);
    texts(&mut all);
    numbers(&mut all);
    slots(&mut all);
    ends(&mut all);
    all
}

fn start(all: &mut Vec<Recipe>) {
    for at in 0..6 {
        all.push(Recipe::luks1(format!("magic-{at}"), move |draft| {
            draft.bytes(at, &[0x5a]);
        }));
    }
    all.push(Recipe::luks1("magic-secondary", |draft| {
        draft.bytes(0, b"SKUL")
    }));
    all.push(Recipe::luks1("magic-old-reencryption", |draft| {
        draft.bytes(4, &[0xde, 0xad]);
    }));
    for version in [0, 2, 3, 0x0100, 0x0201, 0xffff] {
        all.push(Recipe::luks1(format!("version-{version}"), move |draft| {
            draft.bytes(6, &u16::to_be_bytes(version));
        }));
    }
    for at in [592, 800, 1023] {
        all.push(Recipe::luks1(format!("padding-{at}"), move |draft| {
            draft.bytes(at, &[1]);
        }));
    }
}

// A table: one row per recipe.
fn texts(all: &mut Vec<Recipe>) {
    let hashes: [&[u8]; 27] = [
        b"",
        b"md5",
        b"sha1",
        b"SHA1",
        b"sha224",
        b"SHA256",
        b"sha-256",
        b"sha2-256",
        b"sha256 ",
        b" sha256",
        b"sha384",
        b"sha512",
        b"sha512-256",
        b"ripemd160",
        b"rmd160",
        b"whirlpool",
        b"sha3-256",
        b"sha3-512",
        b"blake2b-512",
        b"blake2s-256",
        b"blake2b-256",
        b"sm3",
        b"stribog512",
        b"crc32",
        b"shake128",
        b"none",
        b"\xff\xfe",
    ];
    for hash in hashes {
        let name = String::from_utf8_lossy(hash).replace(' ', "_");
        all.push(Recipe::luks1(format!("hash-{name}"), move |draft| {
            draft.text(72, 32, hash);
        }));
    }
    all.push(Recipe::luks1("hash-without-end", |draft| {
        draft.bytes(72, &[b'a'; 32]);
    }));
    all.push(Recipe::luks1("hash-junk-behind-its-end", |draft| {
        draft.bytes(79, b"junk");
    }));
    for (field, at) in [("cipher", 8), ("mode", 40)] {
        let values: [&[u8]; 8] = [
            b"",
            b"aes",
            b"xts-plain64",
            b"nonsense",
            b"cipher_null",
            b"ecb",
            b"cbc-plain",
            b"\xff\xff",
        ];
        for (number, value) in values.into_iter().enumerate() {
            if (field, number) == ("cipher", 1) || (field, number) == ("mode", 2) {
                continue;
            }
            all.push(Recipe::luks1(format!("{field}-{number}"), move |draft| {
                draft.text(at, 32, value);
            }));
        }
        all.push(Recipe::luks1(
            format!("{field}-without-end"),
            move |draft| {
                draft.bytes(at, &[b'a'; 32]);
            },
        ));
    }
    for (number, uuid) in [&b""[..], b"x", b"not a uuid", &[0xff; 40]]
        .into_iter()
        .enumerate()
    {
        all.push(Recipe::luks1(format!("uuid-{number}"), move |draft| {
            draft.text(168, 40, uuid);
        }));
    }
}

fn numbers(all: &mut Vec<Recipe>) {
    for value in [
        0,
        1,
        263,
        264,
        265,
        2047,
        2048,
        2055,
        2056,
        2057,
        2303,
        2305,
        4096,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        all.push(Recipe::luks1(format!("payload-{value}"), move |draft| {
            draft.number(104, value);
        }));
    }
    for value in [
        0,
        1,
        15,
        16,
        24,
        31,
        33,
        34,
        48,
        64,
        512,
        65536,
        0x0010_0000,
        0x0200_0000,
        0x0862_5000,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        all.push(Recipe::luks1(format!("key-bytes-{value}"), move |draft| {
            draft.number(108, value);
        }));
    }
    for value in [0, 1, 999, 1001, 0x0001_0000] {
        all.push(Recipe::luks1(
            format!("digest-iterations-{value}"),
            move |draft| {
                draft.number(164, value);
            },
        ));
    }
    all.push(Recipe::luks1("digest", |draft| draft.bytes(112, &[0; 20])));
    all.push(Recipe::luks1("digest-salt", |draft| {
        draft.bytes(132, &[0; 32])
    }));
}

// A table: one row per recipe.
fn slots(all: &mut Vec<Recipe>) {
    for slot in [0, 1, 7] {
        let at = Draft1::slot(slot);
        for value in [0, 1, 0xcafe, 0xdead, 0x00ac_71f3, 0xffff_ffff] {
            let is_now = if slot == 7 { 0xdead } else { 0x00ac_71f3 };
            if value != is_now {
                all.push(Recipe::luks1(
                    format!("slot{slot}-active-{value:x}"),
                    move |draft| {
                        draft.number(at + ACTIVE, value);
                    },
                ));
            }
        }
        for value in [0, 1, 3999, 4001, 8000, 0xffff_ffff] {
            all.push(Recipe::luks1(
                format!("slot{slot}-stripes-{value}"),
                move |draft| {
                    draft.number(at + STRIPES, value);
                },
            ));
        }
        for value in [
            0,
            1,
            2,
            3,
            7,
            9,
            263,
            272,
            273,
            300,
            1792,
            2039,
            2040,
            2041,
            2048,
            2056,
            2304,
            4000,
            0x0080_0000,
            0x0080_0001,
            0x0080_0002,
            0x0080_0800,
            0x7fff_ffff,
            0xffff_ffff,
        ] {
            all.push(Recipe::luks1(
                format!("slot{slot}-offset-{value}"),
                move |draft| {
                    draft.number(at + OFFSET, value);
                },
            ));
            // Without a payload offset, other rules have to catch it.
            all.push(Recipe::luks1(
                format!("slot{slot}-offset-{value}-detached"),
                move |draft| {
                    draft.number(at + OFFSET, value);
                    draft.number(104, 0);
                },
            ));
        }
    }
    for (slot, value) in [(0, 0), (1, 0), (0, 1), (1, 999)] {
        all.push(Recipe::luks1(
            format!("slot{slot}-iterations-{value}"),
            move |draft| {
                draft.number(Draft1::slot(slot) + ITERATIONS, value);
            },
        ));
    }
    for slot in 0..2 {
        all.push(Recipe::luks1(format!("slot{slot}-salt"), move |draft| {
            draft.bytes(Draft1::slot(slot) + SALT, &[0; 32]);
        }));
    }
    all.push(Recipe::luks1("slots-descending", |draft| {
        for (slot, place) in (0..8).rev().enumerate() {
            draft.number(Draft1::slot(slot) + OFFSET, 8 + 256 * place);
        }
    }));
    all.push(Recipe::luks1("slots-all-at-one-place", |draft| {
        for slot in 0..8 {
            draft.number(Draft1::slot(slot) + OFFSET, 8);
        }
    }));
    all.push(Recipe::luks1("slots-all-disabled", |draft| {
        for slot in 0..8 {
            draft.number(Draft1::slot(slot) + ACTIVE, 0xdead);
        }
        draft.bytes(592, &[1]);
    }));
}

fn ends(all: &mut Vec<Recipe>) {
    for len in [
        0, 1, 511, 512, 591, 592, 1023, 1024, 1025, 4096, 8192, 65536, 1_049_087, 1_049_088,
        1_049_599, 1_049_600, 1_049_601, 1_179_136,
    ] {
        all.push(Recipe::luks1(format!("device-of-{len}"), move |draft| {
            draft.truncate(len);
        }));
    }
}
