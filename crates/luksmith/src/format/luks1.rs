//! A new LUKS1 header.

use std::sync::Arc;

use luksmith_block::{ByteLen, ByteOffset, SECTOR_BYTES};
use luksmith_header::Header;
use luksmith_header::luks1::{self, KEYSLOTS, NewHeader, area_layout, default_payload_sector};
use luksmith_keyslot::cost::Method;
use luksmith_keyslot::digest::KeyDigest;
use luksmith_keyslot::{Effort, Kdf, Material, TryCryptoRng, VolumeKey};

use super::Request;
use super::luks2::{MIN_ITERATIONS, check_keyslot_number, costs, salt, uuid};
use super::options::{FormatOptions, HeaderPlace, KdfChoice, option};
use super::staging::{Staged, fill_randomly, memory};
use crate::Error;

/// Bytes of every LUKS1 digest.
const DIGEST_BYTES: usize = 20;
/// Milliseconds that the check of a digest takes in terms of a keyslot's target.
const DIGEST_MILLISECONDS: u64 = 125;
/// What is zeroed where the data do not start soon behind the header.
const SHORT_WIPE: u64 = 4096;
/// Most that is zeroed in front of the data.
const MAX_WIPED: u64 = 128 << 20;

pub(super) fn stage<R: TryCryptoRng + ?Sized>(
    request: &Request<'_>,
    key: VolumeKey,
    random: &mut R,
    effort: &mut Effort<'_>,
) -> Result<Staged, Error> {
    let options = request.options;
    check_keyslot_number(options.keyslot, 8)?;
    let key_bytes = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (offsets, end) = area_layout(key_bytes)?;
    let payload = payload_sector(options, key_bytes)?;
    let area_end = u64::from(end) * SECTOR_BYTES;
    if let Some(size) = request.header_len
        && size.get() < area_end
    {
        return Err(Error::HeaderRoom {
            needed: ByteLen::new(area_end),
            size,
        });
    }
    let kdf = kdf(options, key_bytes, effort)?;
    let header = new_header(options, &key, payload, kdf, area_end, random, effort)?;
    let image = memory(area_end)?;
    // The areas start at sector 8: the header alone is in front of them.
    let headers_len = u64::from(offsets.first().copied().unwrap_or(8)) * SECTOR_BYTES;
    fill_randomly(&image, headers_len, area_end, random)?;
    let mut staged = Staged {
        header: Header::Luks1(header.clone()),
        key,
        keyslot: None,
        headers_len,
        copies: vec![headers_len],
        wiped_len: wiped_len(payload),
        image: Arc::new(image),
    };
    if let Some(passphrase) = request.passphrase {
        let mut header = header;
        let salt = salt(random)?;
        let Kdf::Pbkdf2 { hash, iterations } = kdf else {
            return Err(not_pbkdf2());
        };
        let slot = usize::try_from(options.keyslot).unwrap_or(KEYSLOTS);
        let sector = offsets.get(slot).copied().unwrap_or_default();
        let encryption = header.encryption();
        let material = Material {
            keyslot: options.keyslot,
            kdf,
            salt: &salt,
            offset: ByteOffset::new(u64::from(sector) * SECTOR_BYTES),
            encryption: &encryption,
            area_key_bytes: key_bytes,
            af_hash: hash,
        };
        let image = staged.image.as_ref();
        material.write(image, &staged.key, passphrase, random, effort)?;
        header.enable_keyslot(options.keyslot, iterations, salt)?;
        staged.keyslot = Some(options.keyslot);
        staged.header = Header::Luks1(header);
    }
    if let Header::Luks1(header) = &staged.header {
        luks1::write(staged.image.as_ref(), header)?;
    }
    Ok(staged)
}

