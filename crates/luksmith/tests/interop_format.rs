//! Volumes that we format: a real kernel opens them, reads what we wrote, and we read what it
//! wrote.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use luksmith::block::{
    BlockDevice, ByteLen, ByteOffset, Control, FileOptions, MemDevice, SectorSize,
};
use luksmith::hash::HashName;
use luksmith::header::luks2::HeaderSize;
use luksmith::keyslot::{Argon2Cost, Argon2Variant, Kdf};
use luksmith::{
    DmKey, ErrorKind, FormatOptions, Init, KdfChoice, NewKeys, OpenOptions, Part, Passphrase,
    Unlock, Volume, format, open, test_key,
};
use luksmith_testkit::{Prng, interop, sha256_hex};

const PASSPHRASE: &[u8] = b"correct horse battery staple, long";
/// Bytes of each pattern.
const PART: usize = 65536;

struct Case {
    name: &'static str,
    options: FormatOptions,
}

fn cases() -> Vec<Case> {
    let luks2 = || {
        FormatOptions::luks2()
            .kdf(KdfChoice::HighEntropy)
            .keyslots_len(ByteLen::new(512 << 10))
    };
    let tagged = |kind: &str, cipher: &str| luks2().integrity(kind).cipher(cipher);
    let hmac = |cipher: &str| tagged("hmac(sha256)", cipher);
    let image = FormatOptions::workload_image().kdf(KdfChoice::HighEntropy);
    let xts = "aes-xts-plain64";
    [
        ("plain", luks2()),
        ("plain512", luks2().sector_size(SectorSize::S512)),
        ("adiantum", luks2().cipher("xchacha12,aes-adiantum-plain64")),
        ("workload", image),
        ("tags", hmac(xts).init(Init::Tags)),
        ("wiped512", hmac(xts).sector_size(SectorSize::S512)),
        ("direct", hmac(xts).without_journal()),
        ("legacy", tagged("hmac(sha512)", xts).legacy_padding()),
        ("cbcsha1", tagged("hmac(sha1)", "aes-cbc-plain64")),
        ("gcm", tagged("aead", "aes-gcm-random")),
        ("chacha", tagged("poly1305", "chacha20-random")),
        ("aegis", tagged("aead", "aegis128-random")),
        ("ccm", tagged("aead", "aes-ccm-random")),
        ("ctr", hmac("aes-ctr-random")),
        ("xtsrandom", hmac("aes-xts-random")),
        ("untagged", tagged("none", "aes-xts-random")),
        ("memory", FormatOptions::ephemeral()),
    ]
    .map(|(name, options)| Case { name, options })
    .into()
}

fn pattern(seed: usize) -> Vec<u8> {
    (0..251).cycle().skip(seed).take(PART).collect()
}

/// A volume made by us, as the script finds it.
struct Made {
    name: &'static str,
    path: PathBuf,
    header: Option<Vec<u8>>,
}

fn make(folder: &Path, case: Case, disk: usize, script: &mut String) -> Made {
    let name = case.name;
    let path = folder.join(name);
    let file = FileOptions::writer().create(&path, ByteLen::new(8 << 20));
    let passphrase = Passphrase::new(PASSPHRASE).expect("a passphrase");
    let keys = NewKeys::passphrase(&passphrase);
    let volume = format(file.expect("a file"), keys, &case.options)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    volume
        .write_at(ByteOffset::ZERO, &pattern(1))
        .expect("a write");
    let disk = format!("/disk/{disk}");
    let header = volume.header_image();
    let close = if header.is_some() {
        let key = volume.volume_key().expect("the key is kept");
        let mut close = String::new();
        for table in volume
            .dm_tables(name, &disk, DmKey::Hex(key))
            .expect("words")
        {
            let (table_name, line) = (table.name(), table.line());
            line_of(
                script,
                &format!("dmsetup create {table_name} --table '{line}'"),
            );
            close.insert_str(0, &format!("dmsetup remove {table_name}; "));
        }
        close
    } else {
        let open = format!("cryptsetup open -q --key-file /tmp/key {disk} {name}");
        line_of(script, &open);
        format!("cryptsetup close {name}")
    };
    let mapped = format!("/dev/mapper/{name}");
    let sum = "sha256sum | cut -d' ' -f1 | sed";
    line_of(
        script,
        &format!("dd if={mapped} bs={PART} count=1 | {sum} 's/^/@{name} data /'"),
    );
    line_of(
        script,
        &format!("blockdev --getsize64 {mapped} | sed 's/^/@{name} size /'"),
    );
    line_of(
        script,
        &format!("dd if=/tmp/pattern of={mapped} bs={PART} seek=3 conv=fsync"),
    );
    line_of(script, &close);
    volume.close().expect("a clean close");
    Made { name, path, header }
}

