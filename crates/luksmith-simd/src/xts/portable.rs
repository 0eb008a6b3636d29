//! AES-XTS over the `aes` crate: the path for every CPU, and what the others are compared with.

use alloc::boxed::Box;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use aes::{Aes128, Aes256, Block};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::key::Direction;
use super::tweak::{Ivs, times_x};
use crate::buffers::Buffers;

/// Blocks that the cipher gets at once; it works on up to 64 at a time where the CPU helps.
const BATCH: usize = 32;

/// The expanded keys of either size.
pub(crate) enum PortableXts {
    Aes128(Box<Pair<Aes128>>),
    Aes256(Box<Pair<Aes256>>),
}

/// The two ciphers of one XTS key, which wipe themselves.
pub(crate) struct Pair<C> {
    data: C,
    tweak: C,
}

/// Does not compile where a cipher would leave its round keys behind.
const _: () = {
    const fn wiped<C: ZeroizeOnDrop>() {}
    wiped::<Aes128>();
    wiped::<Aes256>();
};

impl PortableXts {
    pub(crate) fn aes128(data: &[u8; 16], tweak: &[u8; 16]) -> Self {
        Self::Aes128(Box::new(Pair {
            data: Aes128::new(data.into()),
            tweak: Aes128::new(tweak.into()),
        }))
    }

    pub(crate) fn aes256(data: &[u8; 32], tweak: &[u8; 32]) -> Self {
        Self::Aes256(Box::new(Pair {
            data: Aes256::new(data.into()),
            tweak: Aes256::new(tweak.into()),
        }))
    }

    /// Runs over whole sectors of `sector_bytes`, a multiple of 16.
    pub(crate) fn crypt(
        &self,
        direction: Direction,
        ivs: impl Ivs,
        sector_bytes: usize,
        buffers: Buffers<'_>,
    ) {
        match self {
            Self::Aes128(keys) => crypt(keys, direction, ivs, sector_bytes, buffers),
            Self::Aes256(keys) => crypt(keys, direction, ivs, sector_bytes, buffers),
        }
    }
}

fn crypt<C>(
    keys: &Pair<C>,
    direction: Direction,
    ivs: impl Ivs,
    sector_bytes: usize,
    mut buffers: Buffers<'_>,
) where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    let mut blocks = [Block::default(); BATCH];
    let mut tweaks = [0_u128; BATCH];
    for sector in 0..buffers.len() / sector_bytes {
        let mut first = Block::from(ivs.iv(sector).to_le_bytes());
        keys.tweak.encrypt_block(&mut first);
        let mut next = u128::from_le_bytes(first.into());
        let mut left = sector_bytes / 16;
        while left > 0 {
            let count = left.min(BATCH);
            let mut chunks = core::array::from_fn::<_, BATCH, _>(|at| {
                if at < count {
                    buffers.next::<16>()
                } else {
                    None
                }
            });
            for ((chunk, block), tweak) in chunks.iter().zip(&mut blocks).zip(&mut tweaks) {
                let Some(chunk) = chunk else { break };
                *tweak = next;
                next = times_x(next);
                *block = (u128::from_le_bytes(chunk.read()) ^ *tweak)
                    .to_le_bytes()
                    .into();
            }
            match direction {
                Direction::Encrypt => keys.data.encrypt_blocks(&mut blocks[..count]),
                Direction::Decrypt => keys.data.decrypt_blocks(&mut blocks[..count]),
            }
            for ((chunk, block), tweak) in chunks.iter_mut().zip(&blocks).zip(&tweaks) {
                let Some(chunk) = chunk else { break };
                chunk.write(&(u128::from_le_bytes((*block).into()) ^ *tweak).to_le_bytes());
            }
            left -= count;
        }
        first.as_mut_slice().zeroize();
    }
    for block in &mut blocks {
        block.as_mut_slice().zeroize();
    }
    tweaks.zeroize();
}
