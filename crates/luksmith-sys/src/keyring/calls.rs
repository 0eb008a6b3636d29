//! The system calls, which no crate of ours wraps.

#![expect(
    unsafe_code,
    reason = "system calls take addresses that the kernel reads and writes"
)]

use std::{ffi::CStr, io, ptr};

/// Gives the serial number of a key of type `user`.
pub(super) fn request(description: &CStr) -> io::Result<Option<i32>> {
    // SAFETY: both texts end in a zero byte and live until the call returns (`CStr`); a null
    // pointer as the third argument says that no program is to be asked, and 0 as the fourth that
    // no keyring gets the key. The call writes to no memory of this process.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_request_key,
            c"user".as_ptr(),
            description.as_ptr(),
            ptr::null::<libc::c_char>(),
            0 as libc::c_int,
        )
    };
    if serial < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENOKEY) => Ok(None),
            _ => Err(error),
        };
    }
    i32::try_from(serial).map(Some).map_err(io::Error::other)
}

/// Reads a key as far as `buffer` goes, and gives its whole length.
pub(super) fn read(serial: i32, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most as many bytes as the fourth argument says to the address
    // in the third: those of `buffer`, which is borrowed mutably until the call returns.
    let len = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_READ,
            serial,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}

/// Puts a key into the keyring of the session, and gives its serial number.
pub(super) fn add(description: &CStr, key: &[u8]) -> io::Result<i32> {
    // SAFETY: both texts end in a zero byte (`CStr`), the kernel reads as many bytes of `key` as
    // the fourth argument says, and all three live until the call returns. The call writes to no
    // memory of this process.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            description.as_ptr(),
            key.as_ptr(),
            key.len(),
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    };
    match serial {
        ..0 => Err(io::Error::last_os_error()),
        _ => i32::try_from(serial).map_err(io::Error::other),
    }
}

/// Has the system remove a key after this many seconds.
pub(super) fn expire(serial: i32, seconds: u32) -> io::Result<()> {
    // SAFETY: all arguments are numbers; the call touches no memory of this process.
    let done =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SET_TIMEOUT, serial, seconds) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a key unreadable at once, wherever it is linked.
pub(super) fn revoke(serial: i32) -> io::Result<()> {
    // SAFETY: all arguments are numbers; the call touches no memory of this process.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_REVOKE, serial) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
