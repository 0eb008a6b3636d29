//! The keys of Constellation's volumes.

use luksmith_hash::{Error, HashName, HmacKey};
use zeroize::Zeroizing;

/// Bytes of a derived key.
const DEK_BYTES: usize = 32;

/// Derives the passphrase of a volume from the cluster's master secret and the volume's UUID, in
/// lower case with hyphens.
///
/// The UUID stands in a header that whoever holds the disk can change: a caller who knows which
/// volume it must be passes the UUID that it knows.
///
/// # Errors
/// None with inputs of any length; the type is that of the hash.
///
/// # Format
/// HKDF-SHA256 (RFC 5869) with the salt given and `key-` and the id as info, 32 bytes.
pub fn derive_dek(
    secret: &[u8],
    salt: &[u8],
    uuid: &str,
) -> Result<Zeroizing<[u8; DEK_BYTES]>, Error> {
    let mut pseudo_random = Zeroizing::new([0; DEK_BYTES]);
    HmacKey::new(HashName::Sha256, salt).mac(&[secret], pseudo_random.as_mut())?;
    let mut key = Zeroizing::new([0; DEK_BYTES]);
    // One block of output is what SHA-256 gives: its number is 1.
    HmacKey::new(HashName::Sha256, pseudo_random.as_ref())
        .mac(&[b"key-", uuid.as_bytes(), &[1]], key.as_mut())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn keys_are_those_of_the_published_vectors() {
        let run = |start: u8| -> Vec<u8> { (start..start + 32).collect() };
        for (secret, salt, id, dek) in [
            (
                vec![0; 32],
                vec![0; 32],
                "00000000-0000-0000-0000-000000000000",
                "2b5c829f691bfd4232f8aac464bccc07e605c7c8e82cbca09837e86d0b6d0665",
            ),
            (
                vec![0xff; 32],
                vec![0xff; 32],
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "1484aa39d3415e906e07940ff215d8b1eee705d3027dba93306af4abff4f70be",
            ),
            (
                run(0),
                run(0x20),
                "clusterID",
                "128c164378fe8767f998fbdfe4b4d6463ec5ae1b664ea5999bc27417607ae9b6",
            ),
            (
                run(0x40),
                run(0x60),
                "measurementSecret",
                "4790578891f3fe6cc22cb661ecdc1b7e33121b1287546a52ba33a9136719c213",
            ),
        ] {
            assert_eq!(hex(derive_dek(&secret, &salt, id).unwrap().as_ref()), dek);
        }
    }
}
