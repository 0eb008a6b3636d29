//! LUKS2 recipes: the binary headers, the choice between copies, short devices.

use super::{
    Base::{Luks2, Luks2Large},
    Draft2, Recipe,
    Which::{self, Both, Primary, Secondary},
};

const VERSION: usize = 6;
const SIZE: usize = 8;
const SEQID: usize = 16;
const LABEL: usize = 0x18;
const CHECKSUM_NAME: usize = 0x48;
const SALT: usize = 0x68;
const UUID: usize = 0xa8;
const SUBSYSTEM: usize = 0xd0;
const OFFSET: usize = 0x100;
const PADDING: usize = 0x108;
const CHECKSUM: usize = 0x1c0;
const PADDING_4096: usize = 0x200;

const SIDES: [(Which, &str); 3] = [
    (Primary, "primary"),
    (Secondary, "secondary"),
    (Both, "both"),
];

pub(super) fn recipes() -> Vec<Recipe> {
    let mut all = Vec::new();
    magics_and_versions(&mut all);
    sizes_and_offsets(&mut all);
    texts(&mut all);
    checksums(&mut all);
    choices(&mut all);
    secondaries(&mut all);
    lengths(&mut all);
    overwritten(&mut all);
    all
}

fn luks2(all: &mut Vec<Recipe>, name: String, edit: impl Fn(&mut Draft2) + 'static) {
    all.push(Recipe::luks2(Luks2, name, edit));
}

fn magics_and_versions(all: &mut Vec<Recipe>) {
    for (which, side) in SIDES {
        for at in [0, 4, 5] {
            luks2(all, format!("{side}-magic-{at}"), move |draft| {
                draft.field(which, at, &[0x5a]);
            });
        }
        for version in [0, 1, 3, 0x0200, 0xffff] {
            luks2(all, format!("{side}-version-{version}"), move |draft| {
                draft.field(which, VERSION, &u16::to_be_bytes(version));
            });
        }
    }
    luks2(all, "primary-magic-of-secondary".into(), |draft| {
        draft.field(Primary, 0, b"SKUL");
    });
    luks2(all, "secondary-magic-of-primary".into(), |draft| {
        draft.field(Secondary, 0, b"LUKS");
    });
    luks2(all, "primary-magic-old-reencryption".into(), |draft| {
        draft.field(Primary, 4, &[0xde, 0xad]);
    });
    luks2(all, "primary-all-zero".into(), |draft| {
        draft.afterwards(0, &[0; 16384]);
    });
    luks2(all, "secondary-all-zero".into(), |draft| {
        draft.afterwards(16384, &[0; 16384]);
    });
    luks2(all, "both-all-zero".into(), |draft| {
        draft.afterwards(0, &[0; 32768]);
    });
}

fn sizes_and_offsets(all: &mut Vec<Recipe>) {
    for (which, side) in SIDES {
        for value in [
            0,
            512,
            4096,
            8192,
            16383,
            16385,
            16896,
            20480,
            24576,
            32768,
            49152,
            65536,
            3 << 20,
            4 << 20,
            (4 << 20) + 1,
            8 << 20,
            1 << 32,
            (1 << 32) + 16384,
            1 << 45,
            1 << 63,
            u64::MAX,
        ] {
            luks2(all, format!("{side}-size-{value}"), move |draft| {
                draft.field(which, SIZE, &value.to_be_bytes());
            });
        }
        for value in [1, 512, 16384, 32768, 1 << 63] {
            if value == 16384 && which != Primary {
                continue;
            }
            luks2(all, format!("{side}-offset-{value}"), move |draft| {
                draft.field(which, OFFSET, &u64::to_be_bytes(value));
            });
        }
    }
    // Whole headers of other sizes, consistent in themselves but for what the size asks for.
    for size in [16896, 20480, 24576, 49152, 3 << 20, 8 << 20] {
        luks2(all, format!("resized-{size}"), move |draft| {
            fit(draft, size)
        });
    }
    for power in 1..9 {
        let size = 16384_usize << power;
        luks2(all, format!("resized-{size}"), move |draft| {
            fit(draft, size)
        });
    }
    luks2(all, "resized-32768-areas-left".into(), |draft| {
        draft.resize(32768)
    });
}

