//! The OpenSSL of the system, loaded beside our own: on a stable distribution it is an older one.

use std::ffi::{CStr, c_int, c_uchar, c_void};
use std::ptr::{null, null_mut};

use crate::mac_peers::{Pbkdf2Calls, Sha256Calls, Sha512Calls};
use crate::peers::{EvpGcm, with_ivs};

/// What makes a cipher or a digest.
type Maker = unsafe extern "C" fn() -> *const c_void;

/// The symbols of EVP that ciphers take, and those of hashes, of one loaded library.
#[derive(Clone, Copy)]
pub struct SystemOpenSsl {
    version: unsafe extern "C" fn(c_int) -> *const std::ffi::c_char,
    context_new: unsafe extern "C" fn() -> *mut c_void,
    aes_128_xts: Maker,
    aes_256_xts: Maker,
    aes_256_gcm: Maker,
    init: unsafe extern "C" fn(
        *mut c_void,
        *const c_void,
        *mut c_void,
        *const c_uchar,
        *const c_uchar,
        c_int,
    ) -> c_int,
    update:
        unsafe extern "C" fn(*mut c_void, *mut c_uchar, *mut c_int, *const c_uchar, c_int) -> c_int,
    finish: unsafe extern "C" fn(*mut c_void, *mut c_uchar, *mut c_int) -> c_int,
    control: unsafe extern "C" fn(*mut c_void, c_int, c_int, *mut c_void) -> c_int,
    /// Its SHA-256, for [`OpenSslMac`](crate::mac_peers::OpenSslMac).
    pub sha256: Sha256Calls,
    /// Its SHA-512.
    pub sha512: Sha512Calls,
    /// Its key derivation.
    pub pbkdf2: Pbkdf2Calls,
}

impl SystemOpenSsl {
    /// The library, where there is one of version 3.0: it has no AVX-512 code for what is compared,
    /// and so stands for CPUs without AVX-512, which later ones have.
    pub fn load() -> Option<Self> {
        Self::load_any().filter(|one| one.version().starts_with("OpenSSL 3.0."))
    }

    /// The library, where there is one of version 3.
    fn load_any() -> Option<Self> {
        // SAFETY: the name is a C string; the library is never unloaded, so its symbols stay. They
        // have the types that OpenSSL 3 declares for their names.
        unsafe {
            let flags = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_DEEPBIND;
            let library = libc::dlopen(c"libcrypto.so.3".as_ptr(), flags);
            if library.is_null() {
                return None;
            }
            let symbol = |name: &CStr| {
                let address = libc::dlsym(library, name.as_ptr());
                (!address.is_null()).then_some(address)
            };
            macro_rules! call {
                ($name:literal) => {
                    core::mem::transmute_copy(&symbol($name)?)
                };
            }
            Some(Self {
                version: call!(c"OpenSSL_version"),
                context_new: call!(c"EVP_CIPHER_CTX_new"),
                aes_128_xts: call!(c"EVP_aes_128_xts"),
                aes_256_xts: call!(c"EVP_aes_256_xts"),
                aes_256_gcm: call!(c"EVP_aes_256_gcm"),
                init: call!(c"EVP_CipherInit_ex"),
                update: call!(c"EVP_CipherUpdate"),
                finish: call!(c"EVP_CipherFinal_ex"),
                control: call!(c"EVP_CIPHER_CTX_ctrl"),
                sha256: Sha256Calls {
                    init: call!(c"SHA256_Init"),
                    update: call!(c"SHA256_Update"),
                    finish: call!(c"SHA256_Final"),
                },
                sha512: Sha512Calls {
                    init: call!(c"SHA512_Init"),
                    update: call!(c"SHA512_Update"),
                    finish: call!(c"SHA512_Final"),
                },
                pbkdf2: Pbkdf2Calls {
                    derive: call!(c"PKCS5_PBKDF2_HMAC"),
                    sha256: call!(c"EVP_sha256"),
                    sha512: call!(c"EVP_sha512"),
                },
            })
        }
    }

