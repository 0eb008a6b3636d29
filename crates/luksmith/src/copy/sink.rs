//! Where an export goes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use luksmith_block::ByteLen;

/// Where an export goes, from its first byte to its last.
pub trait ExportSink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the system says.
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Takes `len` zeros.
    ///
    /// # Errors
    /// What the system says.
    fn zeros(&mut self, len: u64) -> std::io::Result<()>;

    /// There is no more; makes everything durable where that means something.
    ///
    /// # Errors
    /// What the system says.
    fn finish(&mut self) -> std::io::Result<()>;

    /// Makes room for the next `len` bytes and gives a way to put them in any order, from several
    /// threads at once; `None` where bytes must come one after the other.
    ///
    /// # Errors
    /// What the system says.
    fn by_position(&mut self, len: u64) -> std::io::Result<Option<&dyn PositionSink>> {
        let _ = len;
        Ok(None)
    }
}

/// A sink whose bytes may come in any order, each once. Positions count from its beginning.
pub trait PositionSink: Sync {
    /// Takes bytes at a position.
    ///
    /// # Errors
    /// What the system says.
    fn data_at(&self, at: u64, bytes: &[u8]) -> std::io::Result<()>;

    /// Takes `len` zeros at a position.
    ///
    /// # Errors
    /// What the system says.
    fn zeros_at(&self, at: u64, len: u64) -> std::io::Result<()>;
}

/// A sink that writes every byte: standard output, a pipe.
#[derive(Debug)]
pub struct Stream<W>(pub W);

impl<W: Write> ExportSink for Stream<W> {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        std::io::copy(&mut std::io::repeat(0).take(len), &mut self.0).map(drop)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A sink that leaves holes in a file where the plaintext is zero.
///
/// The file is empty at first: what it held before would show through the holes.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    len: u64,
}

impl SparseFile {
    /// Empties `file` and writes to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: File) -> std::io::Result<Self> {
        file.set_len(0)?;
        let mut sink = Self { file, len: 0 };
        sink.file.seek(SeekFrom::Start(0))?;
        Ok(sink)
    }
}

impl ExportSink for SparseFile {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += ByteLen::of(bytes).get();
        Ok(())
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        self.len += len;
        self.file.seek(SeekFrom::Start(self.len)).map(drop)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.sync_all()
    }

    fn by_position(&mut self, len: u64) -> std::io::Result<Option<&dyn PositionSink>> {
        if self.len != 0 {
            return Ok(None);
        }
        self.file.set_len(len)?;
        self.len = len;
        Ok(Some(self))
    }
}

impl PositionSink for SparseFile {
    fn data_at(&self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        write_all_at(&self.file, at, bytes)
    }

    fn zeros_at(&self, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_all_at(file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    let (mut at, mut bytes) = (at, bytes);
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
        at += count as u64;
    }
    Ok(())
}
