//! See `luksmith_testkit::fuzz::integrity_superblock`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::integrity_superblock(data);
});
