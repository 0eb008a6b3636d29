//! Two headers that were made from the same options, field by field.

use std::ops::Range;

/// Salt and checksum of a LUKS2 binary header.
const LUKS2_RANDOM: [Range<usize>; 2] = [0x68..0xa8, 0x1c0..0x200];
const BINARY: usize = 4096;

/// Says where two headers differ in anything but salts, what is made with them, and checksums.
pub(crate) fn same(ours: &[u8], theirs: &[u8], is_luks2: bool) -> Result<(), String> {
    if !is_luks2 {
        let (ours, theirs) = (luks1(ours), luks1(theirs));
        return same_bytes("LUKS1 header", &ours, &theirs);
    }
    let size = |image: &[u8]| u64::from_be_bytes(image[8..16].try_into().expect("eight bytes"));
    if size(ours) != size(theirs) {
        return Err(format!("header sizes {} and {}", size(ours), size(theirs)));
    }
    let size = usize::try_from(size(ours)).expect("a header of theirs fits");
    for (name, at) in [("primary", 0), ("secondary", size)] {
        let binary = |image: &[u8]| {
            let mut bytes = image[at..at + BINARY].to_vec();
            for range in LUKS2_RANDOM {
                bytes[range].fill(0);
            }
            bytes
        };
        same_bytes(name, &binary(ours), &binary(theirs))?;
        let json = |image: &[u8]| masked(&image[at + BINARY..at + size]);
        let (ours, theirs) = (json(ours), json(theirs));
        if ours != theirs {
            return Err(format!("{name} JSON: ours\n{ours}\nand theirs\n{theirs}"));
        }
    }
    Ok(())
}

fn same_bytes(name: &str, ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    let different = ours
        .iter()
        .zip(theirs)
        .position(|(ours, theirs)| ours != theirs);
    let Some(at) = different else {
        return Ok(());
    };
    let near = |bytes: &[u8]| {
        let end = bytes.len().min(at + 16);
        String::from_utf8_lossy(&bytes[at..end]).into_owned()
            + &format!(" {:02x?}", &bytes[at..end])
    };
    Err(format!(
        "{name} byte {at}: ours {} and theirs {}",
        near(ours),
        near(theirs)
    ))
}

/// A LUKS1 header without digest and salts.
fn luks1(image: &[u8]) -> Vec<u8> {
    let mut bytes = image[..1024].to_vec();
    bytes[112..164].fill(0);
    for slot in 0..8 {
        bytes[208 + slot * 48 + 8..][..32].fill(0);
    }
    bytes
}

/// The whole JSON area as text, the values of salts and digests taken out.
fn masked(area: &[u8]) -> String {
    let mut rest = String::from_utf8_lossy(area).into_owned();
    let end = rest.trim_end_matches('\0').len();
    rest.truncate(end);
    let mut text = String::new();
    for mark in ["\"salt\":\"", "\"digest\":\""] {
        text.clear();
        let mut parts = rest.split(mark);
        text += parts.next().unwrap_or_default();
        for part in parts {
            text += mark;
            text += part.split_once('"').map_or("", |(_, behind)| behind);
        }
        rest.clone_from(&text);
    }
    rest
}

#[test]
fn salts_and_digests_are_all_that_is_taken_out() {
    let area = b"{\"a\":{\"salt\":\"abc\",\"x\":\"salt\"},\"digest\":\"\\/=\",\"y\":1}\0\0";
    let expected = "{\"a\":{\"salt\":\",\"x\":\"salt\"},\"digest\":\",\"y\":1}";
    assert_eq!(masked(area), expected);
}
