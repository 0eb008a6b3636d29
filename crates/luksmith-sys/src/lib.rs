//! The few system calls that luksmith needs and the standard library does not have.
//!
//! Memory for secrets ([`LockedBytes`]) and for Argon2 ([`Arena`]), what files and block devices
//! can do beyond `std::fs` ([`mod@file`]), keys that Linux keeps for a process ([`keyring`]), what
//! the machine has and spends ([`machine`]), core dumps of the whole process ([`process`]), and
//! threads that a caller lends a job to for one call ([`Helpers`]).
//! Everything is best effort where the system lacks it, and says so. The feature
//! `count-allocations` adds an allocator for tests that counts.
//!
//! ```
//! use luksmith_sys::LockedBytes;
//!
//! let mut key = LockedBytes::new(64)?;
//! key.fill(7);
//! assert_eq!(format!("{key:?}"), "LockedBytes(64 bytes)");
//! // The bytes are wiped when `key` goes.
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(feature = "count-allocations")]
pub mod allocations;
pub mod file;
pub mod keyring;
mod lend;
pub mod machine;
mod memory;
#[cfg(all(test, target_os = "linux"))]
mod not_run;
pub mod process;

pub use lend::Helpers;
pub use memory::{Arena, LockedBytes, MemoryProtection, Supply};
