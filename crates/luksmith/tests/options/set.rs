//! Random sets of options for a new volume: what both programs are asked to make.

use std::fmt;

use luksmith::Version;
use luksmith::hash::HashName;
use luksmith::header::Priority;
use luksmith::keyslot::{Argon2Cost, Argon2Variant, Kdf};
use luksmith_testkit::Prng;

const MIB: u64 = 1 << 20;
/// One set in so many has a cipher or tags that cryptsetup formats with the kernel's help alone.
const KERNEL_SHARE: u32 = 10;

/// Cipher of the data, as both programs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) name: &'static str,
    pub(crate) key_bytes: usize,
    /// As cryptsetup's option and as the header name it, with the length of the HMAC's key.
    pub(crate) integrity: Option<(&'static str, &'static str, usize)>,
}

impl Cipher {
    /// Tells whether the oracle's kernel has it: that of Debian is built without ARIA.
    pub(crate) fn is_in_kernel(&self) -> bool {
        !self.name.starts_with("aria-")
    }
}

const fn plain(name: &'static str, key_bytes: usize) -> Cipher {
    Cipher {
        name,
        key_bytes,
        integrity: None,
    }
}

const fn tagged(
    name: &'static str,
    key_bytes: usize,
    integrity: (&'static str, &'static str, usize),
) -> Cipher {
    Cipher {
        name,
        key_bytes,
        integrity: Some(integrity),
    }
}

/// What cryptsetup encrypts keyslots with by itself.
const USERSPACE: [Cipher; 17] = [
    plain("aes-xts-plain64", 64),
    plain("aes-xts-plain64", 32),
    plain("aes-xts-plain", 64),
    plain("aes-xts-plain64be", 64),
    plain("aes-xts-benbi", 64),
    plain("aes-cbc-essiv:sha256", 32),
    plain("aes-cbc-essiv:sha256", 16),
    plain("aes-xts-essiv:sha256", 64),
    plain("aes-cbc-plain64", 24),
    plain("aes-cbc-plain64", 16),
    plain("aes-cbc-plain", 32),
    plain("aes-cbc-plain64be", 16),
    plain("aes-cbc-benbi", 32),
    plain("aes-cbc-eboiv", 32),
    plain("camellia-cbc-plain64", 32),
    plain("aria-cbc-plain64", 32),
    // LUKS2 alone, so last.
    plain("capi:xts(aes)-plain64", 64),
];

/// What it needs the kernel for.
const KERNEL: [Cipher; 12] = [
    plain("serpent-xts-plain64", 64),
    plain("twofish-xts-plain64", 32),
    plain("serpent-cbc-essiv:sha256", 32),
    plain("camellia-xts-plain64", 64),
    // LUKS2 alone from here on.
    plain("xchacha12,aes-adiantum-plain64", 32),
    plain("xchacha20,aes-adiantum-plain64", 32),
    tagged("aes-xts-plain64", 64, ("hmac-sha256", "hmac(sha256)", 32)),
    tagged("aes-xts-plain64", 32, ("hmac-sha512", "hmac(sha512)", 64)),
    tagged(
        "aes-cbc-essiv:sha256",
        32,
        ("hmac-sha256", "hmac(sha256)", 32),
    ),
    tagged("aes-xts-random", 64, ("hmac-sha256", "hmac(sha256)", 32)),
    tagged("aes-gcm-random", 32, ("aead", "aead", 0)),
    tagged("chacha20-random", 32, ("poly1305", "poly1305", 0)),
];
const KERNEL_LUKS1: usize = 4;

const HASHES: [&str; 13] = [
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3-224",
    "sha3-256",
    "sha3-512",
    "ripemd160",
    "whirlpool",
    "blake2b-512",
    "blake2s-256",
    "sm3",
];

const KEYSLOT_CIPHERS: [(&str, u32); 5] = [
    ("aes-xts-plain64", 64),
    ("aes-xts-plain64", 32),
    ("aes-cbc-essiv:sha256", 32),
    ("aes-cbc-plain64", 16),
    ("camellia-cbc-plain64", 32),
];

/// A keyslot.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: Vec<u8>,
    pub(crate) keyslot: u32,
    pub(crate) kdf: Kdf,
    pub(crate) hash: HashName,
    pub(crate) cipher: Option<(&'static str, u32)>,
    pub(crate) priority: Priority,
    /// Length of a key of its own, for a keyslot that opens no volume.
    pub(crate) unbound: Option<u32>,
}

impl Key {
    /// Tells whether it opens the volume where nobody named its number.
    pub(crate) fn is_tried(&self) -> bool {
        self.unbound.is_none() && self.priority != Priority::Ignore
    }
}

