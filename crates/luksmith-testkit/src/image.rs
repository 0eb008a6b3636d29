//! Contents of a device as a value: cheap to copy, sector by sector over a shared base.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use luksmith_block::{ByteLen, MemDevice, SectorSize};

/// Bytes of the piece that the medium writes whole or not at all.
pub const PIECE_BYTES: usize = 512;

/// The bytes of one piece.
pub type Piece = [u8; PIECE_BYTES];

type Pieces = HashMap<u64, Piece, BuildHasherDefault<NumberHasher>>;

/// Contents of a device. A clone shares all it can.
#[derive(Clone, Debug)]
pub struct Image {
    base: Base,
    /// Changed pieces that other images may share.
    settled: Arc<Pieces>,
    /// Changed pieces of this image alone.
    own: Pieces,
}

#[derive(Clone, Debug)]
enum Base {
    Bytes(Arc<[u8]>),
    Zeros(u64),
}

impl Image {
    /// Takes `bytes`; a tail shorter than 512 bytes is cut off.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let whole = bytes.len() - bytes.len() % PIECE_BYTES;
        Self::over(Base::Bytes(bytes.get(..whole).unwrap_or_default().into()))
    }

    /// Makes `size` bytes of zeros, which take no memory.
    #[must_use]
    pub fn zeros(size: u64) -> Self {
        Self::over(Base::Zeros(size - size % PIECE_BYTES as u64))
    }

    fn over(base: Base) -> Self {
        Self {
            base,
            settled: Arc::default(),
            own: Pieces::default(),
        }
    }

    /// Gives the size in bytes.
    #[must_use]
    pub fn size(&self) -> ByteLen {
        match &self.base {
            Base::Bytes(bytes) => ByteLen::of(bytes),
            Base::Zeros(size) => ByteLen::new(*size),
        }
    }

    /// Copies the piece at sector `sector` into `out`. Past the end it is zeros.
    pub fn read_piece(&self, sector: u64, out: &mut [u8]) {
        let changed = self.own.get(&sector).or_else(|| self.settled.get(&sector));
        if let Some(piece) = changed {
            out.copy_from_slice(piece);
            return;
        }
        let start = usize::try_from(sector).ok().map(|s| s * PIECE_BYTES);
        match (&self.base, start) {
            (Base::Bytes(bytes), Some(start)) if start < bytes.len() => {
                out.copy_from_slice(&bytes[start..start + PIECE_BYTES]);
            }
            _ => out.fill(0),
        }
    }

    /// Gives the piece at sector `sector`.
    #[must_use]
    pub fn piece(&self, sector: u64) -> Piece {
        let mut piece = [0; PIECE_BYTES];
        self.read_piece(sector, &mut piece);
        piece
    }

    /// Replaces the piece at sector `sector`.
    pub fn set_piece(&mut self, sector: u64, piece: Piece) {
        self.own.insert(sector, piece);
    }

    /// Makes later clones cheap: moves what this image changed to where clones share it.
    pub fn settle(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let own = std::mem::take(&mut self.own);
        Arc::make_mut(&mut self.settled).extend(own);
    }

    /// Copies all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let size = self.size().to_usize().expect("image fits memory");
        let mut bytes = match &self.base {
            Base::Bytes(bytes) => bytes.to_vec(),
            Base::Zeros(_) => vec![0; size],
        };
        for (&sector, piece) in self.settled.iter().chain(&self.own) {
            let start = usize::try_from(sector).expect("inside the image") * PIECE_BYTES;
            bytes[start..start + PIECE_BYTES].copy_from_slice(piece);
        }
        bytes
    }

    /// Copies all bytes into a device.
    #[must_use]
    pub fn to_mem(&self, sector_size: SectorSize) -> MemDevice {
        MemDevice::from_bytes(&self.to_vec(), sector_size)
    }
}

/// Spreads sector numbers; tests are no adversary.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}
