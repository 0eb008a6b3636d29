//! Rows H1 to H6 and C1: tags of sectors.

use hmac::{KeyInit, Mac};
use luksmith_simd::{HashBackend, TagKey, crc32c_tags};

use crate::harness::{Case, Contender, Samples, median};
use crate::mac_peers::OpenSslMac;
use crate::machine::hmac_limit;
use crate::system::SystemOpenSsl;
use crate::xts::{Pages, REQUEST};

const KEY: &[u8] = b"a key of 32 bytes, or so it says";
/// Sector number and IV.
const PREFIX_BYTES: usize = 24;

fn contender_name(backend: HashBackend) -> &'static str {
    match backend {
        HashBackend::Portable => "luksmith/portable",
        HashBackend::Avx2 => "luksmith/avx2",
        HashBackend::ShaNi => "luksmith/shani",
        HashBackend::Avx512 => "luksmith/avx512",
        _ => "luksmith/other",
    }
}

/// What computes the tags of a request, from prefixes and data.
type Work = Box<dyn FnMut(&[u8], &[u8], &mut [u8])>;

/// Contenders for the tags of one request; each computes what the first did.
struct Table {
    request: usize,
    prefixes: Vec<u8>,
    expected: Option<Vec<u8>>,
    contenders: Vec<Contender<'static>>,
}

impl Table {
    fn new(sector_bytes: usize, request: usize) -> Self {
        let prefix_bytes = request / sector_bytes * PREFIX_BYTES;
        Self {
            request,
            prefixes: (0..251).cycle().take(prefix_bytes).collect(),
            expected: None,
            contenders: Vec::new(),
        }
    }

    fn add(&mut self, name: &'static str, mut work: Work) {
        let mut data = Pages::pattern(self.request);
        let prefixes = self.prefixes.clone();
        let mut tags = vec![0; prefixes.len() / PREFIX_BYTES * 32];
        work(&prefixes, data.bytes(), &mut tags);
        let reference = self.expected.get_or_insert_with(|| tags.clone());
        assert!(*reference == tags, "{name} computes something else");
        self.contenders.push(Contender {
            name,
            work: Box::new(move || work(&prefixes, data.bytes(), &mut tags)),
        });
    }
}

/// HMAC-SHA256 tags of a request. The first contender is our own code hashing one message at a
/// time.
// A table: one contender after the other.
fn hmac_sha256(row: &'static str, sector_bytes: usize, request: usize) -> Case<'static> {
    let sectors = request / sector_bytes;
    let mut table = Table::new(sector_bytes, request);
    let single = TagKey::hmac_sha256(KEY)
        .with_backend(HashBackend::best().min(HashBackend::ShaNi))
        .expect("an available backend");
    table.add(
        "luksmith/one by one",
        Box::new(move |prefixes, data, tags| {
            for ((prefix, sector), tag) in prefixes
                .chunks_exact(PREFIX_BYTES)
                .zip(data.chunks_exact(sector_bytes))
                .zip(tags.chunks_exact_mut(32))
            {
                single
                    .tags(prefix, PREFIX_BYTES, sector_bytes, sector, tag)
                    .expect("shapes fit");
            }
        }),
    );
    let openssl = OpenSslMac::hmac(KEY);
    table.add(
        "openssl",
        Box::new(move |prefixes, data, tags| {
            openssl.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags);
        }),
    );
    if let Some(system) = SystemOpenSsl::load() {
        let mac = OpenSslMac::hmac_by(system.sha256(), KEY);
        table.add(
            "openssl/system",
            Box::new(move |prefixes, data, tags| {
                mac.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags);
            }),
        );
    }
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY);
    table.add(
        "ring",
        Box::new(move |prefixes, data, tags| {
            for ((prefix, sector), tag) in prefixes
                .chunks_exact(PREFIX_BYTES)
                .zip(data.chunks_exact(sector_bytes))
                .zip(tags.chunks_exact_mut(32))
            {
                let mut mac = ring::hmac::Context::with_key(&key);
                mac.update(prefix);
                mac.update(sector);
                tag.copy_from_slice(mac.sign().as_ref());
            }
        }),
    );
    table.add("sha2/without-sha", Box::new(soft(sector_bytes)));
    let keyed = hmac::Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("any length");
    table.add(
        "hmac + sha2",
        Box::new(move |prefixes, data, tags| {
            for ((prefix, sector), tag) in prefixes
                .chunks_exact(PREFIX_BYTES)
                .zip(data.chunks_exact(sector_bytes))
                .zip(tags.chunks_exact_mut(32))
            {
                let mac = keyed.clone().chain_update(prefix).chain_update(sector);
                tag.copy_from_slice(&mac.finalize().into_bytes());
            }
        }),
    );
    for backend in HashBackend::available() {
        let key = TagKey::hmac_sha256(KEY)
            .with_backend(backend)
            .expect("an available backend");
        table.add(
            contender_name(backend),
            Box::new(move |prefixes, data, tags| {
                key.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags)
                    .expect("shapes fit");
            }),
        );
    }
    Case {
        row,
        name: format!("tags/hmac-sha256/sector{sector_bytes}/run{sectors}"),
        bytes: request,
        contenders: table.contenders,
    }
}

