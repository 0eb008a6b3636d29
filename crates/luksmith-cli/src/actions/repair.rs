//! `repair`: the only action that repairs a header, in place or in a copy.

use std::path::{Path, PathBuf};

use clap::Args;
use luksmith::{
    block::{BlockDevice, ByteDevice, ByteLen, ByteOffset, FileDevice},
    header::{
        Format, Limits, detect,
        luks1::{self, Repair as Luks1Repair, Repaired},
        luks2::{Pair, RepairPlan, Side},
        repaired_backup,
    },
    keyslot::{
        SystemRandom,
        change::{FileBackup, HeaderBackup},
    },
};

use crate::{
    backup_file,
    confirm::{Unasked, confirm},
    context::{Context, print},
    devices,
    failure::Failure,
    options::{CostArgs, DeviceArgs},
};

/// Bytes of a LUKS1 header.
const LUKS1_BYTES: usize = 1024;
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

#[derive(Args, Debug)]
pub(crate) struct Repair {
    #[command(flatten)]
    device: DeviceArgs,

    /// Repairs a copy of the header in NEW, which must not be there yet, and leaves DEVICE alone
    #[arg(long, value_name = "NEW")]
    out: Option<PathBuf>,

    #[command(flatten)]
    costs: CostArgs,
}

impl Repair {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        let limits = self.costs.limits()?;
        let device = match self.out {
            Some(_) => devices::reader(path)?,
            None => devices::writer(path)?,
        };
        if let Some(repair) = luks1_repair(&device).map_err(|failure| failure.at(path))? {
            return match &self.out {
                Some(out) => luks1_copy(&repair, &device, path, out),
                None => luks1_in_place(&repair, &device, path, context),
            };
        }
        match &self.out {
            Some(out) => luks2_copy(&device, &limits, path, out),
            None => luks2_in_place(&device, &limits, path, context),
        }
    }
}

fn luks2_copy(
    device: &FileDevice,
    limits: &Limits,
    path: &Path,
    out: &Path,
) -> Result<(), Failure> {
    let at = |error: luksmith::header::Error| Failure::from(error).at(path);
    // Here, so that a device without a header to repair leaves no file behind.
    Pair::read(device, limits)
        .and_then(|pair| pair.repair_plan())
        .map_err(at)?;
    into_new_file(out, |file| {
        repaired_backup(device, limits, &mut |_, bytes| Ok(file.write(bytes)?)).map_err(at)
    })
}

fn luks2_in_place(
    device: &FileDevice,
    limits: &Limits,
    path: &Path,
    context: &Context,
) -> Result<(), Failure> {
    let at = |error: luksmith::header::Error| Failure::from(error).at(path);
    let pair = Pair::read(device, limits).map_err(at)?;
    let Some(plan) = pair.repair_plan().map_err(at)? else {
        return print("Both copies of the header are good; there is nothing to repair.\n");
    };
    confirm(&warning(&plan), unasked(&plan), context).map_err(|f| f.at(path))?;
    pair.repair(device, &mut SystemRandom).map_err(at)?;
    print(&format!(
        "The {} header was written anew from the other copy (seqid {}).\n",
        plan.side, plan.seqid
    ))
}

fn warning(plan: &RepairPlan) -> String {
    let other = match plan.side {
        Side::Primary => Side::Secondary,
        Side::Secondary => Side::Primary,
    };
    if let Some(found) = plan.foreign {
        return format!(
            "{found} stands in the place of the {} header and is overwritten with the {other} one \
             (seqid {}); whoever made it may have meant to replace this volume",
            plan.side, plan.seqid
        );
    }
    match plan.claimed_newer {
        Some(claimed) => format!(
            "the damaged {} header claims to be newer (seqid {claimed}) than the {other} one (seqid {}) \
             that replaces it: the last change of keys may be lost",
            plan.side, plan.seqid
        ),
        None if plan.unreadable => format!(
            "the {} header cannot be read and is overwritten with the {other} one (seqid {}); if \
             that is older, the last change of keys is lost",
            plan.side, plan.seqid
        ),
        None => format!(
            "the {} header is overwritten with the {other} one",
            plan.side
        ),
    }
}

/// Where something may be lost that nobody can see from here, somebody has to say so.
fn unasked(plan: &RepairPlan) -> Unasked {
    if plan.claimed_newer.is_some() || plan.unreadable || plan.foreign.is_some() {
        Unasked::Refused
    } else {
        Unasked::GoesOn
    }
}

/// Finds what is wrong with a LUKS1 header, if that is what the device has.
fn luks1_repair(device: &FileDevice) -> Result<Option<Luks1Repair>, Failure> {
    let mut raw = [0; LUKS1_BYTES];
    if device.size() < ByteLen::of(&raw) {
        return Ok(None);
    }
    // What cannot be read may still have a second copy, if it is LUKS2.
    let read = ByteDevice::new(device).read_at(ByteOffset::ZERO, &mut raw);
    if read.is_err() {
        return Ok(None);
    }
    match detect(&raw) {
        Format::Luks1 => Ok(Some(Luks1Repair::plan(&raw, device.size())?)),
        _ => Ok(None),
    }
}

