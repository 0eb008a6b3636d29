//! LUKS2 and LUKS1 volumes in userspace: format, open, read, write.
//!
//! A volume opened from any [`BlockDevice`](block::BlockDevice) is a block device itself. No kernel
//! module, no root, no loop device: a file is enough.
//!
//! ```no_run
//! use luksmith::{OpenOptions, Passphrase, Unlock, block::{BlockDevice, ByteOffset, FileOptions}};
//!
//! let file = FileOptions::reader().open("disk.img")?;
//! let passphrase = Passphrase::new(b"correct horse battery staple")?;
//! let volume = luksmith::open(
//!     file,
//!     Unlock::Passphrase(&passphrase),
//!     &OpenOptions::new().read_only(),
//! )?;
//! let mut start = vec![0; 4096];
//! volume.read_at(ByteOffset::ZERO, &mut start)?;
//! volume.close()?;
//! # Ok::<(), luksmith::Error>(())
//! ```
//!
//! # Threads and processes
//! A [`Volume`] is `Send + Sync`: many threads read and write it at once, and there is no lock
//! around the whole of it. Large requests can be split over threads as well: see [`Workers`]. Two
//! processes must not have one volume open for writing. After `fork`
//! only one of the two processes may go on using a volume that was open before: both would write
//! the same journal, and the lock on the file belongs to both. The other one must not even drop it
//! (dropping commits): let it `exec`, leave with `_exit`, or give the volume to
//! [`std::mem::forget`]. Opening a volume after `fork`, in the process that will use it, needs no
//! care. Locked memory is not inherited, so a child's copies of keys may be written to swap.
//!
//! # Features
//! `parallel` (default): Argon2 lanes on threads, and [`WorkerPool`]. `all-ciphers`, `all-hashes`
//! (default): everything that a header may name; without them AES and the SHA-2 family remain.

pub mod constellation;
mod copy;
mod dm;
mod encode;
mod error;
mod format;
mod found;
mod lazy;
mod open;
mod options;
mod part;
mod plan;
mod profile;
mod resize;
mod stack;
mod stats;
mod token;
mod verify;
mod volume;
mod workers;
pub mod workload;

pub use luksmith_block as block;
pub use luksmith_crypt as crypt;
pub use luksmith_hash as hash;
pub use luksmith_header as header;
pub use luksmith_integrity as integrity;
pub use luksmith_keyslot as keyslot;
pub use luksmith_simd as simd;
pub use luksmith_sys::process::{exclude_from_core_dumps, inherited};
pub use rand_core;

pub use copy::{
    BadRanges, ExportOptions, ExportReport, ExportSink, OnError, PositionSink, SparseFile, Stream,
    export_device, import_device,
};
pub use dm::{DmKey, DmTable};
pub use encode::{Encoded, encode_stream, encode_stream_with};
pub use error::{Error, ErrorKind};
pub use format::{
    FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys, Overwrite, Version, format, format_with,
    wipe_device,
};
pub use found::{Found, what_is_there};
pub use luksmith_keyslot::unlock::{NullCipherKeyslots, Unlock};
pub use luksmith_keyslot::{CandidateKey, Passphrase, Threads, VolumeKey};
pub use open::{KeyTest, open, test_key};
pub use options::{
    HeaderPolicy, IntegrityRequirement, Journal, JournalTrust, NullCipher, OpenOptions, Violation,
};
pub use part::Part;
pub use profile::Tags;
pub use resize::new_room_at;
pub use stats::Stats;
pub use token::{
    HandlerError, KeyringTokens, TokenHandler, TokenRef, open_with_tokens, test_tokens,
};
pub use verify::{VerifyReport, verify_device};
pub use volume::Volume;
#[cfg(feature = "parallel")]
pub use workers::WorkerPool;
pub use workers::Workers;

/// Compiles the example of the repository's front page.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;
