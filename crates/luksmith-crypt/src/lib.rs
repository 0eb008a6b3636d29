//! What dm-crypt does: cipher specs, IVs, sector encryption, authenticated sectors.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