/// Puts the copies at `size` and everything behind them where it fits.
fn fit(draft: &mut Draft2, size: usize) {
    draft.resize(size);
    draft.set("keyslots/0/area/offset", &format!("\"{}\"", 2 * size));
    draft.set(
        "keyslots/1/area/offset",
        &format!("\"{}\"", 2 * size + 131_072),
    );
    draft.set("segments/0/offset", "\"20971520\"");
    draft.set_len(21 << 20);
}

// A table: one row per recipe.
fn texts(all: &mut Vec<Recipe>) {
    for (field, at, size) in [
        ("label", LABEL, 48),
        ("subsystem", SUBSYSTEM, 48),
        ("uuid", UUID, 40),
    ] {
        for (number, text) in [&b""[..], b"x", b"a\nb", b"\xff\xfe", b"12345678-1234"]
            .into_iter()
            .enumerate()
        {
            luks2(all, format!("{field}-{number}"), move |draft| {
                draft.field_text(Both, at, size, text);
            });
        }
        luks2(all, format!("{field}-without-end"), move |draft| {
            draft.field(Both, at, &vec![b'a'; size]);
        });
        luks2(all, format!("{field}-only-in-primary"), move |draft| {
            draft.field_text(Primary, at, size, b"other");
        });
        luks2(all, format!("{field}-only-in-secondary"), move |draft| {
            draft.field_text(Secondary, at, size, b"other");
        });
    }
    let hashes: [&[u8]; 29] = [
        b"",
        b"md5",
        b"sha1",
        b"sha224",
        b"sha384",
        b"sha512",
        b"SHA256",
        b"Sha256",
        b"sha-256",
        b"sha2-256",
        b"sha512-256",
        b"sha512/256",
        b"sha3-224",
        b"sha3-256",
        b"sha3-512",
        b"blake2b-512",
        b"blake2s-256",
        b"blake2b-256",
        b"ripemd160",
        b"rmd160",
        b"whirlpool",
        b"sm3",
        b"stribog256",
        b"crc32",
        b"crc32c",
        b"sha256 ",
        b" sha256",
        b"shake128",
        b"\xff\xfe\xfd",
    ];
    for hash in hashes {
        let name = String::from_utf8_lossy(hash)
            .replace(' ', "_")
            .replace('/', ":");
        luks2(all, format!("checksum-name-{name}"), move |draft| {
            draft.field_text(Both, CHECKSUM_NAME, 32, hash);
        });
    }
    for (which, side) in [(Primary, "primary"), (Secondary, "secondary")] {
        luks2(all, format!("{side}-checksum-name-sha512"), move |draft| {
            draft.field_text(which, CHECKSUM_NAME, 32, b"sha512");
        });
        luks2(all, format!("{side}-checksum-name-crc32"), move |draft| {
            draft.field_text(which, CHECKSUM_NAME, 32, b"crc32");
        });
    }
    luks2(all, "checksum-name-without-end".into(), |draft| {
        draft.field(Both, CHECKSUM_NAME, &[b'a'; 32]);
    });
    luks2(all, "checksum-name-junk-behind-its-end".into(), |draft| {
        draft.field(Both, CHECKSUM_NAME + 10, b"junk");
    });
}

fn checksums(all: &mut Vec<Recipe>) {
    for (which, side) in SIDES {
        for (field, at) in [
            ("salt", SALT),
            ("padding", PADDING),
            ("padding-end", CHECKSUM - 1),
            ("padding4096", PADDING_4096),
            ("padding4096-end", 4095),
            ("label", LABEL),
            ("seqid", SEQID),
        ] {
            luks2(
                all,
                format!("{side}-{field}-checksum-fixed"),
                move |draft| {
                    draft.field(which, at, &[0x77]);
                },
            );
            luks2(all, format!("{side}-{field}-checksum-kept"), move |draft| {
                draft.field(which, at, &[0x77]);
                draft.keep_checksum(which);
            });
        }
        for at in [0, 31, 32, 63] {
            luks2(all, format!("{side}-checksum-byte-{at}"), move |draft| {
                draft.keep_checksum(which);
                let value = if at < 32 { 0x5a } else { 0x01 };
                draft.field(which, CHECKSUM + at, &[value]);
            });
        }
    }
    for (name, at) in [
        ("json-first", 4096),
        ("json-middle", 4600),
        ("json-last", 16383),
    ] {
        luks2(all, format!("primary-{name}-flipped"), move |draft| {
            draft.afterwards(at, &[0x7e]);
        });
        luks2(all, format!("secondary-{name}-flipped"), move |draft| {
            draft.afterwards(16384 + at, &[0x7e]);
        });
        luks2(all, format!("both-{name}-flipped"), move |draft| {
            draft.afterwards(at, &[0x7e]);
            draft.afterwards(16384 + at, &[0x7e]);
        });
    }
}

