//! Peak memory of an open, beside cryptsetup's in the same run: 10 MiB more at most.
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use luksmith_testkit::{interop, test_image};

/// What an open may take beyond what cryptsetup takes.
const MARGIN_KIB: u64 = 10 << 10;

/// Runs a program to its end and gives the most memory that it ever held, in KiB.
///
/// The kernel keeps that number for a process as long as it lives, so the last look before the end
/// is as good as all of them: an open holds its most while it derives the key, long before.
fn peak_kib(program: &Path, arguments: &[&str]) -> u64 {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        peak = now.map_or(peak, |kib| peak.max(kib.trim().parse().expect("a number")));
        if let Some(ended) = child.try_wait().expect("it can be waited for") {
            assert!(ended.success(), "{}: {ended}", program.display());
            return peak;
        }
    }
}

#[test]
fn an_open_takes_no_more_than_ten_mebibytes_beyond_cryptsetup() {
    let Some(cryptsetup) = interop::program("cryptsetup") else {
        return;
    };
    let ours = Path::new(env!("CARGO_BIN_EXE_luksmith"));
    let folder = tempfile::tempdir().expect("a folder");
    for (name, least) in [
        ("luks2-default", 32 << 10),
        ("luks2-argon2i-sector2048", 32 << 10),
    ] {
        let image = test_image(name);
        let (disk, key) = (folder.path().join(name), folder.path().join("key"));
        fs::write(&disk, image.file("image")).expect("room for the image");
        fs::write(&key, &image.passphrase).expect("room for the key");
        let arguments = [
            "open",
            "--test-passphrase",
            "--key-file",
            key.to_str().expect("a plain path"),
            disk.to_str().expect("a plain path"),
        ];
        let (here, there) = (
            peak_kib(ours, &arguments),
            peak_kib(&cryptsetup, &arguments),
        );
        println!("{name}: {here} KiB, cryptsetup {there} KiB");
        // Below the Argon2 memory nothing was measured.
        assert!(here >= least && there >= least, "{here} and {there} KiB");
        assert!(here <= there + MARGIN_KIB, "{here} and {there} KiB");
    }
}
