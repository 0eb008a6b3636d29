//! Random sets of options: cryptsetup makes what we make, byte for byte but for salts, each takes
//! what the other made and adds keys to it, and the kernel reads, writes and makes a part of them.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod options;

use luksmith_testkit::interop;

/// Sets where nobody asked for more: one of them needs the kernel.
const SAMPLE: u32 = 12;
/// How many of the first sets the kernel opens where it is not needed for them.
const OPENED: u32 = 16;

/// Gives the number in a variable, or `fallback`.
fn number(name: &str, fallback: u64) -> u64 {
    std::env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
}

/// Tells whether a Debian version, with or without an epoch, is of 2.8 or later.
fn is_of_2_8(version: &str) -> bool {
    let upstream = version.rsplit(':').next().unwrap_or(version);
    let mut numbers = upstream
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(2), Some(8))
}

#[test]
fn versions_are_compared_by_number() {
    assert!(!is_of_2_8("2:2.6.1-4~deb12u2"));
    assert!(is_of_2_8("2:2.8.8-1"));
    assert!(is_of_2_8("2:2.10.0-1"));
    assert!(is_of_2_8("3.0"));
}

#[test]
fn random_options_give_what_cryptsetup_gives_and_each_takes_the_other() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    // What is compared is what cryptsetup 2.8 does: older ones write an unbound keyslot, and answer
    // a key that opens nothing, in another way. `interop_format` holds for those too.
    let version = oracle.version("cryptsetup-bin").expect("a version");
    if !is_of_2_8(&version) {
        println!("not covered: options beside cryptsetup 2.8, the oracle has {version}");
        return;
    }
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
