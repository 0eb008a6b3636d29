//! A new LUKS2 header.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen};
use luksmith_hash::HashName;
use luksmith_header::luks2::{
    self, LayoutOptions, NewDigest, NewIntegrity, NewKeyslot, NewLayout, NewSegment,
    initial_metadata,
};
use luksmith_header::{Header, Priority, random_uuid};
use luksmith_keyslot::cost::{check_forced, measure, measure_digest};
use luksmith_keyslot::digest::KeyDigest;
use luksmith_keyslot::{Effort, Kdf, Material, Passphrase, SALT_BYTES, TryCryptoRng, VolumeKey};

use super::Request;
use super::options::{FormatOptions, HeaderPlace, KdfChoice, option};
use super::staging::{Staged, fill_randomly, memory};
use crate::Error;
use crate::plan::Construction;

/// Fewest iterations of a digest: what there are where nothing was measured.
pub(super) const MIN_ITERATIONS: u32 = 1000;

pub(super) fn stage<R: TryCryptoRng + ?Sized>(
    request: &Request<'_>,
    key: VolumeKey,
    random: &mut R,
    effort: &mut Effort<'_>,
) -> Result<Staged, Error> {
    let options = request.options;
    let layout = layout(request)?;
    let headers_len = layout.header_size.bytes() * 2;
    let total = layout.total_len().get();
    let uuid = uuid(options, random)?;
    let segment = segment(request, &layout)?;
    let digest = digest(&key, options, random, effort)?;
    let metadata = initial_metadata(&layout, &segment, &digest)?;
    let mut header = luks2::Header::new(metadata, &uuid)?;
    header.set_label(&options.label)?;
    header.set_subsystem(&options.subsystem)?;
    if options.no_journal {
        header.metadata_mut().edit(|draft| {
            draft.set_flags(&["no-journal".to_owned()]);
            Ok(())
        })?;
    }
    let image = memory(total)?;
    // Twice, like cryptsetup: without the keyslot first, so that sequence numbers are the same.
    luks2::write(&image, &mut header, random)?;
    fill_randomly(&image, headers_len, total, random)?;
    let mut keyslot = None;
    if let Some(passphrase) = request.passphrase {
        let new = Slot {
            options,
            key: &key,
            passphrase,
            construction: &request.resolved.construction,
        };
        new.add(&image, &mut header, random, effort)?;
        luks2::write(&image, &mut header, random)?;
        keyslot = Some(options.keyslot);
    }
    // Behind the keyslot, which they may name.
    for (id, token) in &options.tokens {
        let token = token.clone();
        let metadata = header.metadata_mut();
        metadata.edit(|draft| draft.add_token(*id, token))?;
        luks2::write(&image, &mut header, random)?;
    }
    let header_len = request.header_len.unwrap_or(ByteLen::new(total));
    Ok(Staged {
        header: Header::Luks2(header),
        key,
        keyslot,
        headers_len,
        copies: vec![layout.header_size.bytes(); 2],
        wiped_len: layout.wiped_len(header_len).get(),
        image: Arc::new(image),
    })
}

fn layout(request: &Request<'_>) -> Result<NewLayout, Error> {
    let options = request.options;
    let device_len = request.header_len.map_or(u64::MAX, ByteLen::get);
    let mut wanted = match options.place {
        HeaderPlace::Attached => {
            let mut wanted = LayoutOptions::attached(device_len);
            wanted.alignment = options.alignment;
            wanted
        }
        _ => LayoutOptions::detached(device_len),
    };
    wanted.can_grow = false;
    wanted.header_size = options.header_size;
    wanted.keyslots_len = options.keyslots_len;
    wanted.data_offset = options.data_offset;
    let layout = NewLayout::plan(&wanted)?;
    if device_len < layout.total_len().get() {
        return Err(Error::HeaderRoom {
            needed: layout.total_len(),
            size: ByteLen::new(device_len),
        });
    }
    // Where nobody chose a length, the device left no room for it.
    let is_default = options.keyslots_len.is_none() && options.data_offset.is_none();
    if is_default && request.passphrase.is_some() {
        let headers = layout.header_size.bytes() * 2;
        let key_bytes = u32::try_from(request.resolved.key_bytes).unwrap_or(u32::MAX);
        let area = luks2::area_bytes(key_bytes);
        let needed = headers.saturating_add(area);
        if layout.total_len().get() < needed {
            return Err(Error::HeaderRoom {
                needed: ByteLen::new(needed),
                size: ByteLen::new(device_len),
            });
        }
    }
    let inside = layout.data_offset.get() < layout.total_len().get();
    if matches!(options.place, HeaderPlace::Attached) && inside {
        return Err(option(
            "data offset",
            &layout.data_offset.to_string(),
            "the data would start inside the header; only a detached header has its data at 0",
        ));
    }
    Ok(layout)
}

fn segment(request: &Request<'_>, layout: &NewLayout) -> Result<NewSegment, Error> {
    let size = request.resolved.sector_size(layout.data_offset.get())?;
    let integrity = match &request.resolved.construction {
        Construction::Authenticated(spec) => Some(NewIntegrity {
            kind: spec.integrity().to_string(),
            key_bytes: request
                .options
                .integrity_key_bytes
                .map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
        }),
        _ => None,
    };
    Ok(NewSegment {
        encryption: request.options.cipher.clone(),
        // At most 4096.
        sector_size: u32::try_from(size.bytes()).unwrap_or(u32::MAX),
        integrity,
    })
}

