//! See `luksmith_testkit::fuzz::journal_replay`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luksmith_testkit::fuzz::journal_replay(data);
});
