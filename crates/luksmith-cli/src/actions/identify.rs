//! `isLuks` and `luksUUID`.

use clap::Args;
use luksmith::header::Header;

use crate::{
    changing,
    confirm::{Unasked, confirm},
    context::{Context, print},
    devices,
    failure::{Failure, Kind},
    options::{DeviceArgs, LimitArgs, TypeArgs},
};

#[derive(Args, Debug)]
pub(crate) struct IsLuks {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl IsLuks {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let header = devices::header(&self.device, &device, &self.limits);
        let checked = header.and_then(|header| self.luks_type.luks_type.check(&header, path));
        // The status is the answer; only what is no answer about the header is told.
        checked.map_err(|failure| match failure.kind() {
            Kind::DEVICE | Kind::NoDevice | Kind::BUSY | Kind::CALLER => failure,
            _ => failure.quiet(),
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct LuksUuid {
    #[command(flatten)]
    device: DeviceArgs,

    /// Sets this UUID
    #[arg(long, value_name = "UUID")]
    uuid: Option<String>,
    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl LuksUuid {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        if let Some(uuid) = &self.uuid {
            return self.set(uuid, context);
        }
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let header = devices::header(&self.device, &device, &self.limits)?;
        self.luks_type.luks_type.check(&header, path)?;
        print(&format!("{}\n", header.uuid()))
    }

    fn set(&self, uuid: &str, context: &Context) -> Result<(), Failure> {
        confirm(
            "everything that names this volume by its UUID has to be told the new one",
            Unasked::GoesOn,
            context,
        )?;
        let path = self.device.header_path();
        changing::edit(&self.device, &self.limits, |header| {
            self.luks_type.luks_type.check(header, path)?;
            match header {
                Header::Luks1(header) => header.set_uuid(uuid)?,
                Header::Luks2(header) => header.set_uuid(uuid)?,
                _ => {}
            }
            Ok(())
        })
    }
}