    /// What it calls itself.
    pub fn version(self) -> String {
        // SAFETY: the text is static and ends with a zero.
        let text = unsafe { CStr::from_ptr((self.version)(0)) };
        text.to_string_lossy().into_owned()
    }

    /// AES-XTS, keyed once.
    pub fn xts(self, key: &[u8], encrypt: bool) -> SystemCipher {
        let cipher = match key.len() {
            32 => self.aes_128_xts,
            64 => self.aes_256_xts,
            other => panic!("no XTS key of {other} bytes"),
        };
        self.keyed(cipher, key, encrypt)
    }

    /// AES-256-GCM, keyed once.
    pub fn gcm(self, key: &[u8], encrypt: bool) -> SystemCipher {
        assert_eq!(key.len(), 32);
        self.keyed(self.aes_256_gcm, key, encrypt)
    }

    /// A cipher whose key has this length. The context lives as long as the program.
    fn keyed(self, cipher: Maker, key: &[u8], encrypt: bool) -> SystemCipher {
        // SAFETY: the context is made and checked here; the callers see to it that the key has as
        // many bytes as the cipher reads, and EVP copies it.
        let context = unsafe {
            let context = (self.context_new)();
            assert!(!context.is_null());
            let (cipher, encrypt) = (cipher(), c_int::from(encrypt));
            let done = (self.init)(context, cipher, null_mut(), key.as_ptr(), null(), encrypt);
            assert_eq!(done, 1);
            context
        };
        SystemCipher {
            library: self,
            context,
        }
    }
}

/// A keyed cipher of the system's library.
pub struct SystemCipher {
    library: SystemOpenSsl,
    context: *mut c_void,
}

impl SystemCipher {
    /// AES-XTS over sectors.
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
                    (self.library.init)(self.context, null(), null_mut(), null(), iv.as_ptr(), -1);
                    (self.library.update)(
                        self.context,
                        sector.as_mut_ptr(),
                        &raw mut written,
                        sector.as_ptr(),
                        sector_bytes as c_int,
                    );
                }
            },
        );
    }
}

impl EvpGcm for SystemCipher {
    fn sector(&mut self, nonce: &[u8; 12], ad: &[u8], src: *const u8, dst: &mut [u8]) {
        let (library, context, mut written) = (self.library, self.context, 0);
        // SAFETY: the context was keyed in `gcm`; the nonce has the 12 bytes that GCM reads by
        // default, and the other slices have as many bytes as they are said to have.
        unsafe {
            (library.init)(context, null(), null_mut(), null(), nonce.as_ptr(), -1);
            let ad_bytes = ad.len() as c_int;
            let out = &raw mut written;
            (library.update)(context, null_mut(), out, ad.as_ptr(), ad_bytes);
            (library.update)(context, dst.as_mut_ptr(), out, src, dst.len() as c_int);
        }
    }

    fn tag(&mut self) -> [u8; 16] {
        let (mut written, mut end, mut tag) = (0, [0_u8; 16], [0_u8; 16]);
        // SAFETY: the tag has the 16 bytes that are asked for; GCM writes nothing at the end, but
        // the place would be large enough for a block.
        unsafe {
            (self.library.finish)(self.context, end.as_mut_ptr(), &raw mut written);
            let to = tag.as_mut_ptr().cast();
            (self.library.control)(self.context, openssl_sys::EVP_CTRL_GCM_GET_TAG, 16, to);
        }
        tag
    }

    fn has(&mut self, tag: &[u8; 16]) -> bool {
        let (mut written, mut end) = (0, [0_u8; 16]);
        // SAFETY: the tag has the 16 bytes that are read; as in `tag` otherwise.
        unsafe {
            let tag = tag.as_ptr().cast_mut().cast();
            (self.library.control)(self.context, openssl_sys::EVP_CTRL_GCM_SET_TAG, 16, tag);
            (self.library.finish)(self.context, end.as_mut_ptr(), &raw mut written) == 1
        }
    }
}
