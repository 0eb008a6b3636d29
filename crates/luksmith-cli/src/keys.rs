//! Where keys come from: files, descriptors, programs, a terminal, standard input.
//!
//! The rules are cryptsetup's: a key file is read whole and nothing is trimmed; standard input
//! without a key file gives its first line.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    sync::Arc,
};

use clap::Args;
use luksmith::keyslot::{CandidateKey, MAX_PASSPHRASE_BYTES, Passphrase};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    context::Context,
    failure::{Failure, Kind, one_line},
    size::parse_size,
};

/// A descriptor that the command was started with.
///
/// It is taken while the arguments are parsed, before the command opens anything: otherwise a
/// number that nobody handed over could be the device.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    number: u32,
    file: Arc<File>,
}

impl Descriptor {
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl FromStr for Descriptor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text
            .parse()
            .map_err(|_| "a number is expected".to_owned())?;
        let file = luksmith::inherited(number).map_err(|error| error.to_string())?;
        Ok(Self {
            number,
            file: Arc::new(file),
        })
    }
}

/// Where a passphrase comes from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Keys")]
pub(crate) struct PassphraseArgs {
    /// Reads the passphrase from FILE, all of it; `-` is standard input
    #[arg(short = 'd', long, value_name = "FILE", group = "key-source")]
    key_file: Option<PathBuf>,

    /// Skips the first bytes of the key file or of standard input
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "key_command")]
    keyfile_offset: Option<u64>,

    /// Reads exactly this much of the key file or of standard input
    #[arg(
        short = 'l',
        long,
        value_name = "SIZE",
        value_parser = parse_size,
        conflicts_with = "key_command"
    )]
    keyfile_size: Option<u64>,

    /// Reads the passphrase from an open descriptor, all of it
    #[arg(long, value_name = "N", group = "key-source")]
    key_fd: Option<Descriptor>,

    /// Runs PROGRAM ARGS (split at spaces, no shell); its standard output is the passphrase
    #[arg(long, value_name = "PROGRAM ARGS", group = "key-source")]
    key_command: Option<String>,

    /// How often to ask on a terminal
    #[arg(short = 'T', long, value_name = "N", default_value_t = 3)]
    tries: u32,
}

/// How a volume is unlocked, or which keys a new one gets.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Keys")]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,

    /// Reads the volume key itself from FILE
    #[arg(long, value_name = "FILE", alias = "master-key-file")]
    pub(crate) volume_key_file: Option<PathBuf>,

    /// Uses only this keyslot
    #[arg(short = 'S', long, value_name = "N")]
    pub(crate) key_slot: Option<u32>,
}

impl KeyArgs {
    /// Tells whether an option says where the passphrase is.
    pub(crate) fn is_named(&self) -> bool {
        self.passphrase.is_named()
    }

    /// Takes the passphrase from `file`, for actions that name it as an argument.
    pub(crate) fn or_file(&self, file: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self {
            passphrase: self.passphrase.or_file(file)?,
            ..self.clone()
        })
    }

    /// Tells whether the key that unlocks comes from standard input.
    pub(crate) fn uses_standard_input(&self) -> bool {
        self.volume_key_file.is_none() && self.passphrase.uses_standard_input()
    }

    /// Gives the volume key that unlocks, if there is one. It takes the place of a passphrase, so
    /// that only one of the two can be meant.
    pub(crate) fn volume_key(&self) -> Result<Option<CandidateKey>, Failure> {
        if self.volume_key_file.is_some() && self.is_named() {
            return Err(Failure::caller(
                "--volume-key-file and an option that names a passphrase: either unlocks; give one",
            ));
        }
        self.new_volume_key()
    }

    /// Gives the volume key that a new volume is to have, if there is one. Its passphrase is
    /// another thing.
    pub(crate) fn new_volume_key(&self) -> Result<Option<CandidateKey>, Failure> {
        self.volume_key_file.as_deref().map(volume_key).transpose()
    }

    /// Fails if an option names a key, with what it is of no use for.
    pub(crate) fn refuse(&self, why: &str) -> Result<(), Failure> {
        self.passphrase.refuse(why)?;
        refuse(
            &[("--volume-key-file", self.volume_key_file.is_some())],
            why,
        )
    }
}

/// Fails if one of these options is given.
fn refuse(given: &[(&str, bool)], why: &str) -> Result<(), Failure> {
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Failure::caller(format!("{name}: {why}"))),
        None => Ok(()),
    }
}

