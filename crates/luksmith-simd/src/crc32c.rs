//! CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), the checksum of iSCSI and ext4.

use crate::sha2::{check_length, check_shape};
use crate::{Backend, Error, arch};

/// The polynomial with its bits reflected, x^31 in bit 0.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]`: the remainder of byte `b` followed by `k` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0_u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "byte is below 256")]
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// The CRC-32C of `data`: starts from all ones, inverted at the end.
///
/// ```
/// assert_eq!(luksmith_simd::crc32c(b"123456789"), 0xe306_9283);
/// ```
#[must_use]
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c_append(0, data)
}

/// The CRC-32C of some text followed by `data`, where `crc` is the CRC-32C of that text.
///
/// ```
/// use luksmith_simd::{crc32c, crc32c_append};
/// assert_eq!(crc32c_append(crc32c(b"12345"), b"6789"), crc32c(b"123456789"));
/// ```
#[must_use]
pub fn crc32c_append(crc: u32, data: &[u8]) -> u32 {
    !arch::Crc32c::best().update(!crc, data)
}

/// Writes the CRC-32C of every message to `out`, four bytes each, little endian.
///
/// The message of sector `i` is its prefix, `prefix_bytes` (0..=64) taken from position
/// `i * prefix_bytes` of `prefixes`, followed by its `sector_bytes` of data.
///
/// # Errors
/// [`Error::PrefixBytes`], [`Error::PartialSector`] or [`Error::LengthMismatch`] if the lengths do
/// not fit together; nothing has been written then.
pub fn crc32c_tags(
    prefixes: &[u8],
    prefix_bytes: usize,
    sector_bytes: usize,
    data: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let kernel = arch::Crc32c::best();
    tags_with(kernel, prefixes, prefix_bytes, sector_bytes, data, out)
}

/// [`crc32c_tags`] with what belongs to a backend chosen by hand: with [`Backend::AesNi`] and
/// [`Backend::Vaes256`] the CRC instruction, with [`Backend::Vaes512`] carry-less products of 512
/// bits, otherwise a table.
///
/// # Errors
/// [`Error::BackendUnavailable`] if this machine lacks the instructions, and as [`crc32c_tags`].
pub fn crc32c_tags_by(
    backend: Backend,
    prefixes: &[u8],
    prefix_bytes: usize,
    sector_bytes: usize,
    data: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    if !backend.is_available() {
        return Err(Error::BackendUnavailable { backend });
    }
    let kernel = arch::Crc32c::by(backend);
    tags_with(kernel, prefixes, prefix_bytes, sector_bytes, data, out)
}

fn tags_with(
    kernel: arch::Crc32c,
    prefixes: &[u8],
    prefix_bytes: usize,
    sector_bytes: usize,
    data: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let sectors = check_shape(prefixes, prefix_bytes, sector_bytes, data)?;
    check_length("tag buffer", out.len(), sectors, 4)?;
    let (tags, _) = out.as_chunks_mut::<4>();
    for (i, (sector, tag)) in data.chunks_exact(sector_bytes).zip(tags).enumerate() {
        let prefix = &prefixes[i * prefix_bytes..(i + 1) * prefix_bytes];
        let state = if prefix.is_empty() {
            !0
        } else {
            kernel.update(!0, prefix)
        };
        *tag = (!kernel.update(state, sector)).to_le_bytes();
    }
    Ok(())
}

