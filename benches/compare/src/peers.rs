//! The other implementations, with their expanded keys kept and the IV set for every sector.

use std::ptr::{null, null_mut};

use luksmith_simd::GcmRun;

/// What OpenSSL calls itself.
pub fn openssl_version() -> String {
    // SAFETY: the text is static and ends with a zero.
    let text = unsafe { std::ffi::CStr::from_ptr(openssl_sys::OpenSSL_version(0)) };
    text.to_string_lossy().into_owned()
}

/// A cipher of OpenSSL's EVP, keyed once.
pub struct OpenSsl(*mut openssl_sys::EVP_CIPHER_CTX);

impl OpenSsl {
    pub fn xts(key: &[u8], encrypt: bool) -> Self {
        // SAFETY: the context is made and checked here; the cipher's key has the length that the
        // match gives it, and EVP copies it.
        unsafe {
            let context = openssl_sys::EVP_CIPHER_CTX_new();
            assert!(!context.is_null());
            let cipher = match key.len() {
                32 => openssl_sys::EVP_aes_128_xts(),
                64 => openssl_sys::EVP_aes_256_xts(),
                other => panic!("no XTS key of {other} bytes"),
            };
            let done = openssl_sys::EVP_CipherInit_ex(
                context,
                cipher,
                null_mut(),
                key.as_ptr(),
                null(),
                i32::from(encrypt),
            );
            assert_eq!(done, 1);
            Self(context)
        }
    }

    pub fn xts_run(&mut self, first: u64, step: u64, sector_bytes: usize, data: &mut [u8]) {
        with_ivs(
            first,
            step,
            data.chunks_exact_mut(sector_bytes),
            |iv, sector| {
                let mut written = 0;
                // SAFETY: the context was keyed in `xts`; the IV has the 16 bytes that XTS reads,
                // and the sector has as many bytes as it is said to have.
                unsafe {
                    openssl_sys::EVP_CipherInit_ex(
                        self.0,
                        null(),
                        null_mut(),
                        null(),
                        iv.as_ptr(),
                        -1,
                    );
                    openssl_sys::EVP_CipherUpdate(
                        self.0,
                        sector.as_mut_ptr(),
                        &raw mut written,
                        sector.as_ptr(),
                        sector_bytes as i32,
                    );
                }
            },
        );
    }
}

/// Takes sectors one by one, each with its IV: the numbers from `first` on, `step` apart.
pub fn with_ivs<'a>(
    first: u64,
    step: u64,
    sectors: impl Iterator<Item = &'a mut [u8]>,
    mut work: impl FnMut([u8; 16], &mut [u8]),
) {
    let mut number = first;
    for sector in sectors {
        work(u128::from(number).to_le_bytes(), sector);
        number = number.wrapping_add(step);
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_CIPHER_CTX_new` and freed nowhere else.
        unsafe { openssl_sys::EVP_CIPHER_CTX_free(self.0) }
    }
}

/// A cipher of AWS-LC's EVP, keyed once.
pub struct AwsLc(*mut aws_lc_sys::EVP_CIPHER_CTX);

impl AwsLc {
    /// AES-256-XTS; `None` for AES-128, which AWS-LC does not have in this mode.
    pub fn xts(key: &[u8], encrypt: bool) -> Option<Self> {
        if key.len() != 64 {
            return None;
        }
        // SAFETY: as in `OpenSsl::xts`.
        unsafe {
            let context = aws_lc_sys::EVP_CIPHER_CTX_new();
            assert!(!context.is_null());
            let done = aws_lc_sys::EVP_CipherInit_ex(
                context,
                aws_lc_sys::EVP_aes_256_xts(),
                null_mut(),
                key.as_ptr(),
                null(),
                i32::from(encrypt),
            );
            assert_eq!(done, 1);
            Some(Self(context))
        }
    }

    pub fn xts_run(&mut self, first: u64, step: u64, sector_bytes: usize, data: &mut [u8]) {
        with_ivs(
            first,
            step,
            data.chunks_exact_mut(sector_bytes),
            |iv, sector| {
                let mut written = 0;
                // SAFETY: as in `OpenSsl::xts_run`.
                unsafe {
                    aws_lc_sys::EVP_CipherInit_ex(
                        self.0,
                        null(),
                        null_mut(),
                        null(),
                        iv.as_ptr(),
                        -1,
                    );
                    aws_lc_sys::EVP_CipherUpdate(
                        self.0,
                        sector.as_mut_ptr(),
                        &raw mut written,
                        sector.as_ptr(),
                        sector_bytes as i32,
                    );
                }
            },
        );
    }
}

impl Drop for AwsLc {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_CIPHER_CTX_new` and freed nowhere else.
        unsafe { aws_lc_sys::EVP_CIPHER_CTX_free(self.0) }
    }
}

