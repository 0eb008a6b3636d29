//! `integrity dump`: the text that users of integritysetup know.

use luksmith::block::SectorNumber;
use luksmith::integrity::{Flags, Superblock};

use super::Integrity;
use crate::{context::print, failure::Failure};

/// The flags by the names that integritysetup prints.
const NAMES: [(Flags, &str); 7] = [
    (Flags::HAVE_JOURNAL_MAC, "have_journal_mac"),
    (Flags::RECALCULATING, "recalculating"),
    (Flags::DIRTY_BITMAP, "dirty_bitmap"),
    (Flags::FIXED_PADDING, "fix_padding"),
    (Flags::FIXED_HMAC, "fix_hmac"),
    (Flags::INLINE, "inline"),
    (Flags::DISCARD_KEYED, "discard_keyed"),
];

impl Integrity {
    pub(super) fn dump(&self) -> Result<(), Failure> {
        let devices = self.open_devices(false)?;
        let superblock = devices.read_superblock(SectorNumber::ZERO)?;
        self.open_options()?.check_sizes(&superblock)?;
        let name = self.device.display();
        print(&format!(
            "INTEGRITY header information for {name}.\n{}",
            text(&superblock)
        ))
    }
}

fn text(superblock: &Superblock) -> String {
    let sectors = superblock.provided_data_sectors();
    let mut text = format!(
        "version: {}\ntag size: {} [bytes]\nsector size: {} [bytes]\ndata size: {sectors} [512-byte \
         units] ({} [bytes])\n",
        superblock.version(),
        superblock.tag_bytes(),
        superblock.block_size(),
        sectors.get().wrapping_mul(512),
    );
    let flags = superblock.flags();
    if flags.contains(Flags::RECALCULATING) {
        text.push_str(&format!(
            "recalculate sector: {}\n",
            superblock.recalc_sector()
        ));
    }
    text.push_str(&format!(
        "journal sections: {}\nlog2 interleave sectors: {}\nlog2 blocks per bitmap: {}\nflags: ",
        superblock.journal_sections(),
        superblock.log2_interleave().unwrap_or(0),
        superblock.log2_blocks_per_bitmap_bit(),
    ));
    for (flag, name) in NAMES {
        if flags.contains(flag) {
            text.push_str(name);
            text.push(' ');
        }
    }
    text.push('\n');
    text
}
