//! Repairs of LUKS1 headers: what they put right, and what they leave alone.

mod common;

use common::{Cryptsetup, device};
use luksmith_block::ByteLen;
use luksmith_header::{
    Error,
    luks1::{self, Repair, Repaired},
};
use luksmith_testkit::mangled::{Base, Draft1};

const LEN: ByteLen = ByteLen::new(2 << 20);

fn plan(image: &[u8]) -> Result<Repair, Error> {
    Repair::plan(image.first_chunk().expect("1024 bytes"), LEN)
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut image = Base::Luks1.image();
    change(&mut image);
    image
}

#[test]
fn a_header_that_is_right_is_left_alone() {
    let repair = plan(&Base::Luks1.image()).unwrap();
    assert_eq!(repair.changes, []);
    assert_eq!(
        repair.header,
        luks1::read(&device(&Base::Luks1.image())).unwrap()
    );
}

#[test]
fn texts_and_unused_keyslots_are_put_right() {
    let good = Base::Luks1.image();
    let image = changed(|image| {
        image[72..78].copy_from_slice(b"SHA256");
        image[Draft1::slot(7) + 44] = 1;
        image[Draft1::slot(5) + 40] = 1;
        image[Draft1::slot(3)] = 9;
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
    });
    let repair = plan(&image).unwrap();
    // Keyslot 3 is invalid, but at its place: like cryptsetup's, this repair leaves it so.
    assert_eq!(
        repair.changes,
        [
            Repaired::Hash,
            Repaired::Keyslot(5),
            Repaired::Keyslot(6),
            Repaired::Keyslot(7)
        ]
    );
    let mut expected = good[..1024].to_vec();
    expected[Draft1::slot(3)] = 9;
    assert!(repair.header.to_bytes()[..] == expected);
}

#[test]
fn enabled_keyslots_are_never_touched() {
    let image = changed(|image| image[Draft1::slot(1) + 44] = 1);
    assert!(matches!(
        plan(&image),
        Err(Error::Luks1Stripes { slot: 1, .. })
    ));
}

#[test]
fn what_cannot_be_repaired_is_said() {
    let short_key = changed(|image| image[111] = 31);
    assert!(matches!(
        plan(&short_key),
        Err(Error::Option {
            option: "key size",
            value: 31,
            ..
        })
    ));
    let early = changed(|image| image[Draft1::slot(0) + 43] = 7);
    assert!(matches!(
        plan(&early),
        Err(Error::Luks1SlotOffset {
            slot: 0,
            found: 7,
            ..
        })
    ));
    assert_eq!(plan(&[0; 4096]), Err(Error::NotLuks));
}

#[test]
fn cryptsetup_repairs_to_the_same_header() {
    let Some(program) = Cryptsetup::find() else {
        return;
    };
    let image = changed(|image| {
        image[72..78].copy_from_slice(b"SHA256");
        image[Draft1::slot(7) + 44] = 1;
        image[Draft1::slot(5) + 43] = 1;
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
    });
    program.put("image", &image);
    program.must("repair -q image");
    let repair = plan(&image).unwrap();
    assert!(program.get("image")[..1024] == repair.header.to_bytes()[..]);
}
