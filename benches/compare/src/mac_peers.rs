//! The other implementations of MACs and key derivation.

use std::ptr::{null, null_mut};

/// HMAC-SHA256, or plain SHA-256, with OpenSSL's low-level hash: the keyed states are kept and
/// copied for each message, which is faster than any of its MAC interfaces.
pub struct OpenSslMac {
    inner: openssl_sys::SHA256_CTX,
    outer: Option<openssl_sys::SHA256_CTX>,
}

impl OpenSslMac {
    fn start(text: &[u8]) -> openssl_sys::SHA256_CTX {
        // SAFETY: the context is plain data that `SHA256_Init` fills in; the text has the length
        // said.
        unsafe {
            let mut context = core::mem::zeroed();
            openssl_sys::SHA256_Init(&raw mut context);
            openssl_sys::SHA256_Update(&raw mut context, text.as_ptr().cast(), text.len());
            context
        }
    }

    fn finish(state: &openssl_sys::SHA256_CTX, parts: &[&[u8]], out: &mut [u8]) {
        assert_eq!(out.len(), 32);
        // SAFETY: the context is a copy of one that `start` made, the parts have the lengths said
        // and `out` the 32 bytes that are written.
        unsafe {
            let mut context = core::ptr::read(state);
            for part in parts {
                openssl_sys::SHA256_Update(&raw mut context, part.as_ptr().cast(), part.len());
            }
            openssl_sys::SHA256_Final(out.as_mut_ptr(), &raw mut context);
        }
    }

    /// HMAC under a key of at most 64 bytes.
    pub fn hmac(key: &[u8]) -> Self {
        let pad = |byte: u8| -> Vec<u8> {
            let key = key.iter().copied().chain(core::iter::repeat(0)).take(64);
            key.map(|value| value ^ byte).collect()
        };
        Self {
            inner: Self::start(&pad(0x36)),
            outer: Some(Self::start(&pad(0x5c))),
        }
    }

    /// The tags of sectors, each after its prefix.
    pub fn tags(
        &self,
        prefixes: &[u8],
        prefix_bytes: usize,
        sector_bytes: usize,
        data: &[u8],
        out: &mut [u8],
    ) {
        for ((prefix, sector), tag) in prefixes
            .chunks_exact(prefix_bytes)
            .zip(data.chunks_exact(sector_bytes))
            .zip(out.chunks_exact_mut(32))
        {
            Self::finish(&self.inner, &[prefix, sector], tag);
            if let Some(outer) = &self.outer {
                let mut digest = [0; 32];
                digest.copy_from_slice(tag);
                Self::finish(outer, &[&digest], tag);
            }
        }
    }
}

/// PBKDF2-HMAC with OpenSSL.
pub fn openssl_pbkdf2(sha512: bool, password: &[u8], salt: &[u8], iterations: i32, out: &mut [u8]) {
    // SAFETY: pointers and lengths belong to the slices; the digests are OpenSSL's own.
    unsafe {
        let digest = if sha512 {
            openssl_sys::EVP_sha512()
        } else {
            openssl_sys::EVP_sha256()
        };
        let done = openssl_sys::PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len() as i32,
            salt.as_ptr(),
            salt.len() as i32,
            iterations,
            digest,
            out.len() as i32,
            out.as_mut_ptr(),
        );
        assert_eq!(done, 1);
    }
}

/// Argon2id with OpenSSL, on up to `threads` threads.
pub fn openssl_argon2id(
    [passes, memory_kib, lanes, threads]: [u32; 4],
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) {
    let mut numbers = [passes, memory_kib, lanes, threads];
    let names = [c"iter", c"memcost", c"lanes", c"threads"];
    // SAFETY: every pointer is to a value that lives until the call returns, with its length; the
    // parameter list ends with its end mark.
    unsafe {
        openssl_sys::OSSL_set_max_threads(null_mut(), u64::from(threads));
        let mut params: Vec<openssl_sys::OSSL_PARAM> = names
            .iter()
            .zip(&mut numbers)
            .map(|(name, number)| openssl_sys::OSSL_PARAM_construct_uint(name.as_ptr(), number))
            .collect();
        for (name, text) in [(c"pass", password), (c"salt", salt)] {
            params.push(openssl_sys::OSSL_PARAM_construct_octet_string(
                name.as_ptr(),
                text.as_ptr().cast_mut().cast(),
                text.len(),
            ));
        }
        params.push(openssl_sys::OSSL_PARAM_construct_end());
        let kdf = openssl_sys::EVP_KDF_fetch(null_mut(), c"ARGON2ID".as_ptr(), null());
        assert!(!kdf.is_null());
        let context = openssl_sys::EVP_KDF_CTX_new(kdf);
        let done =
            openssl_sys::EVP_KDF_derive(context, out.as_mut_ptr(), out.len(), params.as_ptr());
        assert_eq!(done, 1);
        openssl_sys::EVP_KDF_CTX_free(context);
        openssl_sys::EVP_KDF_free(kdf);
    }
}
