//! An open volume.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use luksmith_block::{
    BlockDevice, ByteDevice, ByteLen, ByteOffset, Capabilities, Error as BlockError, MemDevice,
    Operation, RangeLock, SectorSize, Splitter,
};
use luksmith_header::Header;
use luksmith_keyslot::VolumeKey;

use crate::Error;
use crate::options::{Journal, OpenOptions};
use crate::plan::{Construction, Plan};
use crate::stack::Stack;
use crate::stats::{Counters, Request, Stats};
use crate::workers::Workers;

/// The plaintext of an open volume, a block device of its own.
///
/// Many threads may use it at once; requests on different sectors do not wait for each other. Large
/// requests are split over the threads that [`OpenOptions::workers`] gives.
/// Dropping it commits what was written and wipes the keys, but cannot report a failure:
/// [`close`](Self::close) can.
pub struct Volume {
    header: Header,
    plan: Plan,
    stack: Stack,
    keyslot: Option<u32>,
    digest: u32,
    key: Option<VolumeKey>,
    key_bytes: usize,
    journal: Journal,
    discards: bool,
    workers: Workers,
    splitter: Splitter,
    counters: Counters,
    bytes_lock: Arc<RangeLock>,
    device_size: ByteLen,
    header_image: Option<Arc<MemDevice>>,
}

/// The key with which a volume was opened or made.
pub(crate) struct Opened {
    pub(crate) key: VolumeKey,
    pub(crate) keyslot: Option<u32>,
    pub(crate) digest: u32,
}

impl Volume {
    pub(crate) fn new(
        header: Header,
        plan: Plan,
        stack: Stack,
        device_size: ByteLen,
        opened: Opened,
        options: &OpenOptions,
    ) -> Self {
        Self {
            header,
            plan,
            stack,
            keyslot: opened.keyslot,
            digest: opened.digest,
            key_bytes: opened.key.len(),
            journal: options.journal,
            key: options.keep_key.then_some(opened.key),
            discards: options.discards,
            splitter: options.workers.splitter(),
            workers: options.workers.clone(),
            counters: Counters::default(),
            bytes_lock: Arc::default(),
            device_size,
            header_image: None,
        }
    }

    pub(crate) fn with_header_image(mut self, image: Option<Arc<MemDevice>>) -> Self {
        self.header_image = image;
        self
    }

    /// Gives headers and keyslot areas of a volume that was made with its header in memory: what a
    /// detached header file holds.
    #[must_use]
    pub fn header_image(&self) -> Option<Vec<u8>> {
        self.header_image.as_ref().map(|image| image.to_vec())
    }

    /// Gives the header as it was read when the volume was opened.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Gives the keyslot that opened, `None` if the volume key was given directly.
    #[must_use]
    pub const fn keyslot(&self) -> Option<u32> {
        self.keyslot
    }

    /// Gives the digest that proved the volume key.
    #[must_use]
    pub const fn digest(&self) -> u32 {
        self.digest
    }

    /// Gives the volume key, if [`OpenOptions::keep_volume_key`] asked for it. A volume that was
    /// just made has it always: there may be no keyslot that could give it again.
    #[must_use]
    pub const fn volume_key(&self) -> Option<&VolumeKey> {
        self.key.as_ref()
    }

    /// Gives the cipher as it stands in the header.
    #[must_use]
    pub fn cipher(&self) -> &str {
        &self.plan.encryption
    }

    /// Gives the integrity type, such as `hmac(sha256)`, if the volume has tags or stored IVs.
    #[must_use]
    pub fn integrity(&self) -> Option<String> {
        match &self.plan.construction {
            Construction::Authenticated(spec) => Some(spec.integrity().to_string()),
            _ => None,
        }
    }