/// The header is one write of two sectors. Cut off in between, the next repair does the rest: what
/// is repaired in one sector does not depend on the other.
fn luks1_in_place(
    repair: &Luks1Repair,
    device: &FileDevice,
    path: &Path,
    context: &Context,
) -> Result<(), Failure> {
    if repair.changes.is_empty() {
        return print("The LUKS1 header obeys every rule; there is nothing to repair.\n");
    }
    let changes = list(&repair.changes);
    let warning = format!("the LUKS1 header is written anew with {changes} put right");
    confirm(&warning, Unasked::GoesOn, context).map_err(|failure| failure.at(path))?;
    luks1::write(device, &repair.header).map_err(|error| Failure::from(error).at(path))?;
    print(&format!("Put right: {changes}.\n"))
}

/// Writes the repaired header and the keyslot areas to a new file.
fn luks1_copy(
    repair: &Luks1Repair,
    device: &FileDevice,
    path: &Path,
    out: &Path,
) -> Result<(), Failure> {
    let end = repair.header.total_len().get();
    let bytes = ByteDevice::new(device);
    into_new_file(out, |file| {
        let at = |error: luksmith::block::Error| Failure::from(error).at(path);
        file.write(repair.header.to_bytes().as_slice())
            .map_err(|error| Failure::from(error).at(out))?;
        let mut buffer = vec![0; CHUNK];
        let mut done = LUKS1_BYTES as u64;
        while done < end {
            let left = usize::try_from(end - done).unwrap_or(CHUNK).min(CHUNK);
            let (part, _) = buffer.split_at_mut(left);
            bytes.read_at(ByteOffset::new(done), part).map_err(at)?;
            file.write(part)
                .map_err(|error| Failure::from(error).at(out))?;
            done += left as u64;
        }
        Ok(())
    })
}

fn list(changes: &[Repaired]) -> String {
    let names = changes.iter().map(|change| match change {
        Repaired::CipherMode => "the cipher mode".to_owned(),
        Repaired::Hash => "the name of the hash".to_owned(),
        Repaired::Keyslot(number) => format!("the unused keyslot {number}"),
        other => format!("{other:?}"),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Makes a file that is durable once this returns, and gone again if it fails.
fn into_new_file(
    out: &Path,
    write: impl FnOnce(&mut FileBackup) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut file = backup_file::create(out)?;
    write(&mut file)?;
    file.finish()
        .map_err(|error| Failure::from(error).at(out))?;
    print(&format!(
        "A repaired copy of the header is in {}.\n",
        out.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use luksmith::{
        FormatOptions, NewKeys,
        block::{Error, IoFailure, MemDevice, Operation, SectorSize},
    };

    use super::*;

    /// A device that cannot read one place.
    struct BadPlace(MemDevice, Range<u64>);

    impl BlockDevice for BadPlace {
        fn size(&self) -> ByteLen {
            self.0.size()
        }
        fn sector_size(&self) -> SectorSize {
            self.0.sector_size()
        }
        fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), Error> {
            if at.get() < self.1.end && at.get() + buf.len() as u64 > self.1.start {
                return Err(Error::Io {
                    operation: Operation::Read,
                    at,
                    failure: IoFailure::Os(5),
                });
            }
            self.0.read_at(at, buf)
        }
        fn write_at(&self, at: ByteOffset, data: &[u8]) -> Result<(), Error> {
            self.0.write_at(at, data)
        }
        fn flush(&self) -> Result<(), Error> {
            self.0.flush()
        }
    }

    fn plan(bad: Range<u64>, change: &[(u64, &[u8])]) -> RepairPlan {
        let device = MemDevice::new(ByteLen::new(20 << 20), SectorSize::S512).expect("a device");
        let device = std::sync::Arc::new(device);
        let options = FormatOptions::luks2().digest_iterations(1000);
        luksmith::format(device.clone(), NewKeys::none(), &options).expect("a volume");
        let mut bytes = device.to_vec();
        for (at, new) in change {
            let at = usize::try_from(*at).expect("a place");
            let place = bytes.get_mut(at..at + new.len()).expect("inside");
            place.copy_from_slice(new);
        }
        let device = BadPlace(MemDevice::from_bytes(&bytes, SectorSize::S512), bad);
        let pair = Pair::read(&device, &Limits::default()).expect("readable");
        pair.repair_plan().expect("a good copy").expect("a bad one")
    }

    #[test]
    fn only_what_loses_nothing_is_repaired_unasked() {
        // One byte of the primary's text.
        assert_eq!(unasked(&plan(0..0, &[(5000, b"!")])), Unasked::GoesOn);
        // After an error of the medium nobody knows whether this copy is the newer one.
        let unreadable = plan(0..512, &[]);
        assert_eq!(unasked(&unreadable), Unasked::Refused);
        assert!(warning(&unreadable).contains("the last change of keys is lost"));
        // Somebody made a file system over the primary.
        let ext4: [(u64, &[u8]); 2] = [(0, &[0; 512]), (1080, &[0x53, 0xef])];
        let foreign = plan(0..0, &ext4);
        assert_eq!(unasked(&foreign), Unasked::Refused);
        let text = warning(&foreign);
        assert!(
            text.contains("ext4 file system stands in the place of the primary"),
            "{text}"
        );
    }
}
