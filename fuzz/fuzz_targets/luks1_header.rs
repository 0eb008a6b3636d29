//! See `luksmith_testkit::fuzz::luks1_header`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::luks1_header(data);
});
