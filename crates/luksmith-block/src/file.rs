//! Files and block devices of the operating system.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
};

use luksmith_sys::file::{self as sys, FileKind, OpenFlags};

use crate::{
    BlockDevice, ByteLen, ByteOffset, Capabilities, Error, Flushes, IoFailure, Operation,
    SectorSize,
    device::{total_len, write_zeroes_by_writing},
};

mod direct;

use direct::Direct;

/// How to open a file or a block device.
///
/// ```no_run
/// use luksmith_block::{BlockDevice, FileOptions};
///
/// let device = FileOptions::reader().open("disk.img")?;
/// println!("{} bytes", device.size());
/// # Ok::<(), luksmith_block::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileOptions {
    writable: bool,
    direct: bool,
    locked: bool,
    sector_size: SectorSize,
    size: Option<ByteLen>,
}

impl FileOptions {
    /// Opens for reading. Other readers may have the device open too, writers may not.
    #[must_use]
    pub const fn reader() -> Self {
        Self {
            writable: false,
            direct: false,
            locked: true,
            sector_size: SectorSize::S512,
            size: None,
        }
    }

    /// Opens for reading and writing, alone. A block device must not be mounted or otherwise in
    /// use.
    #[must_use]
    pub const fn writer() -> Self {
        Self {
            writable: true,
            ..Self::reader()
        }
    }

    /// Goes past the page cache (`O_DIRECT`). Linux only, and not on every file system.
    ///
    /// Requests that the medium cannot take as they are go through aligned buffers; whole 4096-byte
    /// blocks at 4096-byte positions in memory and on the device are fastest.
    #[must_use]
    pub const fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Takes no lock and opens block devices without `O_EXCL`: two writers may destroy each other's
    /// work. For a caller that has the lock already.
    #[must_use]
    pub const fn without_lock(mut self) -> Self {
        self.locked = false;
        self
    }

    /// Sets the unit of requests, 512 bytes by default.
    #[must_use]
    pub const fn sector_size(mut self, sector_size: SectorSize) -> Self {
        self.sector_size = sector_size;
        self
    }

    /// Sets the size of a device whose size the system does not tell (raw devices outside of
    /// Linux).
    #[must_use]
    pub const fn size(mut self, size: ByteLen) -> Self {
        self.size = Some(size);
        self
    }

    /// Opens what is at `path`.
    ///
    /// # Errors
    /// [`Error::System`] if the system refuses, [`Error::Busy`] if someone else uses the device,
    /// [`Error::NotStorage`] for a directory, pipe or character device, [`Error::SizeUnknown`],
    /// [`Error::DirectSize`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<FileDevice, Error> {
        let path = path.as_ref();
        let kind = sys::kind_of_path(path).map_err(|e| system(Operation::Open, &e))?;
        self.check_kind(kind)?;
        self.open_with(
            path,
            kind,
            OpenOptions::new().read(true).write(self.writable),
        )
    }

    /// Makes a new sparse file of `size` bytes, durable in its directory, and opens it for writing.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::System`] with "file exists" if there is one, a symbolic
    /// link that leads nowhere included. After an error there is no file that was not there before.
    pub fn create(&self, path: impl AsRef<Path>, size: ByteLen) -> Result<FileDevice, Error> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let writer = Self {
            writable: true,
            ..self.clone()
        };
        // The system's "create" and our "exclusive" are one flag, hence a plain file here.
        let file = writer.open_file(path, FileKind::Regular, &options)?;
        let made = writer.finish(file, FileKind::Regular).and_then(|device| {
            sys::sync_parent(path).map_err(|e| system(Operation::Open, &e))?;
            device.resized(size)
        });
        if made.is_err() {
            // The failure that led here is what the caller has to know.
            let _ = std::fs::remove_file(path);
        }
        made
    }

    /// Takes a file that is already open. Whether it may be written is up to the options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn adopt(&self, file: File) -> Result<FileDevice, Error> {
        let kind = sys::kind(&file).map_err(|e| system(Operation::Open, &e))?;
        self.check_kind(kind)?;
        self.finish(file, kind)
    }

    fn check_kind(&self, kind: FileKind) -> Result<(), Error> {
        let found = match kind {
            FileKind::Regular | FileKind::BlockDevice => return Ok(()),
            FileKind::Directory => "a directory",
            // Raw devices of other systems look like this; their size comes from the caller.
            _ if self.size.is_some() => return Ok(()),
            _ => "a pipe, socket or character device",
        };
        Err(Error::NotStorage { found })
    }

    fn open_with(
        &self,
        path: &Path,
        kind: FileKind,
        options: &OpenOptions,
    ) -> Result<FileDevice, Error> {
        let file = self.open_file(path, kind, options)?;
        self.finish(file, kind)
    }

    fn open_file(&self, path: &Path, kind: FileKind, options: &OpenOptions) -> Result<File, Error> {
        let exclusive = self.writable
            && self.locked
            && kind == FileKind::BlockDevice
            && cfg!(target_os = "linux");
        let flags = OpenFlags {
            exclusive,
            direct: self.direct,
        };
        sys::open(path, options, flags).map_err(|error| {
            if sys::is_busy(&error) {
                Error::Busy
            } else {
                system(Operation::Open, &error)
            }
        })
    }

    fn finish(&self, file: File, kind: FileKind) -> Result<FileDevice, Error> {
        if self.locked {
            lock(&file, self.writable)?;
        }
        let size = match (self.size, sys::size(&file)) {
            (Some(size), _) => size.get(),
            (None, Ok(size)) => size,
            (None, Err(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(Error::SizeUnknown);
            }
            (None, Err(error)) => return Err(system(Operation::Size, &error)),
        };
        let sizes = (kind == FileKind::BlockDevice).then(|| sys::block_sizes(&file));
        let sizes = sizes.and_then(Result::ok);
        let direct = self.direct.then(|| Direct::new(sizes));
        check_direct_size(direct.as_ref(), size)?;
        let unit = self.sector_size.byte_len().get();
        Ok(FileDevice {
            size: ByteLen::new(size - size % unit),
            sector_size: self.sector_size,
            writable: self.writable,
            kind,
            optimal_io_bytes: sizes.map_or(0, |sizes| sizes.physical),
            failed: AtomicU8::new(INTACT),
            flushes: Flushes::default(),
            punches_holes: AtomicBool::new(cfg!(target_os = "linux")),
            direct,
            file,
        })
    }
}

