//! The device-mapper lines that give the kernel's view of a volume.

use std::fmt::{self, Write as _};

use luksmith_block::{BlockDevice, SECTOR_BYTES, SectorSize};
use luksmith_crypt::AuthSpec;
use luksmith_integrity::Mode;
use luksmith_keyslot::VolumeKey;

use crate::options::Journal;
use crate::plan::{Construction, Plan};
use crate::{Error, Volume};

/// How a table names the volume key.
#[derive(Clone, Copy, Debug)]
pub enum DmKey<'a> {
    /// As a key in the kernel's keyring, under the description that cryptsetup uses:
    /// `cryptsetup:<uuid>-d<digest>`, type `logon`. Whoever loads the table puts it there first.
    Keyring,
    /// In hexadecimal, in the table itself.
    Hex(&'a VolumeKey),
}

/// One device to be created with `dmsetup create <name> --table "<line>"`, after those before it.
///
/// Its `Debug` output hides the key; [`line`](Self::line) shows it, if it was asked for.
pub struct DmTable {
    name: String,
    target: &'static str,
    line: zeroize::Zeroizing<String>,
}

impl DmTable {
    /// Gives the name of the mapped device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the target: `integrity` or `crypt`.
    #[must_use]
    pub const fn target(&self) -> &'static str {
        self.target
    }

    /// Gives the table line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

impl fmt::Debug for DmTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmTable({}, {})", self.name, self.target)
    }
}

impl Volume {
    /// Gives the tables under which the kernel maps this volume as `name`, from `device`: a path,
    /// or a device number. A volume with tags takes two, the integrity target as `<name>_dif`
    /// first. A volume with lazy initialisation has errors there where nothing was written.
    ///
    /// # Errors
    /// [`Error::DmWord`] if the name, the device, or the UUID, which names the key in the keyring
    /// and comes from the header, cannot be a word of a table.
    ///
    /// # Format
    /// docs/formats/luks2.md, "Mapping".
    pub fn dm_tables(
        &self,
        name: &str,
        device: &str,
        key: DmKey<'_>,
    ) -> Result<Vec<DmTable>, Error> {
        check_word("the name", name)?;
        check_word("the device", device)?;
        let uuid = self.header().uuid();
        if matches!(key, DmKey::Keyring) && !uuid.is_empty() {
            check_word("the UUID", &uuid)?;
        }
        Ok(self.tables(name, device, key))
    }

    fn tables(&self, name: &str, device: &str, key: DmKey<'_>) -> Vec<DmTable> {
        let plan = self.plan();
        let sectors = self.size().get() / SECTOR_BYTES;
        let key = self.key_text(key);
        let spec = match &plan.construction {
            Construction::Authenticated(spec) => spec,
            _ => {
                let start = plan.offset / SECTOR_BYTES;
                let cipher = &plan.encryption;
                return vec![crypt(
                    name,
                    sectors,
                    (cipher, &key),
                    (device, start),
                    &sector_size_option(plan.sector_size),
                )];
            }
        };
        let below = format!("{name}_dif");
        let options = crypt_options(spec, plan);
        vec![
            integrity(&below, sectors, device, plan, spec, self.journal_choice()),
            crypt(
                name,
                sectors,
                (&spec.kernel_string(), &key),
                (&format!("/dev/mapper/{below}"), 0),
                &options,
            ),
        ]
    }

    /// Tells whether writes go through a journal.
    #[must_use]
    pub fn uses_journal(&self) -> bool {
        self.stack().authenticated_device().is_some()
            && self.journal_choice().mode(self.plan().no_journal) == Mode::Journal
    }

    fn key_text(&self, key: DmKey<'_>) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::new());
        match key {
            _ if matches!(self.plan().construction, Construction::Null) => text.push('-'),
            DmKey::Hex(key) => {
                // The whole text at once: a growing string would leave copies behind.
                text.reserve_exact(key.len() * 2);
                for byte in key.expose() {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
            }
            DmKey::Keyring => {
                let (bytes, digest) = (self.key_bytes(), self.digest());
                let uuid = self.header().uuid();
                let _ = write!(text, ":{bytes}:logon:cryptsetup:{uuid}-d{digest}");
            }
        }
        text
    }
}

/// Fails for what would not be one word: device-mapper splits at blanks, a table ends with a line.
fn check_word(what: &'static str, word: &str) -> Result<(), Error> {
    let breaks = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if word.is_empty() || word.contains(breaks) {
        return Err(Error::DmWord {
            what,
            found: word.to_owned(),
        });
    }
    Ok(())
}

fn crypt(
    name: &str,
    sectors: u64,
    (cipher, key): (&str, &str),
    (device, start): (&str, u64),
    options: &[String],
) -> DmTable {
    let mut tail = String::new();
    if !options.is_empty() {
        let _ = write!(tail, " {} {}", options.len(), options.join(" "));
    }
    // One allocation of the final size, because the key is in it.
    let room = 64 + cipher.len() + key.len() + device.len() + tail.len();
    let mut line = zeroize::Zeroizing::new(String::with_capacity(room));
    let _ = write!(
        line,
        "0 {sectors} crypt {cipher} {key} 0 {device} {start}{tail}"
    );
    DmTable {
        name: name.into(),
        target: "crypt",
        line,
    }
}

fn integrity(
    name: &str,
    sectors: u64,
    device: &str,
    plan: &Plan,
    spec: &AuthSpec,
    journal: Journal,
) -> DmTable {
    let mode = match journal.mode(plan.no_journal) {
        Mode::Direct => 'D',
        Mode::Recovery => 'R',
        _ => 'J',
    };
    let start = plan.offset / SECTOR_BYTES;
    let tuple = spec.tuple_bytes();
    let block = match plan.sector_size {
        SectorSize::S512 => " 0".to_owned(),
        size => format!(" 1 block_size:{size}"),
    };
    let line = format!("0 {sectors} integrity {device} {start} {tuple} {mode}{block}");
    DmTable {
        name: name.into(),
        target: "integrity",
        line: zeroize::Zeroizing::new(line),
    }
}

fn sector_size_option(size: SectorSize) -> Vec<String> {
    match size {
        SectorSize::S512 => Vec::new(),
        size => vec![format!("sector_size:{size}")],
    }
}

fn crypt_options(spec: &AuthSpec, plan: &Plan) -> Vec<String> {
    let kind = if spec.authenticates() { "aead" } else { "none" };
    let mut options = vec![format!("integrity:{}:{kind}", spec.tuple_bytes())];
    options.extend(sector_size_option(plan.sector_size));
    if spec.mac_key_bytes() != 0 && spec.mac_key_bytes() != spec.tag_bytes() {
        options.push(format!("integrity_key_size:{}", spec.mac_key_bytes()));
    }
    options
}
