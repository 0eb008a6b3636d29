//! Journal encryption: applied last, to whole sections, commit ids and MACs included.
//!
//! Its stream forms give one keystream for the whole journal, used again at every lap: it hides
//! contents from someone who sees the disk once, not from someone who watches it.

use core::fmt;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error,
    convert::{round_up, wide},
    digest::wiped,
};

/// Bytes of one AES block.
const AES_BLOCK: usize = 16;

/// Bytes of one ChaCha20 block.
const CHACHA_BLOCK: usize = 64;

/// The page of the machines whose journals are read and written; the commit ids' masks lie at the
/// first page boundary behind the journal.
const PAGE_BYTES: u64 = 4096;

/// The cipher of a journal, with its key.
pub struct JournalCipher(Kind);

enum Kind {
    /// `ctr(aes)` from an all-zero counter.
    CtrAes(AesKey),
    /// `cbc(aes)`, one message for each section.
    CbcAes(AesKey),
    /// `chacha20` from an all-zero IV.
    ChaCha20(Zeroizing<[u32; 8]>),
}

// What holds a key.
const _: () = {
    wiped::<aes::Aes128>();
    wiped::<aes::Aes192>();
    wiped::<aes::Aes256>();
    wiped::<Zeroizing<[u32; 8]>>();
};
impl ZeroizeOnDrop for JournalCipher {}

impl JournalCipher {
    /// Takes a cipher by its name, `ctr(aes)`, `cbc(aes)` or `chacha20` (also `ctr-aes`,
    /// `cbc-aes`), and its key: 16, 24 or 32 bytes for AES, 32 for ChaCha20.
    ///
    /// # Errors
    /// [`Error::JournalCipherName`], [`Error::JournalCipherKey`].
    pub fn new(name: &str, key: &[u8]) -> Result<Self, Error> {
        let kind = match name.to_ascii_lowercase().as_str() {
            "ctr(aes)" | "ctr-aes" => Kind::CtrAes(AesKey::new(key)?),
            "cbc(aes)" | "cbc-aes" => Kind::CbcAes(AesKey::new(key)?),
            "chacha20" => {
                let (words, rest) = key.as_chunks::<4>();
                if words.len() != 8 || !rest.is_empty() {
                    return Err(Error::JournalCipherKey { found: key.len() });
                }
                let mut state = Zeroizing::new([0; 8]);
                for (to, from) in state.iter_mut().zip(words) {
                    *to = u32::from_le_bytes(*from);
                }
                Kind::ChaCha20(state)
            }
            _ => return Err(Error::JournalCipherName),
        };
        Ok(Self(kind))
    }

    /// Gives the name that device-mapper tables have.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kind::CtrAes(_) => "ctr(aes)",
            Kind::CbcAes(_) => "cbc(aes)",
            Kind::ChaCha20(_) => "chacha20",
        }
    }

    /// Encrypts a whole section of the journal in place.
    pub(crate) fn encrypt(&self, section: u32, image: &mut [u8]) {
        match &self.0 {
            Kind::CbcAes(key) => key.cbc_encrypt(section, image),
            _ => self.mask(u64::from(section).saturating_mul(wide(image.len())), image),
        }
    }

    /// Decrypts in place a section of the journal of `section_bytes`, or its first sectors.
    pub(crate) fn decrypt(&self, section: u32, section_bytes: usize, start: &mut [u8]) {
        match &self.0 {
            Kind::CbcAes(key) => key.cbc_decrypt(section, start),
            _ => self.mask(
                u64::from(section).saturating_mul(wide(section_bytes)),
                start,
            ),
        }
    }

    /// Changes the commit ids' constants as this cipher demands, for a journal of so many bytes.
    pub(crate) fn adapt_constants(&self, journal_bytes: u64, constants: &mut [u64; 4]) {
        if matches!(self.0, Kind::CbcAes(_)) {
            return;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        let at = round_up(journal_bytes, PAGE_BYTES).unwrap_or(u64::MAX - 31);
        self.mask(at, bytes.as_mut_slice());
        let (masks, _) = bytes.as_chunks::<8>();
        for (constant, mask) in constants.iter_mut().zip(masks) {
            *constant ^= u64::from_le_bytes(*mask);
        }
        separate(constants);
    }

    /// XORs the keystream from byte `position`, a multiple of 64, over `bytes`.
    fn mask(&self, position: u64, bytes: &mut [u8]) {
        match &self.0 {
            Kind::CtrAes(key) => key.ctr(position / wide(AES_BLOCK), bytes),
            Kind::ChaCha20(key) => {
                let mut block = Zeroizing::new([0; CHACHA_BLOCK]);
                let mut counter = position / wide(CHACHA_BLOCK);
                for chunk in bytes.chunks_mut(CHACHA_BLOCK) {
                    chacha20_block(key, counter, &mut block);
                    xor(chunk, block.as_slice());
                    counter = counter.wrapping_add(1);
                }
            }
            Kind::CbcAes(_) => {}
        }
    }
}

