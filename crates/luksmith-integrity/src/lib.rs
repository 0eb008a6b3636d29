//! What dm-integrity does: superblock, layout, tags, journal, bitmap.
//!
//! A dm-integrity device keeps a tag beside each block of data. This crate reads, writes and
//! formats such devices in the kernel's format, byte for byte, on any
//! [`luksmith_block::BlockDevice`].
//!
//! ```
//! use luksmith_block::{SectorCount, SectorNumber, SectorSize};
//! use luksmith_integrity::{DeviceSizes, FormatRequest};
//!
//! let sizes = DeviceSizes { data: SectorCount::new(40960), meta: None };
//! let (superblock, layout) = FormatRequest::new(4, SectorSize::S512)?.plan(sizes)?;
//! assert_eq!(superblock.provided_data_sectors(), SectorCount::new(40264));
//! // The first block lies behind superblock (8), journal (176) and the first run of tags (256).
//! assert_eq!(layout.locate(SectorNumber::ZERO)?.data.get(), (8 + 176 + 256) * 512);
//! # Ok::<(), luksmith_integrity::Error>(())
//! ```

mod bitmap;
mod convert;
mod device;
mod digest;
mod error;
mod format;
mod hashed;
mod journal;
mod layout;
mod mac;
mod pool;
mod recalculate;
mod resize;
mod scratch;
mod stop;
pub mod superblock;
mod sync;
mod tag;
mod tag_area;

pub use device::{Devices, FlagPolicy, IntegrityDevice, Mode, OpenOptions};
pub use digest::DigestName;
pub use error::Error;
pub use format::{format, random_salt};
pub use hashed::HashedDevice;
pub use journal::JournalCipher;
pub use layout::{DeviceSizes, FormatRequest, Interleave, Layout, Position, SectionShape};
pub use mac::JournalMac;
pub use recalculate::{Recalculation, recalculate};
pub use resize::{MakeBlocks, MakeTags, NewBlocks};
pub use superblock::{Flags, Superblock};
pub use tag::{DiscardMarker, TagMaker};
