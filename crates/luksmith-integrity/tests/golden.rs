//! Devices that integritysetup and the kernel made, read and replayed.

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteOffset, Error as DeviceError, MemDevice};
use luksmith_hash::{Hash, HashName};
use luksmith_integrity::{
    Devices, DigestName, HashedDevice, JournalCipher, JournalMac, Mode, OpenOptions,
};
use luksmith_testkit::{TestImage, test_images};

type Disk = Arc<MemDevice>;

struct Disks {
    image: Disk,
    data: Option<Disk>,
}

impl Disks {
    fn of(golden: &TestImage) -> Self {
        Self {
            image: Arc::new(golden.device("image")),
            data: golden.has("data").then(|| Arc::new(golden.device("data"))),
        }
    }

    fn devices(&self) -> Devices<Disk> {
        match &self.data {
            Some(data) => Devices::split(Arc::clone(data), Arc::clone(&self.image)),
            None => Devices::interleaved(Arc::clone(&self.image)),
        }
    }

    fn is_untouched(&self, golden: &TestImage) -> bool {
        let data = self.data.as_ref().map(|data| data.to_vec());
        self.image.to_vec() == golden.file("image")
            && data.is_none_or(|data| data == golden.file("data"))
    }
}

fn devices() -> Vec<TestImage> {
    let devices: Vec<_> = test_images()
        .into_iter()
        .filter(|image| image.kind == "integrity")
        .collect();
    assert!(devices.len() >= 16, "{} devices", devices.len());
    devices
}

/// Gives the value of an option of integritysetup.
fn option<'a>(golden: &'a TestImage, name: &str) -> Option<&'a str> {
    let mut words = golden.options.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}

/// Gives the options with which the device opens: the journal keys are as the manifest says.
fn options(golden: &TestImage) -> OpenOptions {
    let mut options = OpenOptions::new();
    if let Some(cipher) = option(golden, "--journal-crypt") {
        let cipher = JournalCipher::new(cipher, &[0x11; 32]).expect("a cipher that is known");
        options = options.journal_cipher(Arc::new(cipher));
    }
    if let Some(mac) = option(golden, "--journal-integrity") {
        let name = DigestName::parse(mac).expect("a digest that is known");
        let mac = JournalMac::new(name, Some(&[0x22; 32])).expect("a key of usual length");
        options = options.journal_mac(Arc::new(mac));
    }
    options
}

fn open(golden: &TestImage, disks: &Disks, options: OpenOptions) -> HashedDevice<Disk> {
    let name = option(golden, "--integrity").expect("every device has a digest");
    let digest = DigestName::parse(name).expect("a digest that is known");
    HashedDevice::open(
        disks.devices(),
        options,
        digest,
        golden.integrity_key.as_deref(),
    )
    .unwrap_or_else(|error| panic!("{}: {error}", golden.name))
}

fn plaintext(golden: &TestImage, device: &HashedDevice<Disk>) -> String {
    let mut bytes = vec![0; device.size().to_usize().expect("small images")];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
    let mut digest = [0; 32];
    Hash::digest(HashName::Sha256, &[&bytes], &mut digest).expect("32 bytes");
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_device_reads_as_the_kernel_read_it_and_is_not_written() {
    for golden in devices() {
        for mode in [Mode::Journal, Mode::Direct] {
            let disks = Disks::of(&golden);
            let device = open(&golden, &disks, options(&golden).mode(mode).read_only(true));
            let name = &golden.name;
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{name}"
            );
            let block = vec![0; device.sector_size().bytes()];
            let write = device.write_at(ByteOffset::ZERO, &block);
            assert_eq!(write, Err(DeviceError::ReadOnly));
            device.close().expect("there is nothing to be done");
            assert!(disks.is_untouched(&golden), "{name}");
        }
    }
}

#[test]
fn applying_a_dirty_journal_changes_nothing_that_is_read() {
    let mut waited = 0;
    for golden in devices() {
        if golden.name == "integrity-bitmap-dirty" {
            continue;
        }
        for mode in [Mode::Journal, Mode::Direct] {
            let name = &golden.name;
            let disks = Disks::of(&golden);
            let device = open(&golden, &disks, options(&golden).mode(mode));
            let waiting = device.unchecked().blocks_in_journal().expect("no panic");
            assert!(
                golden.clean == (waiting == 0),
                "{name}: {waiting} blocks wait"
            );
            waited += waiting;
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{name}"
            );
            assert!(disks.is_untouched(&golden), "{name}");
            device.unchecked().apply_journal().expect("a whole journal");
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{name}"
            );
            drop(device);
            // Without the journal everything is in place now.
            let device = open(&golden, &disks, options(&golden).mode(Mode::Recovery));
            assert_eq!(
                plaintext(&golden, &device),
                golden.plaintext_sha256,
                "{name}"
            );
        }
    }
    assert!(waited > 100, "{waited} blocks waited in all journals");
}
