//! An ext4 in an authenticated volume survives kills: of the kernel that works on it, and of our
//! processes that write the same.
//!
//! `LUKSMITH_SETS` says how often something is killed, `LUKSMITH_SEED` when.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod kills;

use luksmith_testkit::{Prng, interop};

/// Gives the number in a variable, or `fallback`.
fn number(name: &str, fallback: u64) -> u64 {
    std::env::var(name).map_or(fallback, |text| text.parse().expect("a number"))
}

#[test]
fn an_ext4_is_whole_after_kills_of_the_kernel_and_of_our_processes() {
    if kills::writer() {
        // This is the process that the same test below kills.
        return;
    }
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let mut prng = Prng::from_env(8);
    // A part of the kills goes to each kind.
    let kills = usize::try_from(number("LUKSMITH_SETS", 6)).expect("a count");
    let part = kills.div_ceil(3);
    for name in ["cryptsetup-bin", "e2fsprogs", "linux"] {
        println!(
            "record: {name} {}",
            oracle.version(name).expect("a version")
        );
    }
    let work = kills::Work::new(&oracle);
    let killed = work.kill_the_kernel(part, &mut prng);
    println!("record: volumes whose kernel was killed {}", killed.volumes);
    println!(
        "record: files that were synced before it, all there {}",
        killed.files
    );
    let log = work.log();
    println!("record: requests in the log of writes {}", log.len());
    let (writers, mut disks) = work.kill_our_writer(&log, part, &mut prng);
    println!(
        "record: writers of ours killed in the middle {}",
        writers.middle
    );
    println!(
        "record: writers of ours killed before or after it {}",
        writers.edge
    );
    let (imports, more) = work.kill_imports(part, &mut prng);
    println!("record: imports killed in the middle {}", imports.middle);
    println!("record: imports killed before or after it {}", imports.edge);
    disks.extend(more);
    work.check_all(&disks);
    println!(
        "record: volumes of ours that e2fsck found clean in the kernel {}",
        disks.len()
    );
    println!("record: failures 0");
    // Whether a kill comes in time is up to the machine. That none ever does is not.
    assert!(writers.middle > 0, "{writers:?}");
    assert!(imports.middle > 0, "{imports:?}");
}