fn line_of(script: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(script, "{line}");
}

fn reopen(made: &Made) -> Volume {
    let file = FileOptions::writer().open(&made.path).expect("the file");
    let mut options = OpenOptions::new();
    if let Some(header) = &made.header {
        options = options.detached_header(MemDevice::from_bytes(header, SectorSize::S512));
    }
    let passphrase = Passphrase::new(PASSPHRASE).expect("a passphrase");
    open(file, Unlock::Passphrase(&passphrase), &options)
        .unwrap_or_else(|error| panic!("{}: {error}", made.name))
}

#[test]
fn the_kernel_and_we_read_what_the_other_wrote() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let key = std::str::from_utf8(PASSPHRASE).expect("text");
    let mut script = format!("printf '{key}' > /tmp/key\n");
    line_of(
        &mut script,
        "dd if=/disk/0 of=/tmp/pattern bs=65536 count=1",
    );
    let second = folder.path().join("pattern");
    std::fs::write(&second, pattern(7)).expect("the pattern");
    let made: Vec<Made> = cases()
        .into_iter()
        .zip(1..)
        .map(|(case, disk)| make(folder.path(), case, disk, &mut script))
        .collect();
    let mut disks = vec![second.as_path()];
    disks.extend(made.iter().map(|made| made.path.as_path()));
    let report = oracle.boot(&script, &disks).expect("the boot");
    let first = sha256_hex(&pattern(1));
    for made in &made {
        let name = made.name;
        let data = format!("@{name} data {first}");
        assert!(report.text.contains(&data), "{data} not in {}", report.text);
        let volume = reopen(made);
        let size = format!("@{name} size {}\n", volume.size());
        assert!(report.text.contains(&size), "{size} not in {}", report.text);
        let mut back = vec![0; PART];
        volume
            .read_at(ByteOffset::new(3 * PART as u64), &mut back)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(back == pattern(7), "{name}: what the kernel wrote");
        if volume.is_authenticated() {
            let report = volume.verify(Part::ALL, &Control::new());
            assert!(report.expect("a verification").is_clean(), "{name}");
        }
    }
    println!("{} volumes, Linux {}", made.len(), report.kernel);
}

/// One volume with options drawn at random, and what they were.
fn drawn(prng: &mut Prng) -> FormatOptions {
    let luks1 = prng.chance(1, 4);
    let hash = pick(
        prng,
        &[
            HashName::Sha1,
            HashName::Sha256,
            HashName::Sha512,
            HashName::Sha384,
        ],
    );
    let mut options = if luks1 {
        FormatOptions::luks1()
    } else {
        FormatOptions::luks2()
    };
    let (cipher, keys): (_, &[usize]) = pick(
        prng,
        &[
            ("aes-xts-plain64", &[32, 64]),
            ("aes-xts-plain", &[32, 64]),
            ("aes-cbc-essiv:sha256", &[16, 24, 32]),
            ("aes-cbc-plain64", &[16, 32]),
        ],
    );
    options = options
        .cipher(cipher)
        .cipher_key_bytes(pick(prng, keys))
        .hash(hash)
        .kdf(KdfChoice::HighEntropy);
    if luks1 {
        return options.keyslot(u32::try_from(prng.below(8)).expect("below 8"));
    }
    let sizes: Vec<HeaderSize> = HeaderSize::all().take(5).collect();
    options = options
        .keyslot(u32::try_from(prng.below(32)).expect("below 32"))
        .sector_size(pick(prng, &SectorSize::ALL))
        .header_size(pick(prng, &sizes))
        .label(pick(
            prng,
            &["", "vault", "a label with spaces", "\u{c4}\u{d6}"],
        ))
        .subsystem(pick(prng, &["", "tests"]));
    if prng.chance(1, 2) {
        let cost = Argon2Cost {
            passes: 4,
            memory_kib: pick(prng, &[32, 64, 1024]),
            lanes: pick(prng, &[1, 2, 4]),
        };
        let variant = pick(prng, &[Argon2Variant::I, Argon2Variant::Id]);
        options = options.kdf(KdfChoice::Stated(Kdf::Argon2 { variant, cost }));
    }
    if prng.chance(1, 2) {
        options = options.keyslots_len(ByteLen::new((1 << 20) + prng.below(256) * 4096));
    }
    if prng.chance(1, 3) {
        options = options.data_offset(ByteLen::new((4 << 20) + prng.below(256) * 4096));
    }
    if prng.chance(1, 3) {
        options = options
            .integrity(pick(prng, &["hmac(sha256)", "hmac(sha512)", "hmac(sha1)"]))
            .init(Init::None);
    }
    if prng.chance(1, 4) {
        options = options.keyslot_cipher("aes-cbc-essiv:sha256", 32);
    }
    options
}

