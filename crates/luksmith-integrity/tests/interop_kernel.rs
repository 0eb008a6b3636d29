//! The real kernel and we agree: on what formatting writes, on what a replay leaves, byte for byte,
//! and on what each reads of the other's devices, closed or not.
//!
//! `LUKSMITH_SEED` chooses other configurations; it is printed.

#![allow(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorCount, SectorSize};
use luksmith_hash::{Hash, HashName};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, JournalCipher, JournalMac, Mode, OpenOptions,
    Superblock, format,
};
use luksmith_testkit::{Prng, interop};

const SIZE: usize = 3 << 20;
const CASES: usize = 6;

/// One configuration of a device.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    digest: &'static str,
    block: SectorSize,
    journal_bytes: u64,
    mac: bool,
    cipher: Option<&'static str>,
    mode: Mode,
}

impl Case {
    fn random(index: usize, prng: &mut Prng) -> Self {
        let digests = [
            "crc32c",
            "sha256",
            "hmac-sha256",
            "sha1",
            "xxhash64",
            "crc32",
        ];
        let ciphers = [
            None,
            None,
            Some("ctr-aes"),
            Some("cbc-aes"),
            Some("chacha20"),
        ];
        Self {
            name: format!("c{index}"),
            digest: digests[prng.index(digests.len())],
            block: SectorSize::ALL[prng.index(4)],
            journal_bytes: 100_000 + prng.below(800_000),
            mac: prng.chance(1, 3),
            cipher: ciphers[prng.index(ciphers.len())],
            mode: if prng.chance(2, 3) {
                Mode::Journal
            } else {
                Mode::Direct
            },
        }
    }

    fn digest(&self) -> DigestName {
        DigestName::parse(self.digest).expect("a digest that is known")
    }

    fn key(&self) -> Option<&'static [u8]> {
        self.digest().is_keyed().then_some(&[0x33; 32])
    }

    fn journal_mac(&self) -> Option<Arc<JournalMac>> {
        let name = DigestName::parse("hmac-sha256").expect("a digest that is known");
        self.mac
            .then(|| Arc::new(JournalMac::new(name, Some(&[0x22; 32])).expect("a key")))
    }

    fn journal_cipher(&self) -> Option<Arc<JournalCipher>> {
        self.cipher
            .map(|name| Arc::new(JournalCipher::new(name, &[0x11; 32]).expect("a key")))
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new()
            .mode(self.mode)
            .journal_buffer(ByteLen::new(200_000));
        if let Some(mac) = self.journal_mac() {
            options = options.journal_mac(mac);
        }
        if let Some(cipher) = self.journal_cipher() {
            options = options.journal_cipher(cipher);
        }
        options
    }

    fn open<D: BlockDevice>(&self, device: D) -> HashedDevice<D> {
        let devices = Devices::interleaved(device);
        HashedDevice::open(devices, self.options(), self.digest(), self.key())
            .unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// Gives the options of integritysetup that name digest and keys.
    fn words(&self) -> String {
        let mut words = format!("--integrity {}", self.digest);
        if self.digest().is_keyed() {
            words += " --integrity-key-file /tmp/ik --integrity-key-size 32";
        }
        if self.mac {
            words += " --journal-integrity hmac-sha256 --journal-integrity-key-file /tmp/jm \
                      --journal-integrity-key-size 32";
        }
        if let Some(cipher) = self.cipher {
            words += &format!(
                " --journal-crypt {cipher} --journal-crypt-key-file /tmp/jc \
                 --journal-crypt-key-size 32"
            );
        }
        words
    }

    fn format_words(&self) -> String {
        format!(
            "{} --sector-size {} --journal-size {}",
            self.words(),
            self.block,
            self.journal_bytes
        )
    }

    fn open_words(&self) -> String {
        let mode = if self.mode == Mode::Direct {
            " --integrity-no-journal"
        } else {
            " --journal-commit-time 60000 --journal-watermark 100"
        };
        self.words() + mode
    }
}

