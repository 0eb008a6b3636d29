//! LUKS2 and LUKS1 volumes in userspace: format, open, read, write.