/// RustCrypto's HMAC where it does not use SHA-NI: what is simpler than AVX2 on the CPUs that the
/// AVX2 tier is for. On others RustCrypto, and with it our portable tier, uses SHA-NI by itself.
fn soft(sector_bytes: usize) -> impl FnMut(&[u8], &[u8], &mut [u8]) {
    use hmac_soft::Mac as _;
    let keyed = hmac_soft::Hmac::<sha2_soft::Sha256>::new_from_slice(KEY).expect("any length");
    move |prefixes, data, tags| {
        for ((prefix, sector), tag) in prefixes
            .chunks_exact(PREFIX_BYTES)
            .zip(data.chunks_exact(sector_bytes))
            .zip(tags.chunks_exact_mut(32))
        {
            let mut mac = keyed.clone();
            mac.update(prefix);
            mac.update(sector);
            tag.copy_from_slice(&mac.finalize().into_bytes());
        }
    }
}

/// Plain SHA-256 tags, without a key.
fn sha256(sector_bytes: usize) -> Case<'static> {
    let sectors = REQUEST / sector_bytes;
    let mut table = Table::new(sector_bytes, REQUEST);
    let openssl = OpenSslMac::plain();
    table.add(
        "openssl",
        Box::new(move |prefixes, data, tags| {
            openssl.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags);
        }),
    );
    for backend in HashBackend::available() {
        let key = TagKey::sha256()
            .with_backend(backend)
            .expect("an available backend");
        table.add(
            contender_name(backend),
            Box::new(move |prefixes, data, tags| {
                key.tags(prefixes, PREFIX_BYTES, sector_bytes, data, tags)
                    .expect("shapes fit");
            }),
        );
    }
    Case {
        row: "H2",
        name: format!("tags/sha256/sector{sector_bytes}/run{sectors}"),
        bytes: REQUEST,
        contenders: table.contenders,
    }
}

/// HMAC-SHA256 in requests of many sizes: no backend may be slower than the next simpler one.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for sector_bytes in [512, 4096] {
        for kib in [4, 8, 12, 20, 32, 48, 256, 1024] {
            let mut case = hmac_sha256("sizes", sector_bytes, kib << 10);
            let ours = |name: &str| name.starts_with("luksmith/") || name == "sha2/without-sha";
            case.contenders.retain(|one| ours(one.name));
            cases.push(case);
        }
    }
    cases
}

/// Row H5: run where OpenSSL does not see SHA-NI.
pub fn masked_cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for sector_bytes in [4096, 512] {
        let mut case = hmac_sha256("H5", sector_bytes, REQUEST);
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

/// What the machine's rate of vector instructions allows for each measured case of 16 lanes.
pub fn limits(samples: &[Samples]) -> Vec<Samples> {
    let mut limits = Vec::new();
    let Some(machine) = samples.iter().find(|one| one.case == "machine/add512") else {
        return limits;
    };
    for one in samples
        .iter()
        .filter(|one| one.contender == "luksmith/avx512")
    {
        let path: Vec<&str> = one.case.split('/').collect();
        let ["tags", "hmac-sha256", sector, ..] = path[..] else {
            continue;
        };
        let sector: usize = sector.trim_start_matches("sector").parse().expect("a size");
        limits.push(Samples {
            row: "H6".to_owned(),
            case: one.case.clone(),
            contender: "limit/avx512".to_owned(),
            bytes: one.bytes,
            ns: vec![hmac_limit(median(&machine.ns), sector)],
            cycles: vec![hmac_limit(median(&machine.cycles), sector)],
        });
    }
    limits
}

fn crc32c(sector_bytes: usize) -> Case<'static> {
    let sectors = REQUEST / sector_bytes;
    let mut contenders = Vec::new();
    let mut expected: Option<Vec<u8>> = None;
    let mut add = |name, work: fn(usize, &[u8], &mut [u8])| {
        let mut data = Pages::pattern(REQUEST);
        let mut tags = vec![0; sectors * 4];
        work(sector_bytes, data.bytes(), &mut tags);
        let reference = expected.get_or_insert_with(|| tags.clone());
        assert!(*reference == tags, "{name} computes something else");
        contenders.push(Contender {
            name,
            work: Box::new(move || work(sector_bytes, data.bytes(), &mut tags)),
        });
    };
    add("crc-fast", |sector_bytes, data, tags| {
        for (sector, tag) in data
            .chunks_exact(sector_bytes)
            .zip(tags.chunks_exact_mut(4))
        {
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, sector) as u32;
            tag.copy_from_slice(&crc.to_le_bytes());
        }
    });
    add("crc32c", |sector_bytes, data, tags| {
        for (sector, tag) in data
            .chunks_exact(sector_bytes)
            .zip(tags.chunks_exact_mut(4))
        {
            tag.copy_from_slice(&crc32c::crc32c(sector).to_le_bytes());
        }
    });
    add("luksmith", |sector_bytes, data, tags| {
        crc32c_tags(&[], 0, sector_bytes, data, tags).expect("shapes fit");
    });
    Case {
        row: "C1",
        name: format!("tags/crc32c/sector{sector_bytes}/run{sectors}"),
        bytes: REQUEST,
        contenders,
    }
}

pub fn cases() -> Vec<Case<'static>> {
    vec![
        hmac_sha256("H1", 4096, REQUEST),
        hmac_sha256("H1", 512, REQUEST),
        hmac_sha256("H3", 4096, 8 * 4096),
        hmac_sha256("H4", 4096, 2 * 4096),
        sha256(4096),
        sha256(512),
        crc32c(4096),
        crc32c(512),
    ]
}
