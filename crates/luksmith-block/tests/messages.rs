//! Every error message, rendered, against `messages.txt`: a change of a text shows in review, and a
//! variant without a sample does not compile.

use luksmith_block::{ByteLen, ByteOffset, Error, IoFailure, Operation, SectorNumber, SectorSize};

fn samples() -> Vec<Error> {
    let (at, len) = (ByteOffset::new(512), ByteLen::new(1024));
    let operation = Operation::Write;
    vec![
        Error::Io {
            operation,
            at,
            failure: IoFailure::WroteNothing,
        },
        Error::System {
            operation: Operation::Open,
            failure: IoFailure::Os(2),
        },
        Error::NotStorage {
            found: "a directory",
        },
        Error::SizeUnknown,
        Error::DirectSize {
            size: ByteLen::new(4608),
            unit: ByteLen::new(4096),
        },
        Error::PastEnd {
            at,
            len,
            size: ByteLen::new(512),
        },
        Error::Misaligned {
            at,
            len,
            sector_size: SectorSize::S4096,
        },
        Error::Overflow {
            what: "sector number",
            value: u64::MAX,
        },
        Error::TagMismatch {
            first: SectorNumber::new(8),
            count: 16,
        },
        Error::ChangedOutside {
            what: "journal section",
            number: 3,
        },
        Error::Damaged {
            what: "journal section",
            number: 4,
        },
        Error::ReadOnly,
        Error::Unsupported {
            operation: Operation::Discard,
        },
        Error::FailStop {
            operation: Operation::Flush,
        },
        Error::Busy,
        Error::Length {
            what: "tuples",
            found: 31,
            expected: 32,
        },
        Error::Random,
        Error::Cancelled,
    ]
}

#[test]
fn every_message_is_listed_as_it_is_rendered() {
    let rendered: String = samples().iter().map(|e| format!("{e}\n")).collect();
    assert_eq!(include_str!("messages.txt"), rendered);
}

#[test]
fn every_variant_has_a_sample() {
    // The names as the source declares them, so that a new one cannot be forgotten.
    let source = include_str!("../src/error.rs");
    let (_, body) = source.split_once("pub enum Error {").expect("the enum");
    let (body, _) = body.split_once("\n}").expect("its end");
    let names: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| line.trim_end_matches([' ', '{', ',']))
        .collect();
    let sampled: Vec<String> = samples().iter().map(|e| format!("{e:?}")).collect();
    for name in &names {
        assert!(
            sampled.iter().any(|s| s.split(' ').next() == Some(name)),
            "{name} has no sample"
        );
    }
    assert_eq!(names.len(), sampled.len());
}
