//! Bytes that Linux 7.2 wrote through dm-crypt, measured for this project: key 00 01 02 and so on,
//! the sector at number 8, plaintext byte `i` is `i` modulo 251. Volumes with stored random IVs are
//! checked through the images in `testvectors/`.
#![cfg(feature = "all-ciphers")]

use luksmith_block::{SectorNumber, SectorSize};
use luksmith_crypt::{CipherSpec, SectorCipher};
use luksmith_hash::{Hash, HashName};
use luksmith_testkit::unhex;

const FIRST: SectorNumber = SectorNumber::new(8);

fn plain(size: SectorSize) -> Vec<u8> {
    (0..251).cycle().take(size.bytes()).collect()
}

fn key(bytes: u8) -> Vec<u8> {
    (0..bytes).collect()
}

#[test]
fn length_preserving_ciphers_write_what_the_kernel_wrote() {
    for (spec, key_bytes, size, start) in [
        (
            "aes-xts-plain64",
            64,
            SectorSize::S512,
            "d669f5e2d9e798975a7ec16179cd66c7",
        ),
        (
            "aes-xts-plain64",
            64,
            SectorSize::S4096,
            "d669f5e2d9e798975a7ec16179cd66c7",
        ),
        (
            "aes-xts-plain64",
            32,
            SectorSize::S512,
            "8a14a9a8492fc62560c2006c31ad3199",
        ),
        (
            "aes-cbc-essiv:sha256",
            32,
            SectorSize::S512,
            "fae8499ad2e8543d5a2836fbc9d4d251",
        ),
    ] {
        let spec = CipherSpec::parse(spec).unwrap();
        let cipher = SectorCipher::new(&spec, &key(key_bytes), size).unwrap();
        let mut data = plain(size);
        cipher.encrypt_in_place(FIRST, &mut data).unwrap();
        assert_eq!(data[..16], unhex(start), "{spec} {size}");
        cipher.decrypt_in_place(FIRST, &mut data).unwrap();
        assert_eq!(data, plain(size), "{spec} {size}");
    }
}

