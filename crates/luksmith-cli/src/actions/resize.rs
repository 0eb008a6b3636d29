//! `resize`: a volume takes the room that its device has, or gets smaller together with its file.

use std::{path::Path, sync::Arc};

use clap::{Args, ValueEnum};
use luksmith::{
    Init, Volume,
    block::{self, ByteLen, ByteOffset, FileDevice},
    workload,
};

use crate::{
    confirm::{Unasked, confirm},
    context::{Context, print},
    devices,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs},
    progress::{Work, watched},
    size::{human, parse_size},
    unlocking::{Access, Request, TokenArgs},
};

#[derive(Args, Debug)]
pub(crate) struct Resize {
    #[command(flatten)]
    device: DeviceArgs,

    /// Gives the file this size: grown first, or cut once the volume is smaller
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// What new sectors of an authenticated volume read as until they are written
    /// [default: tags for HMAC where --size adds all of their room to the file, else wipe]
    #[arg(long, value_enum)]
    init: Option<InitArg>,

    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What new sectors read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InitArg {
    /// Zeros; they are written
    Wipe,
    /// Noise; only tags are written (HMAC alone)
    Tags,
    /// Errors
    None,
}

impl Resize {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = &self.device.device;
        let device = devices::writer(path)?;
        let size = match self.size {
            None => self.grow(device, context)?,
            Some(size) => {
                let before = file_size(&device).map_err(|failure| failure.at(path))?;
                refuse_workload(&device).map_err(|failure| failure.at(path))?;
                if size < before {
                    self.shrink(device, ByteLen::new(size), context)?
                } else {
                    self.grow_file(device, ByteLen::new(before), ByteLen::new(size), context)?
                }
            }
        };
        print(&format!("{} for data.\n", human(size.get())))
    }

    fn open(&self, device: &Arc<FileDevice>, context: &Context) -> Result<Volume, Failure> {
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        request.open_on(device, Access::Write, context, |options| options)
    }

    fn grow(&self, device: FileDevice, context: &Context) -> Result<ByteLen, Failure> {
        let (volume, init) = self.open_to_grow(&Arc::new(device), None, context)?;
        self.grow_volume(volume, init, context)
    }

    /// Opens a volume, and finds everything that would keep it from growing. `before` is the size
    /// that its file had before it was grown.
    fn open_to_grow(
        &self,
        device: &Arc<FileDevice>,
        before: Option<ByteLen>,
        context: &Context,
    ) -> Result<(Volume, Init), Failure> {
        let volume = self.open(device, context)?;
        let path = &self.device.device;
        let integrity = volume.integrity();
        if self.init.is_some() && integrity.is_none() {
            let message = "--init is for volumes with tags, and this one has none";
            return Err(Failure::caller(message).at(path));
        }
        let is_hmac = integrity.is_some_and(|name| name.starts_with("hmac"));
        let init = match self.init {
            Some(InitArg::Wipe) => Init::Wipe,
            Some(InitArg::Tags) => Init::Tags,
            Some(InitArg::None) => Init::None,
            None if is_hmac && holds_zeros(volume.new_room_at(), before) => Init::Tags,
            None => Init::Wipe,
        };
        let checked = volume.check_growable(init);
        checked.map_err(|error| Failure::from(error).at(path))?;
        Ok((volume, init))
    }

    /// Grows the file, then the volume.
    fn grow_file(
        &self,
        device: FileDevice,
        before: ByteLen,
        size: ByteLen,
        context: &Context,
    ) -> Result<ByteLen, Failure> {
        let path = &self.device.device;
        let grown = device.resized(size);
        let device = Arc::new(grown.map_err(|error| Failure::from(error).at(path))?);
        match self.open_to_grow(&device, Some(before), context) {
            Ok((volume, init)) => self.grow_volume(volume, init, context),
            // Nothing uses the new end yet: what is refused leaves the file as it was. Once growing
            // has begun, the file stays large, whatever happens.
            Err(failure) => Err(cut_back(failure, device, before)),
        }
    }

    /// Shrinks the volume, then the file.
    fn shrink(
        &self,
        device: FileDevice,
        size: ByteLen,
        context: &Context,
    ) -> Result<ByteLen, Failure> {
        let path = &self.device.device;
        if self.init.is_some() {
            return Err(Failure::caller(
                "--init is for what a larger volume has more",
            ));
        }
        confirm_cut(path, size.get(), context)?;
        let device = Arc::new(device);
        let volume = self.open(&device, context)?;
        let mut is_smaller = false;
        let shrunk = volume.shrink(size, |size| {
            is_smaller = true;
            cut(device, size)
        });
        shrunk.map_err(|error| {
            let failure = Failure::from(error).at(path);
            match is_smaller {
                true => failure.hint("the volume is smaller, its file is not: do it again"),
                false => not_cut(failure),
            }
        })
    }

