//! Rows H1 to H6 and C1: tags of sectors.

use hmac::{KeyInit, Mac};
use luksmith_simd::{Backend, HashBackend, TagKey, crc32c_tags, crc32c_tags_by};
use sha2::Digest;

use crate::harness::{self, Case, Contender, SIZES, Samples};
use crate::mac_peers::{OpenSslMac, OpenSslMac512, Sha256Calls, Sha512Calls};
use crate::machine::{self, hmac_limit};
use crate::system::SystemOpenSsl;
use crate::xts::{self, Pages, REQUEST, REQUESTS};

const KEY: &[u8] = b"a key of 32 bytes, or so it says";
/// Sector number and IV.
const PREFIX_BYTES: usize = 24;

pub fn contender_name(backend: HashBackend) -> &'static str {
    match backend {
        HashBackend::Portable => "luksmith/portable",
        HashBackend::Avx2 => "luksmith/avx2",
        HashBackend::ShaNi => "luksmith/shani",
        HashBackend::Avx512 => "luksmith/avx512",
        _ => "luksmith/other",
    }
}

/// What the tags are made by.
#[derive(Clone, Copy, PartialEq)]
enum Function {
    HmacSha256,
    HmacSha512,
    Sha256,
    Sha512,
}

impl Function {
    const ALL: [Self; 4] = [
        Self::HmacSha256,
        Self::HmacSha512,
        Self::Sha256,
        Self::Sha512,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha512 => "hmac-sha512",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn key(self, backend: HashBackend) -> TagKey {
        let key = match self {
            Self::HmacSha256 => TagKey::hmac_sha256(KEY),
            Self::HmacSha512 => TagKey::hmac_sha512(KEY),
            Self::Sha256 => TagKey::sha256(),
            Self::Sha512 => TagKey::sha512(),
        };
        key.with_backend(backend).expect("an available backend")
    }

    fn has_key(self) -> bool {
        matches!(self, Self::HmacSha256 | Self::HmacSha512)
    }

    /// The crates `hmac` and `sha2`, which use SHA-NI and AVX2 by themselves.
    fn by_crates(self) -> Sector {
        match self {
            Self::HmacSha256 => {
                let keyed = hmac::Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("any length");
                Box::new(move |prefix, sector, tag| {
                    let mac = keyed.clone().chain_update(prefix).chain_update(sector);
                    tag.copy_from_slice(&mac.finalize().into_bytes());
                })
            }
            Self::HmacSha512 => {
                let keyed = hmac::Hmac::<sha2::Sha512>::new_from_slice(KEY).expect("any length");
                Box::new(move |prefix, sector, tag| {
                    let mac = keyed.clone().chain_update(prefix).chain_update(sector);
                    tag.copy_from_slice(&mac.finalize().into_bytes());
                })
            }
            Self::Sha256 => Box::new(|prefix, sector, tag| {
                let hash = sha2::Sha256::new().chain_update(prefix);
                tag.copy_from_slice(&hash.chain_update(sector).finalize());
            }),
            Self::Sha512 => Box::new(|prefix, sector, tag| {
                let hash = sha2::Sha512::new().chain_update(prefix);
                tag.copy_from_slice(&hash.chain_update(sector).finalize());
            }),
        }
    }

    /// The crates where they do not use SHA-NI: what is simpler than AVX2 on the CPUs that the
    /// AVX2 tier is for. On others they, and with them our portable tier, use SHA-NI by themselves.
    fn without_sha(self) -> Option<Sector> {
        use hmac_soft::Mac as _;
        use sha2_soft::Digest as _;
        match self {
            Self::HmacSha256 => {
                let keyed = hmac_soft::Hmac::<sha2_soft::Sha256>::new_from_slice(KEY);
                let keyed = keyed.expect("any length");
                Some(Box::new(move |prefix, sector, tag| {
                    let mut mac = keyed.clone();
                    mac.update(prefix);
                    mac.update(sector);
                    tag.copy_from_slice(&mac.finalize().into_bytes());
                }))
            }
            Self::Sha256 => Some(Box::new(|prefix, sector, tag| {
                let mut hash = sha2_soft::Sha256::new();
                hash.update(prefix);
                hash.update(sector);
                tag.copy_from_slice(&hash.finalize());
            })),
            Self::HmacSha512 | Self::Sha512 => None,
        }
    }

    /// OpenSSL's tags: of the one that is linked, or of the system's.
    fn by_openssl(self, system: Option<SystemOpenSsl>, sector_bytes: usize) -> Work {
        macro_rules! work {
            ($mac:expr) => {{
                let mac = $mac;
                Box::new(move |prefixes: &[u8], data: &[u8], tags: &mut [u8]| {
                    mac.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags);
                })
            }};
        }
        let calls = || system.map_or_else(Sha256Calls::linked, |one| one.sha256);
        let calls_512 = || system.map_or_else(Sha512Calls::linked, |one| one.sha512);
        match self {
            Self::HmacSha256 => work!(OpenSslMac::hmac(calls(), KEY)),
            Self::Sha256 => work!(OpenSslMac::plain(calls())),
            Self::HmacSha512 => work!(OpenSslMac512::hmac(calls_512(), KEY)),
            Self::Sha512 => work!(OpenSslMac512::plain(calls_512())),
        }
    }
}

