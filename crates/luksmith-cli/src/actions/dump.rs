//! `luksDump`: the text that users of cryptsetup know, or the metadata as JSON.

use std::path::Path;

use clap::Args;
use luksmith::{header::Header, keyslot::change::HeaderBackup};
use zeroize::Zeroizing;

use crate::{
    backup_file,
    confirm::{Unasked, confirm},
    context::{Context, print, print_json},
    devices,
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs, TypeArgs},
    unlocking::Request,
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

    /// Prints the volume key, or writes it to the file of --volume-key-file
    #[arg(
        long,
        visible_alias = "dump-master-key",
        conflicts_with = "dump_json_metadata"
    )]
    dump_volume_key: bool,

    // Before what has a heading of its own.
    #[command(flatten)]
    luks_type: TypeArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl LuksDump {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.dump_volume_key {
            return self.dump_key(context);
        }
        self.keys
            .refuse("a dump without --dump-volume-key takes no key")?;
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let header = devices::header(&self.device, &device, &self.limits)?;
        self.luks_type.luks_type.check(&header, path)?;
        devices::warn_of_fault(path, &header, context);
        match &header {
            Header::Luks2(header) if self.dump_json_metadata => {
                print_json(&header.metadata().tree().to_pretty())
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

impl LuksDump {
    fn dump_key(&self, context: &Context) -> Result<(), Failure> {
        let path = self.device.header_path();
        confirm(
            "whoever has the volume key can read the volume without any passphrase",
            Unasked::GoesOn,
            context,
        )?;
        // Here the file of --volume-key-file is written, not read.
        let mut keys = self.keys.clone();
        let out = keys.volume_key_file.take();
        let request = Request {
            device: &self.device,
            keys: &keys,
            limits: &self.limits,
            tokens: None,
        };
        let test = request.test_key(context)?;
        self.luks_type.luks_type.check(&test.header, path)?;
        let key = test.unlocked.key.expose();
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        key_top(&mut text, &test.header, path, key.len());
        match out {
            None => {
                text.push_str("MK dump:\t");
                push_hex(&mut text, key, "\t\t");
            }
            Some(out) => {
                let mut file = backup_file::create(&out)?;
                let written = file.write(key).and_then(|()| file.finish());
                written.map_err(|error| Failure::from(error).at(&out))?;
                text.push_str("Key stored to file ");
                text.push_str(&out.display().to_string());
                text.push_str(".\n");
            }
        }
        print(&text)
    }
}

/// The lines above a volume key.
fn key_top(text: &mut String, header: &Header, path: &Path, key_bytes: usize) {
    use std::fmt::Write;

    let (cipher, offset) = match header {
        Header::Luks1(header) => (
            format!("{}-{}", header.cipher_name(), header.cipher_mode()),
            u64::from(header.payload_sector()),
        ),
        _ => {
            let segments = header.segments();
            let segment = segments.iter().find(|segment| !segment.is_backup());
            let crypt = segment.and_then(|segment| segment.crypt.as_ref());
            (
                crypt
                    .map(|crypt| crypt.encryption.clone())
                    .unwrap_or_default(),
                segment.map_or(0, |segment| segment.offset.get() / 512),
            )
        }
    };
    let (name, mode) = cipher.split_once('-').unwrap_or((&cipher, ""));
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "LUKS header information for {}\nCipher name:   \t{name}\nCipher mode:   \t{mode}\nPayload \
         offset:\t{offset}\nUUID:          \t{}\nMK bits:       \t{}\n",
        path.display(),
        header.uuid(),
        key_bytes * 8,
    );
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
