//! Rows X1 to X8: AES-XTS.

use luksmith_simd::{Backend, Run, XtsKey};

use crate::harness::{self, Case, Contender, SIZES, Samples};
use crate::machine::{self, xts_limit};
use crate::peers::{AwsLc, OpenSsl, RustCrypto};
use crate::system::SystemOpenSsl;

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

/// What changes the data that it is given.
type Work = Box<dyn FnMut(&mut [u8])>;

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
    let mut add = |name, mut work: Work| {
        let mut data = Pages::pattern(request);
        work(data.bytes());
        let reference = expected.get_or_insert_with(|| data.bytes().to_vec());
        assert!(reference == data.bytes(), "{name} computes something else");
        contenders.push(Contender {
            name,
            bytes: request,
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
    // Without AVX-512 code of any kind: an AES-NI loop.
    if let Some(system) = SystemOpenSsl::load() {
        let mut xts = system.xts(&key, encrypt);
        add(
            "openssl/system",
            Box::new(move |data| xts.xts_run(run.first, run.step, sector_bytes, data)),
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
    Case {
        row,
        name: case_name(key_bits, encrypt, sector_bytes, request),
        contenders,
    }
}

fn case_name(key_bits: usize, encrypt: bool, sector_bytes: usize, request: usize) -> String {
    let verb = if encrypt { "encrypt" } else { "decrypt" };
    let run = request / sector_bytes;
    format!("xts/{verb}/aes{key_bits}/sector{sector_bytes}/run{run}")
}

/// Instructions whose rates bound AES-XTS, and the backends that they bound.
const ROUNDS: [(&str, &str, usize); 3] = [
    ("machine/aesenc128", "aesni", 16),
    ("machine/aesenc256", "vaes256", 32),
    ("machine/aesenc512", "vaes512", 64),
];

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for encrypt in [true, false] {
        cases.push(case("X1", 256, encrypt, 4096, REQUEST));
        cases.push(case("X2", 256, encrypt, 512, REQUEST));
        cases.push(case("X4", 128, encrypt, 4096, REQUEST));
        cases.push(case("X4", 128, encrypt, 512, REQUEST));
        cases.push(case("X7", 256, encrypt, 4096, 4096));
    }
    for case in &mut cases {
        let names = ROUNDS.map(|(name, ..)| name);
        case.contenders.extend(machine::beside(&names));
    }
    cases
}

/// Bytes of the requests at which a backend is held against the next simpler one.
pub const REQUESTS: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Requests of many sizes: every backend, and the fast peers for the plots.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    let slow = ["xts-mode", "openssl/system"];
    for (key_bits, encrypt) in [(256, true), (256, false), (128, true), (128, false)] {
        for sector_bytes in [512, 4096] {
            for request in REQUESTS {
                let mut case = case(SIZES, key_bits, encrypt, sector_bytes, request);
                let plotted = key_bits == 256 && encrypt;
                case.contenders.retain(|one| {
                    let name = one.name;
                    name.starts_with("luksmith/") || plotted && !slow.contains(&name)
                });
                cases.push(case);
            }
        }
    }
    for sector_bytes in [512, 4096] {
        for request in [32, 128, 512, 4096, 32768].map(|kib| kib << 10) {
            let mut case = case(SIZES, 256, true, sector_bytes, request);
            case.contenders
                .retain(|one| !slow.contains(&one.name) && one.name != "luksmith/portable");
            cases.push(case);
        }
    }
    cases
}

/// Row X6: run where OpenSSL does not see VAES and AVX-512.
pub fn masked_cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for encrypt in [true, false] {
        for sector_bytes in [4096, 512] {
            let mut case = case("X6", 256, encrypt, sector_bytes, REQUEST);
            case.name.push_str("/without-vaes");
            case.contenders.retain(|one| {
                ["openssl", "luksmith/aesni", "luksmith/vaes256"].contains(&one.name)
            });
            case.contenders[0].name = "openssl/without-vaes";
            cases.push(case);
        }
    }
    cases
}

/// What the machine's rate of AES instructions allows for each measured case and backend.
pub fn limits(samples: &[Samples]) -> Vec<Samples> {
    let mut limits = Vec::new();
    for machine in samples {
        let bound = ROUNDS.iter().find(|(name, ..)| *name == machine.contender);
        let Some((_, tier, vector_bytes)) = bound else {
            continue;
        };
        let name = format!("luksmith/{tier}");
        let same = |one: &&Samples| one.case == machine.case && one.contender == name;
        let path: Vec<&str> = machine.case.split('/').collect();
        let (Some(ours), ["xts", _, key, sector, ..]) = (samples.iter().find(same), &path[..])
        else {
            continue;
        };
        let rounds = if *key == "aes128" { 10 } else { 14 };
        let sector: usize = sector.trim_start_matches("sector").parse().expect("a size");
        let least = |rate| xts_limit(rate, *vector_bytes, rounds, sector);
        let name = format!("limit/{tier}");
        limits.push(harness::limit(name, ours, machine, least));
    }
    limits
}
