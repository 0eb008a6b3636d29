//! Crash and fault devices, models and golden images for luksmith's tests.
//!
//! Not published. Crates use it from their `tests/` folder only: inside a unit test, the crate
//! under test and the one that this crate was built with would be two different crates.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds should stop there"
)]

mod counting;
mod crash;
mod cryptsetup;
mod fault;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hook;
mod image;
mod images;
pub mod interop;
#[cfg(feature = "mangled")]
pub mod mangled;
mod messages;
mod model;
pub mod oracle;
mod paint;
mod prng;
mod problem;
mod quiet;
mod write_log;

pub use counting::{CountingDevice, Counts};
pub use crash::{CrashDevice, CrashOptions, CrashPoint, Event, Fates, Recording};
pub use cryptsetup::Cryptsetup;
pub use fault::{Among, FAULT_FAILURE, Fault, FaultDevice, FaultPlan};
pub use hook::HookDevice;
pub use image::{Image, PIECE_BYTES, Piece};
pub use images::{TestImage, sha256_hex, test_image, test_images, test_images_in, unhex, unpack};
pub use luksmith_sys::allocations;
pub use messages::check_messages;
pub use model::{Model, hammer};
pub use oracle::Oracle;
pub use paint::{paint, paint_into};
pub use prng::Prng;
pub use problem::Problem;
pub use quiet::QuietExecutor;
pub use write_log::{LoggedRequest, parse_write_log};
