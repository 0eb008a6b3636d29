//! `image build`: plaintext in, encrypted image out, in one pass.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand, ValueEnum};
use luksmith::{
    FormatOptions, NewKeys, Passphrase,
    block::{self, ByteLen, Control},
    hash::HashName,
    workload::write_footer,
};

use crate::{
    context::{Context, tell},
    failure::{Failure, Kind},
    kdf_options::{KdfArgs, Pbkdf},
    keys::KeyArgs,
    progress::{Work, watched},
    size::parse_size,
};

/// Most bytes of a workload's description.
const MAX_WORKLOAD: u64 = 1 << 20;
/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

#[derive(Args, Debug)]
pub(crate) struct Image {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Encrypts a disk image in one pass; the plaintext is read once and stored nowhere
    Build(Box<Build>),
}

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ImageFormat {
    /// LUKS1 with its data at sector 4040, as loaders of confidential workloads expect it
    Luks1,
    /// LUKS2 without tags
    Luks2,
}

#[derive(Args, Debug)]
struct Build {
    /// The plaintext: a disk or file system image; `-` is standard input
    #[arg(value_name = "IN", required_unless_present = "from_tar")]
    input: Option<PathBuf>,

    /// The image to make, which must not exist; `-` is standard output
    #[arg(value_name = "OUT", required_unless_present = "from_tar")]
    output: Option<PathBuf>,

    /// Version of the format
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: ImageFormat,

    /// Length of the plaintext, for an input that has none of its own
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,

    /// Ends the image with this JSON, for loaders of confidential workloads (LUKS1)
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,

    /// Not possible yet: an image in one pass has no tags
    #[arg(short = 'I', long, value_name = "TYPE", hide = true)]
    integrity: Option<String>,

    /// Not offered: this command makes no file systems
    #[arg(long, value_name = "FILE", hide = true)]
    from_tar: Option<PathBuf>,

    #[command(flatten)]
    kdf: KdfArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

impl Image {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match &self.verb {
            Verb::Build(build) => build.run(context),
        }
    }
}

