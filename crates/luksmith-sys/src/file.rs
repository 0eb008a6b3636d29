//! What files and block devices can do beyond `std::fs`: sizes, holes, exclusive and direct
//! opening.
//!
//! Positioned reads and writes here are loops: they give all bytes or an error.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A pipe, socket, character device or anything else without addressable bytes.
    Other,
}

/// Tells what `file` is.
///
/// # Errors
/// What the system says.
pub fn kind(file: &File) -> io::Result<FileKind> {
    Ok(kind_of(&file.metadata()?))
}

/// Tells what `path` leads to, without opening it (opening a pipe would wait for its other end).
///
/// # Errors
/// What the system says.
pub fn kind_of_path(path: &Path) -> io::Result<FileKind> {
    Ok(kind_of(&std::fs::metadata(path)?))
}

fn kind_of(metadata: &std::fs::Metadata) -> FileKind {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        return FileKind::Regular;
    }
    if file_type.is_dir() {
        return FileKind::Directory;
    }
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_block_device(&file_type) {
        return FileKind::BlockDevice;
    }
    FileKind::Other
}

/// Ways of opening that `std::fs::OpenOptions` has no name for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// Fails with "busy" if a block device is mounted or used exclusively by someone else
    /// (`O_EXCL` without `O_CREAT`). Linux only.
    pub exclusive: bool,
    /// Goes past the page cache (`O_DIRECT`). Linux only.
    pub direct: bool,
}

/// Opens `path` with `options` and `flags`.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] for a flag that this system does not have, and what the system
/// says.
pub fn open(path: &Path, options: &OpenOptions, flags: OpenFlags) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let options = &{
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;

        let mut options = options.clone();
        let mut custom = OFlags::empty();
        if flags.exclusive {
            custom |= OFlags::EXCL;
        }
        if flags.direct {
            custom |= OFlags::DIRECT;
        }
        options.custom_flags(custom.bits().cast_signed());
        options
    };
    #[cfg(not(target_os = "linux"))]
    if flags != OpenFlags::default() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    options.open(path)
}

/// Gives the size in bytes of a regular file, or of a block device on Linux.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system needs other means, and what the system says.
pub fn size(file: &File) -> io::Result<u64> {
    match kind(file)? {
        FileKind::Regular => Ok(file.metadata()?.len()),
        #[cfg(target_os = "linux")]
        FileKind::BlockDevice => Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::End(0))?),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Sector sizes of a block device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// The smallest request that the device takes.
    pub logical: u32,
    /// What the medium writes at once.
    pub physical: u32,
}

/// Gives the sector sizes of a block device.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system has no such call, and what the system says.
pub fn block_sizes(file: &File) -> io::Result<BlockSizes> {
    #[cfg(target_os = "linux")]
    {
        Ok(BlockSizes {
            logical: rustix::fs::ioctl_blksszget(file)?,
            physical: rustix::fs::ioctl_blkpbszget(file)?,
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Fills `buf` from byte `at`.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the file ends before, and what the system says.
pub fn read_exact_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_exact_at(file, buf, at)
    }
    #[cfg(windows)]
    {
        let mut rest = buf;
        let mut position = at;
        while !rest.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(file, rest, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    rest = rest.get_mut(count..).unwrap_or_default();
                    position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes all of `data` at byte `at`.
///
/// # Errors
/// [`io::ErrorKind::WriteZero`] if the system takes no byte, and what the system says.
pub fn write_all_at(file: &File, data: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, data, at)
    }
    #[cfg(windows)]
    {
        let mut rest = data;
        let mut position = at;
        while !rest.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(file, rest, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Fills several buffers, one after the other, from byte `at`.
///
/// # Errors
/// As [`read_exact_at`].
pub fn read_vectored_exact_at(file: &File, bufs: &mut [&mut [u8]], at: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mut slices: Vec<_> = bufs.iter_mut().map(|b| io::IoSliceMut::new(b)).collect();
        let mut rest = slices.as_mut_slice();
        let mut position = at;
        while rest.iter().any(|slice| !slice.is_empty()) {
            let batch = rest.len().min(MAX_SLICES);
            let (now, _) = rest.split_at_mut(batch);
            match rustix::io::preadv(file, now, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    io::IoSliceMut::advance_slices(&mut rest, count);
                    position += count as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let mut position = at;
        for buf in bufs {
            read_exact_at(file, buf, position)?;
            position += buf.len() as u64;
        }
        Ok(())
    }
}

/// Writes several parts, one after the other, from byte `at`.
///
/// # Errors
/// As [`write_all_at`].
pub fn write_vectored_all_at(file: &File, parts: &[&[u8]], at: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let mut slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        let mut position = at;
        while rest.iter().any(|slice| !slice.is_empty()) {
            let batch = rest.len().min(MAX_SLICES);
            let (now, _) = rest.split_at(batch);
            match rustix::io::pwritev(file, now, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    io::IoSlice::advance_slices(&mut rest, count);
                    position += count as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let mut position = at;
        for part in parts {
            write_all_at(file, part, position)?;
            position += part.len() as u64;
        }
        Ok(())
    }
}

/// Slices that one vectored call of Linux takes (`UIO_MAXIOV`).
#[cfg(target_os = "linux")]
const MAX_SLICES: usize = 1024;

/// Makes all data written to `file` durable, and what is needed to find it again.
///
/// `fdatasync` on Linux, `F_FULLFSYNC` on macOS (both by way of the standard library),
/// `FlushFileBuffers` on Windows.
///
/// # Errors
/// What the system says. The data may then be lost even if a second call succeeds.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Makes the entry of a new file in its directory durable.
///
/// # Errors
/// What the system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)?.sync_all()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

/// Gives the storage of a range back; it reads as zeros afterwards. The size stays.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system or the file system cannot.
pub fn punch_hole(file: &File, at: u64, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::FallocateFlags;
        allocate(
            file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            at,
            len,
        )
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, at, len);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Makes a range read as zeros and keeps storage for it, without writing the zeros.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system or the file system cannot.
pub fn zero_range(file: &File, at: u64, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::FallocateFlags;
        allocate(
            file,
            FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
            at,
            len,
        )
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, at, len);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, flags: rustix::fs::FallocateFlags, at: u64, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, flags, at, len) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            result => return Ok(result?),
        }
    }
}

/// Gives the first byte at or after `from` that may be other than a hole, `None` if only holes
/// follow.
///
/// A system that knows no holes answers `from`.
///
/// # Errors
/// What the system says.
pub fn next_data(file: &File, from: u64) -> io::Result<Option<u64>> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(from)) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            // Block devices and some file systems have no holes to tell of.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(from)),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Ok(Some(from))
    }
}

/// Gives the first byte at or after `from` that lies in a hole; the end of the file counts as one.
///
/// A system that knows no holes answers the size.
///
/// # Errors
/// What the system says; `from` past the end is an error.
pub fn next_hole(file: &File, from: u64) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        match rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(from)) {
            Ok(at) => Ok(at),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => size(file),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = from;
        size(file)
    }
}

/// Tells whether `error` says that someone else uses the file or device.
#[must_use]
pub fn is_busy(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock | io::ErrorKind::ExecutableFileBusy
    )
}

#[cfg(test)]
mod tests;
