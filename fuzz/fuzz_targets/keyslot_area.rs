//! See `luksmith_testkit::fuzz::keyslot_area`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::keyslot_area(data);
});