impl Build {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        self.refuse_what_is_not_done()?;
        let (Some(input), Some(output)) = (&self.input, &self.output) else {
            return Err(Failure::caller("image build needs IN and OUT"));
        };
        let options = self.options(context)?;
        let workload = self.workload.as_deref().map(workload).transpose()?;
        let (mut plain, len) = self.plaintext(input)?;
        let volume_key = self.keys.new_volume_key()?;
        let prompt = format!("Enter passphrase for {}: ", output.display());
        let passphrase = self.keys.passphrase.read_new(&prompt, false, context)?;
        if !context.batch {
            tell(
                "note: this image has no tags: whoever can write it changes it unnoticed, and older \
                 parts of it can be put back",
            );
        }
        let uses_stdout = output == Path::new("-");
        let work = Work {
            name: "image build",
            device: &output.display().to_string(),
            uses_stdout,
        };
        let made = watched(context, work, |control| {
            let job = Job {
                options: options.control(Arc::clone(control)),
                passphrase: &passphrase,
                len: ByteLen::new(len),
                workload: workload.as_deref(),
            };
            let keys = match volume_key {
                Some(key) => NewKeys::passphrase(job.passphrase).with_volume_key(key),
                None => NewKeys::passphrase(job.passphrase),
            };
            if uses_stdout {
                job.encode(&mut plain, keys, &mut io::stdout().lock())
            } else {
                into_new_file(output, control, |out| job.encode(&mut plain, keys, out))
            }
        })?;
        made.map_err(|failure| match failure.kind() {
            Kind::Cancelled if uses_stdout => failure.hint("what was written is no whole image"),
            Kind::Cancelled => failure.hint("no image was left behind"),
            _ => failure,
        })
    }

    fn refuse_what_is_not_done(&self) -> Result<(), Failure> {
        let refused = |message: &str| Err(Failure::new(Kind::UNSUPPORTED, message));
        if self.from_tar.is_some() {
            return refused(
                "--from-tar is not offered: make a file system image first (mke2fs -d takes a \
                 folder) and give that as IN",
            );
        }
        if self.integrity.is_some() {
            return refused(
                "--integrity: an image in one pass has no tags yet; use luksFormat --size with \
                 --integrity, then import",
            );
        }
        if self.format == ImageFormat::Luks1 {
            let later = [
                ("--keyslot-cipher", self.kdf.keyslot_cipher.is_some()),
                (
                    "--pbkdf",
                    self.kdf.pbkdf.is_some_and(|pbkdf| pbkdf != Pbkdf::Pbkdf2),
                ),
            ];
            if let Some((name, _)) = later.iter().find(|(_, given)| *given) {
                return Err(Failure::caller(format!("{name}: LUKS1 does not have this")));
            }
        } else if self.workload.is_some() {
            return Err(Failure::caller(
                "--workload: loaders find the footer of LUKS1 images only; give --format luks1",
            ));
        }
        Ok(())
    }

    fn options(&self, context: &Context) -> Result<FormatOptions, Failure> {
        let hash = self.kdf.hash_or(HashName::Sha256)?;
        let (options, pbkdf) = match self.format {
            ImageFormat::Luks1 => (FormatOptions::workload_image(), Pbkdf::Pbkdf2),
            ImageFormat::Luks2 => (FormatOptions::luks2(), Pbkdf::Argon2id),
        };
        let mut options = options.hash(hash);
        let changed =
            self.kdf.pbkdf.is_some() || self.kdf.hash.is_some() || self.kdf.costs_given().is_some();
        if changed {
            let pbkdf = self.kdf.pbkdf.unwrap_or(pbkdf);
            options = options.kdf(self.kdf.choice(pbkdf, hash, context)?);
        }
        if let Some((cipher, key_bytes)) = self.kdf.area_cipher()? {
            options = options.keyslot_cipher(cipher, key_bytes);
        }
        if let Some(number) = self.keys.key_slot {
            options = options.keyslot(number);
        }
        Ok(options)
    }

    /// Opens the plaintext and tells how long it is.
    fn plaintext(&self, path: &Path) -> Result<(Box<dyn Read>, u64), Failure> {
        let unknown = || {
            Failure::caller("--size is needed: this input does not tell how long it is").at(path)
        };
        if path == Path::new("-") {
            if self.keys.passphrase.uses_standard_input() {
                return Err(Failure::caller(
                    "standard input gives the plaintext, so the key has to come from --key-file, \
                     --key-fd or --key-command",
                ));
            }
            let size = self.size.ok_or_else(unknown)?;
            return Ok((Box::new(io::stdin().lock()), size));
        }
        let at = |error: io::Error| Failure::new(Kind::NoDevice, error.to_string()).at(path);
        let mut file = File::open(path).map_err(at)?;
        if file.metadata().map_err(at)?.is_dir() {
            return Err(Failure::new(Kind::NoDevice, "this is a folder").at(path));
        }
        let found = file.seek(SeekFrom::End(0)).and_then(|end| {
            file.rewind()?;
            Ok(end)
        });
        let len = match (self.size, found) {
            (Some(size), _) => size,
            (None, Ok(end)) => end,
            (None, Err(_)) => return Err(unknown()),
        };
        Ok((Box::new(file), len))
    }
}

/// What goes into one image.
struct Job<'a> {
    options: FormatOptions,
    passphrase: &'a Passphrase,
    len: ByteLen,
    workload: Option<&'a [u8]>,
}

impl Job<'_> {
    fn encode(
        &self,
        plain: &mut dyn Read,
        keys: NewKeys<'_>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let encoded = luksmith::encode_stream(plain, self.len, keys, &self.options, out)?;
        if let Some(json) = self.workload {
            write_footer(out, encoded.bytes, json)?;
        }
        Ok(())
    }
}

/// Makes a file, durable once this returns and gone again if that fails.
fn into_new_file(
    path: &Path,
    control: &Control,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let at = |error: io::Error| Failure::new(Kind::DEVICE, error.to_string()).at(path);
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    let file = created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::caller("this exists already; remove it first or name another file").at(path)
        }
        _ => at(error),
    })?;
    let mut out = BufWriter::with_capacity(BUFFER, file);
    let written = write(&mut out).and_then(|()| {
        out.flush().map_err(at)?;
        block::make_durable(out.get_ref(), path).map_err(at)?;
        Ok(control.check()?)
    });
    if written.is_err() {
        // The failure that led here is what the user has to know.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Reads a workload's description: a JSON object, taken as it stands.
fn workload(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_WORKLOAD + 1).read_to_end(&mut text));
    read.map_err(|error| Failure::new(Kind::NoDevice, error.to_string()).at(path))?;
    if text.len() as u64 > MAX_WORKLOAD {
        return Err(Failure::caller("a workload's description has at most 1 MiB").at(path));
    }
    // All of it, not its start alone: the footer's reader takes every byte.
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text)
        .map_err(|error| Failure::caller(format!("this is no JSON object: {error}")).at(path))?;
    Ok(text)
}
