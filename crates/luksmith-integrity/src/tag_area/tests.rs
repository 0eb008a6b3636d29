use luksmith_block::{MemDevice, SectorCount, SectorSize};

use super::*;
use crate::{DeviceSizes, FormatRequest};

/// Does something once, before its next write.
struct Hooked<'a> {
    disk: &'a MemDevice,
    hook: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl BlockDevice for Hooked<'_> {
    fn size(&self) -> ByteLen {
        self.disk.size()
    }

    fn sector_size(&self) -> SectorSize {
        self.disk.sector_size()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
        self.disk.read_at(at, buf)
    }

    fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
        let hook = self.hook.lock().unwrap().take();
        hook.into_iter().for_each(|hook| hook());
        self.disk.write_at(at, data)
    }

    fn flush(&self) -> Result<(), Error> {
        self.disk.flush()
    }
}

/// A metadata device whose tags end 512 bytes into their last page.
fn area() -> (TagArea, MemDevice) {
    let sizes = DeviceSizes {
        data: SectorCount::new(32768),
        meta: Some(SectorCount::new(4096)),
    };
    let request = FormatRequest::new(20, SectorSize::S512).unwrap();
    let (_, layout) = request.plan(sizes).unwrap();
    let tags = 32768 * 20;
    let end = ByteLen::new((layout.tag_origin().get() + tags + 512) / 512 * 512);
    let disk = MemDevice::new(end, SectorSize::S512).unwrap();
    (TagArea::new(&layout, end, ByteLen::new(0)), disk)
}

fn at(area: &TagArea, offset: u64) -> ByteOffset {
    ByteOffset::new(area.origin + offset)
}

fn cached(area: &TagArea) -> usize {
    area.shards
        .iter()
        .map(|shard| shard.lock().unwrap().pages.len())
        .sum()
}

