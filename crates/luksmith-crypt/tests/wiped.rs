//! Every type that holds round keys wipes them on drop. A type that stops doing so does not
//! compile.

use zeroize::ZeroizeOnDrop;

fn wiped<T: ZeroizeOnDrop>() {}

#[test]
fn foreign_types_that_hold_round_keys_wipe_them() {
    wiped::<aes::Aes128>();
    wiped::<aes::Aes192>();
    wiped::<aes::Aes256>();
    wiped::<luksmith_hash::HmacKey>();
    #[cfg(feature = "chacha20")]
    wiped::<chacha20poly1305::ChaCha20Poly1305>();
    #[cfg(feature = "serpent")]
    wiped::<serpent::Serpent>();
    #[cfg(feature = "camellia")]
    wiped::<camellia::Camellia256>();
    #[cfg(feature = "aria")]
    wiped::<aria::Aria256>();
    #[cfg(feature = "sm4")]
    wiped::<sm4::Sm4>();
    #[cfg(feature = "kuznyechik")]
    wiped::<kuznyechik::Kuznyechik>();
}
