//! The key object of AES-GCM sectors.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::portable::PortableGcm;
use crate::arch::VectorGcm;
use crate::buffers::Buffers;
use crate::sha2::{Differing, MAX_PREFIX_BYTES};
use crate::xts::key::Direction;
use crate::xts::tweak::count_sectors;
use crate::{Backend, Error};

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;
/// Sectors that the kernels get at once.
pub(crate) const BATCH: usize = 16;

/// What belongs to each sector of a run, besides its data and its tag.
#[derive(Clone, Copy, Debug)]
pub struct GcmRun<'a> {
    /// One nonce of 12 bytes per sector. A nonce that is used twice with one key gives away both
    /// sectors and lets anybody forge tags.
    pub nonces: &'a [[u8; 12]],
    /// The associated data of all sectors, `ad_bytes` for each, back to back.
    pub ads: &'a [u8],
    /// Bytes of associated data per sector, 0 to 64.
    pub ad_bytes: usize,
    /// Bytes per sector: a multiple of 16.
    pub sector_bytes: usize,
}

impl<'a> GcmRun<'a> {
    /// Nonce and associated data of sector `at`, or nothing past the end.
    pub(crate) fn sector(&self, at: usize) -> Option<(&'a [u8; 12], &'a [u8])> {
        let from = at.checked_mul(self.ad_bytes)?;
        Some((
            self.nonces.get(at)?,
            self.ads.get(from..from.checked_add(self.ad_bytes)?)?,
        ))
    }
}

/// An AES-GCM key, expanded for one [`Backend`].
///
/// The backends of x86-64 have kernels of their own, for AES-128 and AES-256, sectors of 256 to
/// 4096 bytes in steps of 256, and at most 48 bytes of associated data. Everything else goes to the
/// `aes-gcm` crate, which uses AES-NI, VAES or Arm's instructions by itself.
///
/// # Format
/// NIST SP 800-38D with nonces of 96 bits and tags of 128 bits.
pub struct GcmKey {
    backend: Backend,
    portable: PortableGcm,
    vectors: Option<VectorGcm>,
}

