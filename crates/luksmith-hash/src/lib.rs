//! The hashes that LUKS headers and tags may name.
#![no_std]
