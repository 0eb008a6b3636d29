//! dm-integrity: superblocks that claim any geometry.

use luksmith_block::{SectorCount, SectorNumber};
use luksmith_integrity::{
    DeviceSizes, Layout, Superblock,
    superblock::{MAGIC, SUPERBLOCK_BYTES},
};

use super::overlay;

/// A superblock over devices of any size: every position lies inside, and no two blocks meet.
///
/// The first eight bytes are the device's sectors, the ninth says whether tags are on a device of
/// their own.
///
/// # Panics
/// If an accepted geometry breaks a promise.
pub fn integrity_superblock(data: &[u8]) -> bool {
    let (front, rest) = data.split_at(data.len().min(9));
    let mut numbers = [0; 9];
    overlay(&mut numbers, front);
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    overlay(&mut bytes, rest);
    overlay(&mut bytes, &MAGIC);
    let Ok(superblock) = Superblock::parse(&bytes) else {
        return false;
    };
    let again = Superblock::parse(&superblock.to_bytes(false, None)).expect("own output");
    assert_eq!(
        again.provided_data_sectors(),
        superblock.provided_data_sectors()
    );
    assert_eq!(again.flags(), superblock.flags());

    let sectors = u64::from_le_bytes(numbers[..8].try_into().expect("eight bytes"));
    let size = SectorCount::new(sectors);
    let split = numbers[8] & 1 == 1;
    let sizes = DeviceSizes {
        data: size,
        meta: split.then_some(size),
    };
    let Ok(layout) = Layout::of(&superblock, sizes, SectorNumber::ZERO, 128) else {
        return false;
    };
    let block = layout.block_size().sectors().get();
    let provided = layout.provided_data_sectors().get();
    assert!(
        provided > 0 && provided <= sectors,
        "{provided} of {sectors} sectors"
    );
    let last = (provided - 1) / block * block;
    for sector in [0, last / 2 / block * block, last] {
        let position = layout
            .locate(SectorNumber::new(sector))
            .expect("a sector inside");
        let end = position.data.get() / 512 + block;
        assert!(end <= sectors, "sector {sector} ends at {end} of {sectors}");
        let tag_end = position.tag.get() + u64::from(layout.tag_bytes());
        assert!(tag_end.div_ceil(512) <= sectors, "a tag past the end");
        assert!(position.run_blocks > 0, "an empty run at sector {sector}");
    }
    let past = layout.locate(SectorNumber::new(provided.next_multiple_of(block)));
    assert!(past.is_err(), "a sector past the end was found");
    true
}
