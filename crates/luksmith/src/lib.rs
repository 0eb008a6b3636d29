//! LUKS2 and LUKS1 volumes in userspace: format, open, read, write.

pub use luksmith_block as block;
pub use luksmith_header as header;
pub use luksmith_keyslot as keyslot;