    /// Tells whether a changed sector is noticed.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        match &self.plan.construction {
            Construction::Authenticated(spec) => spec.authenticates(),
            _ => false,
        }
    }

    /// Gives the first byte of the volume on its data device.
    #[must_use]
    pub const fn data_offset(&self) -> ByteOffset {
        ByteOffset::new(self.plan.offset)
    }

    /// Gives what the volume has done since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Gives access at any byte, with read-modify-write of partial sectors under a lock.
    ///
    /// All adapters of one volume share the lock. Writes to the volume itself do not take it: a
    /// program that writes parts of sectors writes through adapters alone.
    #[must_use]
    pub fn bytes(&self) -> ByteDevice<&Self> {
        ByteDevice::with_lock(self, Arc::clone(&self.bytes_lock))
    }

    /// As [`bytes`](Self::bytes), owning the volume.
    #[must_use]
    pub fn into_bytes(self) -> ByteDevice<Self> {
        let lock = Arc::clone(&self.bytes_lock);
        ByteDevice::with_lock(self, lock)
    }

    /// Makes durable what has been waiting for `age` or longer. Nothing here has a thread of its
    /// own: whoever has one calls this now and then, a server every ten seconds.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn commit_if_older_than(&self, age: Duration) -> Result<(), Error> {
        match self.stack.authenticated_device() {
            Some(device) => Ok(device.device().commit_if_older_than(age)?),
            None => Ok(()),
        }
    }

    /// Commits everything, writes the journal back, and wipes the keys.
    ///
    /// # Errors
    /// [`Error::Device`]: what was not flushed before may be lost, what was flushed is not.
    pub fn close(self) -> Result<(), Error> {
        Ok(self.stack.close()?)
    }

    /// Gives the length of the volume key in bytes.
    #[must_use]
    pub const fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    pub(crate) const fn journal_choice(&self) -> Journal {
        self.journal
    }

    pub(crate) fn into_stack(self) -> Stack {
        self.stack
    }

    /// Gives the size of the device that holds the data, a header in front included.
    pub(crate) const fn device_size(&self) -> ByteLen {
        self.device_size
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads as [`BlockDevice::read_at`], on this thread alone.
    pub(crate) fn read_whole(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        let request = Request::Read(ByteLen::of(buf).get());
        let result = self.stack.device().read_at(at, buf);
        self.counters.note(request, result)
    }

    pub(crate) const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Tells whether sectors that were never written read as zeros because this process says so.
    pub(crate) const fn is_lazy(&self) -> bool {
        matches!(self.stack, Stack::Lazy(_))
    }

    pub(crate) const fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl BlockDevice for Volume {
    fn size(&self) -> ByteLen {
        self.stack.device().size()
    }

    fn sector_size(&self) -> SectorSize {
        self.stack.device().sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), BlockError> {
        let request = Request::Read(ByteLen::of(buf).get());
        let result = self.splitter.read_at(self.stack.device(), at, buf);
        self.counters.note(request, result)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), BlockError> {
        let request = Request::Write(ByteLen::of(data).get());
        let result = self.splitter.write_at(self.stack.device(), at, data);
        self.counters.note(request, result)
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.counters
            .note(Request::Flush, self.stack.device().flush())
    }

    fn write_zeroes(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        let write = || self.stack.device().write_zeroes(at, len);
        let result = self.splitter.change(Operation::Write, write);
        self.counters.note(Request::Write(len.get()), result)
    }

    fn discard(&self, at: ByteOffset, len: ByteLen) -> Result<(), BlockError> {
        let result = if self.discards {
            let discard = || self.stack.device().discard(at, len);
            self.splitter.change(Operation::Discard, discard)
        } else {
            Err(BlockError::Unsupported {
                operation: Operation::Discard,
            })
        };
        self.counters.note(Request::Discard, result)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.stack.device().capabilities();
        capabilities.discard &= self.discards;
        capabilities
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("uuid", &self.header.uuid())
            .field("cipher", &self.plan.encryption)
            .field("size", &self.size())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

// Fails to compile if a volume can no longer be shared between threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Volume>();
};
