//! Ready-made option sets. Each gives a builder: what does not fit is changed on it.

use std::time::Duration;

use luksmith_block::{ByteLen, SectorCount, SectorSize};
use luksmith_hash::HashName;
use luksmith_header::Argon2Variant;
use luksmith_header::json::{Object, Value};
use luksmith_keyslot::cost::{DEFAULT_TARGET, Method};
use luksmith_keyslot::{Argon2Cost, Kdf};

use crate::{FormatOptions, HeaderPlace, Init, KdfChoice, Version};

type Make = fn() -> FormatOptions;

/// The profiles that need no further choice, under the names that people type.
const NAMED: [(&str, Make); 6] = [
    ("ephemeral", FormatOptions::ephemeral),
    ("secure-mount", FormatOptions::secure_mount),
    ("constellation", || FormatOptions::constellation(Tags::Hmac)),
    ("constellation-state-disk", || {
        FormatOptions::constellation_state_disk(false)
    }),
    ("contrast", FormatOptions::contrast),
    ("workload-image", FormatOptions::workload_image),
];

/// What the policies for these volumes are called where their profile has another name.
const OTHER_NAMES: [(&str, &str); 2] = [("emptydir", "ephemeral"), ("mkcw", "workload-image")];

/// Keyslot area of a header for one keyslot: 442,368 bytes in all with its two copies.
const COMPACT_KEYSLOTS: ByteLen = ByteLen::new(409_600);

/// Whether a volume of a profile has tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tags {
    /// `hmac(sha256)`.
    #[default]
    Hmac,
    /// None: changes from outside are not noticed.
    None,
}

impl FormatOptions {
    /// Scratch space with a key that is thrown away: tags, writes that bypass the journal, the
    /// header in memory with room for one keyslot, tags made over a device that reads as zeros.
    ///
    /// A passphrase, if there is one, must be [`KdfChoice::HighEntropy`]. A device that does not
    /// read as zeros needs [`Init::Wipe`].
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::luks2()
            .tags(Tags::Hmac)
            .header(HeaderPlace::Memory)
            .keyslots_len(COMPACT_KEYSLOTS)
            .kdf(KdfChoice::HighEntropy)
            // The smallest there is: one section.
            .journal_sectors(SectorCount::new(1))
            .without_journal()
            .init(Init::Tags)
    }

    /// A persistent volume whose passphrase comes from a key broker: tags, the journal, the header
    /// in front of the data, a key derivation for a passphrase that nobody can guess
    /// ([`KdfChoice::HighEntropy`]). For any other passphrase give it an Argon2id.
    #[must_use]
    pub fn secure_mount() -> Self {
        Self::luks2().tags(Tags::Hmac).kdf(KdfChoice::HighEntropy)
    }

    /// A volume of Constellation's node driver: Argon2id with 3 passes over 64 MiB in 4 lanes.
    #[must_use]
    pub fn constellation(tags: Tags) -> Self {
        Self::luks2()
            .tags(tags)
            .kdf(KdfChoice::Exactly(Kdf::Argon2 {
                variant: Argon2Variant::Id,
                cost: Argon2Cost {
                    passes: 3,
                    memory_kib: 65_536,
                    lanes: 4,
                },
            }))
    }

    /// The state disk of a Constellation node: as [`constellation`](Self::constellation) with tags,
    /// and the token that says whether the disk was initialised.
    #[must_use]
    pub fn constellation_state_disk(is_initialized: bool) -> Self {
        let token: Object = [
            ("type", Value::string("constellation-state-disk")),
            ("keyslots", Value::Array(Vec::new())),
            ("diskIsInitialized", Value::Bool(is_initialized)),
        ]
        .into_iter()
        .collect();
        Self::constellation(Tags::Hmac).token(0, token)
    }

    /// A volume of Contrast: tags, Argon2id with at most 10 MiB of memory.
    #[must_use]
    pub fn contrast() -> Self {
        let method = Method::Argon2 {
            variant: Argon2Variant::Id,
            max_memory_kib: 10_240,
            lanes: None,
        };
        Self::luks2()
            .tags(Tags::Hmac)
            .kdf(KdfChoice::Measured(method, DEFAULT_TARGET))
            .init(Init::None)
    }

    /// The disk of a confidential-workload image, as micro-VM loaders expect it: LUKS1 with its
    /// data right behind the keyslot areas, at sector 4040. Changes from outside are not noticed.
    #[must_use]
    pub fn workload_image() -> Self {
        let method = Method::Pbkdf2 {
            hash: HashName::Sha256,
        };
        Self::luks1()
            .data_offset(ByteLen::new(4040 * 512))
            .digest_iterations(4000)
            .kdf(KdfChoice::Measured(method, Duration::from_secs(1)))
    }

    /// Gives the profile of this name, one of [`profile_names`](Self::profile_names) or that of the
    /// policy which judges such volumes; words may be joined by `_` too. Constellation's have tags,
    /// and the token of its state disk says that it is not initialised.
    ///
    /// ```
    /// use luksmith::FormatOptions;
    ///
    /// let options = FormatOptions::profile("secure-mount").expect("a profile");
    /// assert_eq!(options.integrity_type(), Some("hmac(sha256)"));
    /// assert!(FormatOptions::profile("mkcw").is_some());
    /// assert!(FormatOptions::profile("nonsense").is_none());
    /// ```
    #[must_use]
    pub fn profile(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
        let name = other.map_or(name.as_str(), |(_, name)| name);
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(_, make)| make())
    }

    /// Gives the names of all profiles.
    pub fn profile_names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// Gives the version of LUKS.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Gives the integrity type, as the segment names it.
    #[must_use]
    pub fn integrity_type(&self) -> Option<&str> {
        self.integrity.as_deref()
    }

    /// Tells what a fresh authenticated volume reads as.
    #[must_use]
    pub fn initialisation(&self) -> Init {
        self.init
    }

    /// Gives how the key derivation of the first keyslot is chosen.
    #[must_use]
    pub fn key_derivation(&self) -> KdfChoice {
        self.kdf
    }

    /// Gives where the header is to be.
    #[must_use]
    pub fn header_place(&self) -> &HeaderPlace {
        &self.place
    }

    fn tags(self, tags: Tags) -> Self {
        let options = self.sector_size(SectorSize::S4096);
        match tags {
            Tags::Hmac => options.integrity("hmac(sha256)"),
            Tags::None => options,
        }
    }
}