/// What computes the tags of a request, from prefixes and data.
type Work = Box<dyn FnMut(&[u8], &[u8], &mut [u8])>;
/// What computes the tag of a sector, from its prefix and its data.
type Sector = Box<dyn FnMut(&[u8], &[u8], &mut [u8])>;

/// Contenders for the tags of one request; each computes what the first did.
struct Table {
    function: Function,
    sector_bytes: usize,
    request: usize,
    prefixes: Vec<u8>,
    expected: Option<Vec<u8>>,
    contenders: Vec<Contender<'static>>,
}

impl Table {
    fn new(function: Function, sector_bytes: usize, request: usize) -> Self {
        let prefix_bytes = request / sector_bytes * PREFIX_BYTES;
        Self {
            function,
            sector_bytes,
            request,
            prefixes: (0..251).cycle().take(prefix_bytes).collect(),
            expected: None,
            contenders: Vec::new(),
        }
    }

    fn tag_bytes(&self) -> usize {
        self.function.key(HashBackend::Portable).tag_bytes()
    }

    fn add(&mut self, name: &'static str, mut work: Work) {
        let mut data = Pages::pattern(self.request);
        let prefixes = self.prefixes.clone();
        let mut tags = vec![0; prefixes.len() / PREFIX_BYTES * self.tag_bytes()];
        work(&prefixes, data.bytes(), &mut tags);
        let reference = self.expected.get_or_insert_with(|| tags.clone());
        assert!(*reference == tags, "{name} computes something else");
        self.contenders.push(Contender {
            name,
            bytes: self.request,
            work: Box::new(move || work(&prefixes, data.bytes(), &mut tags)),
        });
    }

    /// A contender that takes sectors one by one.
    fn add_sectors(&mut self, name: &'static str, mut work: Sector) {
        let (sector_bytes, tag_bytes) = (self.sector_bytes, self.tag_bytes());
        self.add(
            name,
            Box::new(move |prefixes, data, tags| {
                for ((prefix, sector), tag) in prefixes
                    .chunks_exact(PREFIX_BYTES)
                    .zip(data.chunks_exact(sector_bytes))
                    .zip(tags.chunks_exact_mut(tag_bytes))
                {
                    work(prefix, sector, tag);
                }
            }),
        );
    }

