//! A copy of header and keyslot areas, for changes that have no room to be safe without one.

use luksmith_block::{BlockDevice, ByteLen, ByteOffset};
use luksmith_header::Limits;

use crate::Error;

/// Takes a copy of a header with its keyslot areas, as `luksHeaderBackup` makes it.
///
/// The bytes come in order, without gaps. A program that cannot finish a change tells its user
/// where the copy is: restoring it gives the old keys back.
pub trait HeaderBackup {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the storage says; the change is not begun then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), luksmith_block::Error>;

    /// Makes all of it durable: file contents, length, and name.
    ///
    /// # Errors
    /// What the storage says; the change is not begun then.
    fn finish(&mut self) -> Result<(), luksmith_block::Error>;
}

/// Bytes copied at once.
const CHUNK: usize = 1024 * 1024;

/// Copies header and areas to the backup, as `luksHeaderBackup` would, and makes it durable.
pub(super) fn store_header<D: BlockDevice + ?Sized>(
    device: &D,
    limits: &Limits,
    backup: &mut dyn HeaderBackup,
) -> Result<(), Error> {
    let mut failed = None;
    let copied = luksmith_header::backup(device, limits, &mut |_, bytes| {
        backup.write(bytes).map_err(|source| {
            failed = Some(source);
            source.into()
        })
    });
    match (copied, failed) {
        (_, Some(source)) => Err(Error::Backup { source }),
        (Err(source), None) => Err(Error::Header { source }),
        (Ok(_), None) => backup.finish().map_err(|source| Error::Backup { source }),
    }
}

/// Copies the first `len` bytes of the device to the backup and makes it durable.
pub(super) fn store_bytes<D: BlockDevice + ?Sized>(
    device: &D,
    len: ByteLen,
    backup: &mut dyn HeaderBackup,
) -> Result<(), Error> {
    let mut chunk = alloc::vec![0; CHUNK];
    let mut done = 0;
    while done < len.get() {
        let left = ByteLen::new(len.get() - done).to_usize().unwrap_or(CHUNK);
        let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
        crate::area::read_unaligned(device, ByteOffset::new(done), part).map_err(|source| {
            Error::Header {
                source: source.into(),
            }
        })?;
        backup
            .write(part)
            .map_err(|source| Error::Backup { source })?;
        done += ByteLen::of(part).get();
    }
    backup.finish().map_err(|source| Error::Backup { source })
}
