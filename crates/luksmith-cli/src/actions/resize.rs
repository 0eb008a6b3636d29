//! `resize`: a volume takes the room that its device has.

use clap::{Args, ValueEnum};
use luksmith::{
    Init, Volume,
    block::{BlockDevice, ByteLen},
};

use crate::{
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

    /// Grows the file to this size first
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
        let before = match self.size {
            None => None,
            Some(size) => Some(self.grow_file(size)?),
        };
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let opened = request.open(Access::Write, context, |options| options);
        if let (Err(_), Some(before)) = (&opened, before) {
            // Nothing uses the new end yet: a key that does not fit leaves the file as it was. Once
            // growing has begun, the file stays large, whatever happens.
            let restored = devices::writer(path)?.resized(before);
            restored.map_err(|error| Failure::from(error).at(path))?;
        }
        let size = self.grow_volume(opened?, context)?;
        print(&format!("{} for data.\n", human(size.get())))
    }

    /// Grows the file and gives the size that it had.
    fn grow_file(&self, size: u64) -> Result<ByteLen, Failure> {
        let path = &self.device.device;
        let device = devices::writer(path)?;
        let before = device.file().metadata();
        let before = before
            .map_err(|error| Failure::new(Kind::DEVICE, error.to_string()).at(path))?
            .len();
        if size < before {
            return Err(Failure::new(
                Kind::UNSUPPORTED,
                format!(
                    "--size {} would make it smaller, it has {}; shrinking is not supported yet",
                    human(size),
                    human(before)
                ),
            )
            .at(path));
        }
        let grown = device.resized(ByteLen::new(size));
        grown.map_err(|error| Failure::from(error).at(path))?;
        Ok(ByteLen::new(before))
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
        grown.map_err(|error| Failure::from(error).at(path))
    }
}
