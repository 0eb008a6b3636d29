//! From a passphrase to a LUKS volume key: KDFs, anti-forensic split and merge, digests.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
