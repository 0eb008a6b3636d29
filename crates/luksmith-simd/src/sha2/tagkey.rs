//! The public key object: a hash or HMAC with its keyed states, ready for runs of sectors.

use super::MAX_PREFIX_BYTES;
use super::layout::Layout;
use super::{HashBackend, portable};
use super::{SHA256_INIT, SHA512_INIT};
use crate::Error;
use crate::arch::Kernels;
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Which function makes the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TagHash {
    /// SHA-256 without a key (FIPS 180-4).
    Sha256,
    /// SHA-512 without a key (FIPS 180-4).
    Sha512,
    /// HMAC with SHA-256 (RFC 2104).
    HmacSha256,
    /// HMAC with SHA-512 (RFC 2104).
    HmacSha512,
}

impl TagHash {
    /// Length of a full tag: 32 or 64 bytes.
    pub const fn tag_bytes(self) -> usize {
        match self {
            Self::Sha256 | Self::HmacSha256 => 32,
            Self::Sha512 | Self::HmacSha512 => 64,
        }
    }
}

/// State before the first message block, and for HMAC the state before the outer block.
#[derive(Zeroize, ZeroizeOnDrop)]
enum States {
    Bits256 {
        inner: [u32; 8],
        outer: Option<[u32; 8]>,
    },
    Bits512 {
        inner: [u64; 8],
        outer: Option<[u64; 8]>,
    },
}

/// The states after the key, inner and outer, and the kernels.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
pub(crate) type Parts256<'a> = (&'a [u32; 8], Option<&'a [u32; 8]>, Kernels);

/// A tag function with its key, expanded once and used for any number of sectors.
///
/// The message of sector `i` is its prefix, `prefix_bytes` (0..=64) taken from position
/// `i * prefix_bytes` of `prefixes`, followed by its `sector_bytes` of data.
///
/// ```
/// use luksmith_simd::TagKey;
///
/// let key = TagKey::hmac_sha256(b"a key of any length");
/// let data = [7_u8; 4 * 512];
/// let numbers: Vec<u8> = (0..4_u64).flat_map(u64::to_le_bytes).collect();
/// let mut tags = [0; 4 * 32];
/// key.tags(&numbers, 8, 512, &data, &mut tags)?;
/// key.verify(&numbers, 8, 512, &data, &tags, 32)?;
/// # Ok::<(), luksmith_simd::Error>(())
/// ```
#[derive(ZeroizeOnDrop)]
pub struct TagKey {
    #[zeroize(skip)]
    hash: TagHash,
    states: States,
    #[zeroize(skip)]
    kernels: Kernels,
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagKey({:?})", self.hash)
    }
}

impl TagKey {
    /// HMAC-SHA256 under `key`, which may have any length (RFC 2104 hashes keys above 64 bytes).
    pub fn hmac_sha256(key: &[u8]) -> Self {
        let (inner, outer) = hmac_states_256(key);
        let states = States::Bits256 {
            inner,
            outer: Some(outer),
        };
        Self {
            hash: TagHash::HmacSha256,
            states,
            kernels: Kernels::new(HashBackend::best()),
        }
    }

    /// HMAC-SHA512 under `key`, which may have any length (RFC 2104 hashes keys above 128 bytes).
    pub fn hmac_sha512(key: &[u8]) -> Self {
        let (inner, outer) = hmac_states_512(key);
        let states = States::Bits512 {
            inner,
            outer: Some(outer),
        };
        Self {
            hash: TagHash::HmacSha512,
            states,
            kernels: Kernels::new(HashBackend::best()),
        }
    }

    /// Plain SHA-256: finds accidents, not attackers.
    pub fn sha256() -> Self {
        let states = States::Bits256 {
            inner: SHA256_INIT,
            outer: None,
        };
        Self {
            hash: TagHash::Sha256,
            states,
            kernels: Kernels::new(HashBackend::best()),
        }
    }

    /// Plain SHA-512: finds accidents, not attackers.
    pub fn sha512() -> Self {
        let states = States::Bits512 {
            inner: SHA512_INIT,
            outer: None,
        };
        Self {
            hash: TagHash::Sha512,
            states,
            kernels: Kernels::new(HashBackend::best()),
        }
    }

