//! Header backup files, interchangeable with cryptsetup's: the bytes before the data.

use alloc::{vec, vec::Vec};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, SectorSize};

use crate::{
    Error, Format, Header, Limits, Quoted, detect, device,
    luks2::{self, Requirement},
};

/// Length of a backup file is a multiple of this.
const PAGE: u64 = 4096;
/// How much is copied at once.
const CHUNK: u64 = 1024 * 1024;

/// Takes bytes and the place in the file where they belong.
pub type Sink<'a> = dyn FnMut(ByteOffset, &[u8]) -> Result<(), Error> + 'a;

/// Gives the length of the backup file of a header.
#[must_use]
pub fn backup_len(header: &Header) -> ByteLen {
    ByteLen::new(header.total_len().get().next_multiple_of(PAGE))
}

/// Reads what belongs into the backup file of a header and gives it to `sink`, piece by piece.
///
/// Of a LUKS2 header whose copies are not both good and equally new, the backup holds two good
/// ones.
/// The device is only read.
///
/// # Errors
/// [`Error::Device`], and what `sink` gives.
///
/// # Format
/// docs/formats/luks2.md and luks1.md, "Backup".
pub fn backup<D: BlockDevice + ?Sized>(
    device: &D,
    limits: &Limits,
    sink: &mut Sink<'_>,
) -> Result<Header, Error> {
    let mut header = Header::read(device, limits)?;
    let mut front = Vec::new();
    match &mut header {
        Header::Luks2(chosen) => {
            let pair = luks2::Pair::read(device, limits)?;
            *chosen = pair.choose()?;
            if !pair.both_are_current() {
                (front, _) = pair.both_rendered()?;
            }
        }
        Header::Luks1(chosen) => {
            // Where the first area leaves a gap behind the header, the file has zeros there.
            if chosen
                .keyslots()
                .first()
                .map(|slot| slot.key_material_offset)
                == Some(8)
            {
                front = chosen.raw().to_vec();
                front.resize(4096, 0);
            }
        }
    }
    sink(ByteOffset::ZERO, &front)?;
    let start = ByteLen::of(&front).get();
    copy(device, start, header.total_len().get(), sink)?;
    let padding = backup_len(&header)
        .get()
        .saturating_sub(header.total_len().get());
    if padding > 0 {
        let zeros = vec![0; usize::try_from(padding).unwrap_or(0)];
        sink(ByteOffset::new(header.total_len().get()), &zeros)?;
    }
    Ok(header)
}

/// As [`backup`], of a LUKS2 header of which one copy is good, also where another format stands in
/// the primary's place: what a repair in place would give, while the device is only read.
///
/// # Errors
/// As [`Pair::repair_plan`](luks2::Pair::repair_plan), and what `sink` gives.
pub fn repaired_backup<D: BlockDevice + ?Sized>(
    device: &D,
    limits: &Limits,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    let pair = luks2::Pair::read(device, limits)?;
    if pair.repair_plan()?.is_none() {
        return backup(device, limits, sink).map(drop);
    }
    let (front, total) = pair.both_rendered()?;
    sink(ByteOffset::ZERO, &front)?;
    copy(device, ByteLen::of(&front).get(), total.get(), sink)?;
    let padding = total.get().next_multiple_of(PAGE) - total.get();
    let zeros = vec![0; usize::try_from(padding).unwrap_or(0)];
    sink(ByteOffset::new(total.get()), &zeros)
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestorePlan {
    /// The header in the backup.
    pub backup: Header,
    /// The header on the target, if there is one.
    pub target: Option<Header>,
    /// How many bytes of the target are overwritten.
    pub len: ByteLen,
    /// The header's copies in the backup, from which `backup` was made: what was judged is what is
    /// written, whatever the file says later.
    front: Vec<u8>,
}

impl RestorePlan {
    /// Checks a backup against its target.
    ///
    /// A target without a header, or with one of the other version, is no error here: the caller
    /// asks
    /// before it overwrites what it does not know.
    ///
    /// # Errors
    /// [`Error::NotLuks`] for a backup without a primary header, [`Error::RestoreRequirement`],
    /// [`Error::RestoreMismatch`], [`Error::TooShort`] for a target that is too small, and what
    /// reading the backup gives.
    pub fn check<B, T>(backup: &B, target: &T, limits: &Limits) -> Result<Self, Error>
    where
        B: BlockDevice + ?Sized,
        T: BlockDevice + ?Sized,
    {
        let (source, front) = kept(backup, limits)?;
        if !matches!(detect(&front), Format::Luks1 | Format::Luks2) {
            return Err(Error::NotLuks);
        }
        if let Some(requirement) = source.requirements().iter().find(|known| {
            !matches!(
                known,
                Requirement::OnlineReencrypt { .. } | Requirement::InlineHwTags
            )
        }) {
            return Err(Error::RestoreRequirement {
                requirement: Quoted::new(&requirement.to_word()),
            });
        }
        let len = source.total_len();
        if target.size().get() < len.get() {
            let what = "the header with its keyslot areas";
            return Err(Error::too_short(what, 0, len.get(), target.size()));
        }
        let there = match Header::read(target, limits) {
            Ok(header) => Some(header),
            Err(error @ Error::Device { .. }) => return Err(error),
            Err(_) => None,
        };
        if let Some(there) = &there {
            check_fit(&source, there)?;
        }
        Ok(Self {
            backup: source,
            target: there,
            len,
            front,
        })
    }

    /// Tells whether the target belongs to another volume, by its UUID.
    #[must_use]
    pub fn uuid_differs(&self) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| target.uuid() != self.backup.uuid())
    }

    /// Overwrites the target's header with the one that was checked and its keyslot areas with the
    /// backup's, and flushes. `backup` is only read for the areas, which open nothing unless they
    /// go with the header.
    ///
    /// A crash in between leaves a mixture: the caller has a durable backup of the old header
    /// before, and repeats the restore after.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn restore<B, T>(&self, backup: &B, target: &T) -> Result<(), Error>
    where
        B: BlockDevice + ?Sized,
        T: BlockDevice + ?Sized,
    {
        let whole = target.sector_size().byte_len().get();
        let source = Kept {
            front: &self.front,
            areas: Some(backup),
            size: backup.size(),
        };
        copy(&source, 0, self.len.get(), &mut |at, bytes| {
            let is_whole = ByteLen::of(bytes).get().is_multiple_of(whole);
            if is_whole {
                target.write_at(at, bytes)?;
            } else {
                let mut padded = bytes.to_vec();
                padded.resize(
                    bytes.len().next_multiple_of(target.sector_size().bytes()),
                    0,
                );
                let mut old = vec![0; padded.len()];
                target.read_at(at, &mut old)?;
                for (to, from) in padded.iter_mut().zip(&old).skip(bytes.len()) {
                    *to = *from;
                }
                target.write_at(at, &padded)?;
            }
            Ok(())
        })?;
        target.flush()?;
        Ok(())
    }
}