/// RustCrypto's `xts-mode` over its `aes`.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each case, and none moves while it is timed"
)]
pub enum RustCrypto {
    Aes128(xts_mode::Xts128<aes::Aes128>),
    Aes256(xts_mode::Xts128<aes::Aes256>),
}

impl RustCrypto {
    pub fn xts(key: &[u8]) -> Self {
        use aes::cipher::KeyInit;
        let (data, tweak) = key.split_at(key.len() / 2);
        if data.len() == 16 {
            let [data, tweak] =
                [data, tweak].map(|key| aes::Aes128::new_from_slice(key).expect("16 bytes"));
            Self::Aes128(xts_mode::Xts128::new(data, tweak))
        } else {
            let [data, tweak] =
                [data, tweak].map(|key| aes::Aes256::new_from_slice(key).expect("32 bytes"));
            Self::Aes256(xts_mode::Xts128::new(data, tweak))
        }
    }

    pub fn xts_run(
        &self,
        encrypt: bool,
        first: u64,
        step: u64,
        sector_bytes: usize,
        data: &mut [u8],
    ) {
        with_ivs(
            first,
            step,
            data.chunks_exact_mut(sector_bytes),
            |iv, sector| match (self, encrypt) {
                (Self::Aes128(xts), true) => xts.encrypt_sector(sector, iv.into()),
                (Self::Aes128(xts), false) => xts.decrypt_sector(sector, iv.into()),
                (Self::Aes256(xts), true) => xts.encrypt_sector(sector, iv.into()),
                (Self::Aes256(xts), false) => xts.decrypt_sector(sector, iv.into()),
            },
        );
    }
}

/// AES-256-GCM of a library with OpenSSL's EVP, keyed once.
pub trait EvpGcm {
    /// Sets the nonce, takes the associated data, and works on a sector. `src` points to as many
    /// bytes as `dst` has, and may be the same memory.
    fn sector(&mut self, nonce: &[u8; 12], ad: &[u8], src: *const u8, dst: &mut [u8]);
    /// Ends the sector that was sealed and gives its tag.
    fn tag(&mut self) -> [u8; 16];
    /// Ends the sector that was opened and tells whether its tag is this one.
    fn has(&mut self, tag: &[u8; 16]) -> bool;

    /// Seals each sector in place and writes its tag.
    fn seal(&mut self, run: GcmRun<'_>, data: &mut [u8], tags: &mut [u8]) {
        let sectors = data.chunks_exact_mut(run.sector_bytes);
        let ads = run.ads.chunks_exact(run.ad_bytes);
        let tags = tags.as_chunks_mut().0.iter_mut();
        for (((sector, nonce), ad), tag) in sectors.zip(run.nonces).zip(ads).zip(tags) {
            self.sector(nonce, ad, sector.as_ptr(), sector);
            *tag = self.tag();
        }
    }

    /// Opens each sector of `src` into `dst` and checks its tag.
    fn open(&mut self, run: GcmRun<'_>, src: &[u8], dst: &mut [u8], tags: &[u8]) {
        let sectors = src
            .chunks_exact(run.sector_bytes)
            .zip(dst.chunks_exact_mut(run.sector_bytes));
        let ads = run.ads.chunks_exact(run.ad_bytes);
        let tags = tags.as_chunks().0;
        for ((((src, dst), nonce), ad), tag) in sectors.zip(run.nonces).zip(ads).zip(tags) {
            self.sector(nonce, ad, src.as_ptr(), dst);
            assert!(self.has(tag), "tag of a sector");
        }
    }
}

