//! Rows X1 to X8: AES-XTS.

use luksmith_simd::{Backend, Run, XtsKey};

use crate::harness::{Case, Contender};
use crate::peers::{AwsLc, OpenSsl, RustCrypto};

/// A request of 64 KiB in place, as the table of targets asks.
pub const REQUEST: usize = 64 << 10;

/// Memory at the start of a page, as I/O buffers are.
pub struct Pages {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl Pages {
    /// A pattern whose period fits no sector.
    pub fn pattern(bytes: usize) -> Self {
        let mut memory = vec![0; bytes + 4096];
        let start = memory.as_ptr().align_offset(4096);
        for (byte, value) in memory[start..start + bytes]
            .iter_mut()
            .zip((0..=250).cycle())
        {
            *byte = value;
        }
        Self {
            memory,
            start,
            bytes,
        }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

pub fn contender_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Portable => "luksmith/portable",
        Backend::Aarch64 => "luksmith/aarch64",
        Backend::AesNi => "luksmith/aesni",
        Backend::Vaes256 => "luksmith/vaes256",
        Backend::Vaes512 => "luksmith/vaes512",
        _ => "luksmith/other",
    }
}

/// All contenders with one shape of request, after their results were compared.
pub fn case(
    row: &'static str,
    key_bits: usize,
    encrypt: bool,
    sector_bytes: usize,
    request: usize,
) -> Case<'static> {
    let key: Vec<u8> = (1..=251).cycle().take(key_bits / 4).collect();
    let run = Run {
        first: (1 << 32) - 3,
        step: sector_bytes as u64 / 512,
        sector_bytes,
    };
    let mut contenders = Vec::new();
    let mut expected: Option<Vec<u8>> = None;
    let mut add = |name, mut work: Box<dyn FnMut(&mut [u8])>| {
        let mut data = Pages::pattern(request);
        work(data.bytes());
        let reference = expected.get_or_insert_with(|| data.bytes().to_vec());
        assert!(reference == data.bytes(), "{name} computes something else");
        contenders.push(Contender {
            name,
            work: Box::new(move || work(data.bytes())),
        });
    };
    let mut openssl = OpenSsl::xts(&key, encrypt);
    add(
        "openssl",
        Box::new(move |data| openssl.xts_run(run.first, run.step, sector_bytes, data)),
    );
    if let Some(mut aws) = AwsLc::xts(&key, encrypt) {
        add(
            "aws-lc",
            Box::new(move |data| aws.xts_run(run.first, run.step, sector_bytes, data)),
        );
    }
    let rust = RustCrypto::xts(&key);
    add(
        "xts-mode",
        Box::new(move |data| rust.xts_run(encrypt, run.first, run.step, sector_bytes, data)),
    );
    for backend in Backend::available() {
        let key = XtsKey::with_backend(&key, backend).expect("an available backend");
        add(
            contender_name(backend),
            Box::new(move |data| {
                if encrypt {
                    key.encrypt_in_place(run, data).expect("whole sectors");
                } else {
                    key.decrypt_in_place(run, data).expect("whole sectors");
                }
            }),
        );
    }
    let verb = if encrypt { "encrypt" } else { "decrypt" };
    let run = request / sector_bytes;
    let name = format!("xts/{verb}/aes{key_bits}/sector{sector_bytes}/run{run}");
    Case {
        row,
        name,
        bytes: request,
        contenders,
    }
}

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for encrypt in [true, false] {
        cases.push(case("X1", 256, encrypt, 4096, REQUEST));
        cases.push(case("X2", 256, encrypt, 512, REQUEST));
        cases.push(case("X4", 128, encrypt, 4096, REQUEST));
        cases.push(case("X4", 128, encrypt, 512, REQUEST));
        cases.push(case("X7", 256, encrypt, 4096, 4096));
    }
    cases
}