/// One set of options. The first key is that of the format, the others are added behind it.
#[derive(Clone, Debug)]
pub(crate) struct OptionSet {
    pub(crate) number: u32,
    pub(crate) version: Version,
    pub(crate) cipher: Cipher,
    pub(crate) needs_kernel: bool,
    pub(crate) volume_key: Vec<u8>,
    pub(crate) hash: HashName,
    pub(crate) sector_size: Option<u64>,
    pub(crate) label: String,
    pub(crate) subsystem: String,
    pub(crate) uuid: String,
    pub(crate) header_size: Option<u64>,
    pub(crate) keyslots_len: Option<u64>,
    pub(crate) offset: Option<u64>,
    pub(crate) alignment: Option<u64>,
    pub(crate) keys: Vec<Key>,
    pub(crate) data_len: u64,
    /// Length of a detached header's file.
    pub(crate) header_len: Option<u64>,
}

impl OptionSet {
    /// Makes set `number` of those that belong to `seed`.
    pub(crate) fn generate(seed: u64, number: u32) -> Self {
        let salt = u64::from(number).wrapping_mul(0x9fb2_1c65_1e98_df25);
        let mut random = Prng::new(seed.wrapping_add(salt));
        let random = &mut random;
        let needs_kernel = number % KERNEL_SHARE == KERNEL_SHARE - 1;
        let version = match random.chance(1, 4) {
            true => Version::Luks1,
            false => Version::Luks2,
        };
        let is_luks2 = version == Version::Luks2;
        let cipher = choose_cipher(random, needs_kernel, is_luks2);
        let hash = choose_hash(random);
        let mac_key = cipher.integrity.map_or(0, |(_, _, bytes)| bytes);
        let volume_key = random.bytes(cipher.key_bytes + mac_key);
        let mut set = Self {
            number,
            version,
            cipher,
            needs_kernel,
            volume_key,
            hash,
            sector_size: None,
            label: String::new(),
            subsystem: String::new(),
            uuid: uuid(random),
            header_size: None,
            keyslots_len: None,
            offset: None,
            alignment: None,
            keys: Vec::new(),
            data_len: 0,
            header_len: None,
        };
        set.choose_keys(random);
        if is_luks2 {
            // A disk of the oracle has no preferred size, a file has one: there it may be left
            // open.
            if needs_kernel || random.chance(2, 3) {
                set.sector_size = Some(512 << random.below(4));
            }
            set.label = text(random);
            set.subsystem = text(random);
            if random.chance(1, 3) {
                set.header_size = Some(HEADER_SIZES[random.index(HEADER_SIZES.len())]);
            }
        }
        let detached = !needs_kernel && random.chance(1, 5);
        set.choose_layout(random, detached);
        set
    }

    pub(crate) fn is_luks2(&self) -> bool {
        self.version == Version::Luks2
    }

    fn choose_keys(&mut self, random: &mut Prng) {
        let is_luks2 = self.is_luks2();
        let slots = if is_luks2 { 32 } else { 8 };
        let mut free: Vec<u32> = (0..slots).collect();
        for index in 0..1 + random.index(4) {
            let keyslot = free.remove(random.index(free.len()));
            let is_added = index > 0 && is_luks2;
            let hash = if is_added {
                choose_hash(random)
            } else {
                self.hash
            };
            let len = 1 + random.index(40);
            // cryptsetup refuses to name a keyslot's cipher where the data have tags.
            let may_name = self.cipher.integrity.is_none();
            self.keys.push(Key {
                text: random.bytes(len),
                keyslot,
                kdf: choose_kdf(random, hash, is_luks2),
                hash,
                cipher: (is_luks2 && random.chance(1, 4))
                    .then(|| KEYSLOT_CIPHERS[random.index(KEYSLOT_CIPHERS.len())])
                    .filter(|_| may_name),
                priority: match random.below(6) {
                    0 if is_added => Priority::Ignore,
                    1 if is_added => Priority::Prefer,
                    _ => Priority::Normal,
                },
                unbound: (is_added && random.chance(1, 4))
                    .then(|| 16 * (1 + u32::from(random.bytes(1)[0] % 4))),
            });
        }
    }

