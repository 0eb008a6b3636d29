//! Random configurations of devices with tags: what the kernel and we are asked to make.

use std::fmt;
use std::sync::Arc;

use luksmith::block::{SectorCount, SectorNumber, SectorSize};
use luksmith::crypt::{AuthSpec, CipherSpec, Integrity};
use luksmith::integrity::{
    DeviceSizes, DigestName, DiscardMarker, FormatRequest, Interleave, JournalCipher, JournalMac,
    Layout, Mode,
};
use luksmith_testkit::Prng;

/// Where the data segment of a volume starts, in sectors.
pub(crate) const LUKS_START: u64 = 2048;
/// Most sectors of a device that are written and compared.
const SPAN: u64 = 1536;

/// An integrity type and its cipher, as cryptsetup's options and as the header name them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authenticated {
    pub(crate) cipher: &'static str,
    pub(crate) cipher_key: usize,
    pub(crate) option: &'static str,
    pub(crate) kind: &'static str,
    /// Length of the HMAC's key, if it is not that of the digest.
    pub(crate) mac_key: Option<usize>,
}

const fn luks(
    cipher: &'static str,
    cipher_key: usize,
    option: &'static str,
    kind: &'static str,
) -> Authenticated {
    Authenticated {
        cipher,
        cipher_key,
        option,
        kind,
        mac_key: None,
    }
}

/// The last two need a newer kernel or cryptsetup than Debian 12 has.
const VOLUMES: [Authenticated; 14] = [
    luks("aes-xts-plain64", 64, "hmac-sha256", "hmac(sha256)"),
    luks("aes-xts-plain64", 32, "hmac-sha256", "hmac(sha256)"),
    luks("aes-xts-plain64", 64, "hmac-sha512", "hmac(sha512)"),
    luks("aes-xts-plain64", 32, "hmac-sha512", "hmac(sha512)"),
    luks("aes-xts-plain64", 64, "hmac-sha1", "hmac(sha1)"),
    luks("aes-xts-random", 64, "hmac-sha256", "hmac(sha256)"),
    luks("aes-cbc-essiv:sha256", 32, "hmac-sha256", "hmac(sha256)"),
    luks("aes-cbc-plain64", 32, "hmac-sha512", "hmac(sha512)"),
    luks("aes-cbc-plain64", 16, "hmac-sha256", "hmac(sha256)"),
    luks("aes-gcm-random", 32, "aead", "aead"),
    luks("aes-gcm-random", 16, "aead", "aead"),
    luks("chacha20-random", 32, "poly1305", "poly1305"),
    luks("aegis128-random", 16, "aead", "aead"),
    Authenticated {
        mac_key: Some(64),
        ..luks("aes-xts-plain64", 64, "hmac-sha256", "hmac(sha256)")
    },
];
const NEWER_VOLUMES: usize = 2;

/// The last four are missing in Debian's kernels from 6.16 on.
const DIGESTS: [&str; 12] = [
    "crc32",
    "crc32c",
    "sha1",
    "sha256",
    "sha512",
    "hmac-sha1",
    "hmac-sha256",
    "hmac-sha512",
    "xxhash64",
    "blake2b-512",
    "hmac-blake2b-512",
    "xxhash64",
];
const DROPPED_DIGESTS: usize = 4;

/// What the oracle can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// Keys of an HMAC's own length, AEGIS, keyed discards.
    pub(crate) newer_volumes: bool,
    /// XXH64 and BLAKE2b.
    pub(crate) dropped_digests: bool,
}

/// What makes and checks tags of a device with an internal hash.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(crate) digest: &'static str,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) tag_bytes: Option<usize>,
    pub(crate) journal_mac: Option<(&'static str, Vec<u8>)>,
    pub(crate) journal_cipher: Option<(&'static str, Vec<u8>)>,
    pub(crate) interleave: Option<u32>,
    pub(crate) buffer_sectors: Option<u32>,
    pub(crate) sectors_per_bit: u64,
    pub(crate) legacy_hmac: bool,
    /// Sectors of the data device, if the other one has only metadata.
    pub(crate) data_sectors: Option<u64>,
    /// Whether blocks are discarded, and how such blocks are marked.
    pub(crate) discards: DiscardMarker,
}

/// A volume of LUKS2.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) auth: Authenticated,
    pub(crate) key: Vec<u8>,
    /// The header says that the journal is bypassed.
    pub(crate) no_journal: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Hashed(Hashed),
    Volume(Volume),
}

