//! Superblocks that somebody else wrote: where there is a key, their bytes take no check away.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_integrity::{
    Devices, DigestName, Error, Flags, FormatRequest, HashedDevice, JournalMac, Mode, OpenOptions,
    Superblock, format, random_salt, superblock::SUPERBLOCK_BYTES,
};

const KEY: &[u8] = b"a key that the attacker does not have";

type Disk = Arc<MemDevice>;

fn digest(name: &str) -> DigestName {
    DigestName::parse(name).expect("a digest that is known")
}

fn mac(name: &str) -> Arc<JournalMac> {
    let name = digest(name);
    let key = name.is_keyed().then_some(KEY);
    Arc::new(JournalMac::new(name, key).expect("a key where one is due"))
}

/// A device with tags of so many bytes, a salt or none, and a journal MAC or none.
fn device(tag_bytes: usize, is_salted: bool, journal_mac: Option<Arc<JournalMac>>) -> Disk {
    let disk = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).expect("small");
    let disk = Arc::new(disk);
    let request = FormatRequest::new(tag_bytes, SectorSize::S4096)
        .expect("a tag size that exists")
        .journal_mac(journal_mac.is_some())
        .salt(is_salted.then(|| random_salt().expect("a generator")));
    let devices = Devices::interleaved(&disk);
    format(&devices, &request, journal_mac, None).expect("room enough");
    disk
}

fn open(disk: &Disk, name: &str, options: OpenOptions) -> Result<HashedDevice<Disk>, Error> {
    let name = digest(name);
    let key = name.is_keyed().then_some(KEY);
    HashedDevice::open(Devices::interleaved(Arc::clone(disk)), options, name, key)
}

fn change(disk: &Disk, change: impl FnOnce(&mut [u8])) {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    disk.read_at(ByteOffset::ZERO, &mut bytes)
        .expect("a memory device");
    change(&mut bytes);
    disk.write_at(ByteOffset::ZERO, &bytes)
        .expect("a memory device");
}

/// A tag of one byte is found by trying 256 times, and the superblock alone says how long tags are.
#[test]
fn tags_under_a_key_that_were_cut_short_are_refused() {
    for (found, least, name) in [
        (1, 16, "hmac-sha256"),
        (15, 16, "hmac-sha256"),
        (4, 16, "hmac-sha512"),
        (12, 16, "hmac-sha1"),
    ] {
        let disk = device(32, true, None);
        change(&disk, |bytes| bytes[10] = found);
        let found = usize::from(found);
        let error = open(&disk, name, OpenOptions::new()).err();
        assert_eq!(error, Some(Error::ShortTags { found, least }));
        let demanding = OpenOptions::new().expect_tag_bytes(32);
        let expected = 32;
        let error = open(&disk, name, demanding).err();
        assert_eq!(error, Some(Error::TagSize { found, expected }));
    }
}

#[test]
fn short_tags_open_where_they_are_asked_for_or_have_no_key() {
    for (tag_bytes, name, options) in [
        (4, "hmac-sha256", OpenOptions::new().expect_tag_bytes(4)),
        (16, "hmac-sha256", OpenOptions::new()),
        (20, "hmac-sha1", OpenOptions::new()),
        // Nothing is checked there anyway.
        (4, "hmac-sha256", OpenOptions::new().mode(Mode::Recovery)),
        (4, "sha256", OpenOptions::new()),
        (4, "crc32c", OpenOptions::new()),
    ] {
        let disk = device(tag_bytes, true, None);
        let opened = open(&disk, name, options);
        assert!(opened.is_ok(), "{tag_bytes} {name}: {:?}", opened.err());
    }
}

#[test]
fn every_bit_of_a_superblock_with_a_mac_is_checked() {
    let options = || OpenOptions::new().journal_mac(mac("hmac-sha256"));
    let disk = device(32, true, Some(mac("hmac-sha256")));
    assert!(open(&disk, "hmac-sha256", options()).is_ok());
    for (at, bit) in (0..512).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        change(&disk, |bytes| bytes[at] ^= 1 << bit);
        let error = open(&disk, "hmac-sha256", options()).err();
        let error = error.unwrap_or_else(|| panic!("byte {at}, bit {bit}"));
        match error {
            Error::SuperblockMac => {}
            // Values that are refused before the MAC is looked at.
            Error::Magic if at < 8 => {}
            Error::Version { .. } if at == 8 => {}
            Error::Field { .. } | Error::ShortTags { .. } if (9..29).contains(&at) => {}
            Error::JournalMacUnexpected | Error::SuperblockMacMissing | Error::InlineMode
                if at == 24 => {}
            other => panic!("byte {at}, bit {bit}: {other}"),
        }
        change(&disk, |bytes| bytes[at] ^= 1 << bit);
    }
    assert!(open(&disk, "hmac-sha256", options()).is_ok());
}

/// The flag that says that there is a superblock MAC is under that MAC: clearing it was enough to
/// be rid of it.
#[test]
fn a_superblock_whose_flag_says_that_it_has_no_mac_is_refused() {
    let disk = device(32, true, Some(mac("hmac-sha256")));
    change(&disk, |bytes| bytes[24] &= !0x10);
    let options = || OpenOptions::new().journal_mac(mac("hmac-sha256"));
    let error = open(&disk, "hmac-sha256", options()).err();
    assert_eq!(error, Some(Error::SuperblockMacMissing));
    // The one for the journal's own MAC.
    change(&disk, |bytes| bytes[24] ^= 0x11);
    let error = open(&disk, "hmac-sha256", options()).err();
    assert_eq!(error, Some(Error::JournalMacUnexpected));
}

#[test]
fn a_superblock_of_an_old_tool_opens_where_that_is_said() {
    let disk = device(32, false, Some(mac("hmac-sha256")));
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    disk.read_at(ByteOffset::ZERO, &mut bytes)
        .expect("a memory device");
    let flags = Superblock::parse(&bytes).expect("formatted").flags();
    assert!(!flags.contains(Flags::FIXED_HMAC));
    let options = || OpenOptions::new().journal_mac(mac("hmac-sha256"));
    let error = open(&disk, "hmac-sha256", options()).err();
    assert_eq!(error, Some(Error::SuperblockMacMissing));
    assert!(open(&disk, "hmac-sha256", options().legacy_hmac(true)).is_ok());
    // Without a key anybody makes the MAC.
    let disk = device(32, false, Some(mac("crc32c")));
    let options = OpenOptions::new().journal_mac(mac("crc32c"));
    assert!(open(&disk, "hmac-sha256", options).is_ok());
}