    fn choose_layout(&mut self, random: &mut Prng, detached: bool) {
        let is_luks2 = self.is_luks2();
        let volume = area(self.volume_key.len() as u64);
        // Each program adds one more to what the other one made.
        let of_keys = self.keys.iter().map(|key| match key.unbound {
            Some(bytes) => area(u64::from(bytes)),
            None => volume,
        });
        let needed = of_keys.sum::<u64>() + volume;
        let headers = 2 * self.header_size.unwrap_or(16 << 10);
        let some = |random: &mut Prng, blocks| 4096 * random.below(blocks);
        if is_luks2 {
            match random.below(if detached { 5 } else { 7 }) {
                0 => {}
                1 => self.keyslots_len = Some(needed + some(random, 64)),
                2 => self.offset = Some(headers + needed + some(random, 1000)),
                3 => {
                    let len = needed + some(random, 64);
                    self.keyslots_len = Some(len);
                    self.offset = Some(headers + len + some(random, 300));
                }
                // More than there is in front of the data.
                4 => {
                    let len = needed + some(random, 200);
                    self.offset = Some(headers + len);
                    self.keyslots_len = Some(len + 4096 + some(random, 99));
                }
                5 => self.alignment = Some(4096 + some(random, 3000)),
                _ => {
                    self.keyslots_len = Some(needed + some(random, 64));
                    self.alignment = Some(4096 + some(random, 3000));
                }
            }
        } else {
            match random.below(if detached { 2 } else { 3 }) {
                0 => {}
                1 => self.offset = Some(4096 + 8 * volume + some(random, 1000)),
                _ => self.alignment = Some(4096 + some(random, 3000)),
            }
        }
        let areas_end = match (is_luks2, self.keyslots_len, self.offset) {
            (false, ..) => 4096 + 8 * volume,
            (true, Some(len), None) => headers + len,
            (true, Some(len), Some(offset)) => offset.min(headers + len),
            (true, None, Some(offset)) => offset,
            (true, None, None) => 16 * MIB,
        };
        let start = match (self.offset, detached) {
            (Some(offset), _) => offset,
            (None, true) => 0,
            (None, false) => areas_end.next_multiple_of(self.alignment.unwrap_or(MIB)),
        };
        self.header_len = detached.then(|| areas_end + some(random, 3));
        // Room for the journal and the tags of authenticated sectors, of which none is written.
        let least = if self.cipher.integrity.is_some() {
            4 * MIB
        } else {
            MIB
        };
        let unit = self.sector_size.unwrap_or(512);
        self.data_len = start + least + unit * random.below(2048);
    }
}

const HEADER_SIZES: [u64; 9] = [
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
];

/// Length of the area of a key, with its 4000 stripes.
fn area(key_bytes: u64) -> u64 {
    (key_bytes * 4000).next_multiple_of(4096)
}

fn choose_cipher(random: &mut Prng, needs_kernel: bool, is_luks2: bool) -> Cipher {
    let list: &[Cipher] = match (needs_kernel, is_luks2) {
        (false, true) => &USERSPACE,
        (false, false) => &USERSPACE[..USERSPACE.len() - 1],
        (true, true) => &KERNEL,
        (true, false) => &KERNEL[..KERNEL_LUKS1],
    };
    list[random.index(list.len())]
}

fn choose_hash(random: &mut Prng) -> HashName {
    HashName::parse(HASHES[random.index(HASHES.len())]).expect("a hash of this build")
}

/// Costs that are lawful and next to nothing.
fn choose_kdf(random: &mut Prng, hash: HashName, is_luks2: bool) -> Kdf {
    let small = |random: &mut Prng, bound| u32::try_from(random.below(bound)).unwrap_or(0);
    if !is_luks2 || random.chance(2, 3) {
        return Kdf::Pbkdf2 {
            hash,
            iterations: 1000 + small(random, 3000),
        };
    }
    Kdf::Argon2 {
        variant: match random.chance(1, 2) {
            true => Argon2Variant::I,
            false => Argon2Variant::Id,
        },
        cost: Argon2Cost {
            passes: 4 + small(random, 3),
            memory_kib: 32 + small(random, 1000),
            lanes: 1 + small(random, 4),
        },
    }
}

fn uuid(random: &mut Prng) -> String {
    let hex: String = random
        .bytes(16)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    match random.chance(1, 6) {
        true => parts.join("-").to_uppercase(),
        false => parts.join("-"),
    }
}

/// Nothing, or up to 47 printable characters, none of which ends a quotation.
fn text(random: &mut Prng) -> String {
    let len = match random.chance(1, 2) {
        true => 0,
        false => 1 + random.index(47),
    };
    let letters = (0..len).map(|_| b'(' + random.bytes(1)[0] % (b'~' - b'(' + 1));
    letters.map(char::from).collect()
}

impl fmt::Display for OptionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.is_luks2() { 2 } else { 1 };
        write!(f, "set {}: LUKS{version} {}", self.number, self.cipher.name)?;
        write!(f, " {} {}", self.cipher.key_bytes * 8, self.hash.as_str())?;
        if let Some((_, name, _)) = self.cipher.integrity {
            write!(f, " {name}")?;
        }
        for (name, value) in [
            ("sector", self.sector_size),
            ("header", self.header_size),
            ("keyslots", self.keyslots_len),
            ("offset", self.offset),
            ("alignment", self.alignment),
            ("detached", self.header_len),
            ("device", Some(self.data_len)),
        ] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        write!(f, " label '{}' subsystem '{}'", self.label, self.subsystem)?;
        for key in &self.keys {
            write!(f, "; keyslot {} {:?}", key.keyslot, key.kdf)?;
            if let Some((cipher, bytes)) = key.cipher {
                write!(f, " {cipher} {}", bytes * 8)?;
            }
            if key.priority != Priority::Normal {
                write!(f, " {:?}", key.priority)?;
            }
            if let Some(bytes) = key.unbound {
                write!(f, " unbound {}", bytes * 8)?;
            }
        }
        Ok(())
    }
}
