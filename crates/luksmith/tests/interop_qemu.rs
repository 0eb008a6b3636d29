//! QEMU has a LUKS1 driver of its own: it reads what we write, and the reverse.

use std::{fs, path::Path, process::Command};

use luksmith::block::{BlockDevice, ByteLen, ByteOffset, FileOptions};
use luksmith::{OpenOptions, Passphrase, Unlock, open};
use luksmith_testkit::{interop, paint};

const SIZE: usize = 1 << 20;
const PASSPHRASE: &str = "qemu and luksmith";

/// Ciphers that QEMU offers, with their modes and the hash of the header.
const CHOICES: [(&str, &str, &str, &str); 4] = [
    ("aes-256", "xts", "plain64", "sha256"),
    ("aes-128", "cbc", "plain64", "sha1"),
    ("aes-256", "cbc", "essiv", "sha512"),
    ("serpent-256", "xts", "plain64", "sha256"),
];

fn qemu_img(program: &Path, arguments: &[String]) {
    let secret = format!("secret,id=key,data={PASSPHRASE}");
    let (verb, rest) = arguments.split_first().expect("a verb");
    let mut error = String::new();
    // Its calibration of PBKDF2 gives up when the clock of used time is too coarse for a fast or
    // busy machine; that says nothing about volumes.
    for _ in 0..40 {
        let output = Command::new(program)
            .args([verb, "--object", &secret])
            .args(rest)
            .output()
            .expect("qemu-img runs");
        if output.status.success() {
            return;
        }
        error = String::from_utf8_lossy(&output.stderr).into_owned();
        if !error.contains("accurate CPU usage") {
            break;
        }
    }
    panic!("qemu-img {arguments:?}: {error}");
}

#[test]
fn volumes_go_both_ways_between_qemu_and_us() {
    let Some(program) = interop::program("qemu-img") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = folder.path().join("plain");
    let back = folder.path().join("back");
    let volume_path = folder.path().join("volume");
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    for (cipher, mode, iv, hash) in CHOICES {
        let mut expected = paint(3, SIZE);
        fs::write(&plain, &expected).expect("room");
        let _ = fs::remove_file(&volume_path);
        let mut essiv = String::new();
        if iv == "essiv" {
            essiv = ",ivgen-hash-alg=sha256".to_owned();
        }
        let mut arguments = words("convert -f raw -O luks -o");
        arguments.push(format!(
            "key-secret=key,cipher-alg={cipher},cipher-mode={mode},ivgen-alg={iv}{essiv},\
             hash-alg={hash},iter-time=100"
        ));
        arguments.push(plain.display().to_string());
        arguments.push(volume_path.display().to_string());
        qemu_img(&program, &arguments);

        let file = FileOptions::writer()
            .open(&volume_path)
            .expect("the volume");
        let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).expect("a passphrase");
        let volume = open(file, Unlock::Passphrase(&passphrase), &OpenOptions::new())
            .unwrap_or_else(|error| panic!("{cipher}-{mode}-{iv}: {error}"));
        assert_eq!(volume.size(), ByteLen::new(SIZE as u64));
        let mut found = vec![0; SIZE];
        volume
            .read_at(ByteOffset::ZERO, &mut found)
            .expect("a read");
        assert!(
            found == expected,
            "{cipher}-{mode}-{iv}: QEMU wrote something else"
        );

        for at in [0, 512 * 77, SIZE - 1024] {
            let data = paint(at as u64 * 7 + 1, 1024);
            expected[at..at + 1024].copy_from_slice(&data);
            let at = ByteOffset::new(at as u64);
            volume.write_at(at, &data).expect("a write");
        }
        volume.flush().expect("a flush");
        volume.close().expect("a clean close");

        let mut arguments = words("convert -O raw --image-opts");
        arguments.push(format!(
            "driver=luks,key-secret=key,file.filename={}",
            volume_path.display()
        ));
        arguments.push(back.display().to_string());
        qemu_img(&program, &arguments);
        let found = fs::read(&back).expect("what QEMU read");
        assert!(
            found == expected,
            "{cipher}-{mode}-{iv}: QEMU reads something else"
        );
    }
}
