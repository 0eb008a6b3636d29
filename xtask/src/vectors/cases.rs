//! What images there are.

/// Cheap key derivation: the real costs are for real volumes.
pub(super) const PBKDF2: &str = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
const ARGON2ID: &str = "--pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32768 \
    --pbkdf-parallel 2";
const ARGON2I: &str = "--pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 32768 \
    --pbkdf-parallel 2";

/// Room for one area of a 512-bit key, data right behind it.
const ROOM_512: &str = "--luks2-metadata-size 16k --luks2-keyslots-size 256k --offset 576";
/// Room for one area of a 256-bit key, data right behind it.
const ROOM_256: &str = "--luks2-metadata-size 16k --luks2-keyslots-size 128k --offset 320";
/// Room for one area of a 768-bit key (512 for XTS, 256 for HMAC-SHA-256).
const ROOM_768: &str = "--luks2-metadata-size 16k --luks2-keyslots-size 384k --offset 832";
/// Room for one area of a 1024-bit key.
const ROOM_1024: &str = "--luks2-metadata-size 16k --luks2-keyslots-size 512k --offset 1088";

const XTS_512: &str = "--cipher aes-xts-plain64 --key-size 512";
const XTS_256: &str = "--cipher aes-xts-plain64 --key-size 256";

/// What made an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `cryptsetup luksFormat --type luks1`.
    Luks1,
    /// `cryptsetup luksFormat --type luks2`.
    Luks2,
    /// `integritysetup format`.
    Integrity,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Luks1 => "luks1",
            Self::Luks2 => "luks2",
            Self::Integrity => "integrity",
        }
    }
}

/// An image to make.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Size of the image (of the data file, where the header has a file of its own).
    pub(super) kib: u64,
    /// Options of `luksFormat` or `integritysetup format`, in parts.
    pub(super) format: &'static [&'static str],
    /// Options of opening.
    pub(super) open: &'static str,
    /// Commands between formatting and opening, with `DEV` for the device.
    pub(super) then: &'static [&'static str],
    /// Commands after closing.
    pub(super) at_last: &'static [&'static str],
    /// First block and number of blocks of 4096 bytes that get the pattern.
    pub(super) writes: &'static [(u32, u32)],
    /// The machine loses its power while the volume is open.
    pub(super) dirty: bool,
    /// A second file: what it is for and how large it is.
    pub(super) second: Option<(&'static str, u64)>,
    pub(super) note: &'static str,
}

impl Case {
    /// Gives the files: role, ending of the name, size in KiB.
    pub(super) fn files(&self) -> Vec<(&'static str, String, u64)> {
        let mut files = vec![("image", String::new(), self.kib)];
        if let Some((role, kib)) = self.second {
            files.push((role, format!("-{role}"), kib));
        }
        files
    }

    pub(super) fn passphrase(&self) -> Option<&'static str> {
        let has = self.kind != Kind::Integrity && !self.at_last.iter().any(|c| c.contains("erase"));
        has.then_some(super::script::PASSPHRASE)
    }

    /// Gives the byte that the integrity key file repeats.
    pub(super) fn integrity_key(&self) -> Option<u8> {
        let keyed = |part: &&str| part.contains("--integrity-key-file");
        (self.kind == Kind::Integrity && self.format.iter().any(keyed)).then_some(0x33)
    }
}

const LUKS2: Case = Case {
    name: "",
    kind: Kind::Luks2,
    kib: 544,
    format: &[],
    open: "",
    then: &[],
    at_last: &[],
    writes: &[(0, 10), (40, 6)],
    dirty: false,
    second: None,
    note: "",
};
const LUKS1: Case = Case {
    kind: Kind::Luks1,
    ..LUKS2
};
const INTEGRITY: Case = Case {
    kind: Kind::Integrity,
    kib: 1024,
    ..LUKS2
};
/// Authenticated volumes are wiped as a whole, which does not pack: they are small.
const HMAC: Case = Case {
    kib: 1024,
    writes: &[(0, 10), (40, 6)],
    ..LUKS2
};

pub(super) const INTEGRITY_KEY: &str = "--integrity-key-file /tmp/ik --integrity-key-size 32";
pub(super) const JOURNAL_KEYS: &str = "--journal-crypt ctr-aes --journal-crypt-key-file /tmp/jc \
    --journal-crypt-key-size 32 --journal-integrity hmac-sha256 \
    --journal-integrity-key-file /tmp/jm --journal-integrity-key-size 32";
/// A token of a type that nobody knows, with nested contents.
const TOKEN: &str = r#"printf %s '{"type":"example-token","keyslots":["0"],"note":"as it is",'\
'"nested":{"b":[1,2,{"c":null}],"a":true}}' > /tmp/token"#;
/// Keeps the journal from being written back by itself.
const LAZY: &str = "--journal-commit-time 60000 --journal-watermark 100";

