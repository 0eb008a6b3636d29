//! `luksFormat`: a new volume.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{ArgGroup, Args, ValueEnum};
use luksmith::{
    FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys, Overwrite, Passphrase, Version, Volume,
    block::{BlockDevice, ByteLen, ByteOffset, FileDevice, FileOptions, SectorSize},
    hash::HashName,
    header::luks2::HeaderSize,
};

use crate::{
    actions::resize::{cut_back, file_size},
    confirm::{Unasked, confirm},
    context::Context,
    devices,
    failure::{Failure, Kind},
    kdf_options::{KdfArgs, Pbkdf},
    keys::KeyArgs,
    options::{CostArgs, DeviceArgs, LuksType, PolicyArgs},
    progress::{Work, watched},
    size::{human, parse_size},
};

/// Where the data start unless something else is said.
const DEFAULT_DATA_OFFSET: u64 = 16 << 20;

#[derive(Args, Debug)]
// What may have tags, so that options about tags make sense.
#[command(group(ArgGroup::new("tagged").multiple(true)))]
pub(crate) struct Format {
    #[command(flatten)]
    device: DeviceArgs,

    /// File with the key; without it the passphrase is asked for
    key: Option<PathBuf>,

    /// Version of the format [default: luks2, or the profile's]
    #[arg(short = 'M', long = "type", value_enum)]
    luks_type: Option<LuksType>,

    /// Starts from a ready-made set of options, which other options change: ephemeral (with
    /// --header), secure-mount, constellation, constellation-state-disk, contrast, workload-image
    #[arg(long, value_name = "NAME", group = "tagged")]
    profile: Option<String>,

    /// Says that the key comes from a generator, 32 bytes or more, so that the fast key derivation
    /// of the profile is enough for it; without this, Argon2id takes its place
    #[arg(long, requires = "profile", conflicts_with = "pbkdf")]
    high_entropy_key: bool,

    /// Creates a sparse file of this size, or grows the file to it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Overwrites a volume or file system that is there
    #[arg(long)]
    force: bool,

    /// Cipher of the data [default: aes-xts-plain64]
    #[arg(short, long, value_name = "CIPHER")]
    cipher: Option<String>,

    /// Key size of the cipher in bits [default: the longest]
    #[arg(short = 's', long, value_name = "BITS")]
    key_size: Option<usize>,

    /// Bytes that are encrypted at once [default: 4096 where the size allows it]
    #[arg(long, value_name = "BYTES")]
    sector_size: Option<u64>,

    /// Authenticates every sector: hmac-sha256, hmac-sha512, aead, poly1305
    #[arg(short = 'I', long, value_name = "TYPE", group = "tagged")]
    integrity: Option<String>,

    /// Key size of the HMAC in bits [default: its hash's]
    #[arg(long, value_name = "BITS", requires = "tagged")]
    integrity_key_size: Option<usize>,

    /// Initialises nothing: sectors are errors until they are written
    #[arg(long, requires = "tagged", conflicts_with = "init")]
    integrity_no_wipe: bool,

    /// Initialises without the journal, as is always done here; with --persistent, later opens
    /// bypass it too
    #[arg(long, requires = "tagged")]
    integrity_no_journal: bool,

    /// Stores --integrity-no-journal in the header
    #[arg(long, requires = "integrity_no_journal")]
    persistent: bool,

    /// Pads tags as Linux before 5.5 did
    #[arg(long, requires = "tagged")]
    integrity_legacy_padding: bool,

    /// What sectors read as until they are written [default: tags for HMAC on a device that is one
    /// hole, else wipe]
    #[arg(long, value_enum, requires = "tagged")]
    init: Option<InitArg>,

    /// Label
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// Subsystem
    #[arg(long, value_name = "TEXT")]
    subsystem: Option<String>,

    /// UUID [default: random]
    #[arg(long, value_name = "UUID")]
    uuid: Option<String>,

    /// Size of one LUKS2 header copy
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    luks2_metadata_size: Option<u64>,

    /// Size of the LUKS2 keyslot area
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    luks2_keyslots_size: Option<u64>,