fn seqid(draft: &mut Draft2, which: Which, value: u64) {
    draft.field(which, SEQID, &value.to_be_bytes());
}

fn choices(all: &mut Vec<Recipe>) {
    for (name, first, second) in [
        ("0-0", 0, 0),
        ("1-2", 1, 2),
        ("2-1", 2, 1),
        ("max-0", u64::MAX, 0),
        ("0-max", 0, u64::MAX),
        ("max-max", u64::MAX, u64::MAX),
        ("sign", 1 << 63, 1),
    ] {
        luks2(all, format!("seqid-{name}"), move |draft| {
            seqid(draft, Primary, first);
            seqid(draft, Secondary, second);
        });
        // The older copy has no keyslot 0: passphrase `one` tells which one was taken.
        luks2(all, format!("seqid-{name}-primary-differs"), move |draft| {
            seqid(draft, Primary, first);
            seqid(draft, Secondary, second);
            without_keyslot_0(draft, Primary);
        });
        luks2(
            all,
            format!("seqid-{name}-primary-bad-json"),
            move |draft| {
                seqid(draft, Primary, first);
                seqid(draft, Secondary, second);
                draft.set_of(Primary, "config/json_size", "\"4096\"");
            },
        );
        luks2(
            all,
            format!("seqid-{name}-secondary-bad-json"),
            move |draft| {
                seqid(draft, Primary, first);
                seqid(draft, Secondary, second);
                draft.set_of(Secondary, "config/json_size", "\"4096\"");
            },
        );
    }
    luks2(all, "both-bad-json".into(), |draft| {
        draft.set("config/json_size", "\"4096\"");
    });
    luks2(
        all,
        "primary-bad-json-secondary-bad-checksum".into(),
        |draft| {
            draft.set_of(Primary, "config/json_size", "\"4096\"");
            draft.afterwards(16384 + CHECKSUM, &[0, 1, 2, 3]);
        },
    );
}

fn without_keyslot_0(draft: &mut Draft2, which: Which) {
    draft.tree_of(which, |tree| {
        for section in ["keyslots", "tokens"] {
            let object = tree
                .get_mut(section)
                .and_then(|value| value.as_object_mut());
            object
                .expect("the section is there")
                .retain(|key, _| key == "1" && section == "keyslots");
        }
    });
    draft.replace(
        which,
        b"\"keyslots\":[\"0\",\"1\"]",
        b"\"keyslots\":[\"1\"]",
    );
}

fn secondaries(all: &mut Vec<Recipe>) {
    // A dead primary, and the secondary at each place where it can lie.
    for power in 0..10 {
        let size = 16384_usize << power;
        luks2(
            all,
            format!("primary-dead-secondary-at-{size}"),
            move |draft| {
                if size > 16384 {
                    fit(draft, size);
                }
                draft.afterwards(0, &[0; 4096]);
            },
        );
    }
    // The primary points elsewhere than where the secondary lies.
    luks2(all, "secondary-not-where-primary-says".into(), |draft| {
        draft.field(Secondary, SIZE, &32768_u64.to_be_bytes());
        draft.field(Secondary, OFFSET, &32768_u64.to_be_bytes());
        draft.place_secondary(65536);
        draft.afterwards(16384, &[0; 4096]);
    });
    for (name, old, bad) in [
        ("older", 1_u64, false),
        ("newer", 99, false),
        ("bad-json", 1, true),
    ] {
        // Inside the large header's dead primary lies the secondary of a smaller one.
        all.push(Recipe::luks2(
            Luks2Large,
            format!("stale-secondary-in-dead-primary-{name}"),
            move |draft| {
                let mut small = Draft2::new(&Luks2.image());
                small.field(Both, SEQID, &old.to_be_bytes());
                if bad {
                    small.set("config/json_size", "\"4096\"");
                }
                draft.afterwards(0, &[0; 65536]);
                draft.afterwards(16384, &small.render(Secondary));
            },
        ));
    }
    all.push(Recipe::luks2(Luks2Large, "primary-dead", |draft| {
        draft.afterwards(0, &[0; 4096]);
    }));
    all.push(Recipe::luks2(Luks2Large, "secondary-dead", |draft| {
        draft.afterwards(65536, &[0; 4096]);
    }));
}

