//! LUKS1 and LUKS2 headers: bytes to typed values and back.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