    /// First sector (of 512 bytes) of the data
    #[arg(
        short = 'o',
        long,
        value_name = "SECTORS",
        conflicts_with = "align_payload"
    )]
    offset: Option<u64>,

    /// Aligns the data to this many sectors of 512 bytes
    #[arg(long, value_name = "SECTORS")]
    align_payload: Option<u64>,

    /// Takes the passphrase from a terminal as it is typed once
    #[arg(long)]
    force_password: bool,

    /// Asks for the passphrase twice (as is done anyway)
    #[arg(short = 'y', long)]
    verify_passphrase: bool,

    /// Accepted for cryptsetup's sake: keys always come from the system's generator
    #[arg(long, hide = true)]
    use_random: bool,

    /// Accepted for cryptsetup's sake: keys always come from the system's generator
    #[arg(long, hide = true)]
    use_urandom: bool,

    #[command(flatten)]
    kdf: KdfArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    costs: CostArgs,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// What sectors read as until they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InitArg {
    /// Zeros; everything is written once
    Wipe,
    /// Noise; only tags are written (HMAC alone)
    Tags,
    /// Errors
    None,
}

impl Format {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let path = &self.device.device;
        let keys = self.keys.or_file(self.key.as_deref())?;
        // Options and key first: a mistake in them must not leave a file behind.
        let mut options = self.options(&keys, context)?;
        let volume_key = keys.new_volume_key()?;
        let prompt = format!("Enter passphrase for {}: ", path.display());
        let passphrase = keys
            .passphrase
            .read_new(&prompt, self.force_password, context)?;
        self.check_entropy(&passphrase)?;
        let mut new_keys = NewKeys::passphrase(&passphrase);
        if let Some(key) = volume_key {
            new_keys = new_keys.with_volume_key(key);
        }
        let mut made = Made::default();
        let device = self.open(&mut made)?;
        let header = match &self.device.header {
            Some(path) => Some(self.open_header(path, options.version(), &mut made)?),
            None => None,
        };
        let overwrite = self.ask(&made, context)?;
        let (device, before) = self.grown(device, header.as_ref(), overwrite)?;
        let size = device.size();
        if let Some(header) = header {
            options = options.header(HeaderPlace::Detached(Arc::new(header)));
        }
        options = options.overwrite(overwrite);
        let volume = self.make(device, options, new_keys, &made, context);
        let volume = volume.map_err(|failure| match before {
            Some(before) => match FileOptions::writer().open(path) {
                Ok(device) => cut_back(failure, Arc::new(device), before),
                Err(error) => failure.hint(format!(
                    "the file is larger now, and could not be cut to {before} bytes again: {error}"
                )),
            },
            None => failure,
        })?;
        context.debug(|| {
            format!(
                "{} of {} are left for data",
                human(volume.size().get()),
                human(size.get())
            )
        });
        volume
            .close()
            .map_err(|error| Failure::from(error).at(path))?;
        made.keep();
        Ok(())
    }

    /// Makes the volume on an open device, which is closed if that fails.
    fn make(
        &self,
        device: FileDevice,
        options: FormatOptions,
        keys: NewKeys<'_>,
        made: &Made,
        context: &Context,
    ) -> Result<Volume, Failure> {
        let path = &self.device.device;
        let init = self.init(&options, &device, made)?;
        let options = options.init(init);
        let work = Work {
            name: "format",
            device: &path.display().to_string(),
            uses_stdout: false,
        };
        let formatted = watched(context, work, |control| {
            let options = options.control(Arc::clone(control));
            luksmith::format(device, keys, &options)
        })?;
        formatted.map_err(|error| self.explain(error).at(path))
    }

    /// Adds what helps most to an error.
    fn explain(&self, error: luksmith::Error) -> Failure {
        if let luksmith::Error::AlreadyFormatted { found } = error {
            return Failure::new(
                Kind::ALREADY_FORMATTED,
                format!(
                    "the device holds {found}, which would be lost; give -q or --force to overwrite it"
                ),
            );
        }
        let failure = Failure::from(error);
        match failure.kind() {
            Kind::Cancelled => {
                failure.hint("no header was written; run luksFormat again from the start")
            }
            _ => failure,
        }
    }

    fn options(&self, keys: &KeyArgs, context: &Context) -> Result<FormatOptions, Failure> {
        let mut options = self.base()?;
        let luks1 = options.version() == Version::Luks1;
        let is_for_generated_keys = options.key_derivation() == KdfChoice::HighEntropy;
        if self.high_entropy_key {
            self.check_high_entropy(is_for_generated_keys, keys)?;
        }
        if luks1 {
            self.refuse_luks2_options()?;
        }
        let hash = self.kdf.hash_or(HashName::Sha256)?;
        let pbkdf = match self.kdf.pbkdf {
            Some(pbkdf) => Some(pbkdf),
            // LUKS1 has one hash for everything, so that of the key derivation changes with it.
            None if luks1 && (self.profile.is_none() || self.kdf.hash.is_some()) => {
                Some(Pbkdf::Pbkdf2)
            }
            None if self.profile.is_none() => Some(Pbkdf::Argon2id),
            // Nothing shows that a key is not one that a person made up, so somebody has to say it.
            None if is_for_generated_keys && !self.high_entropy_key => Some(Pbkdf::Argon2id),
            None => None,
        };
        options = options.hash(hash).limits(self.costs.limits()?);
        options = self.policy.apply(options, self.device.is_detached())?;
        if let Some(pbkdf) = pbkdf {
            options = options.kdf(self.kdf.choice(pbkdf, hash, context)?);
        } else if let Some(name) = self.kdf.costs_given() {
            return Err(Failure::caller(format!(
                "{name}: the profile chooses the key derivation; give --pbkdf too to replace it"
            )));
        }
        if let Some(cipher) = &self.cipher {
            options = options.cipher(cipher);
        }
        if let Some((cipher, key_bytes)) = self.kdf.area_cipher()? {
            options = options.keyslot_cipher(cipher, key_bytes);
        }
        if let Some(bits) = self.key_size {
            options = options.cipher_key_bytes(bytes_of("--key-size", bits)?);
        }
        if let Some(bytes) = self.sector_size {
            let size = SectorSize::from_bytes(bytes).ok_or_else(|| {
                Failure::caller(format!(
                    "--sector-size {bytes}: 512, 1024, 2048 and 4096 are possible"
                ))
            })?;
            options = options.sector_size(size);
        }
        if let Some(number) = self.keys.key_slot {
            options = options.keyslot(number);
        }
        let options = self.place(options)?;
        self.integrity(self.names(options))
    }

    /// Fails where `--high-entropy-key` cannot be true, or would have no effect.
    fn check_high_entropy(&self, has_effect: bool, keys: &KeyArgs) -> Result<(), Failure> {
        if !has_effect {
            return Err(Failure::caller(
                "--high-entropy-key: this profile has the same key derivation for all keys",
            ));
        }
        if !keys.is_named() {
            return Err(Failure::caller(
                "--high-entropy-key: what is typed, or a line of standard input, is a passphrase; \
                 give the key with --key-file, --key-fd or --key-command",
            ));
        }
        Ok(())
    }

    fn check_entropy(&self, key: &Passphrase) -> Result<(), Failure> {
        let (found, least) = (key.len(), KdfChoice::MIN_HIGH_ENTROPY_BYTES);
        if self.high_entropy_key && found < least {
            return Err(Failure::caller(format!(
                "--high-entropy-key: the key has {found} bytes, fewer than the {least} needed"
            )));
        }
        Ok(())
    }

    /// Gives what all other options change: the profile, or cryptsetup's defaults.
    fn base(&self) -> Result<FormatOptions, Failure> {
        let Some(name) = &self.profile else {
            return Ok(match self.luks_type {
                Some(LuksType::Luks1) => FormatOptions::luks1(),
                _ => FormatOptions::luks2(),
            });
        };
        let options = FormatOptions::profile(name).ok_or_else(|| {
            let names: Vec<_> = FormatOptions::profile_names().collect();
            Failure::caller(format!(
                "--profile {name}: there is no such profile; there are {}",
                names.join(", ")
            ))
        })?;
        let (version, other) = match options.version() {
            Version::Luks1 => ("LUKS1", LuksType::Luks2),
            _ => ("LUKS2", LuksType::Luks1),
        };
        if self.luks_type == Some(other) {
            return Err(Failure::caller(format!(
                "--profile {name} is for {version}, which --type contradicts"
            )));
        }
        let in_memory = matches!(options.header_place(), HeaderPlace::Memory);
        if in_memory && self.device.header.is_none() {
            return Err(Failure::caller(format!(
                "--profile {name} has its header in memory, which ends with this command: nothing \
                 could open the volume; give --header FILE to keep it"
            )));
        }
        let about_tags = self.init.is_some()
            || self.integrity_no_wipe
            || self.integrity_no_journal
            || self.integrity_legacy_padding
            || self.integrity_key_size.is_some();
        if about_tags && self.integrity.is_none() && options.integrity_type().is_none() {
            return Err(Failure::caller(format!(
                "--profile {name} has no tags, so options about tags need --integrity"
            )));
        }
        Ok(options)
    }

    fn refuse_luks2_options(&self) -> Result<(), Failure> {
        let given = [
            ("--integrity", self.integrity.is_some()),
            (
                "--sector-size",
                self.sector_size.is_some_and(|size| size != 512),
            ),
            ("--label", self.label.is_some()),
            ("--subsystem", self.subsystem.is_some()),
            ("--luks2-metadata-size", self.luks2_metadata_size.is_some()),
            ("--luks2-keyslots-size", self.luks2_keyslots_size.is_some()),
            ("--keyslot-cipher", self.kdf.keyslot_cipher.is_some()),
            (
                "--pbkdf",
                self.kdf.pbkdf.is_some_and(|pbkdf| pbkdf != Pbkdf::Pbkdf2),
            ),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Failure::caller(format!("{name}: LUKS1 does not have this"))),
            None => Ok(()),
        }
    }

    fn names(&self, mut options: FormatOptions) -> FormatOptions {
        if let Some(label) = &self.label {
            options = options.label(label);
        }
        if let Some(subsystem) = &self.subsystem {
            options = options.subsystem(subsystem);
        }
        if let Some(uuid) = &self.uuid {
            options = options.uuid(uuid);
        }
        options
    }

    fn place(&self, mut options: FormatOptions) -> Result<FormatOptions, Failure> {
        if let Some(bytes) = self.luks2_metadata_size {
            let size = HeaderSize::from_bytes(bytes).ok_or_else(|| {
                Failure::caller(format!(
                    "--luks2-metadata-size {bytes}: 16K, 32K and so on up to 4M are possible"
                ))
            })?;
            options = options.header_size(size);
        }
        if let Some(bytes) = self.luks2_keyslots_size {
            options = options.keyslots_len(ByteLen::new(bytes));
        }
        let bytes = |name: &str, sectors: u64| {
            sectors
                .checked_mul(512)
                .map(ByteLen::new)
                .ok_or_else(|| Failure::caller(format!("{name} {sectors} does not fit 64 bits")))
        };
        if let Some(sectors) = self.offset {
            options = options.data_offset(bytes("--offset", sectors)?);
        }
        if let Some(sectors) = self.align_payload {
            options = options.alignment(bytes("--align-payload", sectors)?);
        }
        Ok(options)
    }

    fn integrity(&self, mut options: FormatOptions) -> Result<FormatOptions, Failure> {
        if let Some(name) = &self.integrity {
            // The command line has hmac-sha256 for what the header calls hmac(sha256).
            let kind = match name.strip_prefix("hmac-") {
                Some(hash) => format!("hmac({hash})"),
                None => name.clone(),
            };
            options = options.integrity(&kind);
        }
        if let Some(bits) = self.integrity_key_size {
            options = options.integrity_key_bytes(bytes_of("--integrity-key-size", bits)?);
        }
        if self.persistent {
            options = options.without_journal();
        }
        if self.integrity_legacy_padding {
            options = options.legacy_padding();
        }
        Ok(options)
    }

    /// Opens the device, or makes the file.
    fn open(&self, made: &mut Made) -> Result<FileDevice, Failure> {
        let path = &self.device.device;
        let at = |error: luksmith::block::Error| Failure::from(error).at(path);
        let Some(size) = self.size else {
            return devices::writer(path);
        };
        if !path.exists() {
            let created = FileOptions::writer().create(path, ByteLen::new(size));
            let device = created.map_err(at)?;
            made.note(path);
            return Ok(device);
        }
        let device = devices::writer(path)?;
        if device.size().get() > size {
            return Err(Failure::caller(format!(
                "--size {} would make it smaller, it has {}",
                human(size),
                human(device.size().get())
            ))
            .at(path));
        }
        Ok(device)
    }

    /// Grows the file to `--size`, unless something is on it that must not be overwritten. Gives
    /// the length that a file had that is larger now.
    fn grown(
        &self,
        device: FileDevice,
        header: Option<&FileDevice>,
        overwrite: Overwrite,
    ) -> Result<(FileDevice, Option<ByteLen>), Failure> {
        let path = &self.device.device;
        let Some(size) = self.size.filter(|size| device.size().get() < *size) else {
            return Ok((device, None));
        };
        if overwrite == Overwrite::Refuse {
            for place in [Some(&device), header].into_iter().flatten() {
                if let Some(found) = luksmith::what_is_there(place)? {
                    let error = luksmith::Error::AlreadyFormatted { found };
                    return Err(self.explain(error).at(path));
                }
            }
        }
        let before = file_size(&device).map_err(|failure| failure.at(path))?;
        let grown = device.resized(ByteLen::new(size));
        let grown = grown.map_err(|error| Failure::from(error).at(path))?;
        Ok((grown, Some(ByteLen::new(before))))
    }

    fn open_header(
        &self,
        path: &Path,
        version: Version,
        made: &mut Made,
    ) -> Result<FileDevice, Failure> {
        if path.exists() {
            return devices::writer(path);
        }
        let metadata = self.luks2_metadata_size.unwrap_or(16384).saturating_mul(2);
        let size = match (version, self.luks2_keyslots_size) {
            (Version::Luks1, _) => 2 << 20,
            (_, Some(keyslots)) => metadata.saturating_add(keyslots),
            (_, None) => DEFAULT_DATA_OFFSET.max(metadata.saturating_add(DEFAULT_DATA_OFFSET / 2)),
        };
        let created = FileOptions::writer().create(path, ByteLen::new(size));
        let device = created.map_err(|error| Failure::from(error).at(path))?;
        made.note(path);
        Ok(device)
    }

    /// Asks whether what is there may go. Where nobody can be asked, the library looks for it.
    fn ask(&self, made: &Made, context: &Context) -> Result<Overwrite, Failure> {
        if context.batch || self.force {
            return Ok(Overwrite::Allow);
        }
        let endangered = self.endangered(made);
        if !io::stdin().is_terminal() || endangered.is_empty() {
            return Ok(Overwrite::Refuse);
        }
        let names = endangered.join(" and ");
        let warning = format!("this will overwrite data on {names} irrevocably");
        confirm(&warning, Unasked::GoesOn, context)?;
        Ok(Overwrite::Allow)
    }

    /// Names what was there before this run: making a header elsewhere does not make DEVICE new.
    fn endangered(&self, made: &Made) -> Vec<String> {
        let places = [Some(&self.device.device), self.device.header.as_ref()];
        let old = places.into_iter().flatten().filter(|path| !made.has(path));
        old.map(|path| path.display().to_string()).collect()
    }

    fn init(
        &self,
        options: &FormatOptions,
        device: &FileDevice,
        made: &Made,
    ) -> Result<Init, Failure> {
        if self.integrity_no_wipe {
            return Ok(Init::None);
        }
        if let Some(init) = self.init {
            return Ok(match init {
                InitArg::Wipe => Init::Wipe,
                InitArg::Tags => Init::Tags,
                InitArg::None => Init::None,
            });
        }
        if options.initialisation() == Init::None {
            return Ok(Init::None);
        }
        let is_hmac = options
            .integrity_type()
            .is_some_and(|name| name.starts_with("hmac"));
        if !is_hmac {
            return Ok(Init::Wipe);
        }
        // No later than where the data will start, or a part of them would not be looked at.
        let other_sizes = self.luks2_metadata_size.is_some()
            || self.luks2_keyslots_size.is_some()
            || self.profile.is_some();
        let start = match self.offset {
            Some(sectors) => sectors.saturating_mul(512),
            None if self.device.header.is_some() || other_sizes => 0,
            None => DEFAULT_DATA_OFFSET,
        };
        let path = &self.device.device;
        let data = device.next_data(ByteOffset::new(start));
        let data = data.map_err(|error| Failure::from(error).at(path))?;
        let is_hole = data.is_none() && !device.is_block_device();
        Ok(if is_hole || made.has(path) {
            Init::Tags
        } else {
            Init::Wipe
        })
    }
}