/// The calls of EVP, which OpenSSL and AWS-LC share, for AES-256-GCM sectors.
macro_rules! evp_gcm {
    ($name:ident, $sys:ident, $final:path, $get_tag:expr, $set_tag:expr) => {
        /// AES-256-GCM of this library, keyed once.
        pub struct $name(*mut $sys::EVP_CIPHER_CTX);

        impl $name {
            pub fn new(key: &[u8], encrypt: bool) -> Self {
                assert_eq!(key.len(), 32);
                // SAFETY: the context is made and checked here; the key has the 32 bytes that the
                // cipher reads, and EVP copies it.
                unsafe {
                    let context = $sys::EVP_CIPHER_CTX_new();
                    assert!(!context.is_null());
                    let done = $sys::EVP_CipherInit_ex(
                        context,
                        $sys::EVP_aes_256_gcm(),
                        null_mut(),
                        key.as_ptr(),
                        null(),
                        i32::from(encrypt),
                    );
                    assert_eq!(done, 1);
                    Self(context)
                }
            }
        }

        impl EvpGcm for $name {
            fn sector(&mut self, nonce: &[u8; 12], ad: &[u8], src: *const u8, dst: &mut [u8]) {
                let mut written = 0;
                // SAFETY: the nonce has the 12 bytes that GCM reads by default; the other slices
                // have as many bytes as they are said to have.
                unsafe {
                    $sys::EVP_CipherInit_ex(self.0, null(), null_mut(), null(), nonce.as_ptr(), -1);
                    $sys::EVP_CipherUpdate(
                        self.0,
                        null_mut(),
                        &raw mut written,
                        ad.as_ptr(),
                        ad.len() as i32,
                    );
                    $sys::EVP_CipherUpdate(
                        self.0,
                        dst.as_mut_ptr(),
                        &raw mut written,
                        src,
                        dst.len() as i32,
                    );
                }
            }

            fn tag(&mut self) -> [u8; 16] {
                let (mut written, mut end, mut tag) = (0, [0_u8; 16], [0_u8; 16]);
                // SAFETY: the tag has the 16 bytes that are asked for; GCM writes nothing at the
                // end, but the place would be large enough for a block.
                unsafe {
                    $final(self.0, end.as_mut_ptr(), &raw mut written);
                    $sys::EVP_CIPHER_CTX_ctrl(self.0, $get_tag, 16, tag.as_mut_ptr().cast());
                }
                tag
            }

            fn has(&mut self, tag: &[u8; 16]) -> bool {
                let (mut written, mut end) = (0, [0_u8; 16]);
                // SAFETY: the tag has the 16 bytes that are read; as in `tag` otherwise.
                unsafe {
                    let tag = tag.as_ptr().cast_mut().cast();
                    $sys::EVP_CIPHER_CTX_ctrl(self.0, $set_tag, 16, tag);
                    $final(self.0, end.as_mut_ptr(), &raw mut written) == 1
                }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made by `EVP_CIPHER_CTX_new` and freed nowhere else.
                unsafe { $sys::EVP_CIPHER_CTX_free(self.0) }
            }
        }
    };
}

evp_gcm!(
    OpenSslGcm,
    openssl_sys,
    openssl_sys::EVP_CipherFinal,
    openssl_sys::EVP_CTRL_GCM_GET_TAG,
    openssl_sys::EVP_CTRL_GCM_SET_TAG
);
evp_gcm!(
    AwsLcGcm,
    aws_lc_sys,
    aws_lc_sys::EVP_CipherFinal_ex,
    aws_lc_sys::EVP_CTRL_AEAD_GET_TAG,
    aws_lc_sys::EVP_CTRL_AEAD_SET_TAG
);
