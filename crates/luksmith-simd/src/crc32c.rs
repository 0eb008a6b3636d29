//! CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), the checksum of iSCSI and ext4.

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
    !portable(!crc, data)
}

/// Updates the raw remainder, eight bytes per step.
fn portable(mut state: u32, data: &[u8]) -> u32 {
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
    fn a_text_may_be_fed_in_two_parts() {
        let data: [u8; 100] = core::array::from_fn(|i| i as u8);
        for cut in 0..=100 {
            let (head, tail) = data.split_at(cut);
            assert_eq!(crc32c_append(crc32c(head), tail), crc32c(&data));
        }
    }
}