/// Reads the header of a backup. Gives the bytes that it was made from too: both copies of LUKS2,
/// what stands before the first area of LUKS1.
fn kept<B: BlockDevice + ?Sized>(backup: &B, limits: &Limits) -> Result<(Header, Vec<u8>), Error> {
    let mut wanted = front_bytes(&Header::read(backup, limits)?);
    loop {
        // 8 MiB at most, and more each time.
        let mut front = vec![0; wanted];
        device::read(backup, "a header backup", ByteOffset::ZERO, &mut front)?;
        let source = Kept::<B> {
            front: &front,
            areas: None,
            size: backup.size(),
        };
        let header = Header::read(&source, limits)?;
        wanted = front_bytes(&header);
        if wanted <= front.len() {
            front.truncate(wanted);
            return Ok((header, front));
        }
    }
}

/// Gives how many bytes before the keyslot areas make up a header.
fn front_bytes(header: &Header) -> usize {
    const LUKS1_BYTES: u64 = 1024;
    let bytes = match header {
        Header::Luks1(_) => LUKS1_BYTES,
        Header::Luks2(header) => header.binary().hdr_size().saturating_mul(2),
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A backup whose first bytes are in memory and are never read again.
struct Kept<'a, B: ?Sized> {
    front: &'a [u8],
    /// Where what follows them is read, zeros without.
    areas: Option<&'a B>,
    size: ByteLen,
}

impl<B: BlockDevice + ?Sized> BlockDevice for Kept<'_, B> {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.areas
            .map_or(SectorSize::S512, |areas| areas.sector_size())
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), luksmith_block::Error> {
        match self.areas {
            Some(areas) => areas.read_at(at, buf)?,
            None => buf.fill(0),
        }
        let skip = usize::try_from(at.get()).unwrap_or(usize::MAX);
        let front = self.front.get(skip..).unwrap_or_default();
        for (to, from) in buf.iter_mut().zip(front) {
            *to = *from;
        }
        Ok(())
    }

    fn write_at(&self, _at: ByteOffset, _data: &[u8]) -> Result<(), luksmith_block::Error> {
        Err(luksmith_block::Error::ReadOnly)
    }

    fn flush(&self) -> Result<(), luksmith_block::Error> {
        Ok(())
    }
}

fn check_fit(backup: &Header, target: &Header) -> Result<(), Error> {
    let differ = |field, backup, target| {
        if backup == target {
            Ok(())
        } else {
            Err(Error::RestoreMismatch {
                field,
                backup,
                target,
            })
        }
    };
    match (backup, target) {
        (Header::Luks1(backup), Header::Luks1(target)) => {
            differ(
                "payload offset",
                u64::from(backup.payload_sector()),
                u64::from(target.payload_sector()),
            )?;
            differ(
                "key size",
                u64::from(backup.key_bytes()),
                u64::from(target.key_bytes()),
            )
        }
        (Header::Luks2(_), Header::Luks2(known)) => {
            let is_offline = known
                .metadata()
                .requirements()
                .contains(&Requirement::OfflineReencrypt);
            if is_offline {
                return Ok(());
            }
            differ("data offset", data_offset(backup), data_offset(target))?;
            differ(
                "header length",
                backup.total_len().get(),
                target.total_len().get(),
            )
        }
        _ => Ok(()),
    }
}

/// Gives the smallest offset of the regular segments.
fn data_offset(header: &Header) -> u64 {
    header
        .segments()
        .iter()
        .filter(|segment| !segment.is_backup())
        .map(|segment| segment.offset.get())
        .min()
        .unwrap_or(0)
}

/// Copies the bytes from `start` up to `end` to a sink.
fn copy<D: BlockDevice + ?Sized>(
    device: &D,
    start: u64,
    end: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    let mut at = start;
    let mut chunk = Vec::new();
    while at < end {
        let len = end.saturating_sub(at).min(CHUNK);
        chunk.resize(usize::try_from(len).unwrap_or(0), 0);
        device::read(
            device,
            "the header's areas",
            ByteOffset::new(at),
            &mut chunk,
        )?;
        sink(ByteOffset::new(at), &chunk)?;
        at = at.saturating_add(len);
    }
    Ok(())
}
