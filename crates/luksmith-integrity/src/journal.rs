//! The journal: sections of entries that hold blocks until they are written in place.

pub(crate) mod cipher;
pub(crate) mod commit;
pub(crate) mod replay;
pub(crate) mod section;

pub use cipher::JournalCipher;