    /// Every backend of ours, and what is simpler than AVX2.
    fn add_ours(&mut self) {
        if let Some(work) = self.function.without_sha() {
            self.add_sectors("sha2/without-sha", work);
        }
        let sector_bytes = self.sector_bytes;
        // For SHA-512 there is nothing in SHA-NI, and that backend is AVX2 again.
        let is_512 = self.tag_bytes() == 64;
        let again = |one: &HashBackend| is_512 && *one == HashBackend::ShaNi;
        for backend in HashBackend::available().filter(|one| !again(one)) {
            let key = self.function.key(backend);
            self.add(
                contender_name(backend),
                Box::new(move |prefixes, data, tags| {
                    key.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags)
                        .expect("shapes fit");
                }),
            );
        }
    }

    fn case(self, row: &'static str) -> Case<'static> {
        let (function, sector_bytes) = (self.function.name(), self.sector_bytes);
        let sectors = self.request / sector_bytes;
        Case {
            row,
            name: format!("tags/{function}/sector{sector_bytes}/run{sectors}"),
            contenders: self.contenders,
        }
    }
}

/// Tags of a request by everybody. The first contender is our own code hashing one message at a
/// time.
fn everybody(
    row: &'static str,
    function: Function,
    sector_bytes: usize,
    request: usize,
) -> Case<'static> {
    let mut table = Table::new(function, sector_bytes, request);
    let single = function.key(HashBackend::best().min(HashBackend::ShaNi));
    table.add_sectors(
        "luksmith/one by one",
        Box::new(move |prefix, sector, tag| {
            single
                .tags(prefix, PREFIX_BYTES, sector_bytes, sector, tag)
                .expect("shapes fit");
        }),
    );
    table.add("openssl", function.by_openssl(None, sector_bytes));
    if let Some(system) = SystemOpenSsl::load() {
        let work = function.by_openssl(Some(system), sector_bytes);
        table.add("openssl/system", work);
    }
    if function == Function::HmacSha256 {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY);
        table.add_sectors(
            "ring",
            Box::new(move |prefix, sector, tag| {
                let mut mac = ring::hmac::Context::with_key(&key);
                mac.update(prefix);
                mac.update(sector);
                tag.copy_from_slice(mac.sign().as_ref());
            }),
        );
    }
    table.add_sectors("hmac + sha2", function.by_crates());
    table.add_ours();
    let mut case = table.case(row);
    case.contenders.extend(machine::beside(&[SLOTS]));
    case
}

/// Every backend with requests of many sizes.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for function in Function::ALL {
        for sector_bytes in [512, 4096] {
            // Small runs, where the number of sectors decides the kernel, with a key or without.
            let small = [8, 12, 20, 32, 48].map(|kib| kib << 10);
            let small = small.iter().filter(|_| function.has_key());
            for request in small.chain(&REQUESTS) {
                let mut table = Table::new(function, sector_bytes, *request);
                table.add_ours();
                cases.push(table.case(SIZES));
            }
        }
    }
    cases.extend(crc32c_sizes());
    cases
}

/// Row H5: run where OpenSSL does not see SHA-NI.
pub fn masked_cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for sector_bytes in [4096, 512] {
        let mut case = everybody("H5", Function::HmacSha256, sector_bytes, REQUEST);
        case.name.push_str("/without-sha");
        for one in &mut case.contenders {
            match one.name {
                "openssl" => one.name = "openssl/without-sha",
                "openssl/system" => one.name = "openssl/system/without-sha",
                _ => {}
            }
        }
        let kept = |name: &str| name.ends_with("/without-sha") || name == "luksmith/avx2";
        case.contenders.retain(|one| kept(one.name));
        cases.push(case);
    }
    cases
}

/// The instruction whose rate bounds hashing in lanes.
pub const SLOTS: &str = "machine/add512";

/// What the machine's rate of vector instructions allows for each measured case of 16 lanes.
pub fn limits(samples: &[Samples]) -> Vec<Samples> {
    let mut limits = Vec::new();
    for machine in samples.iter().filter(|one| one.contender == SLOTS) {
        let same = |one: &&Samples| one.case == machine.case && one.contender == "luksmith/avx512";
        let path: Vec<&str> = machine.case.split('/').collect();
        let (Some(ours), ["tags", "hmac-sha256", sector, ..]) =
            (samples.iter().find(same), &path[..])
        else {
            continue;
        };
        let sector: usize = sector.trim_start_matches("sector").parse().expect("a size");
        let name = "limit/avx512".to_owned();
        let least = |rate| hmac_limit(rate, sector);
        limits.push(harness::limit(name, ours, machine, least));
    }
    limits
}