/// Keys, a source of data, and the modules that the kernel may not load by itself.
const PREPARE: &str = "
    key() { head -c 32 /dev/zero | tr '\\000' \"$1\"; }
    key '\\021' > /tmp/jc; key '\\042' > /tmp/jm; key '\\063' > /tmp/ik
    for m in sha1 sha256 crc32 crc32c xxhash64 xxhash_generic ctr cbc hmac aes chacha20 \
        chacha_generic; do modprobe $m 2>/dev/null || true; done
    head -c 4000000 /dev/urandom > /tmp/data
    sum() { dd if=/dev/mapper/$1 bs=65536 iflag=direct 2>/dev/null | sha256sum; }
";

fn sums(text: &str) -> HashMap<&str, &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("sum "));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let mut digest = [0; 32];
    Hash::digest(HashName::Sha256, &[bytes], &mut digest).expect("32 bytes");
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contents<D: BlockDevice>(device: &HashedDevice<D>) -> Vec<u8> {
    let mut bytes = vec![0; device.size().to_usize().expect("small")];
    device
        .read_at(ByteOffset::ZERO, &mut bytes)
        .expect("every tag matches");
    bytes
}

fn disk(path: &Path) -> Arc<MemDevice> {
    let bytes = fs::read(path).expect("a disk");
    Arc::new(MemDevice::from_bytes(&bytes, SectorSize::S512))
}

fn cases() -> (Vec<Case>, Prng) {
    let mut prng = Prng::from_env(1);
    println!("{prng:?}");
    let mut cases: Vec<Case> = (0..CASES)
        .map(|index| Case::random(index, &mut prng))
        .collect();
    // Whatever the seed: what few others use.
    cases[0].digest = "xxhash64";
    cases[1].cipher = Some("chacha20");
    (cases, prng)
}

fn paths(folder: &Path, cases: &[Case]) -> Vec<PathBuf> {
    cases.iter().map(|case| folder.join(&case.name)).collect()
}

fn borrowed(paths: &[PathBuf]) -> Vec<&Path> {
    paths.iter().map(PathBuf::as_path).collect()
}

#[test]
fn a_journal_that_the_kernel_left_is_replayed_to_the_byte() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let (cases, mut prng) = cases();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disks = paths(folder.path(), &cases);
    let mut script = String::from(PREPARE);
    for (number, case) in cases.iter().enumerate() {
        fs::write(&disks[number], vec![0; SIZE]).expect("a disk");
        // The wipe is part of the format; the work goes through the journal.
        let open = Case {
            mode: Mode::Journal,
            ..case.clone()
        };
        script += &format!(
            "integritysetup format -q {} /disk/{number} >/dev/null || exit 3
             integritysetup open {} /disk/{number} {} || exit 4\n",
            case.format_words(),
            open.open_words(),
            case.name
        );
    }
    for _ in 0..4 {
        for case in &cases {
            script += &format!(
                "dd if=/tmp/data of=/dev/mapper/{} bs=4096 count={} seek={} skip={} oflag=direct \
                 conv=notrunc,fsync 2>/dev/null || exit 5\n",
                case.name,
                prng.below(9) + 1,
                prng.below(300),
                prng.below(900)
            );
        }
    }
    script += "echo o > /proc/sysrq-trigger; sleep 30";
    let report = oracle
        .boot_to_any_end(&script, &borrowed(&disks))
        .expect("a boot");
    assert_eq!(report.status, None, "{}", report.text);
    let ours: Vec<_> = disks.iter().map(|path| disk(path)).collect();

    let mut script = String::from(PREPARE);
    for (number, case) in cases.iter().enumerate() {
        script += &format!(
            "integritysetup open {} /disk/{number} {name} || exit 4
             echo sum {name} $(sum {name})\n",
            case.open_words(),
            name = case.name
        );
    }
    script += "echo o > /proc/sysrq-trigger; sleep 30";
    let report = oracle
        .boot_to_any_end(&script, &borrowed(&disks))
        .expect("a boot");
    assert_eq!(report.status, None, "{}", report.text);
    let sums = sums(&report.text);
    let mut waited = 0;
    for (number, case) in cases.iter().enumerate() {
        let device = case.open(Arc::clone(&ours[number]));
        waited += device.unchecked().blocks_in_journal().expect("no panic");
        let seen = sha256(&contents(&device));
        assert_eq!(
            sums.get(case.name.as_str()),
            Some(&seen.as_str()),
            "{case:?}"
        );
        device
            .unchecked()
            .apply_journal()
            .expect("the kernel's journal");
        drop(device);
        let kernels = fs::read(&disks[number]).expect("a disk");
        let differs = ours[number]
            .to_vec()
            .chunks(512)
            .zip(kernels.chunks(512))
            .position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "first sector that differs; {case:?}");
    }
    assert!(waited > 0, "no journal had anything to replay");
}

