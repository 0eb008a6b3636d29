//! Every error message, rendered, is kept in `messages.txt`.

use luksmith_simd::{Backend, Error, HashBackend};

/// One value per variant. The match makes the compiler ask for a new variant here.
fn every_error() -> Vec<(&'static str, Error)> {
    let errors = vec![
        Error::KeyLength {
            cipher: "AES-XTS",
            bytes: 48,
            expected: "32 (AES-128) or 64 (AES-256)",
        },
        Error::SectorBytes {
            bytes: 520,
            max: 16 << 20,
        },
        Error::PartialSector {
            bytes: 4095,
            sector_bytes: 512,
        },
        Error::LengthMismatch {
            what: "destination",
            bytes: 512,
            expected: 4096,
        },
        Error::BackendUnavailable {
            backend: Backend::Vaes512,
        },
        Error::HashBackendUnavailable {
            backend: HashBackend::ShaNi,
        },
        Error::PrefixBytes { bytes: 65, max: 64 },
        Error::TagBytes { bytes: 33, max: 32 },
        Error::TagMismatch { first: 7, count: 2 },
        Error::Iterations,
        Error::OutputBytes {
            bytes: 137_438_953_441,
        },
        Error::InputBytes {
            what: "password",
            bytes: 4_294_967_296,
        },
        Error::Argon2Cost {
            passes: 1,
            memory_kib: 15,
            lanes: 2,
        },
        Error::Cancelled,
    ];
    errors
        .into_iter()
        .map(|error| (variant(&error), error))
        .collect()
}

/// The name of a variant, without its values.
fn variant(error: &Error) -> &'static str {
    match error {
        Error::KeyLength { .. } => "KeyLength",
        Error::SectorBytes { .. } => "SectorBytes",
        Error::PartialSector { .. } => "PartialSector",
        Error::LengthMismatch { .. } => "LengthMismatch",
        Error::BackendUnavailable { .. } => "BackendUnavailable",
        Error::HashBackendUnavailable { .. } => "HashBackendUnavailable",
        Error::PrefixBytes { .. } => "PrefixBytes",
        Error::TagBytes { .. } => "TagBytes",
        Error::TagMismatch { .. } => "TagMismatch",
        Error::Iterations => "Iterations",
        Error::OutputBytes { .. } => "OutputBytes",
        Error::InputBytes { .. } => "InputBytes",
        Error::Argon2Cost { .. } => "Argon2Cost",
        Error::Cancelled => "Cancelled",
        _ => panic!("a variant is missing from every_error: {error}"),
    }
}

/// Variant names as the source declares them, so that one forgotten above shows.
fn declared() -> Vec<String> {
    let source = include_str!("../src/error.rs");
    let body = source
        .split_once("pub enum Error {")
        .expect("error.rs declares Error")
        .1;
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter_map(|line| line.strip_suffix(" {").or(line.strip_suffix(",")))
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_variant_has_its_message_in_the_list() {
    let errors = every_error();
    let names: Vec<_> = errors.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, declared());
    let rendered: String = errors
        .iter()
        .map(|(name, error)| format!("{name}: {error}\n"))
        .collect();
    assert_eq!(rendered, include_str!("messages.txt"));
}
