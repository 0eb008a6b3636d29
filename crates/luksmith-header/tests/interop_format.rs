//! Formatting beside cryptsetup's own: the same layout, the same JSON, the same binary fields.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

mod common;

use common::{Cryptsetup, device};
use luksmith_block::{BlockDevice, ByteLen};
use luksmith_header::{
    Header, Kdf, KeyslotKind, Limits, luks1,
    luks2::{
        self, HeaderSize, LayoutOptions, NewDigest, NewKdf, NewKeyslot, NewLayout, NewSegment,
        initial_metadata,
    },
};
use luksmith_testkit::Prng;

const MIB: u64 = 1 << 20;

/// One set of options, for both programs.
struct Case {
    options: &'static str,
    device_len: u64,
    plan: fn(&mut LayoutOptions),
}

const CASES: &[Case] = &[
    Case {
        options: "",
        device_len: 32 * MIB,
        plan: |_| {},
    },
    Case {
        options: "--offset 2048 --sector-size 512",
        device_len: 4 * MIB,
        plan: |plan| plan.data_offset = Some(MIB),
    },
    Case {
        options: "--luks2-metadata-size 64k --label a/b",
        device_len: 32 * MIB,
        plan: |plan| plan.header_size = HeaderSize::from_bytes(65536).unwrap(),
    },
    Case {
        options: "--luks2-keyslots-size 512k --sector-size 4096 --pbkdf argon2id \
                  --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1",
        device_len: 4 * MIB,
        plan: |plan| plan.keyslots_len = Some(512 * 1024),
    },
    Case {
        options: "--luks2-metadata-size 4m --luks2-keyslots-size 8m --key-size 256 --pbkdf argon2i \
                  --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1 --hash sha512",
        device_len: 32 * MIB,
        plan: |plan| {
            plan.header_size = HeaderSize::MAX;
            plan.keyslots_len = Some(8 * MIB);
        },
    },
    Case {
        options: "--align-payload 24576 --subsystem s --cipher aes-cbc-essiv:sha256",
        device_len: 48 * MIB,
        plan: |plan| plan.alignment = 12 * MIB,
    },
];

/// Gives keyslots and digest of a header as what they would be made from.
fn new_keyslot(slot: &luksmith_header::Keyslot) -> NewKeyslot {
    let KeyslotKind::Luks2 { kdf, af } = &slot.kind else {
        panic!("a keyslot of type luks2");
    };
    NewKeyslot {
        key_bytes: slot.key_bytes,
        af_hash: af.hash.clone(),
        area_offset: slot.area.offset,
        area_len: slot.area.len,
        encryption: slot.area.encryption.clone().unwrap(),
        area_key_bytes: slot.area.key_bytes.unwrap(),
        kdf: match kdf {
            Kdf::Pbkdf2 {
                hash,
                iterations,
                salt,
            } => NewKdf::Pbkdf2 {
                hash: hash.clone(),
                iterations: *iterations,
                salt: *salt.salt().unwrap(),
            },
            Kdf::Argon2 {
                variant,
                passes,
                memory_kib,
                lanes,
                salt,
            } => NewKdf::Argon2 {
                variant: *variant,
                passes: *passes,
                memory_kib: *memory_kib,
                lanes: *lanes,
                salt: *salt.salt().unwrap(),
            },
            other => panic!("{other:?}"),
        },
    }
}

/// Makes the header again from the same options, salts and digests, and writes it as often as
/// cryptsetup did: once without keyslots, once for each.
fn again(case: &Case, theirs: &luks2::Header) -> Vec<u8> {
    let metadata = theirs.metadata();
    let mut options = LayoutOptions::attached(case.device_len);
    (case.plan)(&mut options);
    let layout = NewLayout::plan(&options).unwrap();
    let crypt = metadata.segments()[0].crypt.as_ref().unwrap();
    let segment = NewSegment {
        encryption: crypt.encryption.clone(),
        sector_size: crypt.sector_size,
        integrity: None,
    };
    let digest = &metadata.digests()[0];
    let usable = digest.usable().unwrap();
    let digest = NewDigest {
        hash: digest.hash.clone().unwrap(),
        iterations: usable.iterations,
        salt: *usable.salt,
        digest: usable.digest.to_vec(),
        segments: vec![0],
    };
    let first = initial_metadata(&layout, &segment, &digest).unwrap();
    let mut header = luks2::Header::new(first, &theirs.binary().uuid()).unwrap();
    header.set_label(&theirs.binary().label()).unwrap();
    header.set_subsystem(&theirs.binary().subsystem()).unwrap();
    let len = usize::try_from(case.device_len).unwrap();
    let disk = device(&vec![0; len]);
    let random = &mut Prng::new(5);
    luks2::write(&disk, &mut header, random).unwrap();
    for slot in metadata.keyslots() {
        let new = new_keyslot(slot);
        header
            .metadata_mut()
            .edit(|draft| {
                let area = draft.find_area(new.key_bytes)?;
                assert_eq!(area, (new.area_offset, new.area_len), "{}", case.options);
                let id = draft.free_keyslot()?;
                draft.add_keyslot(id, &new, 0)
            })
            .unwrap();
        luks2::write(&disk, &mut header, random).unwrap();
    }
    disk.to_vec()
}

