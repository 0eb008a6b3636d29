//! The OpenSSL of the system, loaded beside our own: on a stable distribution it is an older one.

use std::ffi::{CStr, c_int, c_uchar, c_void};
use std::ptr::{null, null_mut};

use crate::mac_peers::Sha256Calls;
use crate::peers::with_ivs;

/// The symbols of EVP that XTS takes, of one loaded library.
#[derive(Clone, Copy)]
pub struct SystemOpenSsl {
    version: unsafe extern "C" fn(c_int) -> *const std::ffi::c_char,
    context_new: unsafe extern "C" fn() -> *mut c_void,
    aes_256_xts: unsafe extern "C" fn() -> *const c_void,
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
    sha256: Sha256Calls,
}

impl SystemOpenSsl {
    /// The library, where there is one of version 3.
    pub fn load() -> Option<Self> {
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
                aes_256_xts: call!(c"EVP_aes_256_xts"),
                init: call!(c"EVP_CipherInit_ex"),
                update: call!(c"EVP_CipherUpdate"),
                sha256: Sha256Calls {
                    init: call!(c"SHA256_Init"),
                    update: call!(c"SHA256_Update"),
                    finish: call!(c"SHA256_Final"),
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

    /// Its SHA-256, for [`OpenSslMac`](crate::mac_peers::OpenSslMac).
    pub fn sha256(self) -> Sha256Calls {
        self.sha256
    }

    /// AES-256-XTS, keyed once. The context lives as long as the program.
    pub fn xts(self, key: &[u8], encrypt: bool) -> SystemXts {
        assert_eq!(key.len(), 64);
        // SAFETY: the context is made and checked here; the key has the 64 bytes that the cipher
        // reads, and EVP copies it.
        let context = unsafe {
            let context = (self.context_new)();
            assert!(!context.is_null());
            let cipher = (self.aes_256_xts)();
            let encrypt = c_int::from(encrypt);
            let done = (self.init)(context, cipher, null_mut(), key.as_ptr(), null(), encrypt);
            assert_eq!(done, 1);
            context
        };
        SystemXts {
            library: self,
            context,
        }
    }
}

/// A keyed cipher of the system's library.
pub struct SystemXts {
    library: SystemOpenSsl,
    context: *mut c_void,
}

impl SystemXts {
    pub fn run(&mut self, first: u64, step: u64, sector_bytes: usize, data: &mut [u8]) {
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
