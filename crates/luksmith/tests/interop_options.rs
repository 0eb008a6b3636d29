//! Random sets of options: cryptsetup makes what we make, byte for byte but for salts, each takes
//! what the other made and adds keys to it, and the kernel reads, writes and makes a part of them.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod options;

use std::time::Duration;

use luksmith_testkit::interop;

/// Sets where nobody asked for more: one of them needs the kernel.
const SAMPLE: u32 = 12;
/// How many of the first sets the kernel opens where it is not needed for them.
const OPENED: u32 = 16;

/// Gives the number in a variable, or `fallback`.
fn number(name: &str, fallback: u64) -> u64 {
    std::env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
}

#[test]
fn random_options_give_what_cryptsetup_gives_and_each_takes_the_other() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    // Emulated key derivations take their time, more so on a busy machine.
    let oracle = oracle.with_limit(Duration::from_secs(1800));
    // The seed of the sample is fixed, so that it fails for those who changed something.
    let seed = number("LUKSMITH_SEED", 20);
    let count = number("LUKSMITH_SETS", SAMPLE.into());
    let count = u32::try_from(count).expect("a count of sets");
    println!("seed {seed}, {count} sets; LUKSMITH_SEED={seed} LUKSMITH_SETS={count} does it again");
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = options::run(&oracle, folder.path(), seed, count, OPENED);
    for name in ["cryptsetup-bin", "linux"] {
        println!(
            "record: {name} {}",
            oracle.version(name).expect("a version")
        );
    }
    println!("record: sets {}", outcome.sets);
    println!("record: opened by the kernel {}", outcome.opened_by_kernel);
    println!("record: made by the kernel too {}", outcome.made_by_kernel);
    println!("record: failures {}", outcome.failures.len());
    assert!(
        outcome.failures.is_empty(),
        "seed {seed}: {:?}",
        outcome.failures
    );
    let needed = count as usize / 10;
    assert!(outcome.opened_by_kernel >= needed);
    if outcome.is_measured {
        assert_eq!(outcome.made_by_kernel, needed);
    }
}
