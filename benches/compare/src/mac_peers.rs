//! The other implementations of MACs and key derivation.

use std::ffi::{c_char, c_int, c_uchar, c_void};
use std::ptr::{null, null_mut};

/// The low-level hash of one OpenSSL, and what makes tags with it: the keyed states are kept and
/// copied for each message, which is faster than any of OpenSSL's MAC interfaces.
macro_rules! low_level_hash {
    ($calls:ident, $mac:ident, $state:path, $block:literal, $digest:literal,
        $init:path, $update:path, $finish:path) => {
        #[derive(Clone, Copy)]
        pub struct $calls {
            pub init: unsafe extern "C" fn(*mut $state) -> c_int,
            pub update: unsafe extern "C" fn(*mut $state, *const c_void, usize) -> c_int,
            pub finish: unsafe extern "C" fn(*mut c_uchar, *mut $state) -> c_int,
        }

        impl $calls {
            /// Those of the OpenSSL that this program is linked with.
            pub fn linked() -> Self {
                Self {
                    init: $init,
                    update: $update,
                    finish: $finish,
                }
            }

            fn start(self, text: &[u8]) -> $state {
                // SAFETY: the context is plain data that `init` fills in; the text has the length
                // said.
                unsafe {
                    let mut context = core::mem::zeroed();
                    (self.init)(&raw mut context);
                    (self.update)(&raw mut context, text.as_ptr().cast(), text.len());
                    context
                }
            }

            fn finish(self, state: &$state, parts: &[&[u8]], out: &mut [u8]) {
                assert_eq!(out.len(), $digest);
                // SAFETY: the context is a copy of one that `start` made, the parts have the
                // lengths said and `out` the bytes of a digest, which are written.
                unsafe {
                    let mut context = core::ptr::read(state);
                    for part in parts {
                        (self.update)(&raw mut context, part.as_ptr().cast(), part.len());
                    }
                    (self.finish)(out.as_mut_ptr(), &raw mut context);
                }
            }
        }

        /// HMAC, or the plain hash.
        pub struct $mac {
            calls: $calls,
            inner: $state,
            outer: Option<$state>,
        }

        impl $mac {
            /// HMAC under a key of at most a block, by the OpenSSL that `calls` belong to.
            pub fn hmac(calls: $calls, key: &[u8]) -> Self {
                let pad = |byte: u8| -> Vec<u8> {
                    let key = key
                        .iter()
                        .copied()
                        .chain(core::iter::repeat(0))
                        .take($block);
                    key.map(|value| value ^ byte).collect()
                };
                Self {
                    calls,
                    inner: calls.start(&pad(0x36)),
                    outer: Some(calls.start(&pad(0x5c))),
                }
            }

            /// The hash without a key.
            pub fn plain(calls: $calls) -> Self {
                Self {
                    calls,
                    inner: calls.start(&[]),
                    outer: None,
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
                    .zip(out.chunks_exact_mut($digest))
                {
                    self.calls.finish(&self.inner, &[prefix, sector], tag);
                    if let Some(outer) = &self.outer {
                        let mut digest = [0; $digest];
                        digest.copy_from_slice(tag);
                        self.calls.finish(outer, &[&digest], tag);
                    }
                }
            }
        }
    };
}

low_level_hash!(
    Sha256Calls,
    OpenSslMac,
    openssl_sys::SHA256_CTX,
    64,
    32,
    openssl_sys::SHA256_Init,
    openssl_sys::SHA256_Update,
    openssl_sys::SHA256_Final
);
low_level_hash!(
    Sha512Calls,
    OpenSslMac512,
    openssl_sys::SHA512_CTX,
    128,
    64,
    openssl_sys::SHA512_Init,
    openssl_sys::SHA512_Update,
    openssl_sys::SHA512_Final
);

/// What PBKDF2-HMAC takes of one OpenSSL.
#[derive(Clone, Copy)]
pub struct Pbkdf2Calls {
    pub derive: unsafe extern "C" fn(
        *const c_char,
        c_int,
        *const c_uchar,
        c_int,
        c_int,
        *const openssl_sys::EVP_MD,
        c_int,
        *mut c_uchar,
    ) -> c_int,
    pub sha256: unsafe extern "C" fn() -> *const openssl_sys::EVP_MD,
    pub sha512: unsafe extern "C" fn() -> *const openssl_sys::EVP_MD,
}

impl Pbkdf2Calls {
    /// Those of the OpenSSL that this program is linked with.
    pub fn linked() -> Self {
        Self {
            derive: openssl_sys::PKCS5_PBKDF2_HMAC,
            sha256: openssl_sys::EVP_sha256,
            sha512: openssl_sys::EVP_sha512,
        }
    }

    pub fn run(self, sha512: bool, password: &[u8], salt: &[u8], iterations: i32, out: &mut [u8]) {
        // SAFETY: pointers and lengths belong to the slices; the digests are OpenSSL's own.
        let done = unsafe {
            (self.derive)(
                password.as_ptr().cast(),
                password.len() as c_int,
                salt.as_ptr(),
                salt.len() as c_int,
                iterations,
                if sha512 {
                    (self.sha512)()
                } else {
                    (self.sha256)()
                },
                out.len() as c_int,
                out.as_mut_ptr(),
            )
        };
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

/// Argon2id with the C reference, built for this CPU, on up to `threads` threads.
pub fn libargon2_argon2id(
    [passes, memory_kib, lanes, threads]: [u32; 4],
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) {
    // SAFETY: every pointer is to memory that lives until the call returns, with its length; the
    // reference reads password and salt, and clears them only if flags ask for it, which are 0.
    let status = unsafe {
        let mut context: argon2_sys::argon2_context = core::mem::zeroed();
        context.out = out.as_mut_ptr();
        context.outlen = out.len() as u32;
        context.pwd = password.as_ptr().cast_mut();
        context.pwdlen = password.len() as u32;
        context.salt = salt.as_ptr().cast_mut();
        context.saltlen = salt.len() as u32;
        context.t_cost = passes;
        context.m_cost = memory_kib;
        context.lanes = lanes;
        context.threads = threads;
        context.version = 0x13;
        argon2_sys::argon2id_ctx(&raw mut context)
    };
    assert_eq!(status, 0, "libargon2");
}