/// A direct write of a last block that the file does not fill would make the file longer.
fn check_direct_size(direct: Option<&Direct>, size: u64) -> Result<(), Error> {
    match direct.map(Direct::unit) {
        Some(unit) if !size.is_multiple_of(unit) => Err(Error::DirectSize {
            size: ByteLen::new(size),
            unit: ByteLen::new(unit),
        }),
        _ => Ok(()),
    }
}

fn lock(file: &File, writable: bool) -> Result<(), Error> {
    let result = if writable {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match result {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::Busy),
        // A file system without locks cannot tell us of other users; refusing to work on it would
        // help nobody.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(system(Operation::Lock, &error)),
    }
}

/// A file or a block device.
///
/// While it is open it is locked: shared for readers, exclusively for writers. The tail of a file
/// below one sector is not seen. After a failed flush nobody knows what is on the medium, and
/// writes are refused until the device is opened again; reads go on.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    size: ByteLen,
    sector_size: SectorSize,
    writable: bool,
    kind: FileKind,
    optimal_io_bytes: u32,
    /// `INTACT` or `FLUSH_FAILED`.
    failed: AtomicU8,
    flushes: Flushes<1>,
    /// False once the file system said that it cannot.
    punches_holes: AtomicBool,
    direct: Option<Direct>,
}

const INTACT: u8 = 0;
const FLUSH_FAILED: u8 = 1;

impl FileDevice {
    /// Tells whether this is a block device.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.kind == FileKind::BlockDevice
    }

    /// Gives the file below, for what this type has no method for.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Changes the size of a regular file, durably. Growing adds zeros without storage.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::Unsupported`] for a block device; [`Error::DirectSize`];
    /// [`Error::System`].
    pub fn resized(mut self, size: ByteLen) -> Result<Self, Error> {
        self.check_writable()?;
        if self.kind != FileKind::Regular {
            return Err(Error::Unsupported {
                operation: Operation::Size,
            });
        }
        check_direct_size(self.direct.as_ref(), size.get())?;
        let resize = self.file.set_len(size.get());
        resize
            .and_then(|()| self.file.sync_all())
            .map_err(|e| system(Operation::Size, &e))?;
        let unit = self.sector_size.byte_len().get();
        self.size = ByteLen::new(size.get() - size.get() % unit);
        Ok(self)
    }

    /// Gives the first byte at or after `from` that is no hole, `None` if only holes follow.
    ///
    /// Holes read as zeros. Where the system tells of none, the answer is `from`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next_data(&self, from: ByteOffset) -> Result<Option<ByteOffset>, Error> {
        if from.get() >= self.size.get() {
            return Ok(None);
        }
        let found = sys::next_data(&self.file, from.get());
        let found = found.map_err(|e| failed(Operation::Read, from, &e))?;
        Ok(found
            .filter(|&at| at < self.size.get())
            .map(ByteOffset::new))
    }

    /// Gives the first byte at or after `from` that lies in a hole, or the end of the device.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next_hole(&self, from: ByteOffset) -> Result<ByteOffset, Error> {
        if from.get() >= self.size.get() {
            return Ok(ByteOffset::new(self.size.get()));
        }
        let found = sys::next_hole(&self.file, from.get());
        let found = found.map_err(|e| failed(Operation::Read, from, &e))?;
        Ok(ByteOffset::new(found.min(self.size.get())))
    }

    /// Checks a request that changes the device.
    fn check_write(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.check_writable()?;
        self.check_range(at, len)
    }

    fn check_writable(&self) -> Result<(), Error> {
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        if self.failed.load(Ordering::Acquire) != INTACT {
            return Err(Error::FailStop {
                operation: Operation::Flush,
            });
        }
        Ok(())
    }

    fn punch_hole(&self, at: ByteOffset, len: ByteLen) -> io::Result<()> {
        if len == ByteLen::ZERO {
            return Ok(());
        }
        if !self.punches_holes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        #[cfg(test)]
        if let Some(kind) = tests::REFUSED.get() {
            return Err(kind.into());
        }
        let result = sys::punch_hole(&self.file, at.get(), len.get());
        if is_unsupported(&result) {
            self.punches_holes.store(false, Ordering::Relaxed);
        }
        result
    }
}

