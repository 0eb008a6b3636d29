//! Hot loops of luksmith: AES-XTS, many-lane SHA-2 and HMAC, CRC32C over runs of sectors.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