    /// The same key, computed with the kernels of `backend`.
    ///
    /// # Errors
    /// [`Error::HashBackendUnavailable`] if this machine lacks its instructions.
    pub fn with_backend(mut self, backend: HashBackend) -> Result<Self, Error> {
        if !backend.is_available() {
            return Err(Error::HashBackendUnavailable { backend });
        }
        self.kernels = Kernels::new(backend);
        Ok(self)
    }

    /// The function of this key.
    pub fn hash(&self) -> TagHash {
        self.hash
    }

    /// Length of a full tag: 32 or 64 bytes.
    pub fn tag_bytes(&self) -> usize {
        self.hash.tag_bytes()
    }

    /// Writes the full tags of all sectors of `data` to `out`, back to back.
    ///
    /// `data` holds whole sectors of `sector_bytes`; `prefixes` holds `prefix_bytes` for each of
    /// them; `out` has [`tag_bytes`](Self::tag_bytes) for each.
    ///
    /// # Errors
    /// [`Error::PrefixBytes`], [`Error::PartialSector`] or [`Error::LengthMismatch`] if the
    /// lengths do not fit together as said above; nothing has been written then.
    pub fn tags(
        &self,
        prefixes: &[u8],
        prefix_bytes: usize,
        sector_bytes: usize,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let sectors = check_shape(prefixes, prefix_bytes, sector_bytes, data)?;
        check_length("tag buffer", out.len(), sectors, self.tag_bytes())?;
        self.tags_checked(prefixes, prefix_bytes, sector_bytes, data, out);
        Ok(())
    }

    /// [`tags`](Self::tags) for lengths that fit together.
    pub(crate) fn tags_checked(
        &self,
        prefixes: &[u8],
        prefix_bytes: usize,
        sector_bytes: usize,
        data: &[u8],
        out: &mut [u8],
    ) {
        match &self.states {
            States::Bits256 { inner, outer } => {
                let keyed_bytes = if outer.is_some() { 64 } else { 0 };
                let layout = Layout::new(keyed_bytes, prefix_bytes, sector_bytes);
                self.kernels
                    .tags_256(inner, outer.as_ref(), &layout, prefixes, data, out);
            }
            States::Bits512 { inner, outer } => {
                let keyed_bytes = if outer.is_some() { 128 } else { 0 };
                let layout = Layout::new(keyed_bytes, prefix_bytes, sector_bytes);
                self.kernels
                    .tags_512(inner, outer.as_ref(), &layout, prefixes, data, out);
            }
        }
    }

    /// What a kernel needs that computes 256-bit tags together with something else.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    pub(crate) fn parts_256(&self) -> Option<Parts256<'_>> {
        match &self.states {
            States::Bits256 { inner, outer } => Some((inner, outer.as_ref(), self.kernels)),
            States::Bits512 { .. } => None,
        }
    }

    /// Compares the tags of all sectors of `data` with `expected`. The time tells which sectors
    /// differ, as the result does, and never where in a tag: each one is compared as a whole.
    ///
    /// Shapes are those of [`tags`](Self::tags); `expected` holds the first `expected_bytes` of
    /// each tag (1 to [`tag_bytes`](Self::tag_bytes)), back to back.
    ///
    /// # Errors
    /// [`Error::TagMismatch`] with the first sector that differs and the count of all that do;
    /// [`Error::TagBytes`] and the errors of [`tags`](Self::tags) for lengths that do not fit.
    pub fn verify(
        &self,
        prefixes: &[u8],
        prefix_bytes: usize,
        sector_bytes: usize,
        data: &[u8],
        expected: &[u8],
        expected_bytes: usize,
    ) -> Result<(), Error> {
        let sectors = check_shape(prefixes, prefix_bytes, sector_bytes, data)?;
        let tag_bytes = self.tag_bytes();
        if !(1..=tag_bytes).contains(&expected_bytes) {
            return Err(Error::TagBytes {
                bytes: expected_bytes,
                max: tag_bytes,
            });
        }
        check_length("expected tags", expected.len(), sectors, expected_bytes)?;
        let mut differing = Differing::default();
        let mut computed = [0; PASS * 64];
        let mut start = 0;
        while start < sectors {
            let n = pass(sectors - start, sector_bytes);
            let computed = &mut computed[..n * tag_bytes];
            self.tags_checked(
                &prefixes[start * prefix_bytes..(start + n) * prefix_bytes],
                prefix_bytes,
                sector_bytes,
                &data[start * sector_bytes..(start + n) * sector_bytes],
                computed,
            );
            let expected = &expected[start * expected_bytes..(start + n) * expected_bytes];
            differing.compare(start, computed, tag_bytes, expected, expected_bytes);
            start += n;
        }
        // Tags of data that an attacker chose are what he must not learn. Those that he knows stay.
        differing.into_result().inspect_err(|_| computed.zeroize())
    }
}

