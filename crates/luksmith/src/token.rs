//! Unlocking through tokens: notes in a LUKS2 header that say where a passphrase is to be had.

use luksmith_block::BlockDevice;
use luksmith_header::json::Object;
use luksmith_header::luks2::Metadata;
use luksmith_header::{Budget, Header, Priority};
use luksmith_keyslot::Passphrase;
use luksmith_keyslot::unlock::Unlock;

use crate::open::Source;
use crate::options::OpenOptions;
use crate::plan::Plan;
use crate::{Error, ErrorKind, KeyTest, Volume};

mod keyring;

pub use keyring::KeyringTokens;

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

/// Opens the volume on `device` through its tokens. Each passphrase is tried on the keyslots of its
/// token alone: preferred keyslots first, then the others, then in the order of the tokens' ids.
/// Keyslots that are to be ignored take part only if [`OpenOptions`] names them or their token. A
/// keyslot that is damaged, not supported or over a limit does not keep the others from being
/// tried.
///
/// # Errors
/// As [`open`](crate::open); [`Error::NoUsableToken`] if no handler knows any of the tokens;
/// [`Error::NoTokenOpened`], with what first kept a passphrase from being had or tried.
pub fn open_with_tokens(
    device: impl BlockDevice + 'static,
    handlers: &mut [&mut dyn TokenHandler],
    options: &OpenOptions,
) -> Result<Volume, Error> {
    let source = Source::read(device, options.read_only, options)?;
    let plan = Plan::of(source.header(), options)?;
    let attempt = |unlock: Unlock<'_>, options: &_, budget: &mut _| {
        source.open(&plan, unlock, options, budget)
    };
    try_tokens(source.header(), handlers, options, attempt)
}

/// Tells whether a token leads to the volume key, without opening the volume: as
/// [`test_key`](crate::test_key) with the passphrases of tokens.
///
/// # Errors
/// [`Error::Header`], [`Error::Policy`], [`Error::Keyslot`], [`Error::NoUsableToken`],
/// [`Error::NoTokenOpened`].
pub fn test_tokens(
    device: impl BlockDevice + 'static,
    handlers: &mut [&mut dyn TokenHandler],
    options: &OpenOptions,
) -> Result<KeyTest, Error> {
    let source = Source::read(device, true, options)?;
    let asked_for = options.keyslot;
    let attempt = |unlock: Unlock<'_>, options: &_, budget: &mut _| {
        source.test(asked_for, unlock, options, budget)
    };
    let unlocked = try_tokens(source.header(), handlers, options, attempt)?;
    Ok(source.tested(unlocked))
}

/// Asks the handlers for passphrases until `attempt` succeeds with one.
fn try_tokens<T>(
    header: &Header,
    handlers: &mut [&mut dyn TokenHandler],
    options: &OpenOptions,
    mut attempt: impl FnMut(Unlock<'_>, &OpenOptions, &mut Budget) -> Result<T, Error>,
) -> Result<T, Error> {
    // LUKS1 has no tokens.
    let Header::Luks2(luks2) = header else {
        return Err(Error::NoUsableToken);
    };
    let (mut tried, mut is_wrong, mut failure) = (0, false, None);
    // One for all: limits hold for the sum of one open.
    let mut budget = Budget::new(options.limits);
    for (token, keyslots) in candidates(luks2.metadata(), options) {
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
            for keyslot in &keyslots {
                let chosen = options.clone().keyslot(*keyslot);
                match attempt(Unlock::Passphrase(&passphrase), &chosen, &mut budget) {
                    Err(error) if error.kind() == ErrorKind::WrongKey => is_wrong = true,
                    // What is wrong with this keyslot says nothing about the next one.
                    Err(
                        error @ Error::Keyslot {
                            source: luksmith_keyslot::Error::NoKeyslotOpened { .. },
                        },
                    ) => {
                        failure.get_or_insert_with(|| HandlerError::from(error));
                    }
                    other => return other,
                }
            }
        }
    }
    Err(match tried {
        0 => Error::NoUsableToken,
        tokens => Error::NoTokenOpened {
            tokens,
            kind: match &failure {
                Some(failure) if !is_wrong => Error::kind_of_handler(failure),
                _ => ErrorKind::WrongKey,
            },
            source: failure,
        },
    })
}

/// Gives the tokens that are asked for and their keyslots, in the order in which they are tried.
fn candidates<'a>(metadata: &'a Metadata, options: &OpenOptions) -> Vec<(TokenRef<'a>, Vec<u32>)> {
    let is_named = options.token.is_some() || options.keyslot.is_some();
    let rank = |id: u32| {
        let keyslot = metadata
            .keyslots()
            .iter()
            .find(|slot| slot.id == Some(id))?;
        let is_meant = options.keyslot.is_none_or(|wanted| wanted == id);
        match keyslot.priority {
            _ if !is_meant => None,
            Priority::Prefer => Some(0),
            Priority::Normal => Some(1),
            _ => is_named.then_some(2),
        }
    };
    let mut found = Vec::new();
    for token in metadata.tokens() {
        let Some(id) = token.id.filter(|id| *id < MAX_TOKENS) else {
            continue;
        };
        let is_meant = options.token.is_none_or(|wanted| wanted == id)
            && options
                .token_type
                .as_ref()
                .is_none_or(|wanted| *wanted == token.type_name);
        let mut keyslots: Vec<(u32, u32)> = token
            .keyslots
            .iter()
            .filter_map(|id| Some((rank(*id)?, *id)))
            .collect();
        // Stable: keyslots of one rank stay in the token's order.
        keyslots.sort_by_key(|(rank, _)| *rank);
        let (Some((first, _)), Some(object)) = (keyslots.first(), metadata.token_object(id)) else {
            continue;
        };
        if is_meant {
            let token = TokenRef {
                id,
                type_name: &token.type_name,
                keyslots: &token.keyslots,
                object,
            };
            found.push((*first, token, keyslots));
        }
    }
    // As they stand the tokens are in the header's order, which is that of no number.
    found.sort_by_key(|(first, token, _)| (*first, token.id));
    let pairs = found.into_iter().map(|(_, token, keyslots)| {
        let ids = keyslots.into_iter().map(|(_, id)| id).collect();
        (token, ids)
    });
    pairs.collect()
}