/// Updates the raw remainder, eight bytes per step.
pub(crate) fn portable(mut state: u32, data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        let mixed = u64::from_le_bytes(*word) ^ u64::from(state);
        let bytes = mixed.to_le_bytes();
        state = 0;
        for (table, byte) in TABLES.iter().rev().zip(bytes) {
            state ^= table[usize::from(byte)];
        }
    }
    for byte in rest {
        state = (state >> 8) ^ TABLES[0][((state ^ u32::from(*byte)) & 0xff) as usize];
    }
    state
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "painted test patterns stay below 256"
)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn by_definition(data: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            }
        }
        !crc
    }

    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(crc32c(&rising), 0x46dd_794e);
        let falling: [u8; 32] = core::array::from_fn(|i| 31 - i as u8);
        assert_eq!(crc32c(&falling), 0x113f_db5c);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_and_alignment_gives_the_definition() {
        let data: [u8; 700] = core::array::from_fn(|i| (i * 7 % 251) as u8);
        for start in 0..9 {
            for end in start..data.len() {
                assert_eq!(crc32c(&data[start..end]), by_definition(&data[start..end]));
            }
        }
    }

    #[test]
    fn every_kernel_gives_the_definition_for_every_length_and_alignment() {
        let data: [u8; 1400] = core::array::from_fn(|i| (i * 11 % 251) as u8);
        for (name, kernel) in arch::Crc32c::available() {
            for start in [0, 1, 7, 63] {
                for end in start..data.len() {
                    let text = &data[start..end];
                    assert_eq!(
                        !kernel.update(!0, text),
                        by_definition(text),
                        "{name} {start} {end}"
                    );
                }
            }
        }
    }

    #[test]
    fn tags_are_the_crc_of_prefix_and_sector() {
        let data: [u8; 6 * 512] = core::array::from_fn(|i| (i % 251) as u8);
        for sector_bytes in [256, 512, 1024] {
            for prefix_bytes in 0..=64 {
                let sectors = data.len() / sector_bytes;
                let prefixes = &data[..sectors * prefix_bytes];
                let mut out = [0; 48];
                let out = &mut out[..4 * sectors];
                crc32c_tags(prefixes, prefix_bytes, sector_bytes, &data, out).expect("fits");
                for i in 0..sectors {
                    let mut text = prefixes[i * prefix_bytes..][..prefix_bytes].to_vec();
                    text.extend_from_slice(&data[i * sector_bytes..][..sector_bytes]);
                    assert_eq!(out[4 * i..][..4], by_definition(&text).to_le_bytes());
                }
            }
        }
        let short = crc32c_tags(&[], 0, 512, &data, &mut [0; 23]);
        let what = "tag buffer";
        assert_eq!(
            short,
            Err(Error::LengthMismatch {
                what,
                bytes: 23,
                expected: 24
            })
        );
    }

    #[test]
    fn every_kernel_gives_the_definition_for_long_texts_and_any_state_before_them() {
        let data: Vec<u8> = (0..10_000).map(|i| (i * 11 % 251) as u8).collect();
        for (name, kernel) in arch::Crc32c::available() {
            for end in [4095, 4096, 4097, 4608, 4736, 8191, 8192, 9216, 10_000] {
                for start in [0, 1, 24] {
                    let state = kernel.update(!0, &data[..start]);
                    let crc = !kernel.update(state, &data[start..end]);
                    assert_eq!(crc, by_definition(&data[..end]), "{name} {start} {end}");
                }
            }
        }
    }

    #[test]
    fn a_backend_chosen_by_hand_gives_the_same_tags_or_is_refused() {
        let data: [u8; 4 * 512] = core::array::from_fn(|i| (i % 251) as u8);
        let mut expected = [0; 16];
        crc32c_tags(&[], 0, 512, &data, &mut expected).expect("fits");
        for backend in Backend::ALL {
            let mut out = [0; 16];
            let done = crc32c_tags_by(backend, &[], 0, 512, &data, &mut out);
            if backend.is_available() {
                assert_eq!((done, out), (Ok(()), expected), "{backend}");
            } else {
                assert_eq!(done, Err(Error::BackendUnavailable { backend }));
            }
        }
    }

    #[test]
    fn a_text_may_be_fed_in_two_parts() {
        let data: [u8; 100] = core::array::from_fn(|i| i as u8);
        for cut in 0..=100 {
            let (head, tail) = data.split_at(cut);
            assert_eq!(crc32c_append(crc32c(head), tail), crc32c(&data));
        }
    }
}
