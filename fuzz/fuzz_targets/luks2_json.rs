//! See `luksmith_testkit::fuzz::luks2_json`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::luks2_json(data);
});
