//! New volumes: what they read as, that the real program takes them, what is refused, and that a
//! format that is cut off leaves no volume behind.

use std::sync::Arc;

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, MemDevice, SectorCount, SectorSize,
};
use luksmith::hash::HashName;
use luksmith::header::luks2::HeaderSize;
use luksmith::header::{Header, Limits, Priority, SignatureKind};
use luksmith::keyslot::{Argon2Cost, Argon2Variant, Kdf};
use luksmith::{
    CandidateKey, Error, ErrorKind, FormatOptions, HeaderPlace, Init, KdfChoice, NewKeys,
    OpenOptions, Overwrite, Part, Passphrase, Threads, Unlock, Volume, format, format_with, open,
    what_is_there,
};
use luksmith_testkit::{CrashDevice, CrashOptions, Prng};

const PASSPHRASE: &[u8] = b"correct horse battery staple, long";

/// The sector at byte 1024 with the magic of ext4.
const EXT4: [u8; 512] = {
    let mut sector = [0; 512];
    sector[0x38] = 0x53;
    sector[0x39] = 0xef;
    sector
};

fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE).expect("a passphrase")
}

fn cheap() -> FormatOptions {
    FormatOptions::luks2().kdf(KdfChoice::HighEntropy)
}

fn device(len: u64) -> Arc<MemDevice> {
    Arc::new(MemDevice::new(ByteLen::new(len), SectorSize::S512).expect("a device"))
}

fn made(device: &Arc<MemDevice>, options: &FormatOptions) -> Volume {
    let passphrase = passphrase();
    format(device.clone(), NewKeys::passphrase(&passphrase), options).expect("a new volume")
}

fn reopened(device: &Arc<MemDevice>, options: &OpenOptions) -> Volume {
    let passphrase = passphrase();
    open(device.clone(), Unlock::Passphrase(&passphrase), options).expect("the volume opens")
}

fn is_zero(volume: &Volume) -> bool {
    let mut all = vec![1; usize::try_from(volume.size().get()).expect("a length")];
    volume.read_at(ByteOffset::ZERO, &mut all).expect("a read");
    all.iter().all(|byte| *byte == 0)
}

#[test]
fn a_new_volume_keeps_what_is_written_to_it() {
    let pbkdf2 = |hash| Kdf::Pbkdf2 {
        hash,
        iterations: 1000,
    };
    let argon2 = Kdf::Argon2 {
        variant: Argon2Variant::Id,
        cost: Argon2Cost {
            passes: 4,
            memory_kib: 64,
            lanes: 2,
        },
    };
    let small = HeaderSize::MIN;
    let all: Vec<FormatOptions> = vec![
        cheap(),
        cheap().kdf(KdfChoice::Stated(argon2)).keyslot(7),
        cheap()
            .cipher("aes-cbc-essiv:sha256")
            .hash(HashName::Sha512),
        cheap().cipher("serpent-xts-plain64").cipher_key_bytes(32),
        cheap().cipher("xchacha12,aes-adiantum-plain64"),
        cheap().cipher("capi:xts(aes)-plain64"),
        cheap()
            .sector_size(SectorSize::S512)
            .priority(Priority::Prefer),
        cheap()
            .header_size(small)
            .keyslots_len(ByteLen::new(1 << 19)),
        cheap().keyslot_cipher("aes-cbc-plain64", 16),
        cheap().integrity("hmac(sha256)"),
        cheap().integrity("hmac(sha512)").integrity_key_bytes(32),
        cheap()
            .integrity("hmac(sha1)")
            .cipher("aes-cbc-plain64")
            .without_journal(),
        cheap().integrity("hmac(sha256)").init(Init::Tags),
        cheap().integrity("aead").cipher("aes-gcm-random"),
        cheap().integrity("poly1305").cipher("chacha20-random"),
        cheap().integrity("aead").cipher("aegis128-random"),
        cheap().integrity("aead").cipher("aes-ccm-random"),
        cheap().integrity("hmac(sha256)").cipher("aes-ctr-random"),
        cheap().integrity("none").cipher("aes-xts-random"),
        cheap().integrity("hmac(sha256)").legacy_padding(),
        FormatOptions::luks1().kdf(KdfChoice::HighEntropy),
        FormatOptions::luks1()
            .kdf(KdfChoice::Stated(pbkdf2(HashName::Ripemd160)))
            .hash(HashName::Ripemd160)
            .cipher("aes-cbc-essiv:sha256")
            .keyslot(5),
    ];
    for options in all {
        let medium = device(20 << 20);
        let volume = made(&medium, &options);
        let data: Vec<u8> = (0..251).cycle().take(65536).collect();
        volume.write_at(ByteOffset::new(8192), &data).unwrap();
        let key = volume
            .volume_key()
            .expect("the key is kept")
            .expose()
            .to_vec();
        volume.close().unwrap();
        let volume = reopened(&medium, &OpenOptions::new());
        let mut back = vec![0; data.len()];
        volume.read_at(ByteOffset::new(8192), &mut back).unwrap();
        assert!(back == data, "{options:?}");
        drop(volume);
        let key = CandidateKey::new(&key).unwrap();
        let volume = open(medium, Unlock::VolumeKey(&key), &OpenOptions::new());
        assert!(volume.is_ok(), "{options:?}");
    }
}

