//! Each kind of wrong input has an error of its own, and none of them costs a key derivation.
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Error as BlockError, MemDevice, SectorSize,
};
use luksmith::header::{Header, Limits};
use luksmith::{
    CandidateKey, Error, ErrorKind, IntegrityRequirement, JournalTrust, NullCipher, OpenOptions,
    Part, Passphrase, Unlock, Violation, Volume, open, test_key,
};
use luksmith_testkit::{TestImage, test_image};

/// Replaces text in the JSON of both header copies and makes their checksums right again.
fn with_json(image: &TestImage, from: &str, to: &str) -> MemDevice {
    let mut bytes = image.file("image");
    let size = usize::try_from(u64::from_be_bytes(
        bytes[8..16].try_into().expect("8 bytes"),
    ))
    .expect("a header size");
    for start in [0, size] {
        let copy = &mut bytes[start..start + size];
        let json = &copy[4096..];
        let end = json.iter().position(|byte| *byte == 0).expect("an end");
        let text = std::str::from_utf8(&json[..end]).expect("text");
        assert!(text.contains(from), "{from} is not in {text}");
        let changed = text.replacen(from, to, 1).into_bytes();
        copy[4096..].fill(0);
        copy[4096..4096 + changed.len()].copy_from_slice(&changed);
        copy[0x1c0..0x200].fill(0);
        let digest = luksmith_testkit::unhex(&luksmith_testkit::sha256_hex(copy));
        copy[0x1c0..0x1c0 + 32].copy_from_slice(&digest);
    }
    MemDevice::from_bytes(&bytes, SectorSize::S512)
}

/// Opens with a callback that counts how often it is asked for a passphrase.
fn refused(device: MemDevice, options: &OpenOptions) -> (Error, usize) {
    let asked = AtomicUsize::new(0);
    let mut ask = |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        Passphrase::new(b"correct horse battery staple").ok()
    };
    let error = open(device, Unlock::Ask(&mut ask), options).expect_err("a refusal");
    (error, asked.into_inner())
}

#[test]
fn headers_that_must_not_be_mapped_are_refused_before_any_key_is_derived() {
    let image = test_image("luks2-aes128-sector1024");
    let cases: [(&str, &str, ErrorKind, &str); 11] = [
        (
            r#""type":"crypt""#,
            r#""type":"linear""#,
            ErrorKind::Unsupported,
            "segment 0 has the type \"linear\"; only \"crypt\" is mapped, so that nobody can pass \
             plaintext off as an encrypted volume",
        ),
        (
            r#""type":"crypt""#,
            r#""type":"invented""#,
            ErrorKind::Unsupported,
            "segment 0 has the type \"invented\"; only \"crypt\" is mapped, so that nobody can \
             pass plaintext off as an encrypted volume",
        ),
        (
            r#""iv_tweak":"0""#,
            r#""iv_tweak":"1""#,
            ErrorKind::Unsupported,
            "segment 0 has iv_tweak 1; only 0 is mapped, anything else belongs to a re-encryption",
        ),
        (
            "aes-xts-plain64\",\"sector_size",
            "cipher_null-ecb\",\"sector_size",
            ErrorKind::Policy,
            "segment 0: cipher \"cipher_null-ecb\" leaves the data unencrypted; opening such a \
             volume has to be asked for by name",
        ),
        (
            "aes-xts-plain64\",\"sector_size",
            "rot13-xts-plain64\",\"sector_size",
            ErrorKind::Unsupported,
            "segment 0: cipher \"rot13\" is not supported; supported are aes, serpent, twofish, \
             camellia, aria, sm4, kuznyechik, chacha20, aegis128, xchacha12,aes and xchacha20,aes",
        ),
        (
            "aes-xts-plain64\",\"sector_size",
            "aes-gcm-random\",\"sector_size",
            ErrorKind::Unsupported,
            "segment 0: cipher \"aes-gcm-random\": this cipher needs the integrity type of its \
             tags, which the segment lacks",
        ),
        (
            "aes-xts-plain64\",\"sector_size",
            "sm4-cbc-plain64\",\"sector_size",
            ErrorKind::Malformed,
            "segment 0: sm4-cbc-plain64 takes a key of 16 bytes, the key given has 32",
        ),
        (
            r#""sector_size":1024"#,
            r#""sector_size":1536"#,
            ErrorKind::Malformed,
            "",
        ),
        (
            r#""config":{"#,
            r#""config":{"requirements":{"mandatory":["online-reencrypt-v2"]},"#,
            ErrorKind::Malformed,
            "",
        ),
        (
            r#""config":{"#,
            r#""config":{"requirements":{"mandatory":["offline-reencrypt"]},"#,
            ErrorKind::Unsupported,
            "the header requires \"offline-reencrypt\", which is not supported; finish the \
             re-encryption first",
        ),
        (
            r#""config":{"#,
            r#""config":{"requirements":{"mandatory":["tomorrow"]},"#,
            ErrorKind::Unsupported,
            "the header requires \"tomorrow\", which is not supported; a newer program made this \
             header",
        ),
    ];
    for (from, to, kind, message) in cases {
        let device = with_json(&image, from, to);
        let (error, asked) = refused(device, &OpenOptions::new());
        assert_eq!(error.kind(), kind, "{to}: {error}");
        assert_eq!(asked, 0, "{to}");
        if !message.is_empty() {
            assert_eq!(error.to_string(), message);
        }
    }
}

