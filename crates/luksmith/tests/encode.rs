//! Volumes made in one pass, and the footer of workload images.

use luksmith::block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith::header::Header;
use luksmith::workload::{Workload, read_footer, write_footer};
use luksmith::{
    Error, ErrorKind, FormatOptions, KdfChoice, NewKeys, OpenOptions, Passphrase, Unlock,
    encode_stream, encode_stream_with, open,
};
use luksmith_testkit::Prng;

fn passphrase() -> Passphrase {
    Passphrase::new(b"0123456789abcdef0123456789abcdef").expect("a passphrase")
}

fn image_options() -> FormatOptions {
    FormatOptions::workload_image().kdf(KdfChoice::HighEntropy)
}

fn encoded(plain: &[u8], options: &FormatOptions) -> Vec<u8> {
    let passphrase = passphrase();
    let mut image = Vec::new();
    let mut plain = plain;
    let len = ByteLen::of(plain);
    let keys = NewKeys::passphrase(&passphrase);
    let encoded = encode_stream(&mut plain, len, keys, options, &mut image).expect("an image");
    assert_eq!(ByteLen::new(encoded.bytes), ByteLen::of(&image));
    image
}

fn decoded(image: &[u8], len: usize) -> Vec<u8> {
    let passphrase = passphrase();
    let device = MemDevice::from_bytes(image, SectorSize::S512);
    let volume = open(
        device,
        Unlock::Passphrase(&passphrase),
        &OpenOptions::new().read_only(),
    )
    .expect("the image opens");
    let mut back = vec![0; len];
    volume
        .bytes()
        .read_at(ByteOffset::ZERO, &mut back)
        .expect("a read");
    back
}

#[test]
fn a_stream_of_any_length_becomes_a_volume_with_that_plaintext() {
    let wide = FormatOptions::luks2()
        .kdf(KdfChoice::HighEntropy)
        .sector_size(SectorSize::S4096);
    for options in [image_options(), wide] {
        for len in [
            1,
            511,
            512,
            513,
            4096,
            (1 << 20) - 1,
            (1 << 20) + 1,
            3 << 20,
        ] {
            let plain: Vec<u8> = (0..251).cycle().take(len).collect();
            let image = encoded(&plain, &options);
            assert!(decoded(&image, len) == plain, "{len}");
        }
    }
}

#[test]
fn a_workload_image_has_the_fields_that_loaders_expect() {
    let image = encoded(&[5; 8192], &image_options());
    let device = MemDevice::from_bytes(&image, SectorSize::S512);
    let header = Header::read(&device, &luksmith::header::Limits::default()).unwrap();
    let Header::Luks1(header) = header else {
        panic!("no LUKS1 header");
    };
    assert_eq!(header.cipher_name(), "aes");
    assert_eq!(header.cipher_mode(), "xts-plain64");
    assert_eq!(header.hash_name(), "sha256");
    assert_eq!((header.payload_sector(), header.key_bytes()), (4040, 64));
    assert_eq!(header.digest_iterations(), 4000);
    let sectors: Vec<u32> = header
        .keyslots()
        .iter()
        .map(|slot| slot.key_material_offset)
        .collect();
    assert_eq!(sectors, [8, 512, 1016, 1520, 2024, 2528, 3032, 3536]);
    assert_eq!(image.len(), 4040 * 512 + 8192);
}

#[test]
fn a_plaintext_of_another_length_than_announced_is_an_error() {
    let passphrase = passphrase();
    for (announced, given) in [(1024, 1023), (1024, 0), (1024, 1025), (2 << 20, 1 << 20)] {
        let mut image = Vec::new();
        let error = encode_stream(
            &mut vec![0; given].as_slice(),
            ByteLen::new(announced),
            NewKeys::passphrase(&passphrase),
            &image_options(),
            &mut image,
        )
        .unwrap_err();
        let Error::StreamLength {
            announced: told,
            found,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(told, ByteLen::new(announced));
        assert_eq!(found, ByteLen::new(given as u64));
    }
}

/// The image was made without a complaint, and nothing could open it.
#[test]
fn an_image_of_nothing_is_refused_before_the_first_byte() {
    let passphrase = passphrase();
    let (mut image, mut nothing) = (Vec::new(), &[][..]);
    let keys = NewKeys::passphrase(&passphrase);
    let options = image_options();
    let made = encode_stream(&mut nothing, ByteLen::ZERO, keys, &options, &mut image);
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Caller);
    assert!(error.to_string().contains("at least one sector"), "{error}");
    assert!(image.is_empty());
}

#[test]
fn impossible_streams_are_refused_before_the_first_byte() {
    let passphrase = passphrase();
    for options in [
        image_options().cipher("rot13-xts-plain64"),
        FormatOptions::secure_mount(),
        FormatOptions::ephemeral(),
    ] {
        let mut image = Vec::new();
        let error = encode_stream(
            &mut [0; 512].as_slice(),
            ByteLen::new(512),
            NewKeys::passphrase(&passphrase),
            &options,
            &mut image,
        )
        .unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::Caller | ErrorKind::Unsupported),
            "{error}"
        );
        assert!(image.is_empty());
    }
}

#[test]
fn the_same_random_bytes_give_the_same_image() {
    let passphrase = passphrase();
    let [first, second] = [(); 2].map(|()| {
        let mut image = Vec::new();
        encode_stream_with(
            &mut [9; 5000].as_slice(),
            ByteLen::new(5000),
            NewKeys::passphrase(&passphrase),
            &image_options(),
            &mut image,
            &mut Prng::new(3),
        )
        .unwrap();
        image
    });
    assert!(first == second);
}

#[test]
fn a_footer_is_read_back_and_the_volume_in_front_of_it_still_opens() {
    let mut workload = Workload::default();
    workload.tee = "snp".into();
    workload.tee_data = r#"{"gen":"milan"}"#.into();
    workload.workload_id = "demo".into();
    workload.attestation_url = "http://broker.example".into();
    assert_eq!(
        workload.to_json(),
        concat!(
            r#"{"tee":"snp","tee_data":"{\"gen\":\"milan\"}","workload_id":"demo","#,
            r#""cpus":2,"ram_mib":512,"attestation_url":"http://broker.example"}"#
        )
    );
    let plain = vec![4; 20_000];
    let mut image = encoded(&plain, &image_options());
    let before = image.len() as u64;
    let json = workload.to_json();
    let added = write_footer(&mut image, before, json.as_bytes()).unwrap();
    assert_eq!(image.len() as u64, before + added);
    assert!(image.len().is_multiple_of(4096));
    assert!(added < 4096 + json.len() as u64 + 12);
    assert!(image.ends_with(&(json.len() as u64).to_le_bytes()));
    let device = MemDevice::from_bytes(&image, SectorSize::S512);
    let read = read_footer(&device).unwrap().expect("a footer");
    assert_eq!(Workload::from_json(&read).unwrap(), workload);
    assert!(decoded(&image, plain.len()) == plain);
}

#[test]
fn what_is_no_footer_is_none_and_a_wild_length_is_an_error() {
    let blank = MemDevice::new(ByteLen::new(8192), SectorSize::S4096).unwrap();
    assert_eq!(read_footer(&blank).unwrap(), None);
    for len in [8192 - 11, 1 << 21, u64::MAX] {
        let mut last = vec![0; 4096];
        last.truncate(4084);
        last.extend_from_slice(b"KRUN");
        last.extend_from_slice(&len.to_le_bytes());
        blank.write_at(ByteOffset::new(4096), &last).unwrap();
        let error = read_footer(&blank).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{len}: {error}");
    }
    let error = Workload::from_json(b"[1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}