fn pick<T: Copy>(prng: &mut Prng, from: &[T]) -> T {
    *from
        .get(prng.index(from.len()))
        .expect("an index below the length")
}

/// How many sets are drawn; more for a longer run.
fn sets() -> u32 {
    let asked = std::env::var("LUKSMITH_FORMAT_SETS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(24)
}

#[test]
fn cryptsetup_opens_and_extends_what_we_format_from_random_options() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let mut prng = Prng::from_env(2024);
    let folder = tempfile::tempdir().expect("a folder");
    let (key, second) = (folder.path().join("key"), folder.path().join("second"));
    std::fs::write(&key, PASSPHRASE).expect("a key file");
    std::fs::write(&second, b"another").expect("a key file");
    let run = |arguments: &[&str], paths: &[&Path]| {
        let mut command = oracle.program("cryptsetup").expect("cryptsetup");
        command.args(["-q", "--disable-locks"]).args(arguments);
        let output = command.args(paths).output().expect("cryptsetup runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let mut made = 0;
    for set in 0..sets() {
        let options = drawn(&mut prng);
        let path = folder.path().join("volume");
        let len = ByteLen::new(24 << 20);
        let file = FileOptions::writer().create(&path, len).expect("a file");
        let passphrase = Passphrase::new(PASSPHRASE).expect("a passphrase");
        match format(file, NewKeys::passphrase(&passphrase), &options) {
            Ok(volume) => volume.close().expect("a clean close"),
            Err(error) => {
                // An area for the keyslot that does not fit is the one thing that can go wrong.
                assert_eq!(error.kind(), ErrorKind::Caller, "{options:?}: {error}");
                std::fs::remove_file(&path).expect("removed");
                continue;
            }
        }
        let test = |key: &Path| {
            let key = key.to_str().expect("text");
            run(&["open", "--test-passphrase", "--key-file", key], &[&path])
        };
        let (opened, said) = test(&key);
        assert!(opened, "set {set}, {options:?}: {said}");
        let key_text = key.to_str().expect("text");
        let cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let mut arguments = vec!["luksAddKey", "--key-file", key_text];
        arguments.extend(cheap);
        let (added, said) = run(&arguments, &[&path, &second]);
        assert!(added, "set {set}, {options:?}: {said}");
        let (opened, said) = test(&second);
        assert!(opened, "set {set}, {options:?}: {said}");
        let other = Passphrase::new(b"another").expect("a passphrase");
        let file = FileOptions::reader().open(&path).expect("the file");
        let tested = test_key(file, Unlock::Passphrase(&other), &OpenOptions::new());
        tested.unwrap_or_else(|error| panic!("set {set}, {options:?}: {error}"));
        std::fs::remove_file(&path).expect("removed");
        made += 1;
    }
    println!("{made} of {} sets could be had", sets());
    assert!(made * 4 >= sets() * 3, "only {made} volumes");
}
