//! `repair`: the only action that repairs a header, in place or in a copy.

use std::path::{Path, PathBuf};

use clap::Args;
use luksmith::{
    block::{BlockDevice, ByteDevice, ByteLen, ByteOffset, FileDevice},
    header::{
        Format, Limits, backup, detect,
        luks1::{self, Repair as Luks1Repair, Repaired},
        luks2::{Pair, RepairPlan, Side},
    },
    keyslot::{SystemRandom, change::HeaderBackup},
};

use crate::{
    backup_file::BackupFile,
    confirm::{Unasked, confirm},
    context::{Context, print},
    devices,
    failure::Failure,
    options::{DeviceArgs, LimitArgs},
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
    limits: LimitArgs,
}

impl Repair {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        let limits = self.limits.limits()?;
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
    devices::header(path, device, limits)?;
    into_new_file(out, |file| {
        // What a backup holds are two good copies, whatever the device holds.
        backup(device, limits, &mut |_, bytes| Ok(file.write(bytes)?))
            .map_err(|error| Failure::from(error).at(path))?;
        Ok(())
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

fn unasked(plan: &RepairPlan) -> Unasked {
    if plan.claimed_newer.is_some() {
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
    write: impl FnOnce(&mut BackupFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut file = BackupFile::create(out)?;
    let written =
        write(&mut file).and_then(|()| file.finish().map_err(|error| Failure::from(error).at(out)));
    if written.is_err() {
        file.remove()?;
        return written;
    }
    print(&format!(
        "A repaired copy of the header is in {}.\n",
        out.display()
    ))
}