#[test]
fn a_wiped_volume_reads_as_zeros_and_one_with_tags_alone_as_noise() {
    let options = cheap()
        .integrity("hmac(sha256)")
        .threads(Threads::default());
    let control = Arc::new(Control::new());
    let medium = device(24 << 20);
    let volume = made(&medium, &options.clone().control(control.clone()));
    assert!(is_zero(&volume));
    assert_eq!(control.progress().done, volume.size().get());
    let medium = device(24 << 20);
    let volume = made(&medium, &options.clone().init(Init::Tags));
    let report = volume.verify(Part::ALL, &Control::new()).unwrap();
    assert!(report.is_clean());
    assert!(!is_zero(&volume));
    let medium = device(24 << 20);
    let volume = made(&medium, &options.init(Init::None));
    let report = volume.verify(Part::ALL, &Control::new()).unwrap();
    assert_eq!(report.tampered.sectors() * 512, volume.size().get());
    assert_eq!(report.tampered.ranges().len(), 1);
}

#[test]
fn tags_alone_write_no_data() {
    let medium = device(64 << 20);
    let options = cheap().integrity("hmac(sha256)").init(Init::Tags);
    let volume = made(&medium, &options);
    let offset = usize::try_from(volume.data_offset().get()).unwrap();
    let size = volume.size().get();
    drop(volume);
    let written = medium.to_vec()[offset..]
        .chunks(4096)
        .filter(|block| block.iter().any(|byte| *byte != 0))
        .count() as u64
        * 4096;
    let journal = 264 * 512 * 2;
    assert!(written <= size / 128 + journal + (1 << 20), "{written}");
}

#[test]
fn a_header_in_memory_or_on_a_device_of_its_own_opens_its_data() {
    let data = device(4 << 20);
    let compact = cheap()
        .integrity("hmac(sha256)")
        .sector_size(SectorSize::S4096)
        .keyslots_len(ByteLen::new(409_600))
        .journal_sectors(SectorCount::new(1))
        .without_journal()
        .header(HeaderPlace::Memory);
    let volume = made(&data, &compact);
    assert!(!volume.uses_journal());
    let image = volume.header_image().expect("an image");
    assert_eq!(image.len(), 442_368);
    volume.write_at(ByteOffset::ZERO, &[3; 4096]).unwrap();
    volume.close().unwrap();
    let header = MemDevice::from_bytes(&image, SectorSize::S512);
    let volume = reopened(&data, &OpenOptions::new().detached_header(header));
    let mut back = [0; 4096];
    volume.read_at(ByteOffset::ZERO, &mut back).unwrap();
    assert_eq!(back, [3; 4096]);
    assert_eq!(volume.data_offset(), ByteOffset::ZERO);
    drop(volume);
    let header = device(16 << 20);
    let detached = cheap().header(HeaderPlace::Detached(header.clone()));
    // What the data's device has is kept as well, although nothing would be written there yet.
    let passphrase = passphrase();
    let keys = NewKeys::passphrase(&passphrase);
    let error = format(data.clone(), keys, &detached).unwrap_err();
    let found = "a dm-integrity device";
    assert!(matches!(error, Error::AlreadyFormatted { found: it } if it.to_string() == found));
    let volume = made(&data, &detached.overwrite(Overwrite::Allow));
    assert_eq!(volume.size(), ByteLen::new(4 << 20));
    drop(volume);
    reopened(&data, &OpenOptions::new().detached_header(header));
}

