//! `config`: label, subsystem, priorities.

use clap::Args;
use luksmith::header::{Header, Priority};

use super::slots::PriorityArg;
use crate::{
    changing,
    failure::{Failure, Kind},
    options::{DeviceArgs, LimitArgs},
};

#[derive(Args, Debug)]
pub(crate) struct Config {
    #[command(flatten)]
    device: DeviceArgs,

    /// Sets the label
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// Sets the subsystem
    #[arg(long, value_name = "TEXT")]
    subsystem: Option<String>,

    /// Sets when the keyslot of --key-slot is tried
    #[arg(long, value_enum, requires = "key_slot")]
    priority: Option<PriorityArg>,

    /// The keyslot
    #[arg(short = 'S', long, value_name = "N")]
    key_slot: Option<u32>,

    #[command(flatten)]
    limits: LimitArgs,
}

impl Config {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.label.is_none() && self.subsystem.is_none() && self.priority.is_none() {
            return Err(Failure::caller(
                "nothing to set; give --label, --subsystem or --priority",
            ));
        }
        changing::edit(&self.device, &self.limits, |header| {
            let Header::Luks2(header) = header else {
                return Err(Failure::new(
                    Kind::UNSUPPORTED,
                    "a LUKS1 header has no label, subsystem or priorities",
                ));
            };
            if let (Some(priority), Some(number)) = (self.priority, self.key_slot) {
                let priority = Priority::from(priority);
                header
                    .metadata_mut()
                    .edit(|draft| draft.set_priority(number, priority))?;
            }
            if let Some(label) = &self.label {
                header.set_label(label)?;
            }
            if let Some(subsystem) = &self.subsystem {
                header.set_subsystem(subsystem)?;
            }
            Ok(())
        })
    }
}