impl PassphraseArgs {
    /// Fails if an option names a passphrase, with what it is of no use for.
    pub(crate) fn refuse(&self, why: &str) -> Result<(), Failure> {
        let slice = [self.keyfile_offset, self.keyfile_size];
        let given = [
            ("--key-file", self.key_file.is_some()),
            ("--keyfile-offset or --keyfile-size", slice != [None; 2]),
            ("--key-fd", self.key_fd.is_some()),
            ("--key-command", self.key_command.is_some()),
        ];
        refuse(&given, why)
    }

    /// Tells whether a person is asked, who may mistype.
    pub(crate) fn asks_a_person(&self) -> bool {
        !self.is_named() && io::stdin().is_terminal()
    }

    /// Tells how often a passphrase may be wrong.
    pub(crate) fn tries(&self) -> u32 {
        if self.asks_a_person() {
            self.tries.max(1)
        } else {
            1
        }
    }

    /// Tells whether an option says where the passphrase is.
    pub(crate) fn is_named(&self) -> bool {
        self.key_file.is_some() || self.key_fd.is_some() || self.key_command.is_some()
    }

    /// Takes the passphrase from `file`, for actions that name it as an argument.
    pub(crate) fn or_file(&self, file: Option<&Path>) -> Result<Self, Failure> {
        let mut keys = self.clone();
        if let Some(path) = file {
            if self.is_named() {
                return Err(Failure::caller(
                    "the key is named twice, by an option and as an argument",
                ));
            }
            keys.key_file = Some(path.to_owned());
        }
        Ok(keys)
    }

    /// Tells whether the passphrase comes from standard input.
    pub(crate) fn uses_standard_input(&self) -> bool {
        match &self.key_file {
            Some(path) => path == Path::new("-"),
            None => {
                let number = self.key_fd.as_ref().map_or(0, Descriptor::number);
                number == 0 && self.key_command.is_none()
            }
        }
    }

    /// Gives the passphrase. `prompt` asks for it on a terminal.
    pub(crate) fn read(&self, prompt: &str, context: &Context) -> Result<Passphrase, Failure> {
        if let Some(path) = &self.key_file {
            context.debug(|| format!("key file {}", path.display()));
            return self
                .key_file_passphrase(path)
                .map_err(|failure| failure.at(path));
        }
        if let Some(descriptor) = &self.key_fd {
            context.debug(|| format!("key from descriptor {}", descriptor.number()));
            let slice = self.slice();
            let passphrase = slice.read(&mut descriptor.file())?;
            // It has a position of its own: who read from it before may have left nothing.
            if passphrase.is_empty() && slice.size != Some(0) {
                return Err(Failure::caller(format!(
                    "descriptor {} gives no passphrase: nothing is left in it",
                    descriptor.number()
                )));
            }
            return Ok(passphrase);
        }
        if let Some(line) = &self.key_command {
            return from_command(line, context);
        }
        if self.asks_a_person() {
            self.slice().refuse("--keyfile-offset and --keyfile-size")?;
            return ask(prompt);
        }
        context.debug(|| "key from the first line of standard input".to_owned());
        first_line(&self.slice())
    }

    fn slice(&self) -> Slice {
        Slice {
            offset: self.keyfile_offset,
            size: self.keyfile_size,
        }
    }

    fn key_file_passphrase(&self, path: &Path) -> Result<Passphrase, Failure> {
        if path == Path::new("-") {
            let passphrase = self.slice().read(&mut standard_input()?)?;
            // An empty file is an empty passphrase; an empty pipe is a program that failed.
            if passphrase.is_empty() {
                return Err(Failure::caller("standard input gives no passphrase"));
            }
            Ok(passphrase)
        } else {
            self.slice().read_file(path)
        }
    }

    /// Gives the passphrase of a new volume, asked for twice on a terminal unless `once`.
    pub(crate) fn read_new(
        &self,
        prompt: &str,
        once: bool,
        context: &Context,
    ) -> Result<Passphrase, Failure> {
        let passphrase = if self.asks_a_person() && !once {
            self.slice().refuse("--keyfile-offset and --keyfile-size")?;
            ask_twice(prompt)?
        } else {
            self.read(prompt, context)?
        };
        refuse_empty(passphrase)
    }
}

/// Most bytes of a volume key.
const MAX_KEY_BYTES: usize = 4096;

/// Reads a volume key from a file, all of it.
pub(crate) fn volume_key(path: &Path) -> Result<CandidateKey, Failure> {
    let bytes = start_of(path, MAX_KEY_BYTES + 1)?;
    if bytes.len() > MAX_KEY_BYTES {
        let message = format!("this is no volume key: it has more than {MAX_KEY_BYTES} bytes");
        return Err(Failure::caller(message).at(path));
    }
    CandidateKey::new(&bytes).map_err(|error| Failure::from(error).at(path))
}

