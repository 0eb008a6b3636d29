//! What a device that lost power looks like: counted, so that a record says which states were met.

use luksmith::integrity::{Flags, SectionShape};

use super::ours::{self, Images};
use super::set::Set;

const CONSTANTS: [u64; 4] = [
    0x1111_1111_1111_1111,
    0x2222_2222_2222_2222,
    0x3333_3333_3333_3333,
    0x4444_4444_4444_4444,
];
const METADATA: usize = 8;
const SECTOR: usize = 512;

pub(crate) const MARKED: &str = "dirty bitmap with marks";

/// States that a long run has to meet.
pub(crate) const WANTED: [&str; 9] = [
    "journal to replay",
    "journal to replay, of many sections",
    "journal to replay, wrapped",
    "journal torn",
    "journal half erased",
    MARKED,
    "recalculation at its start",
    "recalculation in the middle",
    "journal to replay, with a MAC",
];

/// Tells what the superblock, the journal and the bitmap say.
pub(crate) fn states(set: &Set, images: &Images) -> Result<Vec<&'static str>, String> {
    let superblock = ours::superblock(set, images)?;
    let (flags, size) = (superblock.flags(), superblock.provided_data_sectors().get());
    let mut states = Vec::new();
    let recalculated = superblock.recalc_sector().get();
    if flags.contains(Flags::RECALCULATING) && recalculated < size {
        states.push(match recalculated {
            0 => "recalculation at its start",
            _ => "recalculation in the middle",
        });
    }
    let start = usize::try_from(set.start()).expect("a small device") * SECTOR + 4096;
    let area = &images.main[start..];
    if flags.contains(Flags::DIRTY_BITMAP) {
        let blocks = size / set.block.sectors().get();
        let bits = blocks.div_ceil(1 << superblock.log2_blocks_per_bitmap_bit());
        let is_set = |bit: u64| {
            let byte = usize::try_from(bit / 8).expect("a small device");
            area[byte] & 1 << (bit % 8) != 0
        };
        states.push(match (0..bits).any(is_set) {
            true => MARKED,
            false => "dirty bitmap without marks",
        });
        return Ok(states);
    }
    let hashed = set.hashed();
    if hashed.is_some_and(|hashed| hashed.journal_cipher.is_some()) {
        states.push("journal that is encrypted, not looked into");
        return Ok(states);
    }
    let tag = u8::try_from(set.tag_bytes()).expect("a short tag");
    let has_mac = flags.contains(Flags::HAVE_JOURNAL_MAC);
    let shape = SectionShape::of(tag, set.block, has_mac);
    let journal = Journal {
        area,
        sections: usize::try_from(superblock.journal_sections()).expect("few"),
        sectors: usize::try_from(shape.sectors).expect("few"),
        entries: usize::try_from(shape.entries).expect("few"),
        entry_bytes: usize::try_from(shape.entry_bytes).expect("few"),
    };
    journal.look(has_mac, &mut states)?;
    Ok(states)
}

/// An unencrypted journal, by the rules of docs/formats/integrity.md.
struct Journal<'a> {
    area: &'a [u8],
    sections: usize,
    sectors: usize,
    entries: usize,
    entry_bytes: usize,
}

impl Journal<'_> {
    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.area[at..at + 8].try_into().expect("eight bytes"))
    }

    /// Gives the sequence number of a sector.
    fn sequence(&self, section: usize, sector: usize) -> Result<usize, String> {
        let at = (section * self.sectors + sector) * SECTOR + SECTOR - 8;
        let id = self.number(at) ^ ((section as u64) << 32 | sector as u64);
        let found = CONSTANTS.iter().position(|constant| *constant == id);
        found.ok_or_else(|| format!("section {section}, sector {sector}: no commit id"))
    }

    fn has_entries(&self, section: usize) -> bool {
        (0..self.entries).any(|entry| {
            let sector = section * self.sectors + entry % METADATA;
            let at = sector * SECTOR + entry / METADATA * self.entry_bytes;
            self.number(at) >> 32 != 0xffff_ffff
        })
    }

    fn look(&self, has_mac: bool, states: &mut Vec<&'static str>) -> Result<(), String> {
        let mut whole = Vec::new();
        let mut highest = [None; 4];
        for section in 0..self.sections {
            let numbers: Result<Vec<usize>, String> = (0..self.sectors)
                .map(|sector| self.sequence(section, sector))
                .collect();
            let numbers = numbers?;
            for number in &numbers {
                highest[*number] = Some(section);
            }
            let first = numbers[0];
            whole.push(
                numbers
                    .iter()
                    .all(|number| *number == first)
                    .then_some(first),
            );
        }
        if whole.contains(&None) {
            states.push("journal torn");
        }
        let used = highest.map(|section| section.is_some());
        let unused = match used[3] {
            false => (0..4).find(|from| !used[*from..].contains(&true)),
            true => used.iter().position(|is_used| !is_used),
        };
        let last = (unused.ok_or("all four numbers are in use")? + 3) % 4;
        let mut want = (last + 3) % 4;
        if !used[want] && used[(want + 3) % 4] {
            states.push("journal half erased");
            return Ok(());
        }
        let mut next = highest[last].ok_or("no last section")? + 1;
        let mut replayed = Vec::new();
        for _ in 0..self.sections {
            if next >= self.sections {
                want = (want + 1) % 4;
                next = 0;
            }
            if whole[next] != Some(want) {
                break;
            }
            replayed.push(next);
            next += 1;
        }
        replayed.retain(|section| self.has_entries(*section));
        if replayed.is_empty() {
            return Ok(());
        }
        states.push("journal to replay");
        if has_mac {
            states.push("journal to replay, with a MAC");
        }
        if replayed.len() > 1 {
            states.push("journal to replay, of many sections");
        }
        if !replayed.is_sorted() {
            states.push("journal to replay, wrapped");
        }
        Ok(())
    }
}
