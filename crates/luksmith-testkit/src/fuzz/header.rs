//! Headers: bytes that claim to be LUKS1 or LUKS2.

use luksmith_block::{ByteLen, MemDevice, SectorSize};
use luksmith_header::{
    Header, Limits,
    json::{self, ParseLimits},
    luks1, luks2,
};
use sha2::{Digest, Sha256};

use super::overlay;

/// A LUKS1 header on a device that may be too short for it.
///
/// The first byte chooses the length of the device, the rest is the header from its cipher on.
///
/// # Panics
/// If an accepted header breaks a promise.
pub fn luks1_header(data: &[u8]) -> bool {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut raw = [0; luks1::HEADER_BYTES];
    overlay(&mut raw, rest);
    overlay(&mut raw, b"LUKS\xba\xbe\0\x01");
    let len = ByteLen::new(u64::from(*choice) * 16384);
    let Ok(header) = luks1::Header::parse(&raw, len) else {
        return false;
    };
    assert_eq!(header.raw(), &raw, "what was parsed is kept to the byte");
    assert!(
        header.total_len() <= len,
        "areas past the end were accepted"
    );
    for slot in header.keyslot_objects() {
        assert_eq!(slot.key_bytes, header.key_bytes());
    }
    let _ = (header.digest_object(), header.segment_object());
    let _ = (header.cipher_name(), header.cipher_mode(), header.uuid());
    true
}

/// A LUKS2 header of the smallest size with right checksums: 4096 bytes binary, then JSON.
///
/// The first byte's lowest bits say whether the checksum is put right and which copy it becomes.
///
/// # Panics
/// If an accepted header breaks a promise.
pub fn luks2_header(data: &[u8]) -> bool {
    const COPY: usize = 16384;
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut copy = vec![0; COPY];
    overlay(&mut copy, rest);
    let secondary = choice & 2 != 0;
    let at: u64 = if secondary { 16384 } else { 0 };
    overlay(
        &mut copy,
        if secondary {
            b"SKUL\xba\xbe\0\x02"
        } else {
            b"LUKS\xba\xbe\0\x02"
        },
    );
    // Size at 8, place at 256, checksum at 448.
    copy[8..16].copy_from_slice(&16384_u64.to_be_bytes());
    copy[256..264].copy_from_slice(&at.to_be_bytes());
    if choice & 1 == 0 {
        overlay(&mut copy[72..104], b"sha256\0");
        copy[448..512].fill(0);
        let digest = Sha256::digest(&copy);
        copy[448..480].copy_from_slice(&digest);
    }
    let mut image = vec![0; 4 << 20];
    overlay(&mut image[usize::from(secondary) * COPY..], &copy);
    let device = MemDevice::from_bytes(&image, SectorSize::S512);
    let limits = Limits::default();
    let Ok(header) = Header::read(&device, &limits) else {
        return false;
    };
    assert_eq!(header.version(), 2);
    assert!(!header.segments().is_empty(), "a volume without a segment");
    let Header::Luks2(header) = header else {
        panic!("version 2 that is not LUKS2");
    };
    let metadata = header.metadata();
    assert!(metadata.default_segment().is_some());
    assert!(metadata.total_len().get() <= device_bytes(&image));
    let again = luks2::Metadata::from_tree(metadata.tree().clone(), 16384);
    assert_eq!(
        again.as_ref().ok(),
        Some(metadata),
        "its own tree is not taken back"
    );
    true
}

fn device_bytes(image: &[u8]) -> u64 {
    ByteLen::of(image).get()
}

/// JSON text: what is read prints to the same tree, within its limits.
///
/// # Panics
/// If printing and reading again gives something else.
pub fn luks2_json(data: &[u8]) -> bool {
    let limits = ParseLimits { elements: 4096 };
    let object = json::parse_object(data, &limits);
    let is_json = object.is_ok();
    if let Ok((object, used)) = object {
        assert!(used <= data.len());
        for text in [object.to_compact(), object.to_pretty()] {
            let (again, length) =
                json::parse_object(text.as_bytes(), &limits).expect("own output is JSON");
            assert_eq!((&again, length), (&object, text.len()));
        }
    }
    let mut area = vec![0; 16384 - luks2::BINARY_HEADER_BYTES];
    overlay(&mut area, data);
    let _ = luks2::Metadata::parse(&area, 16384, &Limits::default());
    is_json
}