impl GcmKey {
    /// Expands a key of 16, 24 or 32 bytes for the best backend.
    ///
    /// # Errors
    /// [`Error::KeyLength`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Self::with_backend(key, Backend::best())
    }

    /// Expands a key for a backend chosen by hand; [`GcmKey::backend`] tells whether it has a
    /// kernel of its own for this key.
    ///
    /// # Errors
    /// [`Error::KeyLength`], and [`Error::BackendUnavailable`] if this machine lacks the
    /// instructions.
    pub fn with_backend(key: &[u8], backend: Backend) -> Result<Self, Error> {
        let expected = "16, 24 or 32";
        let bytes = key.len();
        let length = Error::KeyLength {
            cipher: "AES-GCM",
            bytes,
            expected,
        };
        let portable = PortableGcm::new(key).ok_or(length)?;
        if !backend.is_available() {
            return Err(Error::BackendUnavailable { backend });
        }
        let vectors = VectorGcm::new(backend, key);
        let backend = if vectors.is_some() {
            backend
        } else {
            Backend::Portable
        };
        Ok(Self {
            backend,
            portable,
            vectors,
        })
    }

    /// The backend that serves this key.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Encrypts `src` into `dst` and writes one tag of 16 bytes per sector to `tags`.
    ///
    /// # Errors
    /// [`Error::SectorBytes`], [`Error::PartialSector`], [`Error::PrefixBytes`] and
    /// [`Error::LengthMismatch`] for shapes that do not fit; nothing has been written then.
    pub fn seal(
        &self,
        run: GcmRun<'_>,
        src: &[u8],
        dst: &mut [u8],
        tags: &mut [u8],
    ) -> Result<(), Error> {
        self.seal_buffers(run, Buffers::between(src, dst)?, tags)
    }

    /// Encrypts sectors where they are, as [`GcmKey::seal`] does.
    ///
    /// # Errors
    /// As [`GcmKey::seal`].
    pub fn seal_in_place(
        &self,
        run: GcmRun<'_>,
        data: &mut [u8],
        tags: &mut [u8],
    ) -> Result<(), Error> {
        self.seal_buffers(run, Buffers::in_place(data), tags)
    }

    /// Verifies the tags of all sectors of `src` and decrypts them into `dst`.
    ///
    /// The plaintext is valid only if this returns `Ok`; otherwise all of `dst` is zero.
    ///
    /// # Errors
    /// [`Error::TagMismatch`] with the first sector whose tag is wrong, as an index into the run,
    /// and the count of all such sectors; shapes as in [`GcmKey::seal`], which leave `dst` alone.
    pub fn open(
        &self,
        run: GcmRun<'_>,
        src: &[u8],
        tags: &[u8],
        dst: &mut [u8],
    ) -> Result<(), Error> {
        self.check(run, src.len(), tags.len())?;
        let opened = self.open_buffers(run, Buffers::between(src, dst)?, tags);
        opened.inspect_err(|_| dst.zeroize())
    }

    /// Verifies and decrypts sectors where they are, as [`GcmKey::open`] does.
    ///
    /// # Errors
    /// As [`GcmKey::open`]; all of `data` is zero if a tag is wrong.
    pub fn open_in_place(
        &self,
        run: GcmRun<'_>,
        data: &mut [u8],
        tags: &[u8],
    ) -> Result<(), Error> {
        self.check(run, data.len(), tags.len())?;
        let opened = self.open_buffers(run, Buffers::in_place(data), tags);
        opened.inspect_err(|_| data.zeroize())
    }

    fn seal_buffers(
        &self,
        run: GcmRun<'_>,
        mut buffers: Buffers<'_>,
        tags: &mut [u8],
    ) -> Result<(), Error> {
        self.check(run, buffers.len(), tags.len())?;
        let (tags, _) = tags.as_chunks_mut::<TAG_BYTES>();
        if let Some(vectors) = self.vectors_for(run) {
            for (batch, tags) in tags.chunks_mut(BATCH).enumerate() {
                let data = buffers.take(tags.len() * run.sector_bytes);
                vectors.crypt(Direction::Encrypt, run, batch * BATCH, data, tags);
            }
            return Ok(());
        }
        for (at, tag) in tags.iter_mut().enumerate() {
            let sector = buffers.take(run.sector_bytes);
            let Some((nonce, ad)) = run.sector(at) else {
                break;
            };
            *tag = self.portable.seal(nonce, ad, sector);
        }
        Ok(())
    }

    fn open_buffers(
        &self,
        run: GcmRun<'_>,
        mut buffers: Buffers<'_>,
        tags: &[u8],
    ) -> Result<(), Error> {
        let mut differing = Differing::default();
        let (tags, _) = tags.as_chunks::<TAG_BYTES>();
        if let Some(vectors) = self.vectors_for(run) {
            let mut computed = [[0; TAG_BYTES]; BATCH];
            for (batch, tags) in tags.chunks(BATCH).enumerate() {
                let data = buffers.take(tags.len() * run.sector_bytes);
                let computed = &mut computed[..tags.len()];
                vectors.crypt(Direction::Decrypt, run, batch * BATCH, data, computed);
                if !all_same(computed, tags) {
                    let (have, want) = (computed.as_flattened(), tags.as_flattened());
                    differing.compare(batch * BATCH, have, TAG_BYTES, want, TAG_BYTES);
                }
            }
            computed.zeroize();
            return differing.into_result();
        }
        for (at, tag) in tags.iter().enumerate() {
            let sector = buffers.take(run.sector_bytes);
            let Some((nonce, ad)) = run.sector(at) else {
                break;
            };
            let opened = u8::from(self.portable.open(nonce, ad, sector, tag));
            differing.compare(at, &[opened], 1, &[1], 1);
        }
        differing.into_result()
    }

    /// The kernels of this key, if they take the shape of the run.
    fn vectors_for(&self, run: GcmRun<'_>) -> Option<&VectorGcm> {
        let vectors = self.vectors.as_ref()?;
        vectors
            .takes(run.sector_bytes, run.ad_bytes)
            .then_some(vectors)
    }

    /// Checks that everything of a run fits together.
    fn check(&self, run: GcmRun<'_>, data: usize, tags: usize) -> Result<(), Error> {
        let sectors = count_sectors(data, run.sector_bytes)?;
        if run.ad_bytes > MAX_PREFIX_BYTES {
            return Err(Error::PrefixBytes {
                bytes: run.ad_bytes,
                max: MAX_PREFIX_BYTES,
            });
        }
        let lengths = [
            (
                "list of nonces",
                run.nonces.len() * NONCE_BYTES,
                sectors * NONCE_BYTES,
            ),
            ("associated data", run.ads.len(), sectors * run.ad_bytes),
            ("tags", tags, sectors * TAG_BYTES),
        ];
        for (what, bytes, expected) in lengths {
            if bytes != expected {
                return Err(Error::LengthMismatch {
                    what,
                    bytes,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// Tells whether two lists of tags are the same, in constant time.
fn all_same(computed: &[[u8; TAG_BYTES]], expected: &[[u8; TAG_BYTES]]) -> bool {
    let mut differences = 0;
    for (computed, expected) in computed.iter().zip(expected) {
        let halves = computed.as_chunks().0.iter().zip(expected.as_chunks().0);
        for (a, b) in halves {
            differences |= u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        }
    }
    differences.ct_eq(&0).into()
}

impl fmt::Debug for GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "GcmKey(AES-{}, {})",
            self.portable.key_bits(),
            self.backend
        )
    }
}
