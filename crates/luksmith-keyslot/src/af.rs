//! The anti-forensic splitter: a key spread over 4000 stripes, all of which are needed to get it
//! back, so that overwriting a part of a keyslot area destroys the key.
//!
//! # Format
//! docs/formats/keyslots.md, "AF splitter". Stripes are back to back, each as long as the key.

use luksmith_hash::{Hash, HashName, MAX_DIGEST_BYTES};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::{CandidateKey, Error, storage::Storage};

/// Stripes of a keyslot area. Headers carry a number, which nothing reads: there are always 4000.
pub const STRIPES: usize = 4000;

/// Merges `material`, whole stripes of `key_bytes` bytes, into the key.
///
/// # Errors
/// [`Error::AfLength`] if `material` is not a whole number of stripes, [`Error::OutOfMemory`].
pub(crate) fn merge(
    material: &[u8],
    key_bytes: usize,
    hash: HashName,
) -> Result<CandidateKey, Error> {
    let length_error = Error::AfLength {
        material: material.len(),
        key: key_bytes,
    };
    if key_bytes == 0 || material.is_empty() || !material.len().is_multiple_of(key_bytes) {
        return Err(length_error);
    }
    let (before, last) = material
        .split_at_checked(material.len() - key_bytes)
        .ok_or(length_error)?;
    let mut key = CandidateKey::zeroed(key_bytes)?;
    for stripe in before.chunks_exact(key_bytes) {
        xor(key.bytes_mut(), stripe);
        diffuse(key.bytes_mut(), hash);
    }
    xor(key.bytes_mut(), last);
    Ok(key)
}

/// Splits `key` into `material`, which is a whole number of stripes, with fresh random stripes.
///
/// # Errors
/// [`Error::AfLength`], [`Error::Random`], [`Error::OutOfMemory`].
pub(crate) fn split<R: TryCryptoRng + ?Sized>(
    key: &[u8],
    hash: HashName,
    random: &mut R,
    material: &mut [u8],
) -> Result<(), Error> {
    let length_error = Error::AfLength {
        material: material.len(),
        key: key.len(),
    };
    if key.is_empty() || material.is_empty() || !material.len().is_multiple_of(key.len()) {
        return Err(length_error);
    }
    let cut = material.len() - key.len();
    let (before, last) = material.split_at_mut_checked(cut).ok_or(length_error)?;
    random.try_fill_bytes(before).map_err(|_| Error::Random)?;
    let mut sum = Storage::zeroed(key.len())?;
    for stripe in before.chunks_exact(key.len()) {
        xor(sum.bytes_mut(), stripe);
        diffuse(sum.bytes_mut(), hash);
    }
    last.copy_from_slice(key);
    xor(last, sum.bytes());
    Ok(())
}

/// Replaces each digest-sized piece by the hash of its number and itself.
fn diffuse(block: &mut [u8], hash: HashName) {
    let mut digest = Zeroizing::new([0; MAX_DIGEST_BYTES]);
    let digest = digest
        .get_mut(..hash.digest_bytes())
        .expect("no digest is longer than MAX_DIGEST_BYTES");
    // A block is at most `Limits::key_bytes` long, an u32, so its pieces can be numbered.
    for (number, piece) in (0_u32..).zip(block.chunks_mut(hash.digest_bytes())) {
        Hash::digest(hash, &[&number.to_be_bytes(), piece], digest)
            .expect("the buffer was cut to the digest's length");
        for (to, &from) in piece.iter_mut().zip(digest.iter()) {
            *to = from;
        }
    }
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (into, &with) in into.iter_mut().zip(with) {
        *into ^= with;
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec, vec::Vec};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .map(|byte| std::format!("{byte:02x}"))
            .collect()
    }

    /// Stripes that are the same at every run.
    struct Counter(u8);

    impl rand_core::TryRng for Counter {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            rand_core::utils::next_word_via_fill(self)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            rand_core::utils::next_word_via_fill(self)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            for byte in out {
                *byte = self.0;
                self.0 = self.0.wrapping_mul(5).wrapping_add(99);
            }
            Ok(())
        }
    }
    impl TryCryptoRng for Counter {}

    #[test]
    fn diffusion_gives_the_recorded_values() {
        let mut block: Vec<u8> = (0..0x30).collect();
        diffuse(&mut block, HashName::Sha256);
        assert_eq!(
            hex(&block),
            "bff51a6d513395979e3a870c8483769a5a70002e6e32c146c53e1d2edc467002\
             8ecaf6406c66033f21aff4f5bb3d6ae2"
        );
        let mut block: Vec<u8> = (0..0x20).collect();
        diffuse(&mut block, HashName::Sha1);
        assert_eq!(
            hex(&block),
            "84e066de1e0d3544386085dd64a6451af137c6f0348ec54d3df31b787d1ba9d0"
        );
    }

    #[test]
    fn merging_gives_the_recorded_value() {
        let material: Vec<u8> = (0..0x10).chain(0x11..0x21).chain(0x22..0x32).collect();
        let key = merge(&material, 16, HashName::Sha256).unwrap();
        assert_eq!(hex(key.bytes()), "ae54aba55b0c7c0b660bde4a7e961805");
    }

    #[test]
    fn what_was_split_merges_to_the_key_and_any_stripe_is_needed() {
        for hash in [HashName::Sha1, HashName::Sha256, HashName::Sha512] {
            for len in [1, 16, 20, 31, 32, 33, 64, 96, 128] {
                let key: Vec<u8> = (1..=len).collect();
                let mut material = vec![0; key.len() * 5];
                split(&key, hash, &mut Counter(3), &mut material).unwrap();
                let merged = merge(&material, key.len(), hash).unwrap();
                assert_eq!(merged.bytes(), key);
                for stripe in 0..5 {
                    let mut broken = material.clone();
                    broken[stripe * key.len()] ^= 1;
                    let merged = merge(&broken, key.len(), hash).unwrap();
                    assert_ne!(merged.bytes(), key, "{hash} {len} stripe {stripe}");
                }
            }
        }
    }

    #[test]
    fn material_that_is_not_whole_stripes_is_refused() {
        for (material, key) in [(0, 16), (15, 16), (17, 16), (16, 0), (0, 0)] {
            assert_eq!(
                merge(&vec![0; material], key, HashName::Sha256).unwrap_err(),
                Error::AfLength { material, key }
            );
            let split = split(
                &vec![1; key],
                HashName::Sha256,
                &mut Counter(1),
                &mut vec![0; material],
            );
            assert_eq!(split.unwrap_err(), Error::AfLength { material, key });
        }
    }
}