    fn grow_volume(
        &self,
        volume: Volume,
        init: Init,
        context: &Context,
    ) -> Result<ByteLen, Failure> {
        let path = &self.device.device;
        let work = Work {
            name: "resize",
            device: &path.display().to_string(),
            uses_stdout: false,
        };
        let grown = watched(context, work, |control| volume.grow(init, control))?;
        grown.map_err(|error| not_grown(error).at(path))
    }
}

/// Tells whether new sectors from byte `room` on hold zeros, as those do that lie behind the size
/// which a file had `before` it was grown. What lies before it may be left from a larger volume, or
/// from growing that did not end.
pub(super) fn holds_zeros(room: Option<ByteOffset>, before: Option<ByteLen>) -> bool {
    match (room, before) {
        (Some(room), Some(before)) => room.get() >= before.get(),
        _ => false,
    }
}

/// Refuses an image whose end a loader reads: cut off or no longer last, nobody would find it.
fn refuse_workload(device: &FileDevice) -> Result<(), Failure> {
    let has_footer = match workload::read_footer(device) {
        Ok(footer) => footer.is_some(),
        // Damaged, but there.
        Err(luksmith::Error::Footer { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    if !has_footer {
        return Ok(());
    }
    Err(Failure::new(
        Kind::UNSUPPORTED,
        "the file ends in the description of a workload (KRUN), which --size would lose; build the \
         image anew with `image build`",
    ))
}

/// Tells why a device was not grown, and what it is now.
pub(super) fn not_grown(error: impl Into<luksmith::Error>) -> Failure {
    let error = error.into();
    let is_cancelled = matches!(
        error,
        luksmith::Error::Device {
            source: block::Error::Cancelled
        }
    );
    let failure = Failure::from(error);
    match is_cancelled {
        true => failure.hint("the size is the old one; run resize again from the start"),
        false => failure,
    }
}

/// Gives the size of a file that `--size` is for.
pub(super) fn file_size(device: &FileDevice) -> Result<u64, Failure> {
    if device.is_block_device() {
        return Err(Failure::new(
            Kind::UNSUPPORTED,
            "--size is for files; a block device is made larger by its own tools, then `resize` \
             without --size takes the room, and a volume on it cannot be made smaller",
        ));
    }
    let metadata = device.file().metadata();
    let metadata = metadata.map_err(|error| Failure::new(Kind::DEVICE, error.to_string()))?;
    Ok(metadata.len())
}

/// Asks before the end of a file is given up.
pub(super) fn confirm_cut(path: &Path, size: u64, context: &Context) -> Result<(), Failure> {
    let warning = format!(
        "what lies behind byte {size} of {} is given up",
        path.display()
    );
    confirm(&warning, Unasked::Refused, context)
}

/// Tells that a file was not cut after a failure; the device in it may be smaller already.
pub(super) fn not_cut(failure: Failure) -> Failure {
    match failure.kind() {
        Kind::DEVICE => failure
            .hint("the device in the file may be smaller already, the file is not: do it again"),
        _ => failure,
    }
}

/// Gives a file that was grown in vain, because of `failure`, the size that it had.
pub(super) fn cut_back(failure: Failure, device: Arc<FileDevice>, before: ByteLen) -> Failure {
    match cut(device, before) {
        Ok(()) => failure,
        Err(error) => failure.hint(format!(
            "the file is larger now, and could not be cut to {before} bytes again: {error}"
        )),
    }
}

/// Gives a file that nobody else holds another size.
pub(super) fn cut(device: Arc<FileDevice>, size: ByteLen) -> Result<(), block::Error> {
    // Whoever had the device was dropped; if not, it is in use.
    let device = Arc::into_inner(device).ok_or(block::Error::Busy)?;
    device.resized(size).map(drop)
}

#[cfg(test)]
mod tests {
    use luksmith::block::FileOptions;

    use super::*;

    /// The second failure used to hide the first.
    #[test]
    fn a_file_that_cannot_be_cut_back_is_told_behind_what_failed_first() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(8192).expect("a larger file");
        let device = FileOptions::writer().open(file.path()).expect("a device");
        let device = Arc::new(device);
        let other = Arc::clone(&device);
        let first = || Failure::caller("no key fits");
        let failure = cut_back(first(), device, ByteLen::new(4096));
        assert_eq!(failure.kind(), Kind::CALLER);
        let told = format!("{failure:?}");
        assert!(
            told.contains(
                "no key fits; the file is larger now, and could not be cut to 4096 bytes"
            ),
            "{told}"
        );
        let failure = cut_back(first(), other, ByteLen::new(4096));
        assert!(!format!("{failure:?}").contains("larger"), "{failure:?}");
        assert_eq!(file.as_file().metadata().expect("a file").len(), 4096);
    }

    #[test]
    fn only_what_lies_behind_the_old_end_of_a_file_is_known_to_be_zeros() {
        let (room, size) = (ByteOffset::new, ByteLen::new);
        assert!(holds_zeros(Some(room(4096)), Some(size(4096))));
        assert!(!holds_zeros(Some(room(4095)), Some(size(4096))));
        assert!(!holds_zeros(Some(room(4096)), None));
        assert!(!holds_zeros(None, Some(size(4096))));
    }
}