#[test]
fn the_same_random_bytes_give_the_same_volume() {
    let options = cheap().integrity("hmac(sha256)").label("twice");
    let passphrase = passphrase();
    let [first, second] = [(); 2].map(|()| {
        let medium = device(20 << 20);
        let keys = NewKeys::passphrase(&passphrase);
        let volume = format_with(medium.clone(), keys, &options, &mut fixed()).unwrap();
        volume.close().unwrap();
        medium.to_vec()
    });
    assert!(first == second);
}

/// The generator of a test: the same bytes each time.
fn fixed() -> impl luksmith::keyslot::TryCryptoRng {
    Prng::new(7)
}

#[test]
fn impossible_options_are_refused_before_the_first_write() {
    let stated = |kdf| KdfChoice::Stated(kdf);
    let weak = Kdf::Pbkdf2 {
        hash: HashName::Sha256,
        iterations: 999,
    };
    let luks1 = || FormatOptions::luks1().kdf(KdfChoice::HighEntropy);
    let cases: Vec<(FormatOptions, ErrorKind)> = vec![
        (cheap().cipher("cipher_null-ecb"), ErrorKind::Caller),
        (cheap().cipher("aes-xts-random"), ErrorKind::Caller),
        (
            cheap().cipher("aes-gcm-plain64").integrity("aead"),
            ErrorKind::Caller,
        ),
        (cheap().cipher("rot13-xts-plain64"), ErrorKind::Unsupported),
        (cheap().cipher_key_bytes(40), ErrorKind::Malformed),
        (cheap().integrity("cmac(aes)"), ErrorKind::Unsupported),
        (cheap().integrity_key_bytes(32), ErrorKind::Caller),
        (cheap().without_journal(), ErrorKind::Caller),
        (
            cheap()
                .integrity("aead")
                .cipher("aes-gcm-random")
                .init(Init::Tags),
            ErrorKind::Caller,
        ),
        (cheap().kdf(stated(weak)), ErrorKind::Caller),
        (cheap().keyslot(32), ErrorKind::Caller),
        (cheap().label(&"x".repeat(48)), ErrorKind::Caller),
        (cheap().uuid("not a uuid"), ErrorKind::Caller),
        (cheap().keyslots_len(ByteLen::new(5000)), ErrorKind::Caller),
        (cheap().keyslots_len(ByteLen::new(4096)), ErrorKind::Caller),
        (cheap().data_offset(ByteLen::new(16384)), ErrorKind::Caller),
        (
            cheap().keyslots_len(ByteLen::new(64 << 20)),
            ErrorKind::TooSmall,
        ),
        (
            cheap().data_offset(ByteLen::new(20 << 20)),
            ErrorKind::TooSmall,
        ),
        (cheap().alignment(ByteLen::ZERO), ErrorKind::Caller),
        (luks1().data_offset(ByteLen::ZERO), ErrorKind::Caller),
        (luks1().integrity("hmac(sha256)"), ErrorKind::Caller),
        (luks1().label("label"), ErrorKind::Caller),
        (luks1().sector_size(SectorSize::S4096), ErrorKind::Caller),
        (luks1().keyslot(8), ErrorKind::Caller),
        (luks1().data_offset(ByteLen::new(4096)), ErrorKind::Caller),
    ];
    let passphrase = passphrase();
    for (options, kind) in cases {
        let medium = device(20 << 20);
        let keys = NewKeys::passphrase(&passphrase);
        let error = format(medium.clone(), keys, &options).expect_err("a refusal");
        assert_eq!(error.kind(), kind, "{options:?}: {error}");
        assert!(medium.to_vec().iter().all(|byte| *byte == 0), "{options:?}");
    }
}

