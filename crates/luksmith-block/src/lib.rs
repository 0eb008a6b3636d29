//! Storage vocabulary of luksmith: the units, the borders between layers, and plain devices.
//!
//! Everything that luksmith reads or writes is a [`BlockDevice`]; layers that store a tag beside
//! each block meet at [`TaggedDevice`].
//!
//! ```
//! use luksmith_block::{ByteOffset, SectorNumber, SectorSize};
//!
//! let eighth = SectorNumber::new(8);
//! assert_eq!(eighth.byte_offset()?, ByteOffset::new(4096));
//! assert!(SectorSize::S4096.divides(4096));
//! # Ok::<(), luksmith_block::Error>(())
//! ```
//!
//! # Features
//! `std` (default): file, memory and sparse devices, the range lock, the splitter of large
//! requests, and the `std::io` adapters. Without it the crate is `no_std` + `alloc` and holds the
//! units, the traits and the errors.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "std")]
mod bytes;
mod control;
mod device;
mod error;
mod executor;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod flushes;
#[cfg(feature = "std")]
mod mem;
#[cfg(feature = "std")]
mod range_lock;
#[cfg(feature = "std")]
mod splitter;
mod tagged;
mod units;
mod window;

#[cfg(feature = "std")]
pub use bytes::{ByteDevice, ByteStream};
pub use control::{Control, Progress};
pub use device::{BlockDevice, Capabilities};
pub use error::{Error, IoFailure, Operation};
pub use executor::{Executor, Inline};
#[cfg(feature = "std")]
pub use file::{FileDevice, FileOptions, make_durable};
#[cfg(feature = "std")]
pub use flushes::Flushes;
#[cfg(feature = "std")]
pub use mem::{MemDevice, SparseMemDevice};
#[cfg(feature = "std")]
pub use range_lock::{RangeGuard, RangeLock};
#[cfg(feature = "std")]
pub use splitter::Splitter;
pub use tagged::{CheckTuple, TaggedDevice, TaggedShape};
pub use units::{ByteLen, ByteOffset, SECTOR_BYTES, SectorCount, SectorNumber, SectorSize};
pub use window::{ReadOnly, Window};