#[test]
fn a_stripped_integrity_is_refused_because_the_key_is_too_long() {
    let image = test_image("luks2-hmac-sha256");
    let device = with_json(
        &image,
        r#","integrity":{"type":"hmac(sha256)","journal_encryption":"none","journal_integrity":"none"}"#,
        "",
    );
    let (error, asked) = refused(device, &OpenOptions::new());
    assert_eq!(
        error.to_string(),
        "segment 0: aes-xts-plain64 takes a key of 32 or 48 or 64 bytes, the key given has 96"
    );
    assert_eq!((error.kind(), asked), (ErrorKind::Malformed, 0));
}

#[test]
fn a_journal_with_a_cipher_or_a_mac_is_refused() {
    let image = test_image("luks2-hmac-sha256");
    for (from, to, message) in [
        (
            r#""journal_encryption":"none""#,
            r#""journal_encryption":"ctr(aes)""#,
            "segment 0: integrity.journal_encryption is \"ctr(aes)\"; only \"none\" is supported",
        ),
        (
            r#""journal_integrity":"none""#,
            r#""journal_integrity":"x""#,
            "segment 0: integrity.journal_integrity is \"x\"; only \"none\" is supported",
        ),
    ] {
        let (error, _) = refused(with_json(&image, from, to), &OpenOptions::new());
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn another_segment_belongs_to_a_reencryption() {
    let image = test_image("luks2-aes128-sector1024");
    let device = with_json(
        &image,
        r#""segments":{"#,
        r#""segments":{"1":{"type":"linear","offset":"1048576","size":"512","flags":["backup-x"]},"#,
    );
    let (error, asked) = refused(device, &OpenOptions::new());
    assert!(matches!(error, Error::SegmentCount { count: 2 }), "{error}");
    assert_eq!((error.kind(), asked), (ErrorKind::Unsupported, 0));
}

#[test]
fn integrity_can_be_required() {
    let options = OpenOptions::new().integrity(IntegrityRequirement::Required);
    let plain = test_image("luks2-default").device("image");
    let (error, asked) = refused(plain, &options);
    assert!(matches!(error, Error::IntegrityRequired), "{error}");
    assert_eq!((error.kind(), asked), (ErrorKind::Policy, 0));
    let tagged = test_image("luks2-hmac-sha256");
    let key = CandidateKey::new(&tagged.volume_key).unwrap();
    let volume = open(tagged.device("image"), Unlock::VolumeKey(&key), &options).unwrap();
    assert!(volume.is_authenticated());
    assert_eq!(volume.integrity().as_deref(), Some("hmac(sha256)"));
}

#[test]
fn a_policy_sees_the_header_before_any_key_is_derived() {
    let options = OpenOptions::new().policy(|header: &Header| {
        assert_eq!(header.version(), 2);
        Err(Violation {
            field: "keyslots.0.kdf.type".into(),
            found: "pbkdf2".into(),
            expected: "argon2id".into(),
        })
    });
    let device = test_image("luks2-aes128-sector1024").device("image");
    let (error, asked) = refused(device, &options);
    assert_eq!(
        error.to_string(),
        "the policy refuses this header: keyslots.0.kdf.type is \"pbkdf2\", \"argon2id\" is required"
    );
    assert_eq!((error.kind(), asked), (ErrorKind::Policy, 0));
}

#[test]
fn a_plaintext_segment_opens_only_if_asked_for() {
    let image = test_image("luks2-aes128-sector1024");
    let device = with_json(
        &image,
        "aes-xts-plain64\",\"sector_size",
        "cipher_null-ecb\",\"sector_size",
    );
    let ciphertext = device.to_vec();
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let volume = open(
        device,
        Unlock::VolumeKey(&key),
        &OpenOptions::new().null_cipher(NullCipher::AcceptPlaintext),
    )
    .unwrap();
    let start = usize::try_from(volume.data_offset().get()).unwrap();
    let mut first = [0; 1024];
    volume.read_at(ByteOffset::ZERO, &mut first).unwrap();
    assert_eq!(first[..], ciphertext[start..start + 1024]);
}

#[test]
fn limits_hold_and_are_told_apart_from_a_wrong_key() {
    let mut limits = Limits::default();
    limits.pbkdf2_iterations = 999;
    let device = test_image("luks2-aes128-sector1024").device("image");
    let (error, _) = refused(device, &OpenOptions::new().limits(limits));
    assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}");
}

#[test]
fn what_is_no_luks_volume_or_too_small_is_told_apart() {
    let blank = MemDevice::new(ByteLen::new(8 << 20), SectorSize::S512).unwrap();
    let (error, _) = refused(blank, &OpenOptions::new());
    assert_eq!(error.kind(), ErrorKind::NotLuks, "{error}");
    let image = test_image("luks2-default");
    let bytes = image.file("image");
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let volume = open(
        image.device("image"),
        Unlock::VolumeKey(&key),
        &OpenOptions::new(),
    )
    .unwrap();
    let start = usize::try_from(volume.data_offset().get()).unwrap();
    let header_alone = MemDevice::from_bytes(&bytes[..start], SectorSize::S512);
    let error = open(header_alone, Unlock::VolumeKey(&key), &OpenOptions::new()).unwrap_err();
    assert!(
        matches!(error, Error::DeviceTooSmall { segment: 0, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::TooSmall);
}

#[test]
fn a_superblock_that_would_bless_other_data_is_refused() {
    let image = test_image("luks2-hmac-sha256");
    let mut bytes = image.file("image");
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let options = OpenOptions::new();
    let volume = open(image.device("image"), Unlock::VolumeKey(&key), &options).unwrap();
    let superblock = usize::try_from(volume.data_offset().get()).unwrap();
    assert_eq!(&bytes[superblock..superblock + 8], b"integrt\0");
    // The flags: RECALCULATING, bit 1.
    bytes[superblock + 24] |= 2;
    let device = MemDevice::from_bytes(&bytes, SectorSize::S512);
    let error = open(device, Unlock::VolumeKey(&key), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
}

#[test]
fn a_changed_journal_entry_is_not_applied() {
    let image = test_image("luks2-hmac-dirty");
    let bytes = image.file("image");
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let opened = |bytes: &[u8], options: &OpenOptions| -> Result<Volume, Error> {
        let device = MemDevice::from_bytes(bytes, SectorSize::S512);
        open(device, Unlock::VolumeKey(&key), options)
    };
    let volume = opened(&bytes, &OpenOptions::new()).unwrap();
    let superblock = usize::try_from(volume.data_offset().get()).unwrap();
    // A byte of the first block of data in the journal's first section: superblock, then eight
    // sectors of entries.
    let mut changed = bytes.clone();
    changed[superblock + 4096 + 8 * 512 + 100] ^= 1;
    let error = opened(&changed, &OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tampered, "{error}");
    let trusting = OpenOptions::new().journal_trust(JournalTrust::Trust);
    let volume = opened(&changed, &trusting).unwrap();
    let report = volume
        .verify(Part::ALL, &luksmith::block::Control::new())
        .unwrap();
    assert_eq!(report.tampered.sectors(), 8);
}

#[test]
fn keys_can_be_tested_without_opening() {
    let image = test_image("luks2-unbound");
    let passphrase = Passphrase::new(b"unbound").unwrap();
    let test = |options: &OpenOptions| {
        test_key(
            image.device("image"),
            Unlock::Passphrase(&passphrase),
            options,
        )
    };
    let test_one = test(&OpenOptions::new().keyslot(1)).unwrap();
    assert_eq!(test_one.unlocked.keyslot, Some(1));
    assert_eq!(test_one.unlocked.key.len(), 16);
    let error = test(&OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
    // A keyslot of another key never opens the volume.
    let opened = open(
        image.device("image"),
        Unlock::Passphrase(&passphrase),
        &OpenOptions::new().keyslot(1),
    );
    let kind = opened.map(drop).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::WrongKey));
}

#[test]
fn a_read_only_volume_takes_no_write() {
    let image = test_image("luks2-hmac-dirty");
    let key = CandidateKey::new(&image.volume_key).unwrap();
    let device = Arc::new(image.device("image"));
    let volume = open(
        device.clone(),
        Unlock::VolumeKey(&key),
        &OpenOptions::new().read_only(),
    )
    .unwrap();
    let size = volume.sector_size().bytes();
    let written = volume.write_at(ByteOffset::ZERO, &vec![0; size]);
    assert_eq!(written, Err(BlockError::ReadOnly));
    volume.close().unwrap();
    assert!(device.to_vec() == image.file("image"));
}
