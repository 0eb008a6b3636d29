//! `resize`: a volume takes the room that its device has, or gets smaller together with its file.

use std::{path::Path, sync::Arc};

use clap::{Args, ValueEnum};
use luksmith::{
    Init, Volume,
    block::{self, BlockDevice, ByteLen, FileDevice},
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
    /// [default: tags for HMAC on a file that --size grows, else wipe]
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
        let volume = self.open(&Arc::new(device), context)?;
        self.grow_volume(volume, context)
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
        let opened = self.open(&device, context);
        if opened.is_err() {
            // Nothing uses the new end yet: a key that does not fit leaves the file as it was. Once
            // growing has begun, the file stays large, whatever happens.
            cut(device, before).map_err(|error| Failure::from(error).at(path))?;
        }
        self.grow_volume(opened?, context)
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
                false => failure,
            }
        })
    }

    fn grow_volume(&self, volume: Volume, context: &Context) -> Result<ByteLen, Failure> {
        let path = &self.device.device;
        let size = volume.size();
        if volume.integrity().is_none() {
            // Without tags a volume always has the size of its device.
            let closed = volume.close();
            closed.map_err(|error| Failure::from(error).at(path))?;
            return Ok(size);
        }
        let hmac = volume
            .integrity()
            .is_some_and(|name| name.starts_with("hmac"));
        let init = match self.init {
            Some(InitArg::Wipe) => Init::Wipe,
            Some(InitArg::Tags) => Init::Tags,
            Some(InitArg::None) => Init::None,
            None if hmac && self.size.is_some() => Init::Tags,
            None => Init::Wipe,
        };
        let work = Work {
            name: "resize",
            device: &path.display().to_string(),
            uses_stdout: false,
        };
        let grown = watched(context, work, |control| volume.grow(init, control))?;
        grown.map_err(|error| not_grown(error).at(path))
    }
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

/// Gives a file that nobody else holds another size.
pub(super) fn cut(device: Arc<FileDevice>, size: ByteLen) -> Result<(), block::Error> {
    // Whoever had the device was dropped; if not, it is in use.
    let device = Arc::into_inner(device).ok_or(block::Error::Busy)?;
    device.resized(size).map(drop)
}