/// What happens to the kernel's device before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is closed.
    Closed,
    /// The machine stops behind the last write, everything as the disk took it.
    Stopped,
    /// The power goes at any request, and each unflushed sector is old or new.
    Cut,
    /// The same during a recalculation of the whole device.
    CutWhileRecalculating,
}

/// One configuration.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) seed: u64,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) block: SectorSize,
    /// Sectors of the device, or of the metadata device.
    pub(crate) sectors: u64,
    pub(crate) journal_bytes: Option<u64>,
    pub(crate) legacy_padding: bool,
    /// Whether the tool fills the kernel's device with zeros.
    pub(crate) wipe: bool,
    /// Whether the device is full of old data before it is formatted.
    pub(crate) painted: bool,
    /// The mode in which the kernel writes, and its watermark.
    pub(crate) mode: Mode,
    pub(crate) watermark: u8,
    /// Milliseconds after which the kernel commits, or clears its bitmap, unasked.
    pub(crate) patience: u32,
    pub(crate) end: End,
}

impl Set {
    pub(crate) fn generate(seed: u64, number: u32, abilities: Abilities) -> Self {
        let mut prng = Prng::new(seed << 32 | u64::from(number));
        let block = SectorSize::ALL[prng.index(4)];
        let is_volume = prng.chance(2, 5);
        let kind = match is_volume {
            true => Kind::Volume(volume(&mut prng, abilities)),
            false => Kind::Hashed(hashed(&mut prng, abilities)),
        };
        let is_split = matches!(&kind, Kind::Hashed(hashed) if hashed.data_sectors.is_some());
        // The journal of a volume is a share of the device that no option changes.
        let sectors = match is_volume {
            true => {
                LUKS_START + [2000, 3001, 3001, 15_000, 44_000][prng.index(5)] + 8 * prng.below(100)
            }
            false => 2000 + prng.below(1500),
        };
        let journal_bytes = match prng.below(8) {
            0 => None,
            1 => Some(1 + prng.below(150_000)),
            _ => Some(150_000 + prng.below(500_000)),
        };
        let mut set = Self {
            seed,
            number,
            kind,
            block,
            sectors,
            journal_bytes: journal_bytes.filter(|_| !is_volume),
            legacy_padding: !is_split && prng.chance(1, 6),
            wipe: prng.chance(1, 4),
            painted: prng.chance(1, 2),
            mode: Mode::Journal,
            watermark: [0, 50, 100][prng.index(3)],
            patience: if prng.chance(1, 3) { 50 } else { 60_000 },
            end: [
                End::Closed,
                End::Stopped,
                End::Cut,
                End::Cut,
                End::Cut,
                End::Cut,
            ][prng.index(6)],
        };
        if !abilities.newer_volumes
            && let Kind::Hashed(hashed) = &mut set.kind
        {
            // integritysetup 2.6 forgets the old padding where the old HMAC is asked for too.
            hashed.legacy_hmac &= !set.legacy_padding;
        }
        // The first run of tags, as long as it is where nobody asks for a shorter one.
        set.sectors += 32768 * set.tag_bytes() as u64 / (512 * block.sectors().get());
        set.mode = set.any_mode(&mut prng);
        set.make_possible(&mut prng);
        set
    }

    /// Puts right what does not go together.
    fn make_possible(&mut self, prng: &mut Prng) {
        let recalculates = prng.chance(1, 3);
        let legacy_padding = self.legacy_padding;
        if let Kind::Hashed(hashed) = &mut self.kind {
            if hashed.data_sectors.is_some() {
                // With fewer there is no separate metadata device.
                hashed.buffer_sectors = hashed.buffer_sectors.map(|sectors| sectors.max(8));
            }
            if legacy_padding {
                // With fewer sectors such a device destroys its own data.
                hashed.interleave = hashed.interleave.map(|sectors| sectors.max(256));
            }
            // With a key, the kernel wants proof that the superblock is not a forgery.
            let is_allowed = hashed.key.is_none() || hashed.journal_mac.is_some();
            if recalculates && is_allowed && !hashed.legacy_hmac && !legacy_padding {
                self.end = End::CutWhileRecalculating;
                // It saves its position after so many areas.
                hashed.interleave = Some(8 << prng.below(3));
                hashed.data_sectors = None;
                hashed.discards = DiscardMarker::None;
                self.wipe = false;
                self.mode = Mode::Journal;
            }
        }
    }

