//! AES-XTS over runs of sectors.

mod key;
mod portable;
mod tweak;

pub use key::XtsKey;
pub use tweak::Run;
