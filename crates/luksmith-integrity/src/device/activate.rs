//! From an open device to one that may be written: the journal is applied, made durable, and erased
//! where the kernel would erase it.

use std::collections::BTreeMap;

use luksmith_block::{BlockDevice, Error as DeviceError, Operation};

use super::{Active, IntegrityDevice, Mode};
use crate::{
    Error, Flags,
    convert::narrow,
    journal::{
        commit::{Ring, RingShape, sections_in_use},
        replay::{self, Found, Plan, Resume},
        section::Sequence,
    },
    sync::lock,
};

/// Bytes of initialised sections that are written at once.
const ERASE_BYTES: usize = 1 << 20;

impl<D: BlockDevice> IntegrityDevice<D> {
    /// Gives what writing needs; the first call applies the journal.
    pub(super) fn active(&self) -> Result<&Active, DeviceError> {
        self.stop.check()?;
        if let Some(active) = self.active.get() {
            return Ok(active);
        }
        if self.options.is_read_only() {
            return Err(DeviceError::ReadOnly);
        }
        let _once = lock(&self.activation)?;
        if let Some(active) = self.active.get() {
            return Ok(active);
        }
        // Readers in the journal's overlay finish first, and none starts until the ring is there.
        let _alone = self.ranges.exclusive(0..u64::MAX);
        self.stop.check()?;
        let applied = self.stop.guarded(|| {
            self.note_keyed_discards()?;
            self.replay()
        });
        let active = self.stop.on_failure(Operation::Write, applied)?;
        Ok(self.active.get_or_init(|| active))
    }

    /// Applies the journal.
    ///
    /// 1. Every section's entries are checked, then written in place.
    /// 2. Tags and data are made durable; from here on the overlay is not needed.
    /// 3. The journal stays if it can go on as it is; else it is erased in three durable steps.
    ///
    /// A crash before 2 leaves the journal as it was; one during 3 leaves a journal that is
    /// recognised as half erased, or whose list is empty.
    fn replay(&self) -> Result<Active, DeviceError> {
        let journal_mode = self.options.mode == Mode::Journal;
        let plan = match &self.journal {
            None => return self.replace_bitmap(),
            Some(Found::Planned(plan)) => *plan,
            Some(Found::Unused) => self.plan_of_unused()?,
        };
        let mut image = vec![0; self.codec.section_bytes()];
        let mut applied = false;
        for place in plan.replayed() {
            self.apply_section(place, &mut image)?;
            applied = true;
        }
        if applied {
            self.flush_in_place()?;
        }
        *lock(&self.overlay)? = None;
        self.overlay_sections.clear()?;
        let (next, stale) = match plan.continues(journal_mode) {
            Some(next) => (next, applied),
            None => (self.erase(&plan)?, false),
        };
        Ok(Active {
            ring: journal_mode.then(|| self.ring(next, stale)),
            bitmap: self.enter_bitmap_mode()?,
        })
    }

    /// Reads where a journal goes on of which opening saw no more than that no entry is used.
    ///
    /// A commit that was cut off may have left sectors with the next number and none of its
    /// entries. Whatever is written beside them would be taken for a part of that commit.
    fn plan_of_unused(&self) -> Result<Plan, DeviceError> {
        let failed = |error| self.as_device_error(0, error);
        let scan = replay::scan(self.devices.meta(), &self.layout, &self.codec).map_err(failed)?;
        let plan = scan.plan().map_err(failed)?;
        match plan.replayed().next() {
            None => Ok(plan),
            Some((section, _)) => {
                Err(self.as_device_error(section, Error::JournalChanged { section }))
            }
        }
    }

    /// Puts a journal where an unclosed device has a bitmap that marks nothing any more.
    fn replace_bitmap(&self) -> Result<Active, DeviceError> {
        if self.options.recalculating {
            // The recalculation does so when it is through with the marked regions.
            return Ok(Active {
                ring: None,
                bitmap: None,
            });
        }
        self.initialise_journal()?;
        self.change_superblock(|superblock| {
            superblock.flags = superblock.flags.without(Flags::DIRTY_BITMAP);
        })?;
        let next = Resume {
            section: 0,
            sequence: Sequence::ZERO.next(),
        };
        Ok(Active {
            ring: (self.options.mode == Mode::Journal).then(|| self.ring(next, false)),
            bitmap: self.enter_bitmap_mode()?,
        })
    }

    fn ring(&self, next: Resume, stale: bool) -> Ring {
        let section = self.layout.section();
        let sections = self.layout.journal_sections();
        let shape = RingShape {
            sections,
            entries: narrow(section.entries),
            in_use: sections_in_use(sections, section.bytes(), self.options.journal_buffer.get()),
            watermark: self.options.watermark,
            sectors_per_block: self.layout.block_size().sectors().get(),
        };
        Ring::new(shape, next, stale)
    }