    /// One of the modes that this kind of device has.
    pub(crate) fn any_mode(&self, prng: &mut Prng) -> Mode {
        let modes = [
            Mode::Journal,
            Mode::Journal,
            Mode::Direct,
            Mode::Bitmap,
            Mode::Bitmap,
        ];
        match &self.kind {
            // integritysetup takes no keys of the journal where it is a bitmap.
            Kind::Hashed(hashed) if hashed.has_journal_keys() => modes[prng.index(3)],
            Kind::Hashed(_) => modes[prng.index(5)],
            Kind::Volume(volume) if volume.no_journal => Mode::Direct,
            Kind::Volume(_) => modes[prng.index(3)],
        }
    }

    pub(crate) fn hashed(&self) -> Option<&Hashed> {
        match &self.kind {
            Kind::Hashed(hashed) => Some(hashed),
            Kind::Volume(_) => None,
        }
    }

    /// Whether blocks of it are discarded.
    pub(crate) fn discards(&self) -> bool {
        self.hashed()
            .is_some_and(|hashed| hashed.discards != DiscardMarker::None)
    }

    /// A source of choices for one part of the work.
    pub(crate) fn prng(&self, part: &str) -> Prng {
        let part = part.bytes().fold(7, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        Prng::new(self.seed << 32 ^ u64::from(self.number) ^ part << 16)
    }

    pub(crate) fn start(&self) -> u64 {
        match self.kind {
            Kind::Hashed(_) => 0,
            Kind::Volume(_) => LUKS_START,
        }
    }

    pub(crate) fn sizes(&self) -> DeviceSizes {
        let sectors = SectorCount::new(self.sectors);
        match self.hashed().and_then(|hashed| hashed.data_sectors) {
            Some(data) => DeviceSizes {
                data: SectorCount::new(data),
                meta: Some(sectors),
            },
            None => DeviceSizes {
                data: sectors,
                meta: None,
            },
        }
    }

    pub(crate) fn tag_bytes(&self) -> usize {
        match &self.kind {
            Kind::Hashed(hashed) => hashed
                .tag_bytes
                .unwrap_or_else(|| hashed.digest().digest_bytes()),
            Kind::Volume(volume) => volume.spec().tuple_bytes(),
        }
    }

    pub(crate) fn request(&self) -> FormatRequest {
        let mut request = FormatRequest::new(self.tag_bytes(), self.block)
            .expect("tags of 1 to 64 bytes")
            .start(SectorNumber::new(self.start()))
            .legacy_padding(self.legacy_padding);
        if let Some(bytes) = self.journal_bytes {
            request = request.journal_sectors(SectorCount::new(bytes / 512));
        }
        if let Some(hashed) = self.hashed() {
            request = request.journal_mac(hashed.journal_mac.is_some());
            if let Some(sectors) = hashed.interleave {
                request = request.interleave(Interleave::Sectors(sectors));
            }
            if let Some(sectors) = hashed.buffer_sectors {
                request = request.buffer_sectors(sectors);
            }
        }
        request
    }

    pub(crate) fn layout(&self) -> Layout {
        let planned = self.request().plan(self.sizes());
        planned.unwrap_or_else(|error| panic!("{self}: {error}")).1
    }

    /// Sectors from the start of the device that are written and compared.
    pub(crate) fn span(&self) -> u64 {
        self.layout().provided_data_sectors().get().min(SPAN)
    }

    pub(crate) fn blocks(&self) -> usize {
        usize::try_from(self.span() / self.block.sectors().get()).expect("a small device")
    }

    /// What this set is a case of, for the table of the record.
    pub(crate) fn features(&self) -> Vec<String> {
        let sections = match self.layout().journal_sections() {
            1 => "journal of 1 section",
            2..=4 => "journal of 2 to 4 sections",
            _ => "journal of 5 sections or more",
        };
        let mut features = vec![
            format!("blocks of {}", self.block.bytes()),
            sections.to_owned(),
            format!("kernel writes in mode {:?}", self.mode),
            format!("kernel's device, {:?}", self.end),
        ];
        if self.legacy_padding {
            features.push("old padding".into());
        }
        match &self.kind {
            Kind::Hashed(hashed) => hashed.features(&mut features),
            Kind::Volume(volume) => {
                features.push(format!(
                    "volume, {} with {} and {} bytes of key",
                    volume.auth.cipher,
                    volume.auth.kind,
                    volume.key.len()
                ));
                if volume.no_journal {
                    features.push("volume with the flag no-journal".into());
                }
            }
        }
        features
    }
}

impl Hashed {
    pub(crate) fn digest(&self) -> DigestName {
        DigestName::parse(self.digest).expect("a digest that is known")
    }