/// The most sectors that one [`pass`] takes.
pub(crate) const PASS: usize = 32;

/// How many of `left` sectors go through cipher and hash together: as many as the widest kernel
/// takes, two sets of 16 lanes.
///
/// Of larger sectors it is one set: those of 4096 bytes have the same place of every sector in one
/// set of the first-level cache, which 32 of them fill twice.
pub(crate) fn pass(left: usize, sector_bytes: usize) -> usize {
    if left >= PASS && sector_bytes <= 2048 {
        PASS
    } else {
        left.min(16)
    }
}

/// Collects which sectors differ; positions are public once all sectors have been compared.
#[derive(Default)]
pub(crate) struct Differing {
    first: usize,
    count: usize,
}

impl Differing {
    /// Compares the first `expected_bytes` of each computed tag; `start` is the first's index.
    pub(crate) fn compare(
        &mut self,
        start: usize,
        computed: &[u8],
        tag_bytes: usize,
        expected: &[u8],
        expected_bytes: usize,
    ) {
        // Full tags at once: whether all are right is public soon enough.
        if expected_bytes == tag_bytes && same_bytes(computed, expected) {
            return;
        }
        for (i, (have, want)) in computed
            .chunks_exact(tag_bytes)
            .zip(expected.chunks_exact(expected_bytes))
            .enumerate()
        {
            let same = same_bytes(&have[..expected_bytes], want);
            if !same && self.count == 0 {
                self.first = start + i;
            }
            self.count += usize::from(!same);
        }
    }

    /// Whether no difference was found so far.
    pub(crate) fn none(&self) -> bool {
        self.count == 0
    }

    /// The verdict over everything compared.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        match self.count {
            0 => Ok(()),
            count => Err(Error::TagMismatch {
                first: self.first,
                count,
            }),
        }
    }
}

/// Compares equally long texts without a branch or index that depends on them. By words, because
/// byte after byte it takes a fifth as long as hashing a 512-byte sector.
fn same_bytes(have: &[u8], want: &[u8]) -> bool {
    let (have_words, have_rest) = have.as_chunks::<8>();
    let (want_words, want_rest) = want.as_chunks::<8>();
    let words = have_words
        .iter()
        .zip(want_words)
        .fold(0, |differing, (have, want)| {
            differing | (u64::from_le_bytes(*have) ^ u64::from_le_bytes(*want))
        });
    let rest = have_rest
        .iter()
        .zip(want_rest)
        .fold(0, |differing, (have, want)| differing | (have ^ want));
    bool::from((words | u64::from(rest)).ct_eq(&0))
}

/// Number of sectors in `data`, once prefixes and data fit together.
pub(crate) fn check_shape(
    prefixes: &[u8],
    prefix_bytes: usize,
    sector_bytes: usize,
    data: &[u8],
) -> Result<usize, Error> {
    if prefix_bytes > MAX_PREFIX_BYTES {
        return Err(Error::PrefixBytes {
            bytes: prefix_bytes,
            max: MAX_PREFIX_BYTES,
        });
    }
    if sector_bytes == 0 || !data.len().is_multiple_of(sector_bytes) {
        return Err(Error::PartialSector {
            bytes: data.len(),
            sector_bytes,
        });
    }
    let sectors = data.len() / sector_bytes;
    check_length("prefixes", prefixes.len(), sectors, prefix_bytes)?;
    Ok(sectors)
}

/// Refuses `what` unless it has `each` bytes for every sector.
pub(crate) fn check_length(
    what: &'static str,
    bytes: usize,
    sectors: usize,
    each: usize,
) -> Result<(), Error> {
    let expected = sectors.saturating_mul(each);
    if bytes == expected {
        Ok(())
    } else {
        Err(Error::LengthMismatch {
            what,
            bytes,
            expected,
        })
    }
}