    /// Checks and applies one section. The bytes that are checked are the bytes that are written.
    fn apply_section(&self, place: (u32, Sequence), image: &mut [u8]) -> Result<(), DeviceError> {
        let (section, _) = place;
        let meta = self.devices.meta();
        let failed = |error| self.as_device_error(section, error);
        replay::load(meta, &self.layout, &self.codec, place, image).map_err(failed)?;
        let mut newest = BTreeMap::new();
        let (block, tag) = (self.block_bytes(), self.tag_bytes());
        let check = self.options.check.as_deref();
        replay::for_each_entry(
            &self.layout,
            &self.codec,
            section,
            image,
            |entry, sector| {
                let mut data = vec![0; block];
                let mut tuple = vec![0; tag];
                self.codec.copy_entry(entry, image, &mut data, &mut tuple);
                replay::check_entry(check, section, entry, sector, &data, &tuple)?;
                newest.insert(sector.get(), (data, tuple));
                Ok(())
            },
        )
        .map_err(failed)?;
        let blocks: Vec<_> = newest.into_iter().collect();
        let spb = self.layout.block_size().sectors().get();
        for run in blocks.chunk_by(|(a, _), (b, _)| a + spb == *b) {
            let Some((first, _)) = run.first() else {
                continue;
            };
            let parts: Vec<&[u8]> = run.iter().map(|(_, (data, _))| data.as_slice()).collect();
            let tuples: Vec<u8> = run
                .iter()
                .flat_map(|(_, (_, tuple))| tuple)
                .copied()
                .collect();
            self.write_in_place(*first, &parts, &tuples)?;
        }
        Ok(())
    }

    /// Initialises every section: the first, then all between, then the last, each step durable.
    fn erase(&self, plan: &Plan) -> Result<Resume, DeviceError> {
        let (number, order) = plan.erasure();
        let between = narrow(u64::from(self.layout.journal_sections().saturating_sub(2)));
        let mut order = order;
        self.initialise_sections(order.by_ref().take(1), number)?;
        self.initialise_sections(order.by_ref().take(between), number)?;
        self.initialise_sections(order, number)?;
        Ok(plan.after_erasure())
    }

    /// Writes initialised sections with one number and makes them durable, if there are any.
    ///
    /// They are never held in a list: a superblock may say that there are 2^32.
    fn initialise_sections(
        &self,
        sections: impl Iterator<Item = u32>,
        number: Sequence,
    ) -> Result<(), DeviceError> {
        let bytes = self.codec.section_bytes();
        let at_once = (ERASE_BYTES / bytes).max(1) * bytes;
        let mut sections = sections.peekable();
        if sections.peek().is_none() {
            return Ok(());
        }
        let mut image = Vec::new();
        while let Some(first) = sections.next() {
            image.clear();
            let mut now = Some(first);
            while let Some(section) = now {
                let start = image.len();
                image.resize(start + bytes, 0);
                let (_, one) = image.split_at_mut(start);
                self.codec.initialise(section, number, one);
                let has_room = image.len() < at_once;
                now = sections.next_if(|next| has_room && *next == section + 1);
            }
            self.write_journal(first, &image)?;
        }
        self.flush_meta()
    }

    /// Initialises every section as formatting does.
    pub(crate) fn initialise_journal(&self) -> Result<(), DeviceError> {
        self.initialise_sections(0..self.layout.journal_sections(), Sequence::ZERO)
    }

    /// Empties a drained journal that this session wrote, as the kernel does when it closes.
    pub(super) fn empty_journal(&self, ring: &Ring) -> Result<(), DeviceError> {
        let (next, touched) = ring.position()?;
        if touched {
            self.initialise_ring(next)?;
        }
        Ok(())
    }

    /// Initialises the whole ring as one lap that goes on at `next`.
    fn initialise_ring(&self, next: Resume) -> Result<(), DeviceError> {
        let sections = self.layout.journal_sections();
        self.initialise_sections(next.section..sections, next.sequence)?;
        self.initialise_sections(0..next.section, next.sequence.next())
    }

    /// Drains and empties the journal before something is written past it: a replay would otherwise
    /// put older blocks over it.
    pub(crate) fn put_journal_aside(&self) -> Result<(), DeviceError> {
        self.past_journal(|| Ok(()))
    }

    /// Makes a change while the journal is empty, on disk too, and takes nothing: so no replay puts
    /// anything older over it, nor what another thread writes meanwhile.
    pub(crate) fn past_journal(
        &self,
        change: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        match &self.active()?.ring {
            Some(ring) => self
                .stop
                .guarded(|| ring.reset(self, |next| self.initialise_ring(next), change))?,
            None => change(),
        }
    }
}