#[test]
fn a_volume_or_file_system_is_not_overwritten_unless_asked_for() {
    let medium = device(20 << 20);
    made(&medium, &cheap());
    let before = medium.to_vec();
    let passphrase = passphrase();
    let again = |options: &FormatOptions| {
        format(medium.clone(), NewKeys::passphrase(&passphrase), options).map(drop)
    };
    let error = again(&cheap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyFormatted);
    assert!(medium.to_vec() == before);
    again(&cheap().overwrite(Overwrite::Allow)).unwrap();
    medium.write_at(ByteOffset::ZERO, &[0; 512]).unwrap();
    medium.write_at(ByteOffset::new(1024), &EXT4).unwrap();
    assert_eq!(
        again(&cheap()).unwrap_err().kind(),
        ErrorKind::AlreadyFormatted
    );
}

/// Only the first bytes were looked at, but such a volume still opens.
#[test]
fn a_volume_whose_primary_header_is_gone_is_not_overwritten_unless_asked_for() {
    for header_size in [16384, 4 << 20] {
        let medium = device(32 << 20);
        let size = HeaderSize::from_bytes(header_size).expect("a size");
        made(&medium, &cheap().header_size(size));
        medium.write_at(ByteOffset::ZERO, &[0; 4096]).unwrap();
        let before = medium.to_vec();
        let passphrase = passphrase();
        let error = format(medium.clone(), NewKeys::passphrase(&passphrase), &cheap());
        let error = error.map(drop).unwrap_err();
        let found = "the secondary header of a LUKS2 volume";
        assert!(matches!(error, Error::AlreadyFormatted { found: it } if it.to_string() == found));
        assert!(medium.to_vec() == before);
        reopened(&medium, &OpenOptions::new());
        // A mark that was there before the volume was, or was made by mistake: a repair still
        // brings the volume back, but only the mark was told.
        medium.write_at(ByteOffset::new(1024), &EXT4).unwrap();
        let found = what_is_there(&medium).unwrap().expect("a mark");
        assert_eq!(found.kind(), SignatureKind::Volume);
        let text = "the secondary header of a LUKS2 volume, behind an ext2, ext3 or ext4 file \
                    system";
        assert_eq!(found.to_string(), text);
    }
}

/// The room for journal and tags was looked at when the header was gone already.
#[test]
fn a_device_without_room_for_journal_and_tags_is_left_as_it_was() {
    let medium = device((16 << 20) + 8192);
    made(&medium, &cheap());
    let before = medium.to_vec();
    let passphrase = passphrase();
    let options = cheap()
        .integrity("hmac(sha256)")
        .overwrite(Overwrite::Allow);
    let error = format(medium.clone(), NewKeys::passphrase(&passphrase), &options);
    let error = error.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooSmall, "{error}");
    assert!(medium.to_vec() == before);
}

/// With the header elsewhere only the header's device was looked at, and the superblock and journal
/// of the tags went over whatever was on the other one.
#[test]
fn the_data_device_is_looked_at_wherever_the_header_is() {
    let volume = device(20 << 20);
    made(&volume, &cheap());
    let ext4 = device(20 << 20);
    ext4.write_at(ByteOffset::new(1024), &EXT4).unwrap();
    let passphrase = passphrase();
    for medium in [volume, ext4] {
        let before = medium.to_vec();
        let header = device(17 << 20);
        let detached = HeaderPlace::Detached(header.clone());
        for place in [HeaderPlace::Memory, detached] {
            let options = FormatOptions::ephemeral().header(place);
            let keys = NewKeys::passphrase(&passphrase);
            let error = format(medium.clone(), keys, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyFormatted);
            assert!(medium.to_vec() == before && header.to_vec().iter().all(|byte| *byte == 0));
        }
        let meant = FormatOptions::ephemeral().overwrite(Overwrite::Allow);
        made(&medium, &meant);
        assert!(medium.to_vec() != before);
    }
}

