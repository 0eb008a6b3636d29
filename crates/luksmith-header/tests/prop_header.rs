//! Parse after write is identity; what is laid out never overlaps; no bytes cause a panic.

mod common;

use common::device;
use luksmith_block::{ByteLen, ByteOffset};
use luksmith_header::{
    Header, Limits,
    json::{Object, ParseLimits, Value, parse_object},
    luks1,
    luks2::{
        self, HeaderSize, LayoutOptions, NewDigest, NewKdf, NewKeyslot, NewLayout, NewSegment,
        initial_metadata,
    },
    policy::Profile,
};
use luksmith_testkit::{Prng, mangled::Base};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::integer),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..24)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    // A key that holds a zero character cannot be read back, by design.
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn object() -> impl Strategy<Value = Object> {
    prop::collection::vec((key(), value()), 0..40).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn json_that_is_written_reads_back_the_same(object in object()) {
        for text in [object.to_compact(), object.to_pretty()] {
            let (again, used) = parse_object(text.as_bytes(), &ParseLimits::default()).unwrap();
            prop_assert_eq!(&again, &object);
            prop_assert_eq!(used, text.len());
        }
    }

    #[test]
    fn no_bytes_make_the_json_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_object(&bytes, &ParseLimits::default());
        let braced = [b"{", bytes.as_slice()].concat();
        let _ = parse_object(&braced, &ParseLimits::default());
        let _ = Profile::parse(&String::from_utf8_lossy(&braced));
    }

    /// Random bytes over a good header: an error or a header, never a panic, and never a write.
    #[test]
    fn scribbles_over_a_header_are_judged_without_a_panic(
        base in prop::sample::select(Base::ALL.to_vec()),
        scribbles in prop::collection::vec((0..33_000_usize, any::<u8>()), 1..6),
    ) {
        let mut image = base.image();
        for (at, byte) in scribbles {
            image[at] = byte;
        }
        let disk = device(&image);
        let _ = Header::read(&disk, &Limits::default());
        prop_assert!(disk.to_vec() == image);
    }

    /// Scribbles over the JSON text that the checksum does not catch.
    #[test]
    fn scribbles_over_metadata_are_judged_without_a_panic(
        scribbles in prop::collection::vec((0..1200_usize, any::<u8>()), 1..4),
    ) {
        let image = Base::Luks2.image();
        let mut area = image[4096..16384].to_vec();
        for (at, byte) in scribbles {
            area[at] = byte;
        }
        if let Ok(metadata) = luks2::Metadata::parse(&area, 16384, &Limits::default()) {
            let again = luks2::Metadata::from_tree(metadata.tree().clone(), 16384);
            prop_assert_eq!(again, Ok(metadata));
        }
    }

    #[test]
    fn a_luks1_header_that_is_written_reads_back_the_same(
        key_bytes in 1..129_u32,
        hash in prop::sample::select(luksmith_hash::HashName::ALL.to_vec()),
        iterations in any::<u32>(),
        salt in any::<[u8; 32]>(),
        slots in prop::collection::btree_set(0..8_u32, 0..8),
    ) {
        prop_assume!(hash.digest_bytes() >= 20);
        let (_, end) = luks1::area_layout(key_bytes).unwrap();
        let new = luks1::NewHeader {
            cipher_name: "aes".into(),
            cipher_mode: "cbc-essiv:sha256".into(),
            hash,
            key_bytes,
            payload_sector: end,
            digest: [7; 20],
            digest_salt: salt,
            digest_iterations: iterations,
            uuid: "01234567-89ab-cdef-0123-456789abcdef".into(),
        };
        let len = ByteLen::new(u64::from(end) * 512);
        let mut header = luks1::Header::new(&new, len).unwrap();
        for slot in slots {
            header.enable_keyslot(slot, iterations, salt).unwrap();
        }
        let again = luks1::Header::parse(&header.to_bytes(), len).unwrap();
        prop_assert_eq!(again, header);
    }

    /// Every plan is a layout that the rules accept, with whole areas that do not overlap.
    #[test]
    fn planned_layouts_keep_the_rules(
        power in 0..9_u32,
        keyslots in prop::option::of(0..40_000_u64),
        offset in prop::option::of(0..40_000_u64),
        alignment in prop::sample::select(vec![0_u64, 4096, 1 << 20, 3 << 20]),
        device_len in 0..(64_u64 << 20),
        can_grow in any::<bool>(),
    ) {
        let mut options = LayoutOptions::attached(device_len);
        options.header_size = HeaderSize::from_bytes(16384 << power).unwrap();
        options.keyslots_len = keyslots.map(|blocks| blocks * 4096);
        options.data_offset = offset.map(|blocks| blocks * 4096);
        options.alignment = alignment;
        options.can_grow = can_grow;
        let Ok(layout) = NewLayout::plan(&options) else {
            return Ok(());
        };
        let segment = NewSegment {
            encryption: "aes-xts-plain64".into(),
            sector_size: 512,
            integrity: None,
        };
        let digest = NewDigest {
            hash: "sha256".into(),
            iterations: 1000,
            salt: [0; 32],
            digest: vec![0; 32],
            segments: Vec::new(),
        };
        let mut metadata = initial_metadata(&layout, &segment, &digest).unwrap();
        prop_assert_eq!(metadata.total_len(), layout.total_len());
        // Keyslots fill the area to its end, each where the search finds room.
        let mut added = 0;
        while added < 32 {
            let slot = metadata.edit(|draft| {
                let (area_offset, area_len) = draft.find_area(64)?;
                let id = draft.free_keyslot()?;
                draft.add_keyslot(id, &keyslot(area_offset, area_len), 0)
            });
            if slot.is_err() {
                break;
            }
            added += 1;
        }
        let room = layout.keyslots_len.get() / luks2::area_bytes(64);
        prop_assert_eq!(added, room.min(32));
    }

    #[test]
    fn a_luks2_header_that_is_written_reads_back_the_same(
        label in "[ -~]{0,47}",
        note in any::<String>(),
        power in 0..3_u32,
        seed in any::<u64>(),
    ) {
        let mut options = LayoutOptions::attached(4 << 20);
        options.header_size = HeaderSize::from_bytes(16384 << power).unwrap();
        let layout = NewLayout::plan(&options).unwrap();
        let segment = NewSegment {
            encryption: "aes-xts-plain64".into(),
            sector_size: 4096,
            integrity: None,
        };
        let digest = NewDigest {
            hash: "sha256".into(),
            iterations: 1000,
            salt: [0; 32],
            digest: vec![0; 32],
            segments: Vec::new(),
        };
        let mut metadata = initial_metadata(&layout, &segment, &digest).unwrap();
        let token: Object = [
            ("type", Value::string("x")),
            ("keyslots", Value::Array(Vec::new())),
            ("note", Value::string(note)),
        ]
        .into_iter()
        .collect();
        metadata.edit(|draft| draft.add_token(0, token)).unwrap();
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let mut header = luks2::Header::new(metadata, uuid).unwrap();
        header.set_label(&label).unwrap();
        let disk = device(&vec![0; 4 << 20]);
        luks2::write(&disk, &mut header, &mut Prng::new(seed)).unwrap();
        let again = luks2::read(&disk, &Limits::default()).unwrap();
        prop_assert_eq!(again.binary().seqid(), 2);
        prop_assert_eq!(again.binary().label(), label);
        prop_assert_eq!(again, header);
    }
}

fn keyslot(area_offset: ByteOffset, area_len: ByteLen) -> NewKeyslot {
    NewKeyslot {
        key_bytes: 64,
        af_hash: "sha256".into(),
        area_offset,
        area_len,
        encryption: "aes-xts-plain64".into(),
        area_key_bytes: 64,
        kdf: NewKdf::Pbkdf2 {
            hash: "sha256".into(),
            iterations: 1000,
            salt: [0; 32],
        },
    }
}