impl fmt::Debug for JournalCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalCipher({})", self.name())
    }
}

/// Counts a constant up until it differs from all before it.
fn separate(constants: &mut [u64; 4]) {
    for later in 1..4 {
        let (before, rest) = constants.split_at_mut(later);
        let Some(constant) = rest.first_mut() else {
            continue;
        };
        while before.contains(constant) {
            *constant = constant.wrapping_add(1);
        }
    }
}

fn xor(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

/// AES with a key of any of its three lengths; the round keys wipe themselves.
enum AesKey {
    Aes128(Box<aes::Aes128>),
    Aes192(Box<aes::Aes192>),
    Aes256(Box<aes::Aes256>),
}

impl AesKey {
    fn new(key: &[u8]) -> Result<Self, Error> {
        const FITS: &str = "the arm matches the key's length";
        Ok(match key.len() {
            16 => Self::Aes128(Box::new(aes::Aes128::new_from_slice(key).expect(FITS))),
            24 => Self::Aes192(Box::new(aes::Aes192::new_from_slice(key).expect(FITS))),
            32 => Self::Aes256(Box::new(aes::Aes256::new_from_slice(key).expect(FITS))),
            found => return Err(Error::JournalCipherKey { found }),
        })
    }

    fn encrypt(&self, block: &mut [u8; AES_BLOCK]) {
        match self {
            Self::Aes128(key) => key.encrypt_block(block.into()),
            Self::Aes192(key) => key.encrypt_block(block.into()),
            Self::Aes256(key) => key.encrypt_block(block.into()),
        }
    }

    fn decrypt(&self, block: &mut [u8; AES_BLOCK]) {
        match self {
            Self::Aes128(key) => key.decrypt_block(block.into()),
            Self::Aes192(key) => key.decrypt_block(block.into()),
            Self::Aes256(key) => key.decrypt_block(block.into()),
        }
    }

    /// XORs the keystream of big-endian counters from `counter` over `bytes`.
    fn ctr(&self, counter: u64, bytes: &mut [u8]) {
        let mut counter = u128::from(counter);
        for chunk in bytes.chunks_mut(AES_BLOCK) {
            let mut block = counter.to_be_bytes();
            self.encrypt(&mut block);
            xor(chunk, &block);
            block.zeroize();
            counter = counter.wrapping_add(1);
        }
    }

    /// Gives the IV of a section: its number, as a little-endian word, encrypted.
    fn section_iv(&self, section: u32) -> [u8; AES_BLOCK] {
        let mut iv = u128::from(section).to_le_bytes();
        self.encrypt(&mut iv);
        iv
    }

    fn cbc_encrypt(&self, section: u32, image: &mut [u8]) {
        let mut chain = self.section_iv(section);
        for block in image.as_chunks_mut::<AES_BLOCK>().0 {
            xor(block, &chain);
            self.encrypt(block);
            chain = *block;
        }
    }

    fn cbc_decrypt(&self, section: u32, image: &mut [u8]) {
        let mut chain = self.section_iv(section);
        for block in image.as_chunks_mut::<AES_BLOCK>().0 {
            let ciphertext = *block;
            self.decrypt(block);
            xor(block, &chain);
            chain = ciphertext;
        }
    }
}

/// One keystream block of RFC 8439 with a 64-bit counter in words 12 and 13 and zeros behind.
fn chacha20_block(key: &[u32; 8], counter: u64, out: &mut [u8; CHACHA_BLOCK]) {
    let low = u32::try_from(counter & u64::from(u32::MAX)).unwrap_or(0);
    let high = u32::try_from(counter >> 32).unwrap_or(0);
    let mut start = [0; 16];
    // "expand 32-byte k" as four little-endian words.
    let words = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]
        .into_iter()
        .chain(key.iter().copied())
        .chain([low, high, 0, 0]);
    for (to, from) in start.iter_mut().zip(words) {
        *to = from;
    }
    let mut state = start;
    for _ in 0..10 {
        chacha_double_round(&mut state);
    }
    for ((to, mixed), initial) in out.as_chunks_mut::<4>().0.iter_mut().zip(state).zip(start) {
        *to = mixed.wrapping_add(initial).to_le_bytes();
    }
    state.zeroize();
    start.zeroize();
}

