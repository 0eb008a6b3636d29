//! Unlocking through tokens: notes in a LUKS2 header that say where a passphrase is to be had.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ReadOnly};
use luksmith_header::json::Object;
use luksmith_header::{Budget, Header};
use luksmith_keyslot::Passphrase;
use luksmith_keyslot::unlock::Unlock;

use crate::open::{map, read_header};
use crate::options::OpenOptions;
use crate::plan::Plan;
use crate::{Error, ErrorKind, Volume};

/// Ids from here on are never used for unlocking, as cryptsetup cannot use them.
const MAX_TOKENS: u32 = 32;

/// A token of a header, as a handler sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TokenRef<'a> {
    /// Its id.
    pub id: u32,
    /// Its type.
    pub type_name: &'a str,
    /// The keyslots that its passphrase opens.
    pub keyslots: &'a [u32],
    /// All of it.
    pub object: &'a Object,
}

/// What a handler could not do.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Gets passphrases through tokens of one or more types: from a keyring, a TPM, a broker.
///
/// Everything in a token was written by whoever could write the header: a handler checks what it
/// reads before it acts on it.
pub trait TokenHandler {
    /// Tells whether this handler knows tokens of this type.
    fn handles(&self, type_name: &str) -> bool;

    /// Gets the passphrase that a token leads to; `None` if it leads nowhere at the moment.
    ///
    /// # Errors
    /// What went wrong, without any part of a secret in it.
    fn passphrase(&mut self, token: &TokenRef<'_>) -> Result<Option<Passphrase>, HandlerError>;
}

/// Opens the volume on `device` through its tokens, in the order of their ids. Each passphrase is
/// tried on the keyslots of its token alone.
///
/// # Errors
/// As [`open`](crate::open); [`Error::NoTokenOpened`], with what the first handler that failed
/// said.
pub fn open_with_tokens(
    device: impl BlockDevice + 'static,
    handlers: &mut [&mut dyn TokenHandler],
    options: &OpenOptions,
) -> Result<Volume, Error> {
    let device: Arc<dyn BlockDevice> = if options.read_only {
        Arc::new(ReadOnly::new(device))
    } else {
        Arc::new(device)
    };
    let header_device = options
        .header
        .clone()
        .unwrap_or_else(|| Arc::clone(&device));
    let header = read_header(&header_device, options)?;
    let plan = Plan::of(&header, options)?;
    let Header::Luks2(luks2) = &header else {
        return Err(Error::NoTokenOpened {
            tokens: 0,
            source: None,
        });
    };
    let metadata = luks2.metadata().clone();
    let (mut tried, mut failure) = (0, None);
    // One for all: limits hold for the sum of one open.
    let mut budget = Budget::new(options.limits);
    for token in metadata.tokens() {
        let Some((id, object)) = token
            .id
            .filter(|id| *id < MAX_TOKENS)
            .and_then(|id| Some((id, metadata.token_object(id)?)))
        else {
            continue;
        };
        let token = TokenRef {
            id,
            type_name: &token.type_name,
            keyslots: &token.keyslots,
            object,
        };
        for handler in handlers.iter_mut() {
            if !handler.handles(token.type_name) {
                continue;
            }
            tried += 1;
            let passphrase = match handler.passphrase(&token) {
                Ok(Some(passphrase)) => passphrase,
                Ok(None) => continue,
                Err(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
            };
            for keyslot in token.keyslots {
                let chosen = options.clone().keyslot(*keyslot);
                let unlock = Unlock::Passphrase(&passphrase);
                let parts = (&header, &plan);
                let opened = map(&device, &header_device, parts, unlock, &chosen, &mut budget);
                match opened {
                    Err(error) if error.kind() == ErrorKind::WrongKey => {}
                    other => return other,
                }
            }
        }
    }
    Err(Error::NoTokenOpened {
        tokens: tried,
        source: failure,
    })
}
