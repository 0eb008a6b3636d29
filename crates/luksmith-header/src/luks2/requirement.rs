//! What a reader must understand before it may map or change the volume.

use alloc::{
    format,
    string::{String, ToString},
};

/// One entry of `config.requirements.mandatory`.
///
/// # Format
/// docs/formats/luks2.md, "Requirements".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// The old tool re-encrypts the whole device while it is not in use.
    OfflineReencrypt,
    /// A re-encryption is going on; its metadata have this version, 1 to 3.
    OnlineReencrypt {
        /// Version of the metadata.
        version: u32,
    },
    /// Tags live in the device's own per-sector metadata.
    InlineHwTags,
    /// The drive encrypts.
    Opal,
    /// Not known here; kept when the list is rewritten.
    Unknown(String),
}

impl Requirement {
    /// Takes an entry of the list. Never fails: what is not known is [`Self::Unknown`].
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word {
            "offline-reencrypt" => Self::OfflineReencrypt,
            "online-reencrypt" => Self::OnlineReencrypt { version: 1 },
            "online-reencrypt-v2" => Self::OnlineReencrypt { version: 2 },
            "online-reencrypt-v3" => Self::OnlineReencrypt { version: 3 },
            "inline-hw-tags" => Self::InlineHwTags,
            "opal" => Self::Opal,
            other => Self::Unknown(other.to_string()),
        }
    }

    /// Gives the entry as it stands in the list.
    #[must_use]
    pub fn to_word(&self) -> String {
        match self {
            Self::OfflineReencrypt => "offline-reencrypt".to_string(),
            Self::OnlineReencrypt { version: 1 } => "online-reencrypt".to_string(),
            Self::OnlineReencrypt { version } => format!("online-reencrypt-v{version}"),
            Self::InlineHwTags => "inline-hw-tags".to_string(),
            Self::Opal => "opal".to_string(),
            Self::Unknown(word) => word.clone(),
        }
    }

    /// Tells whether a word asks for online re-encryption, of a version known or not.
    pub(super) fn is_online_reencryption_word(word: &str) -> bool {
        let Some(rest) = word.strip_prefix("online-reencrypt") else {
            return false;
        };
        match rest.strip_prefix("-v") {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
            None => rest.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_and_the_pattern_is_the_measured_one() {
        for word in [
            "online-reencrypt",
            "online-reencrypt-v2",
            "opal",
            "inline-hw-tags",
            "x",
            "offline-reencrypt",
        ] {
            assert_eq!(Requirement::parse(word).to_word(), word);
        }
        let is = Requirement::is_online_reencryption_word;
        assert!(is("online-reencrypt") && is("online-reencrypt-v77"));
        assert!(
            !is("online-reencrypt-v") && !is("online-reencrypt-v2x") && !is("online-reencrypts")
        );
    }
}