#[test]
fn tags_across_pages_read_back_before_and_after_they_reach_the_disk() {
    let (area, disk) = area();
    // Two pages, which the smallest cache holds.
    let tags: Vec<u8> = (0..200_u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    area.write(&disk, at(&area, 4090), &tags).unwrap();
    let mut found = vec![0; tags.len()];
    area.read(&disk, at(&area, 4090), &mut found).unwrap();
    assert!(found == tags);
    let (fresh, _) = self::area();
    fresh.read(&disk, at(&area, 4090), &mut found).unwrap();
    assert!(found != tags, "nothing was to be written yet");
    area.flush(&disk, &Stop::default()).unwrap();
    let (fresh, _) = self::area();
    fresh.read(&disk, at(&area, 4090), &mut found).unwrap();
    assert!(found == tags);
    let mut neighbour = [1; 10];
    fresh.read(&disk, at(&area, 4080), &mut neighbour).unwrap();
    assert_eq!(neighbour, [0; 10]);
}

#[test]
fn a_small_cache_evicts_and_loses_nothing() {
    let (area, disk) = area();
    let tags = 32768 * 20_u64;
    for offset in (0..tags - 20).step_by(1000) {
        let value = u8::try_from(offset / 1000 % 251).unwrap();
        area.write(&disk, at(&area, offset), &[value; 20]).unwrap();
    }
    assert!(
        cached(&area) <= SHARDS * 4,
        "{} pages are held",
        cached(&area)
    );
    for offset in (0..tags - 20).step_by(1000) {
        let mut found = [0; 20];
        area.read(&disk, at(&area, offset), &mut found).unwrap();
        assert_eq!(found, [u8::try_from(offset / 1000 % 251).unwrap(); 20]);
    }
}

#[test]
fn the_last_page_may_end_with_the_device() {
    let (area, disk) = area();
    let last = 32768 * 20 - 20;
    area.write(&disk, at(&area, last), &[7; 20]).unwrap();
    area.flush(&disk, &Stop::default()).unwrap();
    let mut found = [0; 20];
    area.read(&disk, at(&area, last), &mut found).unwrap();
    assert_eq!(found, [7; 20]);
    let past = area.write(&disk, at(&area, last + 4096), &[7; 20]);
    assert!(past.is_err(), "{past:?}");
}

#[test]
fn pages_that_could_not_be_written_are_written_by_the_next_flush() {
    let (area, disk) = area();
    let small = MemDevice::new(ByteLen::new(4096), SectorSize::S512).unwrap();
    area.write(&disk, at(&area, 100), &[3; 50]).unwrap();
    assert!(matches!(
        area.flush(&small, &Stop::default()),
        Err(Error::PastEnd { .. })
    ));
    area.flush(&disk, &Stop::default()).unwrap();
    let mut found = [0; 512];
    disk.read_at(at(&area, 0), &mut found).unwrap();
    assert_eq!(found[100..150], [3; 50]);
}

/// A read that found its part of the cache full of changed pages wrote one out: where that failed,
/// the change was lost without stopping later writes.
#[test]
fn reads_write_nothing_even_where_every_page_in_the_cache_is_changed() {
    let (area, disk) = area();
    let pages = 32768 * 20 / TAG_PAGE_BYTES;
    for page in 0..pages {
        area.write(&disk, at(&area, page * TAG_PAGE_BYTES), &[9; 20])
            .unwrap();
    }
    let before = disk.to_vec();
    let read_only = luksmith_block::ReadOnly::new(&disk);
    for page in 0..pages {
        let mut found = [0; 20];
        area.read(&read_only, at(&area, page * TAG_PAGE_BYTES), &mut found)
            .unwrap();
        assert_eq!(found, [9; 20], "page {page}");
    }
    assert!(disk.to_vec() == before);
    area.flush(&disk, &Stop::default()).unwrap();
    let mut found = [0; 512];
    disk.read_at(at(&area, (pages - 1) * TAG_PAGE_BYTES), &mut found)
        .unwrap();
    assert_eq!(found[..20], [9; 20]);
}

#[test]
fn tags_that_did_not_change_are_not_written_again_unless_their_write_failed() {
    let (area, disk) = area();
    // A whole page, and a part of the next one.
    let tags = [5; 4096 + 40];
    area.write(&disk, at(&area, 0), &tags).unwrap();
    area.flush(&disk, &Stop::default()).unwrap();
    // What is on the disk shows what is written there.
    let foreign = [0xee; 8192];
    let mut found = [0; 8192];
    disk.write_at(at(&area, 0), &foreign).unwrap();
    area.write(&disk, at(&area, 0), &tags).unwrap();
    area.write(&disk, at(&area, 4096), &[5; 20]).unwrap();
    area.flush(&disk, &Stop::default()).unwrap();
    disk.read_at(at(&area, 0), &mut found).unwrap();
    assert!(found == foreign);
    area.write(&disk, at(&area, 4100), &[6; 4]).unwrap();
    area.write(&disk, at(&area, 4100), &[6; 4]).unwrap();
    area.flush(&disk, &Stop::default()).unwrap();
    disk.read_at(at(&area, 0), &mut found).unwrap();
    assert_eq!(
        (found[4095], &found[4096..4106]),
        (0xee, &[5, 5, 5, 5, 6, 6, 6, 6, 5, 5][..])
    );
    // Changed and not on the disk: it stays changed, whatever is written over it.
    area.write(&disk, at(&area, 4096), &[7; 20]).unwrap();
    let small = MemDevice::new(ByteLen::new(4096), SectorSize::S512).unwrap();
    assert!(area.flush(&small, &Stop::default()).is_err());
    area.write(&disk, at(&area, 4096), &[7; 20]).unwrap();
    area.flush(&disk, &Stop::default()).unwrap();
    disk.read_at(at(&area, 0), &mut found).unwrap();
    assert_eq!(found[4096..4116], [7; 20]);
}

/// Loaded again before its write was through, a page would have its old tags.
#[test]
fn pages_stay_in_the_cache_while_a_flush_writes_them() {
    // One page, and all that this part of the cache holds.
    for changed in [1, 4] {
        let (area, disk) = area();
        let tags = |page: u64| at(&area, page * TAG_PAGE_BYTES);
        for page in 0..changed {
            area.write(&disk, tags(page), &[4; 20]).unwrap();
        }
        let looked = Mutex::new(Vec::new());
        let hook = || {
            let mut found = [0; 20];
            for page in changed..16 {
                area.read(&disk, tags(page), &mut found).unwrap();
            }
            for page in 0..changed {
                area.read(&disk, tags(page), &mut found).unwrap();
                looked.lock().unwrap().push(found);
            }
        };
        let hooked = Hooked {
            disk: &disk,
            hook: Mutex::new(Some(Box::new(hook))),
        };
        area.flush(&hooked, &Stop::default()).unwrap();
        drop(hooked);
        assert_eq!(looked.into_inner().unwrap(), vec![[4; 20]; narrow(changed)]);
    }
}

/// The second flush found nothing to write, and returned while the first was still writing it.
#[test]
fn a_flush_returns_no_earlier_than_one_that_is_writing_its_tags() {
    let (area, disk) = area();
    let (area, disk) = (std::sync::Arc::new(area), std::sync::Arc::new(disk));
    area.write(&*disk, at(&area, 0), &[4; 20]).unwrap();
    let second = Mutex::new(None);
    let hook = || {
        let (area, disk) = (std::sync::Arc::clone(&area), std::sync::Arc::clone(&disk));
        let thread = std::thread::spawn(move || {
            area.flush(&*disk, &Stop::default()).unwrap();
            let mut found = [0; 512];
            disk.read_at(at(&area, 0), &mut found).unwrap();
            found[0]
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        *second.lock().unwrap() = Some(thread);
    };
    let hooked = Hooked {
        disk: &disk,
        hook: Mutex::new(Some(Box::new(hook))),
    };
    area.flush(&hooked, &Stop::default()).unwrap();
    drop(hooked);
    let second = second.into_inner().unwrap().unwrap();
    assert_eq!(second.join().unwrap(), 4);
}

/// The error was asked which phase it came from; a device that has to read in order to write says
/// that reading failed.
#[test]
fn it_is_known_whether_reading_or_writing_failed() {
    let (area, disk) = area();
    let small = MemDevice::new(ByteLen::new(4096), SectorSize::S512).unwrap();
    let unread = area.write(&small, at(&area, 100), &[3; 50]);
    assert!(matches!(unread, Err(NotTaken::Unread(_))), "{unread:?}");
    assert_eq!(cached(&area), 0);
    // As many changed pages as the cache of this part has room for.
    for page in 0..4 {
        let at = at(&area, page * TAG_PAGE_BYTES);
        area.write(&disk, at, &[9; 20]).unwrap();
    }
    for len in [20, PAGE] {
        let at = at(&area, 4 * TAG_PAGE_BYTES);
        let unwritten = area.write(&small, at, &vec![3; len]);
        assert!(
            matches!(unwritten, Err(NotTaken::Unwritten(_))),
            "{unwritten:?}"
        );
    }
    // Nothing of what was to make room is lost.
    area.flush(&disk, &Stop::default()).unwrap();
    let mut found = [0; 512];
    for page in 0..4 {
        let at = at(&area, page * TAG_PAGE_BYTES);
        disk.read_at(at, &mut found).unwrap();
        assert_eq!(found[..20], [9; 20]);
    }
}

#[test]
fn nothing_is_written_once_something_else_failed() {
    let (area, disk) = area();
    area.write(&disk, at(&area, 0), &[9; 20]).unwrap();
    let (before, stop) = (disk.to_vec(), Stop::default());
    stop.trip(luksmith_block::Operation::Flush);
    let stopped = area.flush(&disk, &stop);
    assert!(matches!(stopped, Err(Error::FailStop { .. })));
    assert!(disk.to_vec() == before);
}