#[test]
fn the_kernel_formats_the_same_bytes_and_reads_what_we_wrote() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let (cases, mut prng) = cases();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disks = paths(folder.path(), &cases);
    let mut script = String::from(PREPARE);
    for (number, case) in cases.iter().enumerate() {
        fs::write(&disks[number], vec![0; SIZE]).expect("a disk");
        script += &format!(
            "integritysetup format -q --no-wipe {} /disk/{number} >/dev/null || exit 3\n",
            case.format_words()
        );
    }
    oracle
        .boot(&script, &borrowed(&disks))
        .expect("the kernel formats");

    let mut expected = Vec::new();
    let mut script = String::from(PREPARE);
    for (number, case) in cases.iter().enumerate() {
        let theirs = fs::read(&disks[number]).expect("a disk");
        let salt = *Superblock::parse(&theirs[..4096])
            .expect("formatted")
            .salt();
        let ours = Arc::new(MemDevice::from_bytes(&vec![0; SIZE], SectorSize::S512));
        let request = FormatRequest::new(case.digest().digest_bytes(), case.block)
            .expect("a tag size that exists")
            .journal_sectors(SectorCount::new(case.journal_bytes / 512))
            .journal_mac(case.mac)
            .salt(Some(salt));
        let devices = Devices::interleaved(Arc::clone(&ours));
        format(
            &devices,
            &request,
            case.journal_mac(),
            case.journal_cipher(),
        )
        .expect("room");
        assert!(
            ours.to_vec() == theirs,
            "the formatted bytes differ; {case:?}"
        );

        let device = case.open(Arc::clone(&ours));
        expected.push(sha256(&work(&device, &mut prng)));
        if prng.chance(1, 3) {
            device.close().expect("no faults here");
        } else {
            // Flushed, and then the power goes.
            device.flush().expect("no faults here");
            drop(device);
        }
        fs::write(&disks[number], ours.to_vec()).expect("a disk");
        script += &format!(
            "integritysetup open {} /disk/{number} {name} || exit 4
             echo sum {name} $(sum {name}); integritysetup close {name} || exit 5\n",
            case.words(),
            name = case.name
        );
    }
    let report = oracle
        .boot(&script, &borrowed(&disks))
        .expect("the kernel opens what we wrote");
    let sums = sums(&report.text);
    for (number, case) in cases.iter().enumerate() {
        let expected = expected[number].as_str();
        assert_eq!(sums.get(case.name.as_str()), Some(&expected), "{case:?}");
        let device = case.open(disk(&disks[number]));
        assert_eq!(sha256(&contents(&device)), expected, "{case:?}");
    }
}

/// Writes everything once and then here and there; gives the contents.
fn work<D: BlockDevice>(device: &HashedDevice<D>, prng: &mut Prng) -> Vec<u8> {
    let block = device.sector_size().bytes();
    let mut bytes = prng.bytes(device.size().to_usize().expect("small"));
    device
        .write_at(ByteOffset::ZERO, &bytes)
        .expect("no faults here");
    for _ in 0..60 {
        let blocks = bytes.len() / block;
        let first = prng.index(blocks);
        let count = (prng.index(12) + 1).min(blocks - first);
        let range = first * block..(first + count) * block;
        prng.fill(&mut bytes[range.clone()]);
        let at = ByteOffset::new(u64::try_from(range.start).expect("small"));
        device.write_at(at, &bytes[range]).expect("no faults here");
        if prng.chance(1, 3) {
            device.flush().expect("no faults here");
        }
    }
    assert!(contents(device) == bytes);
    bytes
}