/// The states of HMAC-SHA256 after the inner and the outer key pad.
pub(crate) fn hmac_states_256(key: &[u8]) -> ([u32; 8], [u32; 8]) {
    let mut pad = [0_u8; 64];
    if key.len() > pad.len() {
        let mut state = SHA256_INIT;
        hash_long_256(&mut state, key);
        portable::write_be_256(&state, &mut pad[..32]);
        state.zeroize();
    } else {
        pad[..key.len()].copy_from_slice(key);
    }
    let (mut inner, mut outer) = (SHA256_INIT, SHA256_INIT);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36);
    portable::compress_256(&mut inner, &[pad]);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    portable::compress_256(&mut outer, &[pad]);
    pad.zeroize();
    (inner, outer)
}

/// The states of HMAC-SHA512 after the inner and the outer key pad.
pub(crate) fn hmac_states_512(key: &[u8]) -> ([u64; 8], [u64; 8]) {
    let mut pad = [0_u8; 128];
    if key.len() > pad.len() {
        let mut state = SHA512_INIT;
        hash_long_512(&mut state, key);
        portable::write_be_512(&state, &mut pad[..64]);
        state.zeroize();
    } else {
        pad[..key.len()].copy_from_slice(key);
    }
    let (mut inner, mut outer) = (SHA512_INIT, SHA512_INIT);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36);
    portable::compress_512(&mut inner, &[pad]);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    portable::compress_512(&mut outer, &[pad]);
    pad.zeroize();
    (inner, outer)
}

/// Hashes a key that is longer than a block.
fn hash_long_256(state: &mut [u32; 8], key: &[u8]) {
    let layout = Layout::new(0, 0, key.len());
    portable::compress_256(state, layout.body(key).as_chunks().0);
    let mut tail = [[0; 64]; 2];
    portable::compress_256(state, layout.fill_tail(&[], key, &mut tail));
    tail.zeroize();
}

/// Hashes a key that is longer than a block.
fn hash_long_512(state: &mut [u64; 8], key: &[u8]) {
    let layout = Layout::new(0, 0, key.len());
    portable::compress_512(state, layout.body(key).as_chunks().0);
    let mut tail = [[0; 128]; 2];
    portable::compress_512(state, layout.fill_tail(&[], key, &mut tail));
    tail.zeroize();
}

/// Finishes an HMAC-SHA256 over `first || second`, where `state` is the one after the inner pad;
/// `state` becomes the digest.
pub(crate) fn hmac_finish_256(state: &mut [u32; 8], outer: &[u32; 8], first: &[u8], second: &[u8]) {
    let mut buffer = [0_u8; 64];
    let mut filled = 0;
    for byte in first.iter().chain(second) {
        buffer[filled] = *byte;
        filled += 1;
        if filled == 64 {
            portable::compress_256(state, &[buffer]);
            filled = 0;
        }
    }
    let layout = Layout::new(64 + first.len() + second.len() - filled, 0, filled);
    let mut tail = [[0; 64]; 2];
    portable::compress_256(state, layout.fill_tail(&[], &buffer[..filled], &mut tail));
    let block = portable::outer_block_256(state);
    *state = *outer;
    portable::compress_256(state, &[block]);
}

/// [`hmac_finish_256`] for SHA-512.
pub(crate) fn hmac_finish_512(state: &mut [u64; 8], outer: &[u64; 8], first: &[u8], second: &[u8]) {
    let mut buffer = [0_u8; 128];
    let mut filled = 0;
    for byte in first.iter().chain(second) {
        buffer[filled] = *byte;
        filled += 1;
        if filled == 128 {
            portable::compress_512(state, &[buffer]);
            filled = 0;
        }
    }
    let layout = Layout::new(128 + first.len() + second.len() - filled, 0, filled);
    let mut tail = [[0; 128]; 2];
    portable::compress_512(state, layout.fill_tail(&[], &buffer[..filled], &mut tail));
    let block = portable::outer_block_512(state);
    *state = *outer;
    portable::compress_512(state, &[block]);
}
