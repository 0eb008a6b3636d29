//! Tokens whose passphrase the kernel keeps.

use std::ffi::CString;

use luksmith_header::TokenView;
use luksmith_keyslot::Passphrase;

use super::{HandlerError, TokenHandler, TokenRef};

/// Takes the passphrases of `luks2-keyring` tokens from the kernel's keyrings of this process, as
/// cryptsetup does: keys of type `user` with the description that stands in the token.
///
/// The header says which key is used. Whoever can write the header can name any key of the caller's
/// keyrings, and nothing more: it is only tried on the keyslots.
///
/// ```no_run
/// use luksmith::block::FileOptions;
/// use luksmith::{KeyringTokens, OpenOptions, open_with_tokens};
///
/// let disk = FileOptions::writer().open("disk.img")?;
/// let volume = open_with_tokens(disk, &mut [&mut KeyringTokens], &OpenOptions::new())?;
/// # Ok::<(), luksmith::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyringTokens;

impl TokenHandler for KeyringTokens {
    fn handles(&self, type_name: &str) -> bool {
        type_name == "luks2-keyring"
    }

    /// Gives the key, or `None` if no keyring has it.
    fn passphrase(&mut self, token: &TokenRef<'_>) -> Result<Option<Passphrase>, HandlerError> {
        let TokenView::Keyring(view) = TokenView::read(token.id, token.object)? else {
            return Ok(None);
        };
        let description = CString::new(view.key_description)?;
        let key = luksmith_sys::keyring::user_key(&description)?;
        Ok(key.map(|key| Passphrase::new(&key)).transpose()?)
    }
}