#[test]
fn the_derivation_for_generated_keys_is_refused_for_what_a_person_may_have_typed() {
    let short = Passphrase::new(&[7; 31]).expect("a passphrase");
    let long = Passphrase::new(&[7; 32]).expect("a passphrase");
    let medium = device(20 << 20);
    for options in [
        cheap(),
        FormatOptions::luks1().kdf(KdfChoice::HighEntropy),
        FormatOptions::secure_mount().init(Init::None),
    ] {
        let error = format(medium.clone(), NewKeys::passphrase(&short), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Caller);
        let told = "high-entropy key \"31 bytes\": 32 bytes or more from a generator";
        assert!(error.to_string().starts_with(told), "{error}");
        assert!(medium.to_vec().iter().all(|byte| *byte == 0));
    }
    format(medium, NewKeys::passphrase(&long), &cheap()).unwrap();
}

#[test]
fn a_volume_key_of_the_callers_is_used_or_refused_by_its_length() {
    let medium = device(20 << 20);
    let key: Vec<u8> = (0..96).collect();
    let candidate = |len: usize| CandidateKey::new(&key[..len]).unwrap();
    let options = cheap().integrity("hmac(sha256)");
    let short = NewKeys::none().with_volume_key(candidate(64));
    // 64 bytes are a key of AES-128 in XTS with an HMAC key of 32.
    assert!(format(medium.clone(), short, &options).is_ok());
    let wrong = NewKeys::none().with_volume_key(candidate(95));
    let error = format(device(20 << 20), wrong, &options).unwrap_err();
    assert!(matches!(error, Error::Cipher { .. }), "{error}");
    let medium = device(20 << 20);
    let right = NewKeys::none().with_volume_key(candidate(96));
    let volume = format(medium.clone(), right, &options).unwrap();
    assert_eq!(volume.volume_key().expect("the key").expose(), key);
    assert_eq!(volume.keyslot(), None);
    drop(volume);
    let header = Header::read(medium.as_ref(), &Limits::default()).unwrap();
    assert!(header.keyslots().is_empty());
    open(
        medium,
        Unlock::VolumeKey(&candidate(96)),
        &OpenOptions::new(),
    )
    .unwrap();
}

#[test]
fn a_format_that_is_cut_off_leaves_the_whole_volume_or_none() {
    let passphrase = passphrase();
    for (name, options) in [
        (
            "luks2 with tags",
            cheap()
                .integrity("hmac(sha256)")
                .init(Init::Tags)
                .keyslots_len(ByteLen::new(1 << 19))
                .journal_sectors(SectorCount::new(1)),
        ),
        ("luks2", cheap().keyslots_len(ByteLen::new(1 << 19))),
        (
            "luks1",
            FormatOptions::luks1()
                .kdf(KdfChoice::HighEntropy)
                .cipher_key_bytes(32),
        ),
    ] {
        let start = vec![0; 3 << 20];
        let medium = Arc::new(CrashDevice::from_bytes(&start, SectorSize::S512));
        let keys = NewKeys::passphrase(&passphrase);
        format(medium.clone(), keys, &options)
            .unwrap()
            .close()
            .unwrap();
        let recording = medium.recording();
        let (mut none, mut whole) = (0, 0);
        for point in recording.points() {
            // All dropped, all kept, and two at random: the order is what is asked about.
            let crash = CrashOptions {
                exhaustive_up_to: 2,
                random: 2,
                ..CrashOptions::default()
            };
            for image in point.images(&crash) {
                let device = image.to_mem(SectorSize::S512);
                match open(device, Unlock::Passphrase(&passphrase), &OpenOptions::new()) {
                    Ok(volume) => {
                        whole += 1;
                        if volume.is_authenticated() {
                            let report = volume.verify(Part::ALL, &Control::new()).unwrap();
                            assert!(report.is_clean());
                        }
                        let mut sector = vec![0; volume.sector_size().bytes()];
                        volume.read_at(ByteOffset::ZERO, &mut sector).unwrap();
                    }
                    Err(error) => {
                        let kind = error.kind();
                        assert!(
                            matches!(kind, ErrorKind::NotLuks | ErrorKind::Malformed),
                            "{kind}: {error}"
                        );
                        none += 1;
                    }
                }
            }
        }
        let points = recording.points().count();
        println!(
            "{name} format: {points} crash points, {none} images without a volume, {whole} with \
             the whole one"
        );
        assert!(none > 0 && whole > 0);
    }
}
