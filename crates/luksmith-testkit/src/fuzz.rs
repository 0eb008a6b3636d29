//! Bodies of the fuzz targets, as plain functions, so that every kept input replays as a test.
//!
//! Each takes any bytes and must come back. What a fuzzer would never guess, magic numbers and
//! checksums, is put right first. A body does not only survive: it asserts that what was accepted
//! keeps the promises of the type it became. It tells whether the input was accepted, so that a
//! test sees when a target has stopped to reach what it is for.

mod header;
mod integrity;
mod journal;
mod keyslot;
mod spec;
mod volume;

pub use header::{luks1_header, luks2_header, luks2_json};
pub use integrity::integrity_superblock;
pub use journal::journal_replay;
pub use keyslot::keyslot_area;
pub use spec::cipher_spec;
pub use volume::volume_ops;

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target.
pub const TARGETS: &[Target] = &[
    ("luks1_header", luks1_header),
    ("luks2_header", luks2_header),
    ("luks2_json", luks2_json),
    ("keyslot_area", keyslot_area),
    ("cipher_spec", cipher_spec),
    ("integrity_superblock", integrity_superblock),
    ("journal_replay", journal_replay),
    ("volume_ops", volume_ops),
];

/// Copies `data` over the start of `target`, as far as it goes.
fn overlay(target: &mut [u8], data: &[u8]) {
    for (to, from) in target.iter_mut().zip(data) {
        *to = *from;
    }
}
