//! Writing a new device: the journal, then the superblock, and nothing else.

use std::sync::Arc;

use luksmith_block::BlockDevice;

use crate::{
    Devices, Error, FormatRequest, JournalCipher, JournalMac, Layout, Superblock,
    convert::narrow,
    journal::section::{SectionCodec, Sequence},
    superblock::SUPERBLOCK_BYTES,
};

/// Bytes of journal that are written at once.
const JOURNAL_BYTES: usize = 1 << 20;

/// Draws a salt for [`FormatRequest::salt`] from the system's generator.
///
/// # Errors
/// [`Error::Random`] if there is none.
pub fn random_salt() -> Result<[u8; 16], Error> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| Error::Random)?;
    Ok(salt)
}

/// Makes a new device.
///
/// 1. Zeros over an old superblock, so that a crash leaves nothing that can be opened by mistake.
/// 2. Every section of the journal, initialised.
/// 3. The superblock.
///
/// Each step is durable before the next. Tags and data keep whatever was there: no block matches
/// its tag until it is written or initialised.
///
/// # Errors
/// Those of [`FormatRequest::plan`]; [`Error::JournalMacMissing`] or
/// [`Error::JournalMacUnexpected`] if `request` and `mac` disagree; [`Error::DeviceSectors`];
/// [`Error::Device`].
pub fn format<D: BlockDevice>(
    devices: &Devices<D>,
    request: &FormatRequest,
    mac: Option<Arc<JournalMac>>,
    cipher: Option<Arc<JournalCipher>>,
) -> Result<(Superblock, Layout), Error> {
    match (request.has_journal_mac(), &mac) {
        (true, None) => return Err(Error::JournalMacMissing),
        (false, Some(_)) => return Err(Error::JournalMacUnexpected),
        _ => {}
    }
    let (superblock, layout) = request.plan_on(devices)?;
    let meta = devices.meta();
    meta.write_through(layout.superblock_at(), &[0; SUPERBLOCK_BYTES])?;
    let codec = SectionCodec::new(&layout, superblock.active_salt(), mac.clone(), cipher);
    write_journal(meta, &layout, &codec)?;
    meta.flush()?;
    meta.write_through(
        layout.superblock_at(),
        &superblock.to_bytes(false, mac.as_deref()),
    )?;
    Ok((superblock, layout))
}

impl FormatRequest {
    /// Computes superblock and layout for these devices, and fails where [`format()`] would without
    /// having written anything.
    ///
    /// # Errors
    /// As [`plan`](Self::plan); [`Error::DeviceSectors`].
    pub fn plan_on<D: BlockDevice>(
        &self,
        devices: &Devices<D>,
    ) -> Result<(Superblock, Layout), Error> {
        let (superblock, layout) = self.plan(devices.sizes())?;
        let (device, block) = (devices.data().sector_size(), layout.block_size());
        if device > block {
            return Err(Error::DeviceSectors { device, block });
        }
        Ok((superblock, layout))
    }
}

fn write_journal<D: BlockDevice>(
    meta: &D,
    layout: &Layout,
    codec: &SectionCodec,
) -> Result<(), Error> {
    let bytes = codec.section_bytes();
    let at_once = (JOURNAL_BYTES / bytes).max(1);
    let mut image = Vec::new();
    let mut next = 0;
    while next < layout.journal_sections() {
        let first = next;
        let left = narrow(u64::from(layout.journal_sections() - first));
        image.resize(left.min(at_once) * bytes, 0);
        for image in image.chunks_exact_mut(bytes) {
            codec.initialise(next, Sequence::ZERO, image);
            next += 1;
        }
        meta.write_at(layout.section_at(first), &image)?;
    }
    Ok(())
}
