//! Every error message, rendered, is kept in `messages.txt`.

use luksmith_block::{ByteLen, ByteOffset, Error, IoFailure, Operation, SectorNumber, SectorSize};
use luksmith_testkit::check_messages;

/// Examples of every variant, in the order of the source.
fn every_error() -> Vec<Error> {
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
fn every_variant_has_its_message_in_the_list() {
    let source = include_str!("../src/error.rs");
    check_messages(
        source,
        &every_error(),
        |_| None,
        include_str!("messages.txt"),
    );
}
