//! Superblocks that integritysetup, cryptsetup 2.8.8 and Linux 7.2 wrote, against parser and
//! writer.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use luksmith_block::{SectorCount, SectorNumber, SectorSize};
use luksmith_integrity::{DeviceSizes, Flags, FormatRequest, Superblock};

/// A superblock's first 64 bytes and how the device was made.
struct Golden {
    name: &'static str,
    bytes: [&'static str; 2],
    start: u64,
    device: u64,
    data_device: Option<u64>,
    tag: usize,
    block: SectorSize,
    legacy_padding: bool,
    /// Flags that came to be after the format.
    since: Flags,
    recalculated: u64,
    journal_bytes: Option<u64>,
}

const PLAIN: Golden = Golden {
    name: "",
    bytes: ["", NO_SALT],
    start: 0,
    device: 4096,
    data_device: None,
    tag: 4,
    block: SectorSize::S4096,
    legacy_padding: false,
    since: Flags::NONE,
    recalculated: 0,
    journal_bytes: None,
};

const NO_SALT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const GOLDEN: &[Golden] = &[
    Golden {
        name: "integrity-crc32c",
        bytes: [
            "696e746567727400050f040001000000500e00000000000018000000030c0000",
            "000000000000000000000000000000001c48d91217f17e4323c277100bab9a7b",
        ],
        ..PLAIN
    },
    Golden {
        name: "integrity-sha256-s512",
        bytes: [
            "696e746567727400050f200001000000a00700000000000018000000000f0000",
            "00000000000000000000000000000000b95575405c3c55773d7f39f1ac4b54ae",
        ],
        tag: 32,
        block: SectorSize::S512,
        ..PLAIN
    },
    Golden {
        name: "integrity-bitmap-dirty",
        bytes: [
            "696e746567727400050f040001000000500e0000000000001c000000030c0000",
            "00000000000000000000000000000000f78fdf9d571e8145baa27171d236337d",
        ],
        since: Flags::DIRTY_BITMAP,
        ..PLAIN
    },
    Golden {
        name: "integrity-datadev",
        bytes: [
            "696e7465677274000500200001000000001000000000000010000000030c0000",
            "00000000000000000000000000000000cc1f3de222b558437aa60f987f021136",
        ],
        data_device: Some(4096),
        tag: 32,
        ..PLAIN
    },
    Golden {
        name: "integrity-journal-wrapped-dirty",
        bytes: [
            "696e746567727400050f040005000000302800000000000018000000030c0000",
            "00000000000000000000000000000000a0c91ebe3874bd4ab741d1dd8f74010a",
        ],
        device: 12288,
        journal_bytes: Some(1_100_000),
        ..PLAIN
    },
    Golden {
        name: "integrity-legacy",
        bytes: [
            "696e746567727400010f200001000000a01700000000000000000000000f0000",
            NO_SALT,
        ],
        device: 8192,
        tag: 32,
        block: SectorSize::S512,
        legacy_padding: true,
        ..PLAIN
    },
    Golden {
        name: "integrity-recalculated",
        bytes: [
            "696e746567727400050f04000100000048160000000000001a000000000f0000",
            "48160000000000000000000000000000f072235fe0f361c8160007c7d57ad19f",
        ],
        device: 6144,
        block: SectorSize::S512,
        since: Flags::RECALCULATING,
        recalculated: 0x1648,
        ..PLAIN
    },
    Golden {
        name: "luks2-hmac-sha256",
        bytes: [
            "696e746567727400040f200001000000f00500000000000008000000030c0000",
            NO_SALT,
        ],
        start: 2048,
        tag: 32,
        ..PLAIN
    },
    Golden {
        name: "luks2-hmac-s1024",
        bytes: [
            "696e746567727400040f200001000000600b00000000000008000000010e0000",
            NO_SALT,
        ],
        start: 2048,
        device: 6144,
        tag: 32,
        block: SectorSize::S1024,
        ..PLAIN
    },
    Golden {
        name: "luks2-hmac-s2048-legacy",
        bytes: [
            "696e746567727400010f200001000000101500000000000000000000020d0000",
            NO_SALT,
        ],
        start: 2048,
        device: 8192,
        tag: 32,
        block: SectorSize::S2048,
        legacy_padding: true,
        ..PLAIN
    },
    Golden {
        name: "luks2-hmac-sha512",
        bytes: [
            "696e746567727400040f400001000000300d00000000000008000000030c0000",
            NO_SALT,
        ],
        start: 2048,
        device: 6144,
        tag: 64,
        ..PLAIN
    },
    Golden {
        name: "luks2-gcm-random",
        bytes: [
            "696e746567727400040f1c0001000000100600000000000008000000030c0000",
            NO_SALT,
        ],
        start: 2048,
        tag: 28,
        ..PLAIN
    },
];

fn bytes(golden: &Golden) -> Vec<u8> {
    let hex = golden.bytes.concat();
    assert_eq!(hex.len(), 128, "{}", golden.name);
    let mut bytes: Vec<u8> = (0..64)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal digits"))
        .collect();
    bytes.resize(4096, 0);
    bytes
}

fn parsed(golden: &Golden) -> Superblock {
    Superblock::parse(&bytes(golden)).expect("a superblock that the kernel wrote")
}

#[test]
fn parse_then_write_gives_the_golden_bytes_back() {
    for golden in GOLDEN {
        let mut bytes = bytes(golden);
        // Junk where no field is survives a rewrite.
        bytes[4000] = 0x77;
        let superblock = Superblock::parse(&bytes).expect("junk between the fields is accepted");
        assert_eq!(superblock.verify_mac(None), Ok(()));
        assert_eq!(superblock.to_bytes(false, None), bytes, "{}", golden.name);
    }
}

#[test]
fn planning_gives_the_golden_bytes() {
    for golden in GOLDEN {
        let found = parsed(golden);
        let salt = found
            .flags()
            .contains(Flags::FIXED_HMAC)
            .then(|| *found.salt());
        let mut request = FormatRequest::new(golden.tag, golden.block)
            .expect("a tag size that exists")
            .start(SectorNumber::new(golden.start))
            .legacy_padding(golden.legacy_padding)
            .salt(salt);
        if let Some(bytes) = golden.journal_bytes {
            request = request.journal_sectors(SectorCount::new(bytes / 512));
        }
        let sizes = DeviceSizes {
            data: SectorCount::new(golden.data_device.unwrap_or(golden.device)),
            meta: golden.data_device.map(|_| SectorCount::new(golden.device)),
        };
        let (planned, _) = request.plan(sizes).expect("it fitted when it was made");
        let mut written = planned.to_bytes(false, None);
        let flags = planned.flags().with(golden.since).bits();
        written[24..28].copy_from_slice(&flags.to_le_bytes());
        written[32..40].copy_from_slice(&golden.recalculated.to_le_bytes());
        assert_eq!(written, bytes(golden), "{}", golden.name);
    }
}
