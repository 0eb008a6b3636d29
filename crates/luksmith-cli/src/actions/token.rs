//! `token`: notes of other programs in a LUKS2 header.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use luksmith::header::{
    Header,
    json::{Object, ParseLimits, Value, parse_object},
    luks2,
};

use crate::{
    changing,
    context::print_json,
    devices,
    failure::{Failure, Kind},
    options::{DeviceArgs, LimitArgs},
};

/// What to do with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Adds a luks2-keyring token
    Add,
    /// Removes a token
    Remove,
    /// Adds a token from JSON
    Import,
    /// Prints a token as JSON
    Export,
    /// Puts a keyslot on a token
    Assign,
    /// Takes a keyslot off a token
    Unassign,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// What to do
    verb: Verb,

    #[command(flatten)]
    device: DeviceArgs,

    /// The token
    #[arg(long, value_name = "N")]
    token_id: Option<u32>,

    /// File with the token's JSON; `-` or nothing is standard input or output
    #[arg(long, value_name = "FILE")]
    json_file: Option<PathBuf>,

    /// Description of the key in the kernel's keyring
    #[arg(long, value_name = "TEXT")]
    key_description: Option<String>,

    /// The keyslot that the token is for [default: all there are]
    #[arg(short = 'S', long, value_name = "N")]
    key_slot: Option<u32>,

    /// Adds the token for no keyslot
    #[arg(long, conflicts_with = "key_slot")]
    unbound: bool,

    /// Puts the token in the place of one that is there
    #[arg(long)]
    token_replace: bool,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Longest JSON text of a token, as much as the largest header has room for.
const MAX_JSON: u64 = 4 * 1024 * 1024;

impl Token {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self.verb {
            Verb::Add => self.add(),
            Verb::Import => self.import(),
            Verb::Export => self.export(),
            Verb::Remove => {
                let id = self.id()?;
                self.edit(|header| {
                    Ok(header.metadata_mut().edit(|draft| draft.remove_token(id))?)
                })
            }
            Verb::Assign => self.assign(),
            Verb::Unassign => self.unassign(),
        }
    }

    fn id(&self) -> Result<u32, Failure> {
        self.token_id
            .ok_or_else(|| Failure::caller("--token-id has to name the token"))
    }

    fn edit(
        &self,
        action: impl FnOnce(&mut luks2::Header) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        changing::edit(&self.device, &self.limits, |header| match header {
            Header::Luks2(header) => action(header),
            _ => Err(no_tokens()),
        })
    }

    fn add(&self) -> Result<(), Failure> {
        // An empty one unlocks nothing, here and in cryptsetup.
        let description = self.key_description.as_ref();
        let Some(description) = description.filter(|text| !text.is_empty()) else {
            return Err(Failure::caller(
                "--key-description has to name the key in the kernel's keyring",
            ));
        };
        self.edit(|header| {
            let slots = match self.key_slot {
                Some(number) => vec![number],
                None if self.unbound => Vec::new(),
                None => {
                    let keyslots = header.metadata().keyslots().iter();
                    keyslots.filter_map(|slot| slot.id).collect()
                }
            };
            let mut token = Object::new();
            token.set("type", Value::string("luks2-keyring"));
            token.set("keyslots", numbers(&slots));
            token.set("key_description", Value::string(description));
            self.put(header, token)
        })
    }

    fn import(&self) -> Result<(), Failure> {
        let text = self.read_json()?;
        let (mut token, used) = parse_object(&text, &ParseLimits::default())
            .map_err(|error| Failure::caller(format!("the token's JSON: {error}")))?;
        let rest = text.get(used..).unwrap_or_default();
        if !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(Failure::caller("there is more behind the token's JSON"));
        }
        self.edit(|header| {
            if let Some(number) = self.key_slot {
                token.set("keyslots", numbers(&[number]));
            }
            self.put(header, token)
        })
    }

    /// Puts the token at its place: the one asked for, or the lowest free one.
    fn put(&self, header: &mut luks2::Header, token: Object) -> Result<(), Failure> {
        Ok(header.metadata_mut().edit(|draft| match self.token_id {
            Some(id) if self.token_replace => match draft.replace_token(id, token.clone()) {
                Err(luksmith::header::Error::NoSuchObject { .. }) => draft.add_token(id, token),
                result => result,
            },
            Some(id) => draft.add_token(id, token),
            None => {
                let id = draft.free_token()?;
                draft.add_token(id, token)
            }
        })?)
    }

    fn read_json(&self) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        let path = self.json_file.as_deref().unwrap_or(Path::new("-"));
        let read = if path == Path::new("-") {
            io::stdin().lock().take(MAX_JSON).read_to_end(&mut text)
        } else {
            File::open(path).and_then(|file| file.take(MAX_JSON).read_to_end(&mut text))
        };
        read.map_err(|error| Failure::caller(error.to_string()).at(path))?;
        Ok(text)
    }

    fn export(&self) -> Result<(), Failure> {
        let id = self.id()?;
        let path = self.device.header_path();
        let device = devices::reader(path)?;
        let header = devices::header(&self.device, &device, &self.limits)?;
        let Header::Luks2(header) = header else {
            return Err(no_tokens().at(path));
        };
        let Some(token) = header.metadata().token_object(id) else {
            return Err(Failure::caller(format!("there is no token {id}")).at(path));
        };
        let text = token.to_compact();
        match self
            .json_file
            .as_deref()
            .filter(|path| *path != Path::new("-"))
        {
            None => print_json(&text),
            Some(path) => OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| Failure::caller(error.to_string()).at(path)),
        }
    }

    fn assign(&self) -> Result<(), Failure> {
        let (id, number) = (self.id()?, self.keyslot()?);
        self.edit(|header| {
            Ok(header
                .metadata_mut()
                .edit(|draft| draft.assign_token(id, number))?)
        })
    }

    fn keyslot(&self) -> Result<u32, Failure> {
        self.key_slot
            .ok_or_else(|| Failure::caller("--key-slot has to name the keyslot"))
    }

    fn unassign(&self) -> Result<(), Failure> {
        let (id, number) = (self.id()?, self.keyslot()?);
        self.edit(|header| {
            let token = header.metadata().token(id);
            if token.is_some_and(|token| !token.keyslots.contains(&number)) {
                return Err(Failure::caller(format!(
                    "token {id} is not for keyslot {number}"
                )));
            }
            Ok(header
                .metadata_mut()
                .edit(|draft| draft.unassign_token(id, number))?)
        })
    }
}

fn no_tokens() -> Failure {
    Failure::new(Kind::UNSUPPORTED, "a LUKS1 header has no tokens")
}

fn numbers(list: &[u32]) -> Value {
    let values = list.iter().map(|number| Value::string(number.to_string()));
    Value::Array(values.collect())
}
