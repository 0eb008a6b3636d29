//! Where an export goes.

use std::fs::File;
use std::io::{Read, Write};

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

    /// Gives a way to put the next `len` bytes in any order, from several threads at once; `None`
    /// where bytes must come one after the other.
    ///
    /// # Errors
    /// What the system says.
    fn by_position(&mut self, len: u64) -> std::io::Result<Option<&dyn PositionSink>> {
        let _ = len;
        Ok(None)
    }

    /// Of what [`by_position`](Self::by_position) asked for, only the first `len` bytes came: the
    /// rest is to go. [`finish`](Self::finish) is not called after it.
    ///
    /// # Errors
    /// What the system says.
    fn cut(&mut self, len: u64) -> std::io::Result<()> {
        let _ = len;
        Ok(())
    }
}

/// A sink whose bytes may come in any order, each once. Positions count from where the export
/// begins in it.
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
/// The file is empty at first: what it held before would show through the holes. It gets its full
/// length when an export is finished; one that failed leaves it as long as what is whole. A further
/// export goes behind the ones before.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    /// Where the export by position begins.
    base: u64,
    /// Bytes taken so far, zeros included.
    len: u64,
}

impl SparseFile {
    /// Empties `file` and writes to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: File) -> std::io::Result<Self> {
        file.set_len(0)?;
        Ok(Self {
            file,
            base: 0,
            len: 0,
        })
    }
}

impl ExportSink for SparseFile {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        write_all_at(&self.file, self.len, bytes)?;
        self.len += ByteLen::of(bytes).get();
        Ok(())
    }

    fn zeros(&mut self, len: u64) -> std::io::Result<()> {
        self.len += len;
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.sync_all()
    }

    fn by_position(&mut self, len: u64) -> std::io::Result<Option<&dyn PositionSink>> {
        self.base = self.len;
        self.len += len;
        Ok(Some(self))
    }

    fn cut(&mut self, len: u64) -> std::io::Result<()> {
        self.len = self.base + len;
        self.file.set_len(self.len)
    }
}

impl PositionSink for SparseFile {
    fn data_at(&self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        write_all_at(&self.file, self.base + at, bytes)
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