/// Specification, key bytes, sector size, SHA-256 of 8192 bytes of ciphertext from sector 0 on,
/// with an IV offset of 2^32 - 8: the sector numbers leave 32 bits in the middle.
const DIGESTS: [(&str, u8, SectorSize, &str); 44] = [
    (
        "aes-xts-plain",
        48,
        SectorSize::S512,
        "66827917b3f6b73fd8db5630e2561df416bd1fd6277e286bac925f4cedd14bab",
    ),
    (
        "aes-xts-plain",
        48,
        SectorSize::S4096,
        "d8ebd0442515300e60a778ff8a96fba3a3f9a210159899104bf57162c9acbd72",
    ),
    (
        "aes-xts-plain64be",
        64,
        SectorSize::S512,
        "daa4ccead44b615aa591873c58a6446bfa0fc6f8f70b8ea1fe723dacdf7334d7",
    ),
    (
        "aes-xts-plain64be",
        64,
        SectorSize::S4096,
        "6d54a7dcf3e35653832d2a3551861c4d4734c784489ba80cf444ea60dd9f799a",
    ),
    (
        "aes-xts-benbi",
        32,
        SectorSize::S512,
        "c2a90bf6ddd02f16cd0d304795e02ca560f0dfb37cfe9ff0a0e4c3bbb5203e91",
    ),
    (
        "aes-xts-benbi",
        32,
        SectorSize::S4096,
        "b9ad4b600227f12b62528ad837a0aa57ccf282897ab8668f716640606c21c0f7",
    ),
    (
        "aes-cbc-eboiv",
        32,
        SectorSize::S512,
        "f2a0bc5c9d917645430ce4f7d37aa02c8c6c0f0040d3a6fd6b3aff657ea5ec10",
    ),
    (
        "aes-cbc-eboiv",
        32,
        SectorSize::S4096,
        "9db4f4d05caea2f65741b27d383968d355ab7f9fdb549ca4d98d8d3668ea511d",
    ),
    (
        "aes-cbc-null",
        24,
        SectorSize::S512,
        "91445d9fb34b5660c899c11100effe0a1cb6ca454abbd0e09da9188f5620ea3b",
    ),
    (
        "aes-cbc-null",
        24,
        SectorSize::S4096,
        "344a2ebff0a257e23f3c20e9e397f5e4b94711bc9f8453c3e482d9fdb7d67628",
    ),
    (
        "aes-cbc-benbi",
        32,
        SectorSize::S512,
        "36ac0429912768fc00108e700a0413e078a054ace7c652e09a4f8eba2e32ca9d",
    ),
    (
        "aes-cbc-benbi",
        32,
        SectorSize::S4096,
        "720ed7046dce60a6be4930396d8cad6d279a6627028524d98a0aba296fb387eb",
    ),
    (
        "serpent-cbc-essiv:sha256",
        32,
        SectorSize::S512,
        "e7350505082e9ecbc4538075cbc86410bd25a049c758a21e0d33e10738fdc564",
    ),
    (
        "serpent-cbc-essiv:sha256",
        32,
        SectorSize::S4096,
        "6c409be5785481b820471eaf2eb9068301681ec92ca1a1a8227f8988c84c740c",
    ),
    (
        "twofish-cbc-essiv:sha256",
        16,
        SectorSize::S512,
        "3d8b63409cb0c22141fca368d26666305f4b1933f513cea496a51b3d48f7d9e3",
    ),
    (
        "twofish-cbc-essiv:sha256",
        16,
        SectorSize::S4096,
        "cf58b7cb5e0f992227a84e3e999cfc6cc1c80709c492103bc7607a5448af2674",
    ),
    (
        "aes-ecb",
        32,
        SectorSize::S512,
        "f5381c6fe7ad5fc3e1cc627cb61d2c19a8697682582379f546a1e199d597ce73",
    ),
    (
        "aes-ecb",
        32,
        SectorSize::S4096,
        "f5381c6fe7ad5fc3e1cc627cb61d2c19a8697682582379f546a1e199d597ce73",
    ),
    (
        "aes",
        16,
        SectorSize::S512,
        "884074a789c74bb8af82c43c922f01c584cca28467ff6e58c689299b46d32a23",
    ),
    (
        "aes",
        16,
        SectorSize::S4096,
        "93432f05bd8e3782ad46522e0ab392c80837ed30faf034bcf3f7d904f350fa37",
    ),
    (
        "aes-plain",
        32,
        SectorSize::S512,
        "625bed7d637333a44fdc2a264cb022b091d05a4bc9ba1292b18017141317f0a5",
    ),
    (
        "aes-plain",
        32,
        SectorSize::S4096,
        "48d35c17122ae3d09bfd8dbe520fe2f341e764a10e69897ff57c1633156e0aa1",
    ),
    (
        "serpent-xts-plain64",
        48,
        SectorSize::S512,
        "9dda611005dd0b817517fb9ad55a175b0d288693883849f32f5ba9ab0db62ec0",
    ),
    (
        "serpent-xts-plain64",
        48,
        SectorSize::S4096,
        "f97701a7fa9c0a1b3ab9994bee8b4799c28b034b6dae8847863542e0b7cb8e37",
    ),
    (
        "twofish-xts-plain64",
        48,
        SectorSize::S512,
        "3d231817766084685225f2b3e65b363c85ed376196c5f1f227bd53416357b0e6",
    ),
    (
        "twofish-xts-plain64",
        48,
        SectorSize::S4096,
        "3424f8ed8350462637229a84e415388309ce402c5dea02a29cbce08ac2ec91ad",
    ),
    (
        "camellia-xts-plain64",
        32,
        SectorSize::S512,
        "c3414503aa18ba2c283b4e6469308594111f805087a3eb1a80acdb575a95be63",
    ),
    (
        "camellia-xts-plain64",
        32,
        SectorSize::S4096,
        "02f6f812b3ef70c346143c21fbbb4279c58f1e830413b0f09064253e5bbe3ed8",
    ),
    (
        "camellia-cbc-plain64",
        24,
        SectorSize::S512,
        "0115a90c3dc631d496de25d805810687f26ae729e46004c4eacd82da78c7de2a",
    ),
    (
        "camellia-cbc-plain64",
        24,
        SectorSize::S4096,
        "666b7338321b512e3a057e31eef53cfc96df3b40eb828cc16b96bb4616dc907e",
    ),
    (
        "xchacha12,aes-adiantum-plain64",
        32,
        SectorSize::S512,
        "16b02daad2702b09f79ef4512995259579887131554bdcf8ea13a93bc4bca744",
    ),
    (
        "xchacha12,aes-adiantum-plain64",
        32,
        SectorSize::S4096,
        "289ca1c8306245adad0d8ea062318cba208506fe66b0cc931fd50ecb5bb1c085",
    ),
    (
        "xchacha20,aes-adiantum-plain",
        32,
        SectorSize::S512,
        "bbf485c4d66ecf234f0dc3e78577cac6bcf54ae121afcdd59d0afa7728002538",
    ),
    (
        "xchacha20,aes-adiantum-plain",
        32,
        SectorSize::S4096,
        "f479ca5657188cb474e486bf1093a0cc460e7cb55e9e6e4c4a640fe66f766b60",
    ),
    (
        "capi:xts(aes)-essiv:sha256",
        64,
        SectorSize::S512,
        "721ae22223839da06ed136019a32e2974ed1f7c8b60fec9b04d8b12eda505644",
    ),
    (
        "capi:xts(aes)-essiv:sha256",
        64,
        SectorSize::S4096,
        "d6673eb3184ad1bfa5997c5acfb9a9e2d59748a17965b90e572937e9c50d54bf",
    ),
    (
        "aes-xts-essiv:sha256",
        64,
        SectorSize::S512,
        "721ae22223839da06ed136019a32e2974ed1f7c8b60fec9b04d8b12eda505644",
    ),
    (
        "aes-xts-essiv:sha256",
        64,
        SectorSize::S4096,
        "d6673eb3184ad1bfa5997c5acfb9a9e2d59748a17965b90e572937e9c50d54bf",
    ),
    (
        "aes-xts-null",
        64,
        SectorSize::S512,
        "4cc0d040b09e3200d9998f6e4a1e65d02bd0073cf270931d1b8c195a406b806a",
    ),
    (
        "aes-xts-null",
        64,
        SectorSize::S4096,
        "5e5f6f11406eb7e139c0cab7e12dadd71ca28dc77ba1ab3dcb5f0001616c85ba",
    ),
    (
        "aes-ecb-plain64",
        32,
        SectorSize::S512,
        "f5381c6fe7ad5fc3e1cc627cb61d2c19a8697682582379f546a1e199d597ce73",
    ),
    (
        "aes-ecb-plain64",
        32,
        SectorSize::S4096,
        "f5381c6fe7ad5fc3e1cc627cb61d2c19a8697682582379f546a1e199d597ce73",
    ),
    (
        "capi:adiantum(xchacha12,aes)-plain64",
        32,
        SectorSize::S512,
        "16b02daad2702b09f79ef4512995259579887131554bdcf8ea13a93bc4bca744",
    ),
    (
        "capi:adiantum(xchacha12,aes)-plain64",
        32,
        SectorSize::S4096,
        "289ca1c8306245adad0d8ea062318cba208506fe66b0cc931fd50ecb5bb1c085",
    ),
];

#[test]
fn every_cipher_and_iv_writes_what_the_kernel_wrote() {
    for (text, key_bytes, size, digest) in DIGESTS {
        let spec = CipherSpec::parse(text).unwrap();
        let cipher = SectorCipher::new(&spec, &key(key_bytes), size)
            .unwrap()
            .with_iv_tweak((1 << 32) - 8);
        let plain: Vec<u8> = (0..251).cycle().take(8192).collect();
        let mut data = plain.clone();
        cipher
            .encrypt_in_place(SectorNumber::ZERO, &mut data)
            .unwrap();
        let mut found = [0; 32];
        Hash::digest(HashName::Sha256, &[&data], &mut found).unwrap();
        assert_eq!(found[..], unhex(digest), "{text} {size}");
        cipher
            .decrypt_in_place(SectorNumber::ZERO, &mut data)
            .unwrap();
        assert!(data == plain, "{text} {size}");
    }
}
