//! Plaintext in, volume out, in one pass: no device, no root, no plaintext on disk.

use std::io::{Read, Write};

use luksmith_block::{ByteLen, ByteOffset, Control, SECTOR_BYTES, SectorNumber, SectorSize};
use luksmith_crypt::SectorCipher;
use luksmith_header::Header;
use luksmith_keyslot::{SystemRandom, TryCryptoRng, VolumeKey};
use zeroize::Zeroizing;

use crate::copy::read_full;
use crate::format::{HeaderPlace, stage};
use crate::plan::{Construction, Plan};
use crate::{Error, FormatOptions, NewKeys};

/// Bytes that are encrypted at once.
const CHUNK: usize = 1 << 20;

/// What an encoding wrote.
#[derive(Debug)]
#[non_exhaustive]
pub struct Encoded {
    /// The header.
    pub header: Header,
    /// The volume key.
    pub key: VolumeKey,
    /// Where the data start.
    pub data_offset: ByteOffset,
    /// All bytes written: header, keyslot areas, data.
    pub bytes: u64,
}

/// Writes a volume to `out` whose plaintext is `plain`, `len` bytes long. A length between sectors
/// is filled up with zeros.
///
/// Nothing is written before the header is made. If the plaintext turns out to be shorter or longer
/// than announced, or anything fails, what was written is no whole volume: remove it.
///
/// ```
/// use luksmith::block::{ByteLen, MemDevice, SectorSize};
/// use luksmith::{FormatOptions, KdfChoice, NewKeys, OpenOptions, Passphrase, Unlock};
///
/// let passphrase = Passphrase::new(b"0123456789abcdef0123456789abcdef")?;
/// let options = FormatOptions::workload_image().kdf(KdfChoice::HighEntropy);
/// let plain = [7; 8192];
/// let mut image = Vec::new();
/// luksmith::encode_stream(
///     &mut plain.as_slice(),
///     ByteLen::new(8192),
///     NewKeys::passphrase(&passphrase),
///     &options,
///     &mut image,
/// )?;
/// assert_eq!(image.len(), 4040 * 512 + 8192);
/// let device = MemDevice::from_bytes(&image, SectorSize::S512);
/// luksmith::open(device, Unlock::Passphrase(&passphrase), &OpenOptions::new())?;
/// # Ok::<(), luksmith::Error>(())
/// ```
///
/// # Errors
/// As [`format()`](crate::format()) for options; [`Error::FormatOption`] for integrity, for a
/// header elsewhere and for a length of 0; [`Error::StreamLength`], [`Error::Stream`];
/// [`Error::Device`] once the control of the options cancels.
pub fn encode_stream(
    plain: &mut dyn Read,
    len: ByteLen,
    keys: NewKeys<'_>,
    options: &FormatOptions,
    out: &mut dyn Write,
) -> Result<Encoded, Error> {
    encode_stream_with(plain, len, keys, options, out, &mut SystemRandom)
}

/// As [`encode_stream`], with a random source of the caller's: the same source and the same
/// plaintext give the same bytes, which tests want and nobody else may use.
///
/// # Errors
/// As [`encode_stream`].
pub fn encode_stream_with<R: TryCryptoRng + ?Sized>(
    plain: &mut dyn Read,
    len: ByteLen,
    keys: NewKeys<'_>,
    options: &FormatOptions,
    out: &mut dyn Write,
    random: &mut R,
) -> Result<Encoded, Error> {
    let option = |option, found: &str, rule| Error::FormatOption {
        option,
        found: found.into(),
        rule,
    };
    if !matches!(options.place, HeaderPlace::Attached) {
        return Err(option(
            "header",
            "elsewhere",
            "a stream has its header in front",
        ));
    }
    if len == ByteLen::ZERO {
        return Err(option(
            "length of the plaintext",
            "0",
            "a volume has at least one sector of data, or nothing can open it",
        ));
    }
    let size = options.sector_size.unwrap_or(SectorSize::S512);
    let options = options.clone().sector_size(size);
    let resolved = options.resolve_any_length()?;
    let Construction::Plain(spec) = resolved.construction else {
        return Err(option(
            "integrity",
            options.integrity.as_deref().unwrap_or_default(),
            "tags and data of a stream cannot be interleaved in one pass; format a file instead",
        ));
    };
    let staged = stage(None, keys, &options, &resolved, random)?;
    let plan = Plan::of(&staged.header, &options.opening())?;
    let cipher = SectorCipher::new(&spec, staged.key.expose(), plan.sector_size)
        .map_err(|source| plan.cipher_error(source))?;
    let front = staged.image.to_vec();
    let written = |result: std::io::Result<()>| {
        result.map_err(|source| Error::Stream {
            what: "writing the volume",
            source,
        })
    };
    written(out.write_all(&front))?;
    let gap = plan.offset.saturating_sub(ByteLen::of(&front).get());
    written(std::io::copy(&mut std::io::repeat(0).take(gap), out).map(drop))?;
    let data = encrypt(plain, len, &cipher, out, &options.control)?;
    written(out.flush())?;
    Ok(Encoded {
        header: staged.header,
        key: staged.key,
        data_offset: ByteOffset::new(plan.offset),
        bytes: plan.offset + data,
    })
}

/// Encrypts exactly `len` bytes, filled up to whole sectors, and gives how many that are.
fn encrypt(
    plain: &mut dyn Read,
    len: ByteLen,
    cipher: &SectorCipher,
    out: &mut dyn Write,
    control: &Control,
) -> Result<u64, Error> {
    control.begin(len.get());
    let reading = |source| Error::Stream {
        what: "reading the plaintext",
        source,
    };
    let sector = cipher.sector_size().bytes();
    let mut buffer = Zeroizing::new(vec![0; CHUNK]);
    let mut done = 0;
    while done < len.get() {
        let left = ByteLen::new(len.get() - done).to_usize();
        let wanted = left.map_or(CHUNK, |left| left.min(CHUNK));
        let (chunk, _) = buffer.split_at_mut(wanted.next_multiple_of(sector));
        let (data, padding) = chunk.split_at_mut(wanted);
        let found = read_full(plain, data).map_err(reading)?;
        if found < wanted {
            return Err(Error::StreamLength {
                announced: len,
                found: ByteLen::new(done + found as u64),
            });
        }
        padding.fill(0);
        let first = SectorNumber::new(done / SECTOR_BYTES);
        cipher
            .encrypt_in_place(first, chunk)
            .map_err(|source| Error::Cipher { segment: 0, source })?;
        out.write_all(chunk).map_err(|source| Error::Stream {
            what: "writing the volume",
            source,
        })?;
        done += ByteLen::of(chunk).get();
        control.advance(wanted as u64)?;
    }
    if read_full(plain, &mut [0]).map_err(reading)? > 0 {
        return Err(Error::StreamLength {
            announced: len,
            found: ByteLen::new(len.get() + 1),
        });
    }
    Ok(done)
}
