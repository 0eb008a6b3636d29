//! Every type that holds a key wipes it on drop. A type that stops doing so does not compile.

use luksmith_integrity::{JournalCipher, JournalMac, TagMaker};
use zeroize::ZeroizeOnDrop;

const fn wiped<T: ZeroizeOnDrop>() {}

// What these hold in turn is held against the same where each is declared.
#[test]
fn types_with_keys_wipe_them() {
    wiped::<JournalMac>();
    wiped::<JournalCipher>();
    wiped::<TagMaker>();
}
