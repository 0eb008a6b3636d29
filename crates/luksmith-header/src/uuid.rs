//! UUIDs in the form that headers hold: 36 characters, lower case.

use alloc::string::{String, ToString};

use rand_core::TryCryptoRng;

use crate::{Error, Quoted};

/// Checks a UUID's text and gives it in lower case.
///
/// # Errors
/// [`Error::UuidText`] for any other form, braces and missing hyphens included.
pub fn uuid_text(text: &str) -> Result<String, Error> {
    let parsed = match text.len() {
        36 => uuid::Uuid::try_parse(text).ok(),
        _ => None,
    };
    match parsed {
        Some(uuid) => Ok(uuid.hyphenated().to_string()),
        None => Err(Error::UuidText {
            found: Quoted::new(text),
        }),
    }
}

/// Makes a random UUID (version 4).
///
/// # Errors
/// [`Error::Random`].
pub fn random_uuid<R: TryCryptoRng + ?Sized>(random: &mut R) -> Result<String, Error> {
    let mut bytes = [0; 16];
    random
        .try_fill_bytes(&mut bytes)
        .map_err(|_| Error::Random)?;
    Ok(uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .hyphenated()
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_with_hyphens_is_taken_and_becomes_lower_case() {
        assert_eq!(
            uuid_text("01234567-89AB-cdef-0123-456789ABCDEF").as_deref(),
            Ok("01234567-89ab-cdef-0123-456789abcdef")
        );
        for refused in [
            "",
            "0123456789abcdef0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89ab-cdef-01234-56789abcdef",
        ] {
            assert_eq!(
                uuid_text(refused),
                Err(Error::UuidText {
                    found: Quoted::new(refused)
                })
            );
        }
    }
}