/// Makes a new file durable: its contents, its length, and its name in the folder.
///
/// # Errors
/// What the system says.
pub fn make_durable(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    sys::sync_parent(path)
}

impl BlockDevice for FileDevice {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.check_range(at, ByteLen::of(buf))?;
        let result = match &self.direct {
            Some(direct) => direct.read_at(&self.file, buf, at.get()),
            None => sys::read_exact_at(&self.file, buf, at.get()),
        };
        result.map_err(|e| failed(Operation::Read, at, &e))
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        self.check_write(at, ByteLen::of(data))?;
        let result = match &self.direct {
            Some(direct) => direct.write_at(&self.file, data, at.get()),
            None => sys::write_all_at(&self.file, data, at.get()),
        };
        result.map_err(|e| failed(Operation::Write, at, &e))
    }

    fn read_vectored_at(&self, at: ByteOffset, bufs: &mut [&mut [u8]]) -> Result<(), Error> {
        self.check_range(at, total_len(bufs))?;
        let result = match &self.direct {
            Some(direct) => direct.read_vectored_at(&self.file, bufs, at.get()),
            None => sys::read_vectored_exact_at(&self.file, bufs, at.get()),
        };
        result.map_err(|e| failed(Operation::Read, at, &e))
    }

    fn write_vectored_at(&self, at: ByteOffset, parts: &[&[u8]]) -> Result<(), Error> {
        self.check_write(at, total_len(parts))?;
        let result = match &self.direct {
            Some(direct) => direct.write_vectored_at(&self.file, parts, at.get()),
            None => sys::write_vectored_all_at(&self.file, parts, at.get()),
        };
        result.map_err(|e| failed(Operation::Write, at, &e))
    }

    /// Makes every acknowledged write durable; a device opened for reading has none.
    fn flush(&self) -> Result<(), Error> {
        if !self.writable {
            return Ok(());
        }
        self.flushes.join(0, || {
            self.check_writable()?;
            sys::sync_data(&self.file).map_err(|error| {
                // The system may have dropped the pages that it could not write and would report
                // success the next time: from here on nothing is known.
                self.failed.store(FLUSH_FAILED, Ordering::Release);
                system(Operation::Flush, &error)
            })
        })
    }

    /// Makes the range read as zeros. In a regular file it becomes a hole where the system can.
    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.check_write(at, len)?;
        let held = self.direct.as_ref().map(|d| d.exclude(at.get(), len.get()));
        let result = match self.kind {
            FileKind::Regular => self.punch_hole(at, len),
            _ if len == ByteLen::ZERO => Ok(()),
            _ => sys::zero_range(&self.file, at.get(), len.get()),
        };
        drop(held);
        // A file system that is full may have no room for what a hole costs, but for zeros it has.
        let is_file = self.kind == FileKind::Regular;
        if is_unsupported(&result) || (is_file && result.is_err()) {
            return write_zeroes_by_writing(self, at, len);
        }
        result.map_err(|e| failed(Operation::Write, at, &e))
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), Error> {
        self.check_write(at, len)?;
        let _held = self.direct.as_ref().map(|d| d.exclude(at.get(), len.get()));
        let result = self.punch_hole(at, len);
        if is_unsupported(&result) {
            return Err(Error::Unsupported {
                operation: Operation::Discard,
            });
        }
        result.map_err(|e| failed(Operation::Discard, at, &e))
    }

    fn capabilities(&self) -> Capabilities {
        let discard = self.writable && self.punches_holes.load(Ordering::Relaxed);
        Capabilities {
            read_only: !self.writable,
            discard,
            zeroes_after_discard: discard,
            optimal_io_bytes: self.optimal_io_bytes,
        }
    }
}

fn is_unsupported(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::Unsupported)
}

fn failed(operation: Operation, at: ByteOffset, error: &io::Error) -> Error {
    Error::Io {
        operation,
        at,
        failure: IoFailure::from(error),
    }
}

fn system(operation: Operation, error: &io::Error) -> Error {
    Error::System {
        operation,
        failure: IoFailure::from(error),
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