/// Reads a key of this many bytes from the start of a file, which may be a source of random ones.
pub(crate) fn key_of(path: &Path, len: usize) -> Result<CandidateKey, Failure> {
    if len > MAX_KEY_BYTES {
        return Err(Failure::caller(format!(
            "a key of {len} bytes: it may have {MAX_KEY_BYTES}"
        )));
    }
    let bytes = start_of(path, len)?;
    if bytes.len() < len {
        let message = format!(
            "the key is to have {len} bytes, the file has {}",
            bytes.len()
        );
        return Err(Failure::caller(message).at(path));
    }
    CandidateKey::new(&bytes).map_err(|error| Failure::from(error).at(path))
}

/// Reads so many bytes of a file, or all where it has fewer.
fn start_of(path: &Path, len: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = || -> io::Result<Zeroizing<Vec<u8>>> {
        // Room for everything from the start: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_KEY_BYTES));
        let file = File::open(path)?;
        file.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| unreadable(&error).at(path))
}

/// A part of a key file.
struct Slice {
    offset: Option<u64>,
    size: Option<u64>,
}

impl Slice {
    /// Fails if a part is asked for of what a person types.
    fn refuse(&self, options: &str) -> Result<(), Failure> {
        if self.offset.is_none() && self.size.is_none() {
            return Ok(());
        }
        Err(Failure::caller(format!(
            "{options} are for files and standard input, not for what is typed"
        )))
    }

    /// Reads the part of a file.
    fn read_file(&self, path: &Path) -> Result<Passphrase, Failure> {
        let mut file = File::open(path).map_err(|error| unreadable(&error))?;
        let offset = self.offset.unwrap_or(0);
        let rest = Slice {
            // A pipe cannot be positioned: its first bytes are read and thrown away.
            offset: match file.seek(SeekFrom::Start(offset)) {
                Ok(_) => None,
                Err(_) => self.offset,
            },
            size: self.size,
        };
        rest.read(&mut file)
    }

    fn read(&self, source: &mut dyn Read) -> Result<Passphrase, Failure> {
        let offset = self.offset.unwrap_or(0);
        skip(source, offset).map_err(|error| unreadable(&error))?;
        let Some(size) = self.size else {
            return whole(source);
        };
        let max = usize::try_from(size).unwrap_or(usize::MAX);
        if max > MAX_PASSPHRASE_BYTES {
            return Err(Failure::caller(format!(
                "key size {size}: a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes"
            )));
        }
        let passphrase = whole(&mut source.take(size))?;
        if passphrase.len() < max {
            return Err(Failure::caller(format!(
                "only {} of the {size} bytes asked for could be read",
                passphrase.len()
            )));
        }
        Ok(passphrase)
    }
}

/// Reads to the end. Nothing at all is the empty passphrase.
fn whole(source: &mut dyn Read) -> Result<Passphrase, Failure> {
    let mut first = [0];
    let count = source
        .read(&mut first)
        .map_err(|error| unreadable(&error))?;
    if count == 0 {
        return Ok(Passphrase::empty()?);
    }
    let passphrase = Passphrase::read_from(&mut first.chain(source), MAX_PASSPHRASE_BYTES);
    first.zeroize();
    Ok(passphrase?)
}

fn skip(source: &mut dyn Read, count: u64) -> io::Result<()> {
    let mut left = count;
    let mut scratch = Zeroizing::new([0; 512]);
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(512).min(512);
        let (part, _) = scratch.split_at_mut(step);
        source.read_exact(part)?;
        left -= step as u64;
    }
    Ok(())
}

fn from_command(line: &str, context: &Context) -> Result<Passphrase, Failure> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let Some(program) = words.next() else {
        return Err(Failure::caller("--key-command names no program"));
    };
    context.debug(|| format!("key from {program}"));
    let failed = |what: String| Failure::caller(format!("--key-command {program}: {what}"));
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let passphrase = match child.stdout.take() {
        Some(mut output) => whole(&mut output),
        None => Err(failed("it has no standard output".to_owned())),
    };
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    let passphrase = passphrase?;
    if passphrase.is_empty() {
        return Err(failed("it gave no key".to_owned()));
    }
    Ok(passphrase)
}

/// Asks on the terminal, without echo.
fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    passphrase_of(typed(prompt)?)
}

fn typed(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(one_line(prompt))
        .map(Zeroizing::new)
        .map_err(|error| Failure::caller(format!("the terminal gives no passphrase: {error}")))
}

fn passphrase_of(typed: Zeroizing<String>) -> Result<Passphrase, Failure> {
    if typed.is_empty() {
        return Ok(Passphrase::empty()?);
    }
    Ok(Passphrase::new(typed.as_bytes())?)
}