fn chacha_double_round(state: &mut [u32; 16]) {
    const QUARTERS: [[usize; 4]; 8] = [
        [0, 4, 8, 12],
        [1, 5, 9, 13],
        [2, 6, 10, 14],
        [3, 7, 11, 15],
        [0, 5, 10, 15],
        [1, 6, 11, 12],
        [2, 7, 8, 13],
        [3, 4, 9, 14],
    ];
    for quarter in QUARTERS {
        let [a, b, c, d] = state
            .get_disjoint_mut(quarter)
            .expect("the four indexes of a quarter differ and are below 16");
        *a = a.wrapping_add(*b);
        *d = (*d ^ *a).rotate_left(16);
        *c = c.wrapping_add(*d);
        *b = (*b ^ *c).rotate_left(12);
        *a = a.wrapping_add(*b);
        *d = (*d ^ *a).rotate_left(8);
        *c = c.wrapping_add(*d);
        *b = (*b ^ *c).rotate_left(7);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn the_chacha20_keystream_is_that_of_rfc_8439() {
        // RFC 8439 appendix A.1, test vectors 1 and 2: all-zero key and nonce, counters 0 and 1.
        let cipher = JournalCipher::new("chacha20", &[0; 32]).unwrap();
        let mut stream = [0; 128];
        cipher.mask(0, &mut stream);
        assert_eq!(
            stream[..32],
            hex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
        );
        assert_eq!(
            stream[64..96],
            hex("9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed")
        );
        let mut second = [0; 64];
        cipher.mask(64, &mut second);
        assert_eq!(second, stream[64..]);
    }

    #[test]
    fn the_ctr_keystream_counts_big_endian_from_zero() {
        // FIPS 197 for the zero block under the zero key, then the block of the number one.
        let cipher = JournalCipher::new("ctr-aes", &[0; 16]).unwrap();
        let mut stream = [0; 48];
        cipher.mask(0, &mut stream);
        assert_eq!(stream[..16], hex("66e94bd4ef8a2c3b884cfa59ca342b2e"));
        assert_eq!(stream[16..32], hex("58e2fccefa7e3061367f1d57a4e7455a"));
        assert_eq!(stream[32..], hex("0388dace60b6a392f328c2b971b2fe78"));
    }

    #[test]
    fn decryption_undoes_encryption_and_sections_differ() {
        for (name, key) in [
            ("ctr(aes)", &[7; 32][..]),
            ("cbc(aes)", &[7; 24]),
            ("cbc-aes", &[7; 16]),
            ("chacha20", &[7; 32]),
        ] {
            let cipher = JournalCipher::new(name, key).unwrap();
            let plain: Vec<u8> = (0..1024_usize)
                .map(|i| u8::try_from(i % 251).unwrap())
                .collect();
            let mut images = Vec::new();
            for section in [0, 1, 70_000] {
                let mut image = plain.clone();
                cipher.encrypt(section, &mut image);
                assert_ne!(image, plain);
                images.push(image.clone());
                cipher.decrypt(section, image.len(), &mut image);
                assert_eq!(image, plain, "{name} section {section}");
            }
            assert_ne!(images[0], images[1]);
            assert_ne!(images[1], images[2]);
        }
    }

    #[test]
    fn constants_that_meet_are_counted_up() {
        let mut constants = [5, 5, 6, 5];
        separate(&mut constants);
        assert_eq!(constants, [5, 6, 7, 8]);
    }

    #[test]
    fn unknown_names_and_wrong_key_lengths_are_refused() {
        assert_eq!(
            JournalCipher::new("xts(aes)", &[0; 32]).err(),
            Some(Error::JournalCipherName)
        );
        for (name, len) in [
            ("ctr(aes)", 17),
            ("cbc(aes)", 0),
            ("chacha20", 31),
            ("chacha20", 33),
        ] {
            assert_eq!(
                JournalCipher::new(name, &vec![0; len]).err(),
                Some(Error::JournalCipherKey { found: len })
            );
        }
    }
}
