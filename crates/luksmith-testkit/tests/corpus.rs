//! Every input that a fuzzer ever kept still passes, on the stable compiler.

use std::{fs, path::Path};

use luksmith_testkit::fuzz;

/// The targets, as the folder of their inputs is called.
const NAMES: [&str; 8] = [
    "luks1_header",
    "luks2_header",
    "luks2_json",
    "keyslot_area",
    "cipher_spec",
    "integrity_superblock",
    "journal_replay",
    "volume_ops",
];

#[test]
fn every_kept_input_passes_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, body) in fuzz::TARGETS {
        let folder = corpus.join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let (mut count, mut accepted) = (0, 0);
        for entry in entries {
            let path = entry.expect("an entry").path();
            println!("{}", path.display());
            let input = fs::read(&path).expect("an input");
            accepted += usize::from(body(&input));
            count += 1;
        }
        assert!(
            accepted > 0,
            "no input of {count} gets past the front of {name}"
        );
        assert!(accepted < count, "no input of {name} is refused");
        println!("{name}: {count} inputs, {accepted} accepted");
    }
}

#[test]
fn every_target_has_a_name_that_this_test_knows() {
    let found: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, NAMES);
}