/// Asks twice for a new passphrase.
fn ask_twice(prompt: &str) -> Result<Passphrase, Failure> {
    let first = typed(prompt)?;
    let second = typed("Verify passphrase: ")?;
    // Not `==`, which stops at the first difference.
    let different = first.len() != second.len()
        || first
            .bytes()
            .zip(second.bytes())
            .fold(0, |all, (a, b)| all | (a ^ b))
            != 0;
    if different {
        return Err(Failure::caller("the two passphrases are not the same"));
    }
    passphrase_of(first)
}

/// Where a new passphrase comes from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "New key")]
pub(crate) struct NewKeyArgs {
    /// Reads the new passphrase from FILE, all of it
    #[arg(long, value_name = "FILE")]
    pub(crate) new_keyfile: Option<PathBuf>,

    /// Skips the first bytes of that file, or of standard input
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    new_keyfile_offset: Option<u64>,

    /// Reads exactly this much of either
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    new_keyfile_size: Option<u64>,

    /// Takes a new passphrase from a terminal as it is typed once
    #[arg(long)]
    force_password: bool,
}

impl NewKeyArgs {
    /// Gives the new passphrase: from `file` or `--new-keyfile`, a terminal, or the next line of
    /// standard input.
    pub(crate) fn passphrase(
        &self,
        file: Option<&Path>,
        prompt: &str,
        context: &Context,
    ) -> Result<Passphrase, Failure> {
        let file = match (file, &self.new_keyfile) {
            (Some(_), Some(_)) => {
                return Err(Failure::caller(
                    "the file with the new key is named twice, by --new-keyfile and as an argument",
                ));
            }
            (Some(path), None) => Some(path),
            (None, path) => path.as_deref(),
        };
        let slice = Slice {
            offset: self.new_keyfile_offset,
            size: self.new_keyfile_size,
        };
        if file.is_none() && io::stdin().is_terminal() {
            slice.refuse("--new-keyfile-offset and --new-keyfile-size")?;
        }
        let passphrase = match file {
            Some(path) => {
                context.debug(|| format!("new key from {}", path.display()));
                let read = if path == Path::new("-") {
                    slice.read(&mut standard_input()?)
                } else {
                    slice.read_file(path)
                };
                read.map_err(|failure| failure.at(path))?
            }
            None if io::stdin().is_terminal() && self.force_password => ask(prompt)?,
            None if io::stdin().is_terminal() => ask_twice(prompt)?,
            None => first_line(&slice)?,
        };
        refuse_empty(passphrase)
    }
}

fn refuse_empty(passphrase: Passphrase) -> Result<Passphrase, Failure> {
    if passphrase.is_empty() {
        return Err(Failure::caller(
            "the new passphrase is empty, so anybody could open the volume",
        ));
    }
    Ok(passphrase)
}

/// Reads standard input up to the first newline, or a part of it, and not a byte further: the next
/// line may be the next passphrase.
fn first_line(slice: &Slice) -> Result<Passphrase, Failure> {
    let mut source = standard_input()?;
    // What is skipped may hold newlines.
    skip(&mut source, slice.offset.unwrap_or(0)).map_err(|error| unreadable(&error))?;
    let mut line = FirstLine {
        source,
        ended: false,
    };
    let rest = Slice {
        offset: None,
        size: slice.size,
    };
    let passphrase = rest.read(&mut line)?;
    if passphrase.is_empty() {
        return Err(Failure::caller("standard input gives no passphrase"));
    }
    Ok(passphrase)
}

struct FirstLine {
    source: File,
    ended: bool,
}

impl Read for FirstLine {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some((first, _)) = buf.split_first_mut() else {
            return Ok(0);
        };
        if self.ended {
            return Ok(0);
        }
        let count = self.source.read(std::slice::from_mut(first))?;
        if count == 0 || *first == b'\n' {
            self.ended = true;
            return Ok(0);
        }
        Ok(count)
    }
}

/// Gives standard input without the standard library's buffer, which nobody could wipe.
fn standard_input() -> Result<File, Failure> {
    #[cfg(unix)]
    let duplicate = {
        use std::os::fd::AsFd;
        io::stdin().as_fd().try_clone_to_owned()
    };
    #[cfg(windows)]
    let duplicate = {
        use std::os::windows::io::AsHandle;
        io::stdin().as_handle().try_clone_to_owned()
    };
    duplicate
        .map(File::from)
        .map_err(|error| Failure::caller(format!("standard input: {error}")))
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(Kind::CALLER, format!("the key cannot be read: {error}"))
}