// A table: one entry for each image.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "luks2-default",
        format: &[ROOM_512, ARGON2ID, XTS_512],
        ..LUKS2
    },
    Case {
        name: "luks2-sector4096",
        format: &[ROOM_512, PBKDF2, XTS_512, "--sector-size 4096"],
        ..LUKS2
    },
    Case {
        name: "luks2-aes128-sector1024",
        kib: 416,
        format: &[ROOM_256, PBKDF2, XTS_256, "--sector-size 1024"],
        ..LUKS2
    },
    Case {
        name: "luks2-argon2i-sector2048",
        kib: 416,
        format: &[ROOM_256, ARGON2I, XTS_256, "--sector-size 2048"],
        ..LUKS2
    },
    Case {
        name: "luks2-pbkdf2-sha512",
        kib: 416,
        format: &[ROOM_256, PBKDF2, XTS_256, "--hash sha512"],
        ..LUKS2
    },
    Case {
        name: "luks2-pbkdf2-whirlpool",
        kib: 416,
        format: &[ROOM_256, PBKDF2, XTS_256, "--hash whirlpool"],
        ..LUKS2
    },
    Case {
        name: "luks2-pbkdf2-blake2b",
        kib: 416,
        format: &[ROOM_256, PBKDF2, XTS_256, "--hash blake2b-512"],
        ..LUKS2
    },
    Case {
        name: "luks2-cbc-essiv",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher aes-cbc-essiv:sha256 --key-size 256",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-cbc-plain64",
        kib: 416,
        format: &[ROOM_256, PBKDF2, "--cipher aes-cbc-plain64 --key-size 128"],
        ..LUKS2
    },
    Case {
        name: "luks2-cbc-plain64be",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher aes-cbc-plain64be --key-size 256 --sector-size 4096",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-xts-plain",
        kib: 416,
        format: &[ROOM_256, PBKDF2, "--cipher aes-xts-plain --key-size 256"],
        ..LUKS2
    },
    Case {
        name: "luks2-capi",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher capi:xts(aes)-plain64 --key-size 256",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-serpent",
        format: &[
            ROOM_512,
            PBKDF2,
            "--cipher serpent-xts-plain64 --key-size 512",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-twofish",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher twofish-xts-plain64 --key-size 256",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-camellia",
        format: &[
            ROOM_512,
            PBKDF2,
            "--cipher camellia-xts-plain64 --key-size 512 --sector-size 4096",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-adiantum",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher xchacha20,aes-adiantum-plain64 --key-size 256 --sector-size 4096",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-adiantum12",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher xchacha12,aes-adiantum-plain64 --key-size 256 --sector-size 512",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-null",
        kib: 416,
        format: &[ROOM_256, PBKDF2, "--cipher cipher_null-ecb --key-size 256"],
        note: "no encryption at all: opened only when asked for by name",
        ..LUKS2
    },
    Case {
        name: "luks2-label-token",
        kib: 416,
        format: &[
            ROOM_256,
            PBKDF2,
            XTS_256,
            "--label vault --subsystem tests --uuid 4b2ab6a1-7d1c-4f0e-9d5b-0f6a5d1c2e3f",
        ],
        then: &[
            TOKEN,
            "cryptsetup token import --json-file /tmp/token --token-id 3 DEV",
            "cryptsetup token add --key-description luks:demo DEV",
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-many-slots",
        kib: 672,
        format: &[
            "--luks2-metadata-size 16k --luks2-keyslots-size 384k --offset 832",
            PBKDF2,
            XTS_256,
        ],
        then: &[
            "printf second > /tmp/k2; printf third > /tmp/k3",
            "cryptsetup luksAddKey -q --key-file /tmp/pw KDF --key-slot 5 DEV /tmp/k2",
            "cryptsetup luksAddKey -q --key-file /tmp/pw KDF --key-slot 1 DEV /tmp/k3",
            "cryptsetup config --priority prefer -S 5 DEV",
            "cryptsetup config --priority ignore -S 1 DEV",
        ],
        note: "keyslot 5 'second' (prefer), keyslot 1 'third' (ignore)",
        ..LUKS2
    },
    Case {
        name: "luks2-unbound",
        kib: 544,
        format: &[
            "--luks2-metadata-size 16k --luks2-keyslots-size 256k --offset 576",
            PBKDF2,
            XTS_256,
        ],
        then: &[
            "printf unbound > /tmp/k4",
            "cryptsetup luksAddKey -q --unbound --key-size 128 --key-file /tmp/pw KDF DEV /tmp/k4",
        ],
        note: "keyslot 1 is unbound, passphrase 'unbound', 16-byte key",
        ..LUKS2
    },
    Case {
        name: "luks2-no-keyslot",
        kib: 416,
        format: &[ROOM_256, PBKDF2, XTS_256],
        at_last: &["cryptsetup erase -q DEV"],
        note: "keyslots erased: only the volume key opens it",
        ..LUKS2
    },
    Case {
        name: "luks2-detached",
        kib: 256,
        format: &[
            "--luks2-metadata-size 16k --luks2-keyslots-size 128k",
            PBKDF2,
            XTS_256,
            "--sector-size 4096",
        ],
        second: Some(("header", 160)),
        ..LUKS2
    },
    Case {
        name: "luks2-meta64k",
        kib: 512,
        format: &[
            "--luks2-metadata-size 64k --luks2-keyslots-size 128k --offset 512",
            PBKDF2,
            XTS_256,
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-meta1m",
        kib: 2432,
        format: &[
            "--luks2-metadata-size 1m --luks2-keyslots-size 128k --offset 4352",
            PBKDF2,
            XTS_256,
        ],
        ..LUKS2
    },
    Case {
        name: "luks2-reencrypt",
        kib: 1024,
        format: &[
            "--luks2-metadata-size 16k --luks2-keyslots-size 480k --offset 1024",
            PBKDF2,
            XTS_256,
        ],
        at_last: &[
            "cryptsetup reencrypt -q --init-only --key-file /tmp/pw KDF --resilience checksum DEV",
        ],
        note: "re-encryption initialised and not begun: refused by name",
        ..LUKS2
    },
    Case {
        name: "luks2-hmac-sha256",
        format: &[
            ROOM_768,
            PBKDF2,
            XTS_512,
            "--integrity hmac-sha256 --sector-size 4096",
        ],
        ..HMAC
    },
    Case {
        name: "luks2-hmac-sha256-s512",
        format: &[
            ROOM_512,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --sector-size 512",
        ],
        kib: 1664,
        ..HMAC
    },
    Case {
        name: "luks2-hmac-s1024",
        format: &[
            ROOM_512,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --sector-size 1024",
        ],
        kib: 1280,
        ..HMAC
    },
    Case {
        name: "luks2-hmac-s2048-legacy",
        format: &[
            ROOM_512,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --sector-size 2048 --integrity-legacy-padding",
        ],
        kib: 1280,
        note: "old padding",
        ..HMAC
    },
    Case {
        name: "luks2-hmac-sha512",
        format: &[
            ROOM_1024,
            PBKDF2,
            XTS_512,
            "--integrity hmac-sha512 --sector-size 4096",
        ],
        kib: 1280,
        ..HMAC
    },
    Case {
        name: "luks2-cbc-hmac",
        format: &[
            ROOM_512,
            PBKDF2,
            "--cipher aes-cbc-essiv:sha256 --key-size 256",
            "--integrity hmac-sha256 --sector-size 4096",
        ],
        ..HMAC
    },
    Case {
        name: "luks2-gcm-random",
        kib: 768,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher aes-gcm-random --key-size 256 --integrity aead --sector-size 4096",
        ],
        ..HMAC
    },
    Case {
        name: "luks2-chacha20-poly1305",
        kib: 768,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher chacha20-random --integrity poly1305 --sector-size 4096",
        ],
        ..HMAC
    },
    Case {
        name: "luks2-aegis128",
        kib: 768,
        format: &[
            ROOM_256,
            PBKDF2,
            "--cipher aegis128-random --key-size 128 --integrity aead --sector-size 4096",
        ],
        ..HMAC
    },
    Case {
        name: "luks2-hmac-keysize",
        format: &[
            ROOM_768,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --integrity-key-size 512 --sector-size 4096",
        ],
        note: "HMAC key of 64 bytes",
        ..HMAC
    },
    Case {
        name: "luks2-hmac-nojournal",
        format: &[
            ROOM_512,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --sector-size 4096 --integrity-no-journal",
        ],
        open: "--integrity-no-journal --persistent",
        note: "the header stores the flag no-journal",
        ..HMAC
    },
    Case {
        name: "luks2-hmac-dirty",
        format: &[
            ROOM_512,
            PBKDF2,
            XTS_256,
            "--integrity hmac-sha256 --sector-size 4096",
        ],
        dirty: true,
        note: "power lost with committed entries in the journal",
        ..HMAC
    },
    Case {
        name: "luks1-default",
        kib: 2312,
        format: &["--cipher aes-xts-plain64 --key-size 512 --hash sha256 --align-payload 8"],
        ..LUKS1
    },
    Case {
        name: "luks1-aes128-sha512",
        kib: 1288,
        format: &["--cipher aes-xts-plain64 --key-size 256 --hash sha512 --align-payload 8"],
        ..LUKS1
    },
    Case {
        name: "luks1-cbc-essiv-sha1",
        kib: 1288,
        format: &["--cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha1 --align-payload 8"],
        ..LUKS1
    },
    Case {
        name: "luks1-cbc-plain",
        kib: 776,
        format: &["--cipher aes-cbc-plain --key-size 128 --hash sha256 --align-payload 8"],
        ..LUKS1
    },
    Case {
        name: "luks1-ripemd160",
        kib: 2312,
        format: &["--cipher aes-xts-plain64 --key-size 512 --hash ripemd160 --align-payload 8"],
        ..LUKS1
    },
    Case {
        name: "luks1-two-slots",
        kib: 1288,
        format: &["--cipher serpent-xts-plain64 --key-size 256 --hash sha256 --align-payload 8"],
        then: &[
            "printf second > /tmp/k2",
            "cryptsetup luksAddKey -q --key-file /tmp/pw --pbkdf-force-iterations 1000 -S 7 \
                DEV /tmp/k2",
        ],
        note: "keyslot 7 'second'",
        ..LUKS1
    },
    Case {
        name: "integrity-crc32c",
        format: &["--integrity crc32c --sector-size 4096"],
        ..INTEGRITY
    },
    Case {
        name: "integrity-crc32-s512",
        format: &["--integrity crc32 --sector-size 512"],
        ..INTEGRITY
    },
    Case {
        name: "integrity-sha1",
        format: &["--integrity sha1 --tag-size 20 --sector-size 4096"],
        ..INTEGRITY
    },
    Case {
        name: "integrity-sha256-s512",
        kib: 1536,
        format: &["--integrity sha256 --tag-size 32 --sector-size 512"],
        ..INTEGRITY
    },
    Case {
        name: "integrity-sha256-short-tag",
        format: &["--integrity sha256 --tag-size 12 --sector-size 4096"],
        note: "tags cut to 12 bytes",
        ..INTEGRITY
    },
    Case {
        name: "integrity-interleave",
        format: &["--integrity crc32c --sector-size 512 --interleave-sectors 1024"],
        note: "several runs of tags and data",
        ..INTEGRITY
    },
    Case {
        name: "integrity-hmac-sha256",
        format: &["--integrity hmac-sha256 --sector-size 4096", INTEGRITY_KEY],
        ..INTEGRITY
    },
    Case {
        name: "integrity-bitmap",
        format: &["--integrity crc32c --sector-size 4096 --integrity-bitmap-mode"],
        open: "--integrity-bitmap-mode",
        ..INTEGRITY
    },
    Case {
        name: "integrity-direct",
        format: &["--integrity crc32c --sector-size 512"],
        open: "--integrity-no-journal",
        ..INTEGRITY
    },
    Case {
        name: "integrity-datadev",
        format: &["--integrity sha256 --tag-size 32 --sector-size 4096"],
        second: Some(("data", 1024)),
        ..INTEGRITY
    },
    Case {
        name: "integrity-legacy",
        kib: 2048,
        format: &[
            "--integrity hmac-sha256 --sector-size 512",
            "--integrity-legacy-hmac --integrity-legacy-padding",
            INTEGRITY_KEY,
        ],
        note: "old padding, old HMAC",
        ..INTEGRITY
    },
    Case {
        name: "integrity-recalculated",
        kib: 2048,
        format: &["--integrity crc32c --sector-size 512 --no-wipe"],
        open: "--integrity-recalculate",
        note: "formatted without wipe, recalculated; the flag stays",
        ..INTEGRITY
    },
    Case {
        name: "integrity-crc32c-dirty",
        format: &["--integrity crc32c --sector-size 4096"],
        open: LAZY,
        dirty: true,
        note: "power lost with committed entries in the journal",
        ..INTEGRITY
    },
    Case {
        name: "integrity-journal-keys-dirty",
        format: &["--integrity crc32c --sector-size 4096", JOURNAL_KEYS],
        open: LAZY,
        dirty: true,
        note: "journal encrypted (key file: 32 bytes 0x11) and authenticated (32 bytes 0x22); \
            power lost with committed entries",
        ..INTEGRITY
    },
    Case {
        name: "integrity-wrapped-dirty",
        kib: 6144,
        format: &["--integrity crc32c --sector-size 4096 --journal-size 1100000"],
        open: LAZY,
        dirty: true,
        writes: &[
            (0, 23),
            (37, 23),
            (74, 23),
            (111, 23),
            (148, 23),
            (185, 23),
            (222, 23),
            (259, 23),
            (296, 23),
            (333, 23),
            (5, 23),
            (42, 23),
            (79, 23),
        ],
        note: "a journal of several sections that has wrapped; power lost",
        ..INTEGRITY
    },
    Case {
        name: "integrity-bitmap-dirty",
        format: &["--integrity crc32c --sector-size 4096 --integrity-bitmap-mode"],
        open: "--integrity-bitmap-mode",
        dirty: true,
        note: "bitmap mode, power lost while open",
        ..INTEGRITY
    },
];
