//! AES-XTS over runs of sectors.

pub(crate) mod key;
mod portable;
pub(crate) mod tweak;

pub use key::XtsKey;
pub use tweak::Run;