    pub(crate) fn mac(&self) -> Option<Arc<JournalMac>> {
        let (name, key) = self.journal_mac.as_ref()?;
        let name = DigestName::parse(name).expect("a digest that is known");
        Some(Arc::new(JournalMac::new(name, Some(key)).expect("a key")))
    }

    pub(crate) fn cipher(&self) -> Option<Arc<JournalCipher>> {
        let (name, key) = self.journal_cipher.as_ref()?;
        Some(Arc::new(JournalCipher::new(name, key).expect("a key")))
    }

    fn has_journal_keys(&self) -> bool {
        self.journal_mac.is_some() || self.journal_cipher.is_some()
    }

    fn features(&self, features: &mut Vec<String>) {
        features.push(format!("digest {}", self.digest));
        let digest = self.digest().digest_bytes();
        match self.tag_bytes {
            Some(bytes) if bytes < digest => features.push("tags cut short".into()),
            Some(bytes) if bytes > digest => features.push("tags with zeros behind".into()),
            _ => {}
        }
        if let Some((name, _)) = &self.journal_mac {
            features.push(format!("journal MAC {name}"));
        }
        if let Some((name, _)) = &self.journal_cipher {
            features.push(format!("journal encryption {name}"));
        }
        let flags = [
            (self.discards == DiscardMarker::Filler, "discards"),
            (self.discards == DiscardMarker::Keyed, "keyed discards"),
            (self.legacy_hmac, "old HMAC, without salt"),
            (self.data_sectors.is_some(), "separate metadata device"),
            (self.interleave.is_some(), "interleave of its own"),
            (self.buffer_sectors.is_some(), "buffer sectors of its own"),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        features.extend(set.map(|(_, name)| name.to_owned()));
    }
}

impl Volume {
    pub(crate) fn spec(&self) -> AuthSpec {
        let cipher = CipherSpec::parse(self.auth.cipher).expect("a cipher that is known");
        let kind = Integrity::parse(self.auth.kind).expect("a type that is known");
        AuthSpec::new(cipher, kind, self.auth.mac_key).expect("they belong together")
    }
}

fn hashed(prng: &mut Prng, abilities: Abilities) -> Hashed {
    let dropped = if abilities.dropped_digests {
        0
    } else {
        DROPPED_DIGESTS
    };
    let name = DIGESTS[prng.index(DIGESTS.len() - dropped)];
    let digest = DigestName::parse(name).expect("a digest that is known");
    let bytes = digest.digest_bytes();
    let macs = ["hmac-sha256", "hmac-sha512", "hmac-sha1"];
    let mac = macs[prng.index(3)];
    let ciphers = [
        ("ctr-aes", 16),
        ("ctr-aes", 32),
        ("cbc-aes", 32),
        ("chacha20", 32),
    ];
    let (cipher, cipher_key) = ciphers[prng.index(4)];
    let key_bytes = 1 + prng.index(80);
    Hashed {
        digest: name,
        key: digest.is_keyed().then(|| prng.bytes(key_bytes)),
        tag_bytes: match prng.below(5) {
            0 if bytes > 4 => Some(4 + prng.index(bytes - 4)),
            1 => Some(bytes + 1 + prng.index(9)),
            _ => None,
        },
        journal_mac: prng.chance(1, 4).then(|| (mac, prng.bytes(32))),
        journal_cipher: prng.chance(1, 4).then(|| (cipher, prng.bytes(cipher_key))),
        interleave: prng.chance(1, 2).then(|| 1 << (3 + prng.below(8))),
        buffer_sectors: prng.chance(1, 6).then(|| 1 << prng.below(8)),
        sectors_per_bit: 1 << (3 + prng.below(9)),
        legacy_hmac: prng.chance(1, 6),
        data_sectors: prng.chance(1, 6).then(|| 8 * (150 + prng.below(150))),
        discards: match prng.below(4) {
            0 if digest.is_keyed() && abilities.newer_volumes => DiscardMarker::Keyed,
            1 => DiscardMarker::Filler,
            _ => DiscardMarker::None,
        },
    }
}

fn volume(prng: &mut Prng, abilities: Abilities) -> Volume {
    let newer = if abilities.newer_volumes {
        0
    } else {
        NEWER_VOLUMES
    };
    let auth = VOLUMES[prng.index(VOLUMES.len() - newer)];
    let mut volume = Volume {
        auth,
        key: Vec::new(),
        no_journal: prng.chance(1, 8),
    };
    volume.key = prng.bytes(auth.cipher_key + volume.spec().mac_key_bytes());
    volume
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set {} of seed {}: {self:?}", self.number, self.seed)
    }
}
