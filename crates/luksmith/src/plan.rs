//! What a header says is to be mapped, decided before any key is derived.

use luksmith_block::{ByteLen, SectorSize};
use luksmith_crypt::{AuthSpec, CipherSpec, Integrity};
use luksmith_header::{
    CryptParameters, Header, Integrity as HeaderIntegrity, Quoted, Segment, SegmentKind,
    luks2::Requirement,
};

use crate::Error;
use crate::options::{IntegrityRequirement, NullCipher, OpenOptions};

/// The one segment of a volume, understood.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) segment: u32,
    /// First byte on the data device, a multiple of 512.
    pub(crate) offset: u64,
    /// `None` for the rest of the device.
    pub(crate) len: Option<ByteLen>,
    pub(crate) sector_size: SectorSize,
    /// As it stands in the header.
    pub(crate) encryption: String,
    pub(crate) construction: Construction,
    /// The header asks for writes that bypass the journal.
    pub(crate) no_journal: bool,
}

/// What is done with each sector.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Construction {
    Null,
    Plain(CipherSpec),
    Authenticated(AuthSpec),
}

impl Plan {
    /// Understands a header, or refuses it.
    pub(crate) fn of(header: &Header, options: &OpenOptions) -> Result<Self, Error> {
        if let Some(requirement) = header.requirements().first() {
            return Err(Error::Requirement {
                requirement: Requirement::clone(requirement),
            });
        }
        let segments = header.segments();
        let [segment] = segments.as_slice() else {
            return Err(Error::SegmentCount {
                count: segments.len(),
            });
        };
        let crypt = crypt_parameters(segment)?;
        let id = segment.id;
        let sector_size = SectorSize::from_bytes(u64::from(crypt.sector_size)).ok_or(
            Error::SegmentSectorSize {
                segment: id,
                found: crypt.sector_size,
            },
        )?;
        if segment.offset.sector().is_none() {
            return Err(Error::SegmentOffset {
                segment: id,
                found: segment.offset.get(),
            });
        }
        let construction = construction(id, crypt, options)?;
        let plan = Self {
            segment: id,
            offset: segment.offset.get(),
            len: segment.len,
            sector_size,
            encryption: crypt.encryption.clone(),
            construction,
            no_journal: header.flags().iter().any(|flag| flag == "no-journal"),
        };
        plan.check_keyslots(header)?;
        Ok(plan)
    }

    /// Checks that a volume key is exactly as long as cipher and integrity need.
    ///
    /// A header from which the integrity was stripped, or whose cipher was changed, has keys of
    /// another length.
    pub(crate) fn check_key_len(&self, len: usize) -> Result<(), Error> {
        match &self.construction {
            Construction::Null => Ok(()),
            Construction::Plain(spec) => spec.check_key_len(len),
            Construction::Authenticated(spec) => spec.check_key_len(len),
        }
        .map_err(|source| self.cipher_error(source))
    }

    pub(crate) fn cipher_error(&self, source: luksmith_crypt::Error) -> Error {
        Error::Cipher {
            segment: self.segment,
            source,
        }
    }

    /// Refuses a header none of whose keyslots can hold the key: no derivation could help.
    fn check_keyslots(&self, header: &Header) -> Result<(), Error> {
        let digests = header.digests();
        let digest = digests
            .iter()
            .find(|digest| digest.segments.contains(&self.segment));
        let Some(digest) = digest else {
            return Ok(());
        };
        let mut refused = None;
        for slot in header.keyslots() {
            if !slot.id.is_some_and(|id| digest.keyslots.contains(&id)) {
                continue;
            }
            let len = usize::try_from(slot.key_bytes).unwrap_or(usize::MAX);
            match self.check_key_len(len) {
                Ok(()) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

fn crypt_parameters(segment: &Segment) -> Result<&CryptParameters, Error> {
    let id = segment.id;
    if segment.is_backup() {
        return Err(Error::SegmentFlag {
            segment: id,
            flag: Quoted::new("backup"),
        });
    }
    if let Some(flag) = segment.flags.iter().find(|flag| *flag == "in-reencryption") {
        return Err(Error::SegmentFlag {
            segment: id,
            flag: Quoted::new(flag),
        });
    }
    let crypt = match (segment.kind, &segment.crypt) {
        (SegmentKind::Crypt, Some(crypt)) => crypt,
        _ => {
            return Err(Error::SegmentType {
                segment: id,
                found: Quoted::new(&segment.type_name),
            });
        }
    };
    if crypt.iv_tweak != 0 {
        return Err(Error::IvTweak {
            segment: id,
            found: crypt.iv_tweak,
        });
    }
    Ok(crypt)
}

fn construction(
    segment: u32,
    crypt: &CryptParameters,
    options: &OpenOptions,
) -> Result<Construction, Error> {
    let cipher_error = |source| Error::Cipher { segment, source };
    let spec = CipherSpec::parse(&crypt.encryption).map_err(cipher_error)?;
    let Some(integrity) = &crypt.integrity else {
        if options.integrity == IntegrityRequirement::Required {
            return Err(Error::IntegrityRequired);
        }
        if spec.is_null() {
            return match options.null_cipher {
                NullCipher::AcceptPlaintext => Ok(Construction::Null),
                NullCipher::Refuse => Err(cipher_error(luksmith_crypt::Error::NullCipher {
                    spec: crypt.encryption.clone(),
                })),
            };
        }
        if spec.needs_tags() {
            return Err(cipher_error(luksmith_crypt::Error::Combination {
                spec: crypt.encryption.clone(),
                why: "this cipher needs the integrity type of its tags, which the segment lacks",
            }));
        }
        return Ok(Construction::Plain(spec));
    };
    let spec = auth_spec(segment, spec, integrity)?;
    if options.integrity == IntegrityRequirement::Required && !spec.authenticates() {
        return Err(Error::IntegrityRequired);
    }
    Ok(Construction::Authenticated(spec))
}

fn auth_spec(
    segment: u32,
    cipher: CipherSpec,
    integrity: &HeaderIntegrity,
) -> Result<AuthSpec, Error> {
    for (field, found) in [
        ("journal_encryption", &integrity.journal_encryption),
        ("journal_integrity", &integrity.journal_integrity),
    ] {
        if found != "none" {
            return Err(Error::IntegrityJournal {
                segment,
                field,
                found: Quoted::new(found),
            });
        }
    }
    let mac_key_bytes = integrity
        .key_bytes
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    Integrity::parse(&integrity.kind)
        .and_then(|kind| AuthSpec::new(cipher, kind, mac_key_bytes))
        .map_err(|source| Error::Cipher { segment, source })
}