/// What computes the checksums of a request.
type Checksums = Box<dyn FnMut(&[u8], &mut [u8])>;

fn crc32c(
    row: &'static str,
    sector_bytes: usize,
    request: usize,
    works: Vec<(&'static str, Checksums)>,
) -> Case<'static> {
    let sectors = request / sector_bytes;
    let mut contenders = Vec::new();
    let mut expected: Option<Vec<u8>> = None;
    for (name, mut work) in works {
        let mut data = Pages::pattern(request);
        let mut tags = vec![0; sectors * 4];
        work(data.bytes(), &mut tags);
        let reference = expected.get_or_insert_with(|| tags.clone());
        assert!(*reference == tags, "{name} computes something else");
        contenders.push(Contender {
            name,
            bytes: request,
            work: Box::new(move || work(data.bytes(), &mut tags)),
        });
    }
    Case {
        row,
        name: format!("tags/crc32c/sector{sector_bytes}/run{sectors}"),
        contenders,
    }
}

fn crc32c_ours(sector_bytes: usize) -> Vec<(&'static str, Checksums)> {
    let one = |backend| -> (&'static str, Checksums) {
        let work = move |data: &[u8], tags: &mut [u8]| {
            crc32c_tags_by(backend, &[], 0, sector_bytes, data, tags).expect("shapes fit");
        };
        (xts::contender_name(backend), Box::new(work))
    };
    // With 256-bit vectors it is the chains of the CRC instruction again.
    let distinct = Backend::available().filter(|backend| *backend != Backend::Vaes256);
    distinct.map(one).collect()
}

fn crc32c_everybody(sector_bytes: usize) -> Case<'static> {
    let one_by_one = move |crc: fn(&[u8]) -> u32| -> Checksums {
        Box::new(move |data, tags| {
            let tags = tags.as_chunks_mut().0.iter_mut();
            for (sector, tag) in data.chunks_exact(sector_bytes).zip(tags) {
                *tag = crc(sector).to_le_bytes();
            }
        })
    };
    let fast = |data: &[u8]| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32;
    let best = move |data: &[u8], tags: &mut [u8]| {
        crc32c_tags(&[], 0, sector_bytes, data, tags).expect("shapes fit");
    };
    let mut works: Vec<(&'static str, Checksums)> = vec![
        ("crc-fast", one_by_one(fast)),
        ("crc32c", one_by_one(::crc32c::crc32c)),
        ("luksmith", Box::new(best)),
    ];
    works.extend(crc32c_ours(sector_bytes));
    crc32c("C1", sector_bytes, REQUEST, works)
}

fn crc32c_sizes() -> impl Iterator<Item = Case<'static>> {
    let sizes = [512, 4096].into_iter();
    sizes.flat_map(|sector| {
        REQUESTS.map(|request| crc32c(SIZES, sector, request, crc32c_ours(sector)))
    })
}

pub fn cases() -> Vec<Case<'static>> {
    use Function::{HmacSha256, HmacSha512, Sha256};
    vec![
        everybody("H1", HmacSha256, 4096, REQUEST),
        everybody("H1", HmacSha256, 512, REQUEST),
        everybody("H3", HmacSha256, 4096, 8 * 4096),
        everybody("H4", HmacSha256, 4096, 2 * 4096),
        everybody("H2", Sha256, 4096, REQUEST),
        everybody("H2", Sha256, 512, REQUEST),
        everybody("H", HmacSha512, 4096, REQUEST),
        everybody("H", HmacSha512, 512, REQUEST),
        crc32c_everybody(4096),
        crc32c_everybody(512),
    ]
}