fn payload_sector(options: &FormatOptions, key_bytes: u32) -> Result<u32, Error> {
    let sectors = |what: &'static str, bytes: u64| {
        if !bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(option(
                what,
                &bytes.to_string(),
                "it must be whole sectors of 512 bytes",
            ));
        }
        u32::try_from(bytes / SECTOR_BYTES).map_err(|_| {
            option(
                what,
                &bytes.to_string(),
                "LUKS1 counts 2^32 sectors at most",
            )
        })
    };
    match (options.data_offset, &options.place) {
        (Some(0), HeaderPlace::Attached) => Err(option(
            "data offset",
            "0",
            "the data would start inside the header; only a detached header has its data at 0",
        )),
        (Some(offset), _) => sectors("data offset", offset),
        (None, HeaderPlace::Attached) => {
            let alignment = sectors("alignment", options.alignment)?;
            Ok(default_payload_sector(key_bytes, alignment, 0)?)
        }
        (None, _) => Ok(0),
    }
}

/// LUKS1 knows one key derivation, and one hash for everything.
fn kdf(options: &FormatOptions, key_bytes: u32, effort: &Effort<'_>) -> Result<Kdf, Error> {
    let choice = match options.kdf {
        KdfChoice::Measured(Method::Pbkdf2 { .. }, target) => {
            let hash = options.hash;
            KdfChoice::Measured(Method::Pbkdf2 { hash }, target)
        }
        KdfChoice::Measured(..) => return Err(not_pbkdf2()),
        other => other,
    };
    match costs(choice, options.hash, key_bytes, effort)? {
        Kdf::Pbkdf2 { hash, .. } if hash != options.hash => Err(option(
            "hash",
            hash.as_str(),
            "LUKS1 has one hash for keyslots, digest and splitter",
        )),
        kdf @ Kdf::Pbkdf2 { .. } => Ok(kdf),
        _ => Err(not_pbkdf2()),
    }
}

fn not_pbkdf2() -> Error {
    option("key derivation", "argon2", "LUKS1 has pbkdf2 alone")
}

fn new_header<R: TryCryptoRng + ?Sized>(
    options: &FormatOptions,
    key: &VolumeKey,
    payload_sector: u32,
    kdf: Kdf,
    device_len: u64,
    random: &mut R,
    effort: &mut Effort<'_>,
) -> Result<luks1::Header, Error> {
    let iterations = match (options.digest_iterations, options.kdf, kdf) {
        (Some(iterations), _, _) => iterations,
        (None, KdfChoice::Measured(_, target), Kdf::Pbkdf2 { iterations, .. }) => {
            let target = u64::try_from(target.as_millis()).unwrap_or(u64::MAX).max(1);
            let share = u64::from(iterations).saturating_mul(DIGEST_MILLISECONDS) / target;
            u32::try_from(share).unwrap_or(u32::MAX).max(MIN_ITERATIONS)
        }
        _ => MIN_ITERATIONS,
    };
    let digest_salt = salt(random)?;
    let made = KeyDigest::of(
        key,
        0,
        options.hash,
        iterations,
        &digest_salt,
        DIGEST_BYTES,
        effort,
    )?;
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(made.digest());
    let (name, mode) = match options.cipher.split_once('-') {
        Some(parts) => parts,
        None => (options.cipher.as_str(), "plain"),
    };
    let new = NewHeader {
        cipher_name: name.into(),
        cipher_mode: mode.into(),
        hash: options.hash,
        key_bytes: u32::try_from(key.len()).unwrap_or(u32::MAX),
        payload_sector,
        digest,
        digest_salt,
        digest_iterations: iterations,
        uuid: uuid(options, random)?,
    };
    Ok(luks1::Header::new(&new, ByteLen::new(device_len))?)
}

fn wiped_len(payload_sector: u32) -> u64 {
    match u64::from(payload_sector) * SECTOR_BYTES {
        0 => SHORT_WIPE,
        bytes if bytes > MAX_WIPED => SHORT_WIPE,
        bytes => bytes,
    }
}
