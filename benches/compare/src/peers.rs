//! The other implementations, with their expanded keys kept and the IV set for every sector.

use std::ptr::{null, null_mut};

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
        let mut number = first;
        for sector in data.chunks_exact_mut(sector_bytes) {
            let iv = u128::from(number).to_le_bytes();
            number = number.wrapping_add(step);
            let mut written = 0;
            // SAFETY: the context was keyed in `xts`; the IV has the 16 bytes that XTS reads, and
            // the sector has as many bytes as it is said to have.
            unsafe {
                openssl_sys::EVP_CipherInit_ex(self.0, null(), null_mut(), null(), iv.as_ptr(), -1);
                openssl_sys::EVP_CipherUpdate(
                    self.0,
                    sector.as_mut_ptr(),
                    &raw mut written,
                    sector.as_ptr(),
                    sector_bytes as i32,
                );
            }
        }
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
        let mut number = first;
        for sector in data.chunks_exact_mut(sector_bytes) {
            let iv = u128::from(number).to_le_bytes();
            number = number.wrapping_add(step);
            let mut written = 0;
            // SAFETY: as in `OpenSsl::xts_run`.
            unsafe {
                aws_lc_sys::EVP_CipherInit_ex(self.0, null(), null_mut(), null(), iv.as_ptr(), -1);
                aws_lc_sys::EVP_CipherUpdate(
                    self.0,
                    sector.as_mut_ptr(),
                    &raw mut written,
                    sector.as_ptr(),
                    sector_bytes as i32,
                );
            }
        }
    }
}

impl Drop for AwsLc {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_CIPHER_CTX_new` and freed nowhere else.
        unsafe { aws_lc_sys::EVP_CIPHER_CTX_free(self.0) }
    }
}

/// RustCrypto's `xts-mode` over its `aes`.
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
        let mut number = first;
        for sector in data.chunks_exact_mut(sector_bytes) {
            let iv = u128::from(number).to_le_bytes().into();
            number = number.wrapping_add(step);
            match (self, encrypt) {
                (Self::Aes128(xts), true) => xts.encrypt_sector(sector, iv),
                (Self::Aes128(xts), false) => xts.decrypt_sector(sector, iv),
                (Self::Aes256(xts), true) => xts.encrypt_sector(sector, iv),
                (Self::Aes256(xts), false) => xts.decrypt_sector(sector, iv),
            }
        }
    }
}
