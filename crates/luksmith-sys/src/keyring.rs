//! The keyring that Linux keeps for a process: keys of other programs, by their descriptions.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod calls;

use std::{ffi::CStr, io, time::Duration};

use crate::LockedBytes;

/// Most bytes of a key that is read.
const MAX_KEY_BYTES: usize = 1 << 20;

/// Reads the key of type `user` with this description from the keyrings of the calling thread, its
/// process, its session and its user. `None` if there is none. No program is asked to make one.
///
/// # Errors
/// What the system said: the key is revoked or expired, or may not be read. On systems without
/// keyrings [`io::ErrorKind::Unsupported`].
pub fn user_key(description: &CStr) -> io::Result<Option<LockedBytes>> {
    let Some(serial) = request(description)? else {
        return Ok(None);
    };
    let mut len = read(serial, &mut [])?;
    // A key that grows meanwhile is read again: its new length is the answer.
    loop {
        if len > MAX_KEY_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the key has {len} bytes, {MAX_KEY_BYTES} are the most that is read"),
            ));
        }
        let mut key = LockedBytes::new(len)?;
        let found = read(serial, &mut key)?;
        if found == len {
            return Ok(Some(key));
        }
        len = found;
    }
}

/// Puts a key of type `user` into the session's keyring, for this process and those that it starts.
/// The system removes it after `lifetime`, which counts in whole seconds, at least one.
///
/// # Errors
/// What the system said: the quota of the user is used up, for example. On systems without
/// keyrings [`io::ErrorKind::Unsupported`].
pub fn add_user_key(description: &CStr, key: &[u8], lifetime: Duration) -> io::Result<()> {
    let seconds = u32::try_from(lifetime.as_secs().max(1)).unwrap_or(u32::MAX);
    let serial = add(description, key)?;
    expire(serial, seconds).inspect_err(|_| {
        // Without a lifetime it would stay as long as the session. There is no more to be done if
        // this fails too; the error is told in any case.
        let _ = revoke(serial);
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
use calls::{add, expire, read, request, revoke};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn no_keyrings() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system has no keyrings")
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn request(_: &CStr) -> io::Result<Option<i32>> {
    Err(no_keyrings())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn add(_: &CStr, _: &[u8]) -> io::Result<i32> {
    Err(no_keyrings())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn expire(_: i32, _: u32) -> io::Result<()> {
    Err(no_keyrings())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn revoke(_: i32) -> io::Result<()> {
    Err(no_keyrings())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read(_: i32, _: &mut [u8]) -> io::Result<usize> {
    Err(no_keyrings())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    use crate::not_run::not_run;

    /// Some sandboxes allow no keyrings.
    fn refused(error: &io::Error) {
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        not_run("keyring", &format!("this system gives no keyring: {error}"));
    }

    #[test]
    fn a_key_is_read_whole_and_one_that_is_not_there_is_none() {
        let name = |text: &str| {
            let text = format!("luksmith-sys:test:{}:{text}", std::process::id());
            std::ffi::CString::new(text).expect("no zero in it")
        };
        let bytes: Vec<u8> = (0..=250).cycle().take(3000).collect();
        let here = name("here");
        if let Err(error) = add_user_key(&here, &bytes, Duration::from_secs(60)) {
            return refused(&error);
        }
        let found = user_key(&here).expect("a keyring").expect("a key");
        assert_eq!(*found, bytes[..]);
        assert!(user_key(&name("nowhere")).expect("a keyring").is_none());
    }

    #[test]
    fn a_key_that_was_revoked_gives_nothing() {
        let text = format!("luksmith-sys:test:{}:revoked", std::process::id());
        let name = std::ffi::CString::new(text).expect("no zero in it");
        let serial = match add(&name, b"secret") {
            Ok(serial) => serial,
            Err(error) => return refused(&error),
        };
        revoke(serial).expect("a key of ours");
        assert!(!matches!(user_key(&name), Ok(Some(_))));
    }
}