fn digest<R: TryCryptoRng + ?Sized>(
    key: &VolumeKey,
    options: &FormatOptions,
    random: &mut R,
    effort: &mut Effort<'_>,
) -> Result<NewDigest, Error> {
    let hash = options.hash;
    let iterations = match (options.digest_iterations, options.kdf) {
        (Some(iterations), _) => iterations,
        (None, KdfChoice::Measured(..)) => measure_digest(hash, &options.control)?,
        _ => MIN_ITERATIONS,
    };
    let salt = salt(random)?;
    let bytes = hash.digest_bytes();
    let digest = KeyDigest::of(key, 0, hash, iterations, &salt, bytes, effort)?;
    Ok(NewDigest {
        hash: hash.as_str().into(),
        iterations,
        salt,
        digest: digest.digest().into(),
        segments: vec![0],
    })
}

/// Draws a salt.
pub(super) fn salt<R: TryCryptoRng + ?Sized>(random: &mut R) -> Result<[u8; SALT_BYTES], Error> {
    let mut salt = [0; SALT_BYTES];
    random
        .try_fill_bytes(&mut salt)
        .map_err(|_| luksmith_keyslot::Error::Random)?;
    Ok(salt)
}

/// Gives the UUID that was asked for, or a random one.
pub(super) fn uuid<R: TryCryptoRng + ?Sized>(
    options: &FormatOptions,
    random: &mut R,
) -> Result<String, Error> {
    match &options.uuid {
        Some(uuid) => Ok(uuid.clone()),
        None => Ok(random_uuid(random)?),
    }
}

/// Chooses the costs of a keyslot's key derivation.
pub(super) fn costs(
    choice: KdfChoice,
    hash: HashName,
    area_key_bytes: u32,
    effort: &Effort<'_>,
) -> Result<Kdf, Error> {
    Ok(match choice {
        KdfChoice::Exactly(kdf) => kdf,
        KdfChoice::Stated(kdf) => check_forced(kdf)?,
        KdfChoice::HighEntropy => Kdf::Pbkdf2 {
            hash,
            iterations: MIN_ITERATIONS,
        },
        KdfChoice::Measured(method, target) => {
            measure(method, area_key_bytes, target, effort.control)?
        }
    })
}

/// The first keyslot.
struct Slot<'a> {
    options: &'a FormatOptions,
    key: &'a VolumeKey,
    passphrase: &'a Passphrase,
    construction: &'a Construction,
}

impl Slot<'_> {
    /// Writes the key's area and puts the keyslot into the metadata.
    fn add<D: BlockDevice + ?Sized, R: TryCryptoRng + ?Sized>(
        &self,
        device: &D,
        header: &mut luks2::Header,
        random: &mut R,
        effort: &mut Effort<'_>,
    ) -> Result<(), Error> {
        let (encryption, area_key_bytes) = self.area_cipher();
        let key_bytes = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        let kdf = costs(self.options.kdf, self.options.hash, area_key_bytes, effort)?;
        let salt = salt(random)?;
        let af_hash = self.options.hash;
        let kdf_object = kdf.with_salt(salt);
        let mut place = None;
        let id = self.options.keyslot;
        let priority = self.options.priority;
        header.metadata_mut().edit(|draft| {
            let (area_offset, area_len) = draft.find_area(key_bytes)?;
            let slot = NewKeyslot {
                key_bytes,
                af_hash: af_hash.as_str().into(),
                area_offset,
                area_len,
                encryption: encryption.clone(),
                area_key_bytes,
                kdf: kdf_object,
            };
            draft.add_keyslot(id, &slot, 0)?;
            if priority != Priority::Normal {
                draft.set_priority(id, priority)?;
            }
            place = Some(area_offset);
            Ok(())
        })?;
        let Some(offset) = place else {
            unreachable!("the change above found a place or failed");
        };
        let material = Material {
            keyslot: id,
            kdf,
            salt: &salt,
            offset,
            encryption: &encryption,
            area_key_bytes,
            af_hash,
        };
        material.write(device, self.key, self.passphrase, random, effort)?;
        Ok(())
    }

    /// Gives cipher and key length of the area, by cryptsetup's rules.
    fn area_cipher(&self) -> (String, u32) {
        if let Some((encryption, bytes)) = &self.options.keyslot_cipher {
            return (encryption.clone(), *bytes);
        }
        match self.construction {
            Construction::Plain(spec)
                if spec.serves_areas() && !self.options.cipher.starts_with("capi:") =>
            {
                let bytes = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
                (self.options.cipher.clone(), bytes)
            }
            _ => ("aes-xts-plain64".into(), 64),
        }
    }
}

/// What cannot be had of LUKS1 and LUKS2 alike.
pub(super) fn check_keyslot_number(keyslot: u32, count: u32) -> Result<(), Error> {
    if keyslot < count {
        return Ok(());
    }
    Err(option(
        "keyslot",
        &keyslot.to_string(),
        "LUKS2 has keyslots 0 to 31, LUKS1 0 to 7",
    ))
}
