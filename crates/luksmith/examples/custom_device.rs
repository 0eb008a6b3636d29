//! Embeds a device of one's own: here one that counts what is read of a volume in memory. A device
//! in a hypervisor, in flash, or behind a network looks the same: it says its size and sector size,
//! and moves whole sectors.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use luksmith::{
    OpenOptions, Passphrase, Unlock,
    block::{BlockDevice, ByteLen, ByteOffset, Error as BlockError, MemDevice, SectorSize},
};

/// A device over another one, which counts bytes.
struct Counting {
    inner: MemDevice,
    bytes_read: AtomicU64,
}

impl BlockDevice for Counting {
    fn size(&self) -> ByteLen {
        self.inner.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.inner.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        // All or an error: a short read is never passed on.
        self.inner.read_at(at, buf)?;
        let bytes = ByteLen::of(buf).get();
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), BlockError> {
        self.inner.write_at(at, data)
    }

    fn flush(&self) -> Result<(), BlockError> {
        // What was acknowledged before must survive power loss from here on. Memory cannot do
        // better.
        self.inner.flush()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(passphrase)) = (arguments.next(), arguments.next()) else {
        return Err("usage: custom_device IMAGE PASSPHRASE (of a volume for tests)".into());
    };
    let image = std::fs::read(path)?;
    let device = Arc::new(Counting {
        inner: MemDevice::from_bytes(&image, SectorSize::S512),
        bytes_read: AtomicU64::new(0),
    });
    let passphrase = Passphrase::new(passphrase.as_bytes())?;
    let options = OpenOptions::new().read_only();
    let volume = luksmith::open(
        Arc::clone(&device),
        Unlock::Passphrase(&passphrase),
        &options,
    )?;
    println!(
        "opening read {} bytes",
        device.bytes_read.load(Ordering::Relaxed)
    );

    let before = device.bytes_read.load(Ordering::Relaxed);
    let mut data = vec![0; 65536];
    volume.read_at(ByteOffset::ZERO, &mut data)?;
    let after = device.bytes_read.load(Ordering::Relaxed);
    println!(
        "reading {} bytes of plaintext read {}",
        data.len(),
        after - before
    );
    Ok(())
}
