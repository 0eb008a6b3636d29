//! Which kernels of this architecture the CPU lacks, so that the other tests compared nothing with
//! them. A test that leaves a kernel out need not say so: it is said here, once, for all of them.

use std::io::Write;
use std::vec::Vec;
use std::{env, format, fs, io, string::String};

use crate::arch::{Argon2Kernel, Crc32c};
use crate::{Aegis128, Backend, HashBackend};

/// The AES backends of an architecture; the others have the portable one alone.
fn aes_of(architecture: &str) -> &'static [Backend] {
    match architecture {
        "x86_64" => &[Backend::AesNi, Backend::Vaes256, Backend::Vaes512],
        "aarch64" => &[Backend::Aarch64],
        _ => &[],
    }
}

/// Every kernel that is not portable, and whether this machine runs it.
fn kernels() -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for &backend in aes_of(env::consts::ARCH) {
        all.push((format!("aes-xts {backend}"), backend.is_available()));
    }
    if env::consts::ARCH != "x86_64" {
        return all;
    }
    let aegis = Aegis128::new([0; 16]).backend() == Backend::AesNi;
    all.push(("aegis128 aesni".into(), aegis));
    #[cfg(feature = "gcm")]
    for &backend in aes_of(env::consts::ARCH) {
        let gcm = crate::GcmKey::with_backend(&[0; 16], backend);
        let is_served = gcm.is_ok_and(|key| key.backend() == backend);
        all.push((format!("aes-gcm {backend}"), is_served));
    }
    for backend in HashBackend::ALL.into_iter().skip(1) {
        let is_available = backend.is_available();
        all.push((format!("sha-2, hmac, pbkdf2 {backend}"), is_available));
    }
    let both = Backend::Vaes512.is_available() && HashBackend::Avx512.is_available();
    all.push(("aes-xts and hmac-sha256 in one avx512".into(), both));
    for name in ["chains", "clmul512"] {
        let is_available = Crc32c::available().any(|(available, _)| available == name);
        all.push((format!("crc-32c {name}"), is_available));
    }
    // The first one is portable.
    for (index, name) in [(1, "avx2"), (2, "avx512")] {
        all.push((
            format!("argon2 {name}"),
            Argon2Kernel::available().nth(index).is_some(),
        ));
    }
    all
}

/// Past the capture that hides what a test prints, and in the file that `LUKSMITH_NOT_RUN` names.
#[test]
fn kernels_that_this_cpu_lacks_are_named() {
    for (kernel, _) in kernels().iter().filter(|(_, is_available)| !is_available) {
        let line = format!("luksmith-simd: this CPU has no {kernel}\n");
        // Who closed standard error does not want to know.
        let _ = io::stderr().write_all(format!("NOT RUN: {line}").as_bytes());
        if let Some(path) = env::var_os("LUKSMITH_NOT_RUN") {
            let file = fs::OpenOptions::new().append(true).create(true).open(path);
            // In one piece: other tests write there too.
            file.and_then(|mut file| file.write_all(line.as_bytes()))
                .expect("a list of what did not run");
        }
    }
}

/// A backend that is in no list would never be missed.
#[test]
fn every_backend_is_of_some_architecture() {
    let mut listed = Vec::from([Backend::Portable]);
    for architecture in ["x86_64", "aarch64"] {
        listed.extend(aes_of(architecture));
    }
    listed.sort();
    let mut all = Backend::ALL;
    all.sort();
    assert_eq!(listed, all);
}

/// What is best of each kind is not portable where the list has it.
#[test]
fn what_is_listed_as_there_is_what_is_used() {
    let has = |name: &str| kernels().contains(&(name.into(), true));
    let aes = Backend::best();
    assert_eq!(aes != Backend::Portable, has(&format!("aes-xts {aes}")));
    let hash = HashBackend::best();
    let listed = has(&format!("sha-2, hmac, pbkdf2 {hash}"));
    assert_eq!(hash != HashBackend::Portable, listed);
    let ways = Crc32c::available().count() - 1;
    let listed = ["crc-32c chains", "crc-32c clmul512"];
    assert_eq!(listed.iter().filter(|name| has(name)).count(), ways);
    let ways = Argon2Kernel::available().count() - 1;
    let listed = ["argon2 avx2", "argon2 avx512"];
    assert_eq!(listed.iter().filter(|name| has(name)).count(), ways);
}
