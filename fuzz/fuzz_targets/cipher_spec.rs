//! See `luksmith_testkit::fuzz::cipher_spec`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::cipher_spec(data);
});
