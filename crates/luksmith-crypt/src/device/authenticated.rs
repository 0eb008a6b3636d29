//! Encryption with a tag beside each sector.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error as BlockError, Operation, SectorNumber,
    SectorSize, TaggedDevice,
};
use zeroize::Zeroize;

use super::RUN_BYTES;
use super::buffers::Buffers;
use super::plain::{part_at, sector_at};
use crate::{AeadCipher, Error, RandomSource};

/// Bytes that are discarded below at once.
const DISCARD_BYTES: u64 = 1 << 30;

/// A device whose sectors are stored encrypted and authenticated on a device that keeps a tuple
/// beside each block.
///
/// A read verifies every tag of the request before it hands out any of it. A cipher whose nonce is
/// the sector number makes the device read-only: writing a sector twice would give the
/// authentication key away.
pub struct AuthenticatedDevice<T> {
    device: T,
    cipher: Arc<AeadCipher>,
    random: Box<dyn RandomSource>,
    size: ByteLen,
    /// Ciphertext on its way to be verified. Apart from the tuples: a buffer of this size lent for
    /// a few tuples would leave the next request without, so that it allocates one more.
    data: Buffers,
    /// Tuples, or IVs that will be stored in some.
    tuples: Buffers,
}

impl<T: TaggedDevice> AuthenticatedDevice<T> {
    /// Puts `cipher` over `device`. `random` gives the IVs that are stored, where any are.
    ///
    /// The cipher may be shared with whatever checks the journal below.
    ///
    /// # Errors
    /// [`Error::BlockSize`], [`Error::TupleBytes`] if the device's blocks or tuples have other
    /// sizes than the cipher's; [`Error::TooLarge`] if its size does not fit 64 bits.
    pub fn new(
        device: T,
        cipher: impl Into<Arc<AeadCipher>>,
        random: impl RandomSource + 'static,
    ) -> Result<Self, Error> {
        let cipher = cipher.into();
        let shape = device.shape();
        if shape.block_size != cipher.sector_size() {
            return Err(Error::BlockSize {
                found: shape.block_size,
                expected: cipher.sector_size(),
            });
        }
        if shape.tuple_bytes != cipher.tuple_bytes() {
            return Err(Error::TupleBytes {
                spec: cipher.spec().cipher().text(),
                found: shape.tuple_bytes,
                expected: cipher.tuple_bytes(),
            });
        }
        let size = shape
            .blocks
            .checked_mul(shape.block_size.byte_len().get())
            .ok_or(Error::TooLarge {
                blocks: shape.blocks,
            })?;
        Ok(Self {
            device,
            cipher,
            random: Box::new(random),
            size: ByteLen::new(size),
            data: Buffers::default(),
            tuples: Buffers::default(),
        })
    }

    /// Gives the device below.
    pub const fn device(&self) -> &T {
        &self.device
    }

    /// Gives the cipher.
    pub fn cipher(&self) -> &AeadCipher {
        &self.cipher
    }

    /// Gives the device below back. The key is wiped.
    pub fn into_inner(self) -> T {
        self.device
    }

    /// Gives device and cipher back.
    pub fn into_parts(self) -> (T, Arc<AeadCipher>) {
        (self.device, self.cipher)
    }

    fn tuples_len(&self, data_len: usize) -> usize {
        data_len / self.cipher.sector_size().bytes() * self.cipher.tuple_bytes()
    }

    /// Verifies the tags of a range without decrypting it.
    ///
    /// # Errors
    /// [`BlockError::TagMismatch`] counting every wrong sector of the range; as
    /// [`read_at`](BlockDevice::read_at).
    pub fn verify_at(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        self.check_range(at, len)?;
        let mut wrong = Wrong::default();
        let mut done = 0;
        while done < len.get() {
            let left = ByteLen::new(len.get() - done).to_usize();
            let part = left.map_or(RUN_BYTES, |left| left.min(RUN_BYTES));
            // Cannot overflow: `check_range` saw that the whole range fits.
            let first = sector_at(ByteOffset::new(at.get() + done));
            let verified = self.data.with(part, |data| {
                self.tuples.with(self.tuples_len(part), |tuples| {
                    self.device.read_tagged(first, data, tuples)?;
                    self.cipher.verify(first, data, tuples)
                })
            });
            wrong.note(verified)?;
            done += part as u64;
        }
        wrong.verdict()
    }

    fn read_part(&self, at: ByteOffset, part: &mut [u8]) -> Result<(), BlockError> {
        self.tuples.with(self.tuples_len(part.len()), |tuples| {
            self.device.read_tagged(sector_at(at), part, tuples)?;
            self.cipher.open_in_place(sector_at(at), part, tuples)
        })
    }

