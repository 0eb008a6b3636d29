//! `dm-table`: the lines with which the kernel maps a volume.

use std::io::Write;

use clap::Args;
use luksmith::{DmKey, Volume};

use crate::{
    context::{Context, print},
    failure::Failure,
    keys::{Descriptor, KeyArgs},
    options::{DeviceArgs, LimitArgs},
    unlocking::{Access, Request, TokenArgs},
};

#[derive(Args, Debug)]
pub(crate) struct DmTable {
    #[command(flatten)]
    device: DeviceArgs,

    /// Name of the mapping
    name: String,

    /// Prints the volume key in the table, instead of a reference to the kernel's keyring
    #[arg(long)]
    showkeys: bool,

    /// Writes the volume key to this open descriptor
    #[arg(long, value_name = "N")]
    volume_key_fd: Option<Descriptor>,

    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl DmTable {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Read, context, |options| options.keep_volume_key())?;
        if let Some(descriptor) = &self.volume_key_fd {
            write_key(&volume, descriptor)?;
        }
        let device = self.device.device.display().to_string();
        let key = match volume.volume_key().filter(|_| self.showkeys) {
            Some(key) => DmKey::Hex(key),
            None => DmKey::Keyring,
        };
        let tables = volume.dm_tables(&self.name, &device, key);
        for table in tables.map_err(|error| Failure::from(error).at(&self.device.device))? {
            print(table.name())?;
            print(": ")?;
            print(table.line())?;
            print("\n")?;
        }
        Ok(())
    }
}

fn write_key(volume: &Volume, descriptor: &Descriptor) -> Result<(), Failure> {
    let Some(key) = volume.volume_key() else {
        return Err(Failure::caller("the volume key was not kept"));
    };
    let written = descriptor.file().write_all(key.expose());
    written.map_err(|error| {
        Failure::caller(format!("--volume-key-fd {}: {error}", descriptor.number()))
    })
}
