//! What a process that holds keys can ask of the system, and what it was started with.

use std::{fs::File, io};

/// Keeps this process out of core dumps, all of its memory, and debuggers of other processes away;
/// tells whether the system agreed.
///
/// Secrets that live on pages of their own are left out of dumps anyway ([`LockedBytes`]). This is
/// for what is not: expanded keys beside their ciphers, plaintext in buffers, copies on the stack.
/// On Linux the process's entries under `/proc` belong to root afterwards; a program that it starts
/// is not touched.
///
/// [`LockedBytes`]: crate::LockedBytes
#[must_use]
pub fn exclude_from_core_dumps() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

/// Gives a file, pipe or socket that this process was started with, by its descriptor's number.
///
/// It is that very file, not opened again by a name: the position is shared with whoever else has
/// it, it is appended to where it was opened so, and sockets and files that this process could not
/// open itself work too. Programs that this process starts do not get the copy.
///
/// A descriptor that is closed when a program is started was opened by this process itself, such as
/// an earlier copy, and counts as not open. Ask before anything that opens files otherwise, all the
/// same.
///
/// # Errors
/// What the system says of a number that is not open; [`io::ErrorKind::Unsupported`] where
/// descriptors have no numbers.
pub fn inherited(number: u32) -> io::Result<File> {
    #[cfg(unix)]
    {
        let unknown = |_| io::Error::from_raw_os_error(libc::EBADF);
        duplicate(libc::c_int::try_from(number).map_err(unknown)?)
    }
    #[cfg(not(unix))]
    {
        let _ = number;
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(unix)]
#[expect(
    unsafe_code,
    reason = "the standard library takes no descriptor by its number without"
)]
fn duplicate(number: libc::c_int) -> io::Result<File> {
    use std::os::fd::{FromRawFd, OwnedFd};

    /// Lowest number of a copy: 0, 1 and 2 mean something else.
    const LOWEST: libc::c_int = 3;
    // SAFETY: both arguments are numbers, and one that is not open is an error of the call's, which
    // touches no memory of this process.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // No descriptor that came through `exec` has this flag, and everything opened here has it.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: all arguments are numbers, and one that is not open is an error of the call's, which
    // touches no memory of this process.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, LOWEST) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave a descriptor that was not open before, so nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) }.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{Read as _, Seek as _, SeekFrom, Write as _},
        os::{
            fd::{AsFd, AsRawFd as _},
            unix::net::UnixStream,
        },
    };

    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    /// Makes a descriptor look as one that this process was started with, and gives its number.
    fn handed_over(file: &impl AsFd) -> u32 {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("an open file");
        u32::try_from(file.as_fd().as_raw_fd()).expect("no negative number")
    }

    /// A second argument could name the copy that was made for the first, so that one file got what
    /// another was to get.
    #[test]
    fn what_this_process_opened_by_itself_is_not_inherited() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let copy = inherited(handed_over(&theirs)).unwrap();
        for own in [ours.as_raw_fd(), copy.as_raw_fd()] {
            let error = inherited(u32::try_from(own).unwrap()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
    }

    #[test]
    fn an_inherited_file_keeps_its_position_and_how_it_was_opened() {
        let path = std::env::temp_dir().join(format!("luksmith-sys-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let mut options = File::options();
        let mut given = options.read(true).append(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        given.seek(SeekFrom::Start(4)).unwrap();
        let mut copy = inherited(handed_over(&given)).unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "456789");
        copy.rewind().unwrap();
        copy.write_all(b"ab").unwrap();
        given.rewind().unwrap();
        given.read_to_string(&mut text).unwrap();
        assert_eq!(text, "4567890123456789ab");
        let flags = rustix::io::fcntl_getfd(&copy).unwrap();
        assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
        assert!(copy.as_raw_fd() >= 3);
    }

    #[test]
    fn a_socket_is_inherited_and_a_number_that_is_not_open_is_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut copy = inherited(handed_over(&there)).unwrap();
        copy.write_all(b"key").unwrap();
        drop((copy, there));
        let mut text = String::new();
        here.read_to_string(&mut text).unwrap();
        assert_eq!(text, "key");
        for number in [1_000_000_000, u32::MAX] {
            let error = inherited(number).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
    }

    #[test]
    fn the_kernel_is_told_to_dump_nothing_of_this_process() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        assert!(exclude_from_core_dumps());
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
