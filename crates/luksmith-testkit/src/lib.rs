//! Crash and fault devices, models and golden images for luksmith's tests.
//!
//! Not published. Crates use it from their `tests/` folder only: inside a unit test, the crate under
//! test and the one that this crate was built with would be two different crates.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds should stop there"
)]

mod crash;
mod image;
pub mod interop;
pub mod oracle;
mod prng;
mod problem;

pub use crash::{CrashDevice, CrashOptions, CrashPoint, Event, Fates, Recording};
pub use image::{Image, PIECE_BYTES, Piece};
pub use oracle::Oracle;
pub use prng::Prng;
pub use problem::Problem;
