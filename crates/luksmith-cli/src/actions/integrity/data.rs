//! `integrity check`, `export` and `import`: the data of a standalone device.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use luksmith::{
    ExportOptions, OnError, Workers,
    block::{BlockDevice, ByteOffset},
    export_device, import_device,
    integrity::{Flags, HashedDevice},
    verify_device,
};

use super::Integrity;
use crate::{
    actions::data::{OnErrorArg, check_fits, imported, not_complete, sink, source},
    context::Context,
    damage,
    failure::Failure,
    progress::watched,
};

impl Integrity {
    pub(super) fn check(&self, context: &Context) -> Result<(), Failure> {
        if self.integrity_recalculate || self.integrity_recalculate_reset {
            return self.recalculate(context);
        }
        if self.integrity_recovery_mode {
            return Err(Failure::caller(
                "--integrity-recovery-mode reads without looking at tags, so it checks nothing",
            ));
        }
        let device = self.open(false)?;
        let rest = unchecked(&device);
        let name = self.device.display().to_string();
        let work = self.work("check", &name, context.json);
        let report = watched(context, work, |control| {
            verify_device(&device, self.part.part(), &Workers::all(), control)
        })??;
        device.close()?;
        damage::verified(&report, !rest.is_empty(), rest, context)
    }

    pub(super) fn export(&self, context: &Context) -> Result<(), Failure> {
        let out = self.file.as_deref().filter(|path| *path != Path::new("-"));
        if out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::caller(
                "data is not written to a terminal; name a file or use a pipe",
            ));
        }
        let device = self.open(false)?;
        self.part.check(&device)?;
        // Only now: what cannot be opened must not empty a file.
        let mut sink = sink(out, false, context)?;
        let name = self.device.display().to_string();
        let work = self.work("export", &name, out.is_none());
        let options = ExportOptions::new()
            .part(self.part.part())
            .on_error(self.on_error.map_or(OnError::Stop, OnErrorArg::choice));
        let report = watched(context, work, |control| {
            export_device(&device, sink.as_mut(), &options, &Workers::all(), control)
        })?;
        let report = report.map_err(|error| not_complete(error, out))?;
        device.close()?;
        damage::replaced(&report)
    }

    pub(super) fn import(&self, context: &Context) -> Result<(), Failure> {
        if self.part.length.is_some() {
            return Err(Failure::caller(
                "--length: all of the file is imported; cut it before",
            ));
        }
        let input = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let (mut source, len) = source(input)?;
        let device = self.open(true)?;
        check_fits(&device, self.part.offset, len)?;
        let name = self.device.display().to_string();
        let at = ByteOffset::new(self.part.offset);
        let (result, written) = watched(context, self.work("import", &name, false), |control| {
            let result = import_device(&device, &mut source, at, control);
            (result, control.progress().done)
        })?;
        // In any case what was written is made durable, so that the message is true.
        let closed = device.close();
        imported(result, closed, written)
    }
}

/// Tells what a check leaves out, as the kernel would leave it out.
fn unchecked<D: BlockDevice>(device: &HashedDevice<D>) -> &'static str {
    let superblock = device.superblock();
    let flags = superblock.flags();
    let unfinished = flags.contains(Flags::RECALCULATING)
        && superblock.recalc_sector().get() < superblock.provided_data_sectors().get();
    if unfinished || flags.contains(Flags::DIRTY_BITMAP) {
        "Tags that are still to be made (--integrity-recalculate) say nothing about their data; \
         without a key they were not looked at.\n"
    } else {
        ""
    }
}
