//! `luksDump`: the text that users of cryptsetup know, or the metadata as JSON.

use clap::Args;
use luksmith::header::Header;

use crate::{
    context::print,
    devices,
    failure::{Failure, Kind},
    options::{DeviceArgs, LimitArgs, TypeArgs},
};

mod luks1;
mod luks2;

#[derive(Args, Debug)]
pub(crate) struct LuksDump {
    #[command(flatten)]
    device: DeviceArgs,

    /// Prints the LUKS2 metadata as JSON
    #[arg(long)]
    dump_json_metadata: bool,

    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl LuksDump {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let header = devices::header(path, &device, &self.limits.limits()?)?;
        self.luks_type.luks_type.check(&header, path)?;
        match &header {
            Header::Luks2(header) if self.dump_json_metadata => {
                print(&header.metadata().tree().to_pretty())
            }
            _ if self.dump_json_metadata => Err(Failure::new(
                Kind::UNSUPPORTED,
                "a LUKS1 header has no JSON metadata; leave --dump-json-metadata out",
            )
            .at(path)),
            Header::Luks2(header) => print(&luks2::text(header)),
            Header::Luks1(header) => print(&luks1::text(header, path)),
            _ => Err(Failure::new(Kind::UNSUPPORTED, "a header of an unknown version").at(path)),
        }
    }
}

/// Adds `bytes` as hexadecimal digits, 16 bytes to a line; later lines start with `indent`.
fn push_hex(text: &mut String, bytes: &[u8], indent: &str) {
    use std::fmt::Write;

    for (line, chunk) in bytes.chunks(16).enumerate() {
        if line > 0 {
            text.push('\n');
            text.push_str(indent);
        }
        for byte in chunk {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x} ");
        }
    }
    text.push('\n');
}