#[test]
fn luks2_formats_equal_those_of_cryptsetup_but_for_salts_and_checksums() {
    let Some(program) = Cryptsetup::newest() else {
        return;
    };
    program.put("one", b"one");
    program.put("two", b"two");
    for case in CASES {
        let len = usize::try_from(case.device_len).unwrap();
        program.put("image", &vec![0; len]);
        let fast = match case.options.contains("--pbkdf") {
            true => "",
            false => "--pbkdf pbkdf2 --pbkdf-force-iterations 1000",
        };
        let options = case.options;
        program.must(&format!(
            "luksFormat -q {fast} {options} --type luks2 image one"
        ));
        program.must(
            "luksAddKey -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file one image two",
        );
        let image = program.get("image");
        let theirs = luks2::read(&device(&image), &Limits::default()).unwrap();
        let ours = again(case, &theirs);
        let size = usize::try_from(theirs.binary().hdr_size()).unwrap();
        for copy in [0, size] {
            for at in copy..copy + size {
                let is_random =
                    (0x68..0xa8).contains(&(at - copy)) || (0x1c0..0x200).contains(&(at - copy));
                assert!(
                    is_random || ours[at] == image[at],
                    "{options}: first difference at byte {at}: ...{}... and ...{}...",
                    String::from_utf8_lossy(&ours[at.saturating_sub(60)..at + 30]),
                    String::from_utf8_lossy(&image[at.saturating_sub(60)..at + 30]),
                );
            }
        }
        // And cryptsetup takes ours, with the key material that it wrote itself.
        let mut mixed = image.clone();
        mixed[..2 * size].copy_from_slice(&ours[..2 * size]);
        program.put("ours", &mixed);
        for (word, status) in [("one", Some(0)), ("two", Some(0)), ("image", Some(2))] {
            let output = program.run(&format!(
                "open --test-passphrase --key-file {word} -l 3 ours"
            ));
            assert_eq!(output.status.code(), status, "{options} {word}");
        }
    }
}

#[test]
fn luks1_formats_equal_those_of_cryptsetup_to_the_byte() {
    let Some(program) = Cryptsetup::find() else {
        return;
    };
    program.put("one", b"one");
    for (options, alignment) in [
        ("", luks1::DEFAULT_ALIGNMENT_SECTORS),
        (
            "--key-size 256 --hash SHA512",
            luks1::DEFAULT_ALIGNMENT_SECTORS,
        ),
        (
            "--align-payload 8 --cipher aes-cbc-essiv:sha256 --key-size 128",
            8,
        ),
    ] {
        program.put("image", &vec![0; 4 << 20]);
        program.must(&format!(
            "luksFormat -q --pbkdf-force-iterations 1000 {options} --type luks1 image one"
        ));
        let image = program.get("image");
        let Header::Luks1(theirs) = Header::read(&device(&image), &Limits::default()).unwrap()
        else {
            panic!("LUKS1");
        };
        let new = luks1::NewHeader {
            cipher_name: theirs.cipher_name(),
            cipher_mode: theirs.cipher_mode(),
            hash: theirs.hash(),
            key_bytes: theirs.key_bytes(),
            payload_sector: luks1::default_payload_sector(theirs.key_bytes(), alignment, 0)
                .unwrap(),
            digest: theirs.digest(),
            digest_salt: theirs.digest_salt(),
            digest_iterations: theirs.digest_iterations(),
            uuid: theirs.uuid(),
        };
        let disk = device(&vec![0; 4 << 20]);
        let mut ours = luks1::Header::new(&new, ByteLen::new(4 * MIB)).unwrap();
        let slot = theirs.keyslots()[0];
        ours.enable_keyslot(0, slot.iterations, slot.salt).unwrap();
        luks1::write(&disk, &ours).unwrap();
        assert!(disk.to_vec()[..1024] == image[..1024], "{options}");
        assert!(disk.size().get() == 4 * MIB);
    }
}