    fn write_part(&self, at: ByteOffset, part: &[u8]) -> Result<(), BlockError> {
        let iv_bytes = self.cipher.spec().stored_iv_bytes();
        if iv_bytes == 0 {
            return self.write_sealed(at, part, &[]);
        }
        let blocks = part.len() / self.cipher.sector_size().bytes();
        self.tuples.with(blocks * iv_bytes, |ivs| {
            // Before the device is asked to write, so that a failing generator changes nothing.
            AeadCipher::draw_ivs_into(ivs, self.random.as_ref()).map_err(|_| BlockError::Random)?;
            self.write_sealed(at, part, ivs)
        })
    }

    /// Writes `part` with the IVs drawn for it.
    fn write_sealed(&self, at: ByteOffset, part: &[u8], ivs: &[u8]) -> Result<(), BlockError> {
        let sector_bytes = self.cipher.sector_size().bytes();
        let blocks = part.len() / sector_bytes;
        let iv_bytes = self.cipher.spec().stored_iv_bytes();
        let first = sector_at(at);
        let (mut plain, mut ivs) = (part, ivs);
        let mut next = first.get();
        self.device
            .write_tagged(first, blocks, &mut |data, tuples| {
                let run = data.len() / sector_bytes;
                let (plain_run, plain_rest) = plain.split_at(data.len());
                let (iv_run, iv_rest) = ivs.split_at(run * iv_bytes);
                self.cipher
                    .seal(SectorNumber::new(next), plain_run, iv_run, data, tuples)
                    .expect("a tagged device lends whole blocks with their tuples");
                (plain, ivs) = (plain_rest, iv_rest);
                next += run as u64 * self.cipher.sector_size().sectors().get();
            })
    }
}

/// The wrong sectors of one request, over all its parts.
#[derive(Default)]
struct Wrong(Option<(SectorNumber, u64)>);

impl Wrong {
    /// Takes a mismatch up and passes any other error on.
    fn note(&mut self, result: Result<(), BlockError>) -> Result<(), BlockError> {
        let Err(BlockError::TagMismatch { first, count }) = result else {
            return result;
        };
        let (first, before) = self.0.unwrap_or((first, 0));
        self.0 = Some((first, before.saturating_add(count)));
        Ok(())
    }

    fn verdict(&self) -> Result<(), BlockError> {
        match self.0 {
            Some((first, count)) => Err(BlockError::TagMismatch { first, count }),
            None => Ok(()),
        }
    }
}

impl<T: TaggedDevice> BlockDevice for AuthenticatedDevice<T> {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.cipher.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(buf))?;
        let mut wrong = Wrong::default();
        let mut parts = buf.chunks_mut(RUN_BYTES).enumerate();
        let read = parts.try_for_each(|(index, part)| {
            // The rest is looked at too: the error counts every wrong sector of the request.
            wrong.note(self.read_part(part_at(at, index), part))
        });
        let result = read.and_then(|()| wrong.verdict());
        // No plaintext of a request that fails is handed out.
        result.inspect_err(|_| buf.zeroize())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), BlockError> {
        self.check_range(at, ByteLen::of(data))?;
        if self.capabilities().read_only {
            return Err(BlockError::ReadOnly);
        }
        for (index, part) in data.chunks(RUN_BYTES).enumerate() {
            self.write_part(part_at(at, index), part)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.device.flush()
    }

    /// Makes the sectors read as noise, the decryption of zeros, and gives their storage back.
    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        self.check_range(at, len)?;
        let capabilities = self.capabilities();
        if capabilities.read_only {
            return Err(BlockError::ReadOnly);
        }
        if !capabilities.discard {
            return Err(BlockError::Unsupported {
                operation: Operation::Discard,
            });
        }
        let sector_bytes = self.cipher.sector_size().bytes();
        let mut zeros = Vec::new();
        let mut done = 0;
        while done < len.get() {
            let part = (len.get() - done).min(DISCARD_BYTES);
            let blocks = ByteLen::new(part).to_usize().unwrap_or(0) / sector_bytes;
            // Cannot overflow: `check_range` saw that the whole range fits.
            let first = sector_at(ByteOffset::new(at.get() + done));
            self.device
                .discard_tagged(first, blocks, &mut |first, tuples| {
                    zeros.resize(tuples.len() / self.cipher.tuple_bytes() * sector_bytes, 0);
                    self.cipher
                        .tag_ciphertext(first, &zeros, tuples)
                        .expect("the capability says that it can be done");
                })?;
            done += part;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let below = self.device.capabilities();
        let mut capabilities = Capabilities::default();
        capabilities.read_only = below.read_only || self.cipher.spec().reuses_nonces();
        // What is discarded must verify, and a discard without the promise of zeros leaves what
        // nobody could make a tag for.
        capabilities.discard = below.discard
            && below.zeroes_after_discard
            && !capabilities.read_only
            && self.cipher.tags_given_ciphertext();
        capabilities.optimal_io_bytes = below.optimal_io_bytes;
        capabilities
    }
}
