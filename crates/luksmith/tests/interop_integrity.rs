//! Devices with tags of random configurations, standalone and under LUKS2: what the kernel or we
//! wrote, closed or cut off at any point, the other reads, replays to the same bytes, and goes on
//! with.
//!
//! `LUKSMITH_SETS` says how many, `LUKSMITH_SEED` which, and `LUKSMITH_FIRST` from which on.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod integrity;

use luksmith_testkit::interop;

/// Sets where nobody asked for more: one batch.
const SAMPLE: u32 = 5;
/// Sets of a run that has to meet every state of a device.
const MANY: u32 = 200;

/// Gives the number in a variable, or `fallback`.
fn number(name: &str, fallback: u64) -> u64 {
    std::env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
}

#[test]
fn the_kernel_and_we_read_replay_and_continue_each_others_devices() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let seed = number("LUKSMITH_SEED", 4);
    let count = u32::try_from(number("LUKSMITH_SETS", SAMPLE.into())).expect("a count of sets");
    let first = u32::try_from(number("LUKSMITH_FIRST", 0)).expect("a number of a set");
    println!("seed {seed}, {count} sets; LUKSMITH_SEED={seed} LUKSMITH_SETS={count} does it again");
    for name in ["cryptsetup-bin", "linux"] {
        println!(
            "record: {name} {}",
            oracle.version(name).expect("a version")
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = integrity::run(&oracle, folder.path(), seed, first, count);
    assert!(
        outcome.given_up.is_empty(),
        "no verdict: {:?}",
        outcome.given_up
    );
    assert!(
        outcome.failures.is_empty(),
        "seed {seed}: {:?}",
        outcome.failures
    );
    assert_eq!(outcome.sets, count);
    assert!(outcome.checked("devices read alike, ours") >= count * 3 / 4);
    assert!(outcome.checked("devices read alike, kernel's") >= count * 3 / 4);
    assert!(outcome.checked("crash images of ours") >= count / 3);
    if count >= MANY {
        // What a long run is for was met, whoever wrote the device.
        for state in integrity::WANTED {
            let met = outcome.checked(&format!("{}{state}, ", integrity::STATE));
            assert!(met > 0, "no device was met with: {state}");
        }
        assert!(outcome.checked("of these, changed by the replay, ours") > count / 10);
        assert!(outcome.checked("of these, changed by the replay, kernel's") > count / 10);
    }
}

#[test]
fn every_configuration_can_be_made() {
    assert_eq!(integrity::generate_many(), 4000);
}

#[test]
fn no_more_bytes_are_written_than_the_kernel_writes() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let measured = integrity::amplification::measure(&oracle, folder.path());
    for measured in measured.expect("both do their work") {
        let times = |bytes: u64| bytes as f64 / measured.data as f64;
        let name = &measured.name;
        println!(
            "record: bytes written for each byte of data, {name}, kernel {:.2}",
            times(measured.kernel)
        );
        println!(
            "record: bytes written for each byte of data, {name}, ours {:.2}",
            times(measured.ours)
        );
        assert!(measured.ours <= measured.kernel, "{measured:?}");
    }
}
