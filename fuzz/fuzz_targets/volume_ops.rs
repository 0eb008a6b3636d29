//! See `luksmith_testkit::fuzz::volume_ops`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::volume_ops(data);
});