fn lengths(all: &mut Vec<Recipe>) {
    for len in [
        0, 1, 8, 511, 512, 4095, 4096, 8192, 16383, 16384, 20479, 20480, 20481, 32767, 32768,
        65536, 294_912, 425_983, 425_984, 425_985, 1_048_576, 1_049_088,
    ] {
        luks2(all, format!("device-of-{len}"), move |draft| {
            draft.set_len(len)
        });
    }
    luks2(all, "primary-dead-device-of-425983".into(), |draft| {
        draft.afterwards(0, &[0; 4096]);
        draft.set_len(425_983);
    });
    luks2(all, "primary-dead-device-of-32768".into(), |draft| {
        draft.afterwards(0, &[0; 4096]);
        draft.set_len(32768);
    });
}

/// Bytes and their place.
type Piece = (usize, &'static [u8]);

/// Other formats' marks over a dead primary: cryptsetup refuses to repair what may be something
/// else.
// A table: one row per recipe.
fn overwritten(all: &mut Vec<Recipe>) {
    let marks: [(&str, &[Piece]); 16] = [
        (
            "swap",
            &[(4086, b"SWAPSPACE2"), (1024, &[1, 0, 0, 0, 0xff, 0, 0, 0])],
        ),
        ("swap-mark-alone", &[(4086, b"SWAPSPACE2")]),
        (
            "ext4",
            &[(1024 + 56, &[0x53, 0xef]), (1024 + 76, &[1, 0, 0, 0])],
        ),
        ("xfs", &[(0, b"XFSB")]),
        (
            "mbr",
            &[
                (510, &[0x55, 0xaa]),
                (446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0]),
            ],
        ),
        ("mbr-mark-alone", &[(510, &[0x55, 0xaa])]),
        ("gpt-mark-alone", &[(512, b"EFI PART")]),
        ("lvm", &[(512, b"LABELONE"), (536, b"LVM2 001")]),
        ("ntfs", &[(3, b"NTFS    "), (510, &[0x55, 0xaa])]),
        ("vfat", &[(54, b"FAT16   "), (510, &[0x55, 0xaa])]),
        ("squashfs", &[(0, b"hsqs")]),
        (
            "bcache",
            &[(4096 + 24, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca])],
        ),
        ("iso9660", &[(32769, b"CD001")]),
        ("md-1.1", &[(0, &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0])]),
        ("verity", &[(0, b"verity\0\0")]),
        ("integrity", &[(0, b"integrt\0")]),
    ];
    // A mark where a good header has room for it: does it count when one copy is to be repaired?
    for (which, side) in SIDES {
        luks2(
            all,
            format!("mbr-mark-in-checksum-field-{side}-older"),
            move |draft| {
                draft.field(which, SEQID + 7, &[0]);
                draft.afterwards(CHECKSUM + 62, &[0x55, 0xaa]);
            },
        );
    }
    luks2(all, "ext4-mark-in-padding-secondary-dead".into(), |draft| {
        draft.field(Both, 1080, &[0x53, 0xef]);
        draft.field(Both, 1100, &[1]);
        draft.afterwards(16384, &[0; 4096]);
    });
    luks2(all, "ext4-mark-in-padding-both-good".into(), |draft| {
        draft.field(Both, 1080, &[0x53, 0xef]);
        draft.field(Both, 1100, &[1]);
    });
    luks2(
        all,
        "ext4-mark-in-padding-primary-version-0".into(),
        |draft| {
            draft.field(Both, 1080, &[0x53, 0xef]);
            draft.field(Both, 1100, &[1]);
            draft.field(Primary, VERSION, &[0, 0]);
        },
    );
    luks2(all, "squashfs-mark-over-bad-primary".into(), |draft| {
        draft.field(Primary, 0, b"hsqs");
    });
    for (name, pieces) in marks {
        luks2(all, format!("primary-overwritten-{name}"), move |draft| {
            draft.afterwards(0, &[0; 4096]);
            for (at, bytes) in pieces {
                draft.afterwards(*at, bytes);
            }
        });
    }
}