/// Files that this run has made, and nobody else: gone again if it fails.
#[derive(Default)]
struct Made {
    paths: Vec<PathBuf>,
}

impl Made {
    fn note(&mut self, path: &Path) {
        self.paths.push(path.to_owned());
    }

    fn has(&self, path: &Path) -> bool {
        self.paths.iter().any(|made| made == path)
    }

    fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.paths {
            // The failure that led here is what the user has to know.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bytes_of(name: &str, bits: usize) -> Result<usize, Failure> {
    if bits == 0 || !bits.is_multiple_of(8) {
        return Err(Failure::caller(format!(
            "{name} {bits} is no whole number of bytes"
        )));
    }
    Ok(bits / 8)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    // `-h` is the hash here, as in the command.
    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        format: Format,
    }

    /// A header file that this run had just made kept the question about DEVICE from being asked.
    #[test]
    fn what_was_there_before_is_asked_about_whatever_else_was_made() {
        let line = ["luksFormat", "disk", "--header", "new"];
        let format = Line::try_parse_from(line).expect("options").format;
        let mut made = Made::default();
        assert_eq!(format.endangered(&made), ["disk", "new"]);
        made.note(Path::new("new"));
        assert_eq!(format.endangered(&made), ["disk"]);
        made.note(Path::new("disk"));
        assert!(format.endangered(&made).is_empty());
        // They were never there: nothing may be removed.
        made.keep();
    }
}
