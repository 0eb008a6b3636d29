//! Rows A1 to A3 and A5: encryption and tag together.

use luksmith_simd::{
    Backend, HashBackend, Run, TagKey, XtsKey, open as open_between, open_in_place, seal_in_place,
};

use crate::harness::{self, Case, Contender, SIZES, Samples};
use crate::hash::SLOTS;
use crate::mac_peers::{OpenSslMac, Sha256Calls};
use crate::machine::{self, fused_limit};
use crate::peers::OpenSsl;
use crate::system::SystemOpenSsl;
use crate::xts::{Pages, REQUEST, REQUESTS};

const MAC_KEY: &[u8] = b"a key of 32 bytes, or so it says";
const PREFIX_BYTES: usize = 24;

fn xts_key() -> Vec<u8> {
    (1..=64).collect()
}

fn run(sector_bytes: usize) -> Run {
    Run {
        first: (1 << 32) - 3,
        step: sector_bytes as u64 / 512,
        sector_bytes,
    }
}

/// Sector number and IV of every sector.
fn prefixes(run: Run, sectors: usize, out: &mut Vec<u8>) {
    out.clear();
    for i in 0..sectors as u64 {
        let number = run.first + i * run.step;
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&u128::from(number).to_le_bytes());
    }
}

/// What changes data and writes tags.
type Work = Box<dyn FnMut(&mut [u8], &mut [u8])>;

/// OpenSSL's way: each sector through the cipher, and then through the MAC.
fn composition(
    run: Run,
    mac: OpenSslMac,
    mut cipher: impl FnMut(u64, &mut [u8]) + 'static,
) -> Work {
    let bytes = run.sector_bytes;
    let mut numbers = Vec::new();
    Box::new(move |data, tags| {
        prefixes(run, data.len() / bytes, &mut numbers);
        for (i, sector) in data.chunks_exact_mut(bytes).enumerate() {
            cipher(run.first + i as u64 * run.step, sector);
            let prefix = &numbers[i * PREFIX_BYTES..(i + 1) * PREFIX_BYTES];
            let tag = &mut tags[i * 32..(i + 1) * 32];
            mac.tags(prefix, PREFIX_BYTES, bytes, sector, tag);
        }
    })
}

/// Encrypt and tag. `backends` are the tiers of the last contender.
// A table: one contender after the other.
fn seal(
    row: &'static str,
    sector_bytes: usize,
    tier: &'static str,
    backends: (Backend, HashBackend),
) -> Case<'static> {
    let sectors = REQUEST / sector_bytes;
    let run = run(sector_bytes);
    let mut contenders = Vec::new();
    let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut add = |name, mut work: Work| {
        let mut data = Pages::pattern(REQUEST);
        let mut tags = vec![0; sectors * 32];
        work(data.bytes(), &mut tags);
        let (reference, reference_tags) =
            expected.get_or_insert_with(|| (data.bytes().to_vec(), tags.clone()));
        assert!(
            reference == data.bytes(),
            "{name} encrypts to something else"
        );
        assert!(*reference_tags == tags, "{name} computes other tags");
        contenders.push(Contender {
            name,
            bytes: REQUEST,
            work: Box::new(move || work(data.bytes(), &mut tags)),
        });
    };
    let mut cipher = OpenSsl::xts(&xts_key(), true);
    let mac = OpenSslMac::hmac(Sha256Calls::linked(), MAC_KEY);
    add(
        "openssl",
        composition(run, mac, move |number, sector| {
            cipher.xts_run(number, run.step, sector_bytes, sector);
        }),
    );
    if let Some(system) = SystemOpenSsl::load() {
        let mut cipher = system.xts(&xts_key(), true);
        let mac = OpenSslMac::hmac(system.sha256, MAC_KEY);
        add(
            "openssl/system",
            composition(run, mac, move |number, sector| {
                cipher.xts_run(number, run.step, sector_bytes, sector);
            }),
        );
    }
    let (backend, hash_backend) = backends;
    let cipher = XtsKey::with_backend(&xts_key(), backend).expect("an available backend");
    let single = TagKey::hmac_sha256(MAC_KEY)
        .with_backend(hash_backend.min(HashBackend::ShaNi))
        .expect("an available backend");
    let mut numbers = Vec::new();
    add(
        "luksmith/xts then one by one",
        Box::new(move |data, tags| {
            prefixes(run, sectors, &mut numbers);
            cipher.encrypt_in_place(run, data).expect("whole sectors");
            for i in 0..sectors {
                let sector = &data[i * sector_bytes..(i + 1) * sector_bytes];
                let prefix = &numbers[i * PREFIX_BYTES..(i + 1) * PREFIX_BYTES];
                let tag = &mut tags[i * 32..(i + 1) * 32];
                single
                    .tags(prefix, PREFIX_BYTES, sector_bytes, sector, tag)
                    .expect("shapes fit");
            }
        }),
    );
    let cipher = XtsKey::with_backend(&xts_key(), backend).expect("an available backend");
    let mac = TagKey::hmac_sha256(MAC_KEY)
        .with_backend(hash_backend)
        .expect("an available backend");
    add(
        "luksmith/seal",
        Box::new(move |data, tags| {
            seal_in_place(&cipher, &mac, run, run.first, data, tags).expect("shapes fit");
        }),
    );
    contenders.extend(machine::beside(&[SLOTS]));
    Case {
        row,
        name: format!("seal/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}/{tier}"),
        contenders,
    }
}

/// Verify and decrypt, against OpenSSL's encrypt and tag. Opening needs its ciphertext back each
/// time, so a copy of the request is part of its work.
fn open(
    row: &'static str,
    sector_bytes: usize,
    tier: &'static str,
    backends: (Backend, HashBackend),
) -> Case<'static> {
    let sectors = REQUEST / sector_bytes;
    let run = run(sector_bytes);
    let mut case = seal(row, sector_bytes, tier, backends);
    case.contenders
        .retain(|one| one.name.starts_with("openssl"));
    case.name = format!("open/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}/{tier}");
    let (backend, hash_backend) = backends;
    let cipher = XtsKey::with_backend(&xts_key(), backend).expect("an available backend");
    let mac = TagKey::hmac_sha256(MAC_KEY)
        .with_backend(hash_backend)
        .expect("an available backend");
    let mut data = Pages::pattern(REQUEST);
    let mut tags = vec![0; sectors * 32];
    seal_in_place(&cipher, &mac, run, run.first, data.bytes(), &mut tags).expect("shapes fit");
    let sealed = data.bytes().to_vec();
    open_in_place(&cipher, &mac, run, run.first, data.bytes(), &tags).expect("true tags");
    assert!(
        data.bytes() == Pages::pattern(REQUEST).bytes(),
        "opening gives something else"
    );
    case.contenders.push(Contender {
        name: "luksmith/copy and open",
        bytes: REQUEST,
        work: Box::new(move || {
            data.bytes().copy_from_slice(&sealed);
            open_in_place(&cipher, &mac, run, run.first, data.bytes(), &tags).expect("true tags");
        }),
    });
    case
}

/// What the machine's rate of vector instructions allows where cipher and hash overlap.
pub fn limits(samples: &[Samples]) -> Vec<Samples> {
    let mut limits = Vec::new();
    for machine in samples.iter().filter(|one| one.contender == SLOTS) {
        let same = |one: &&Samples| one.case == machine.case && one.contender == "luksmith/seal";
        let path: Vec<&str> = machine.case.split('/').collect();
        let (Some(ours), ["seal", _, sector, _, "best"]) = (samples.iter().find(same), &path[..])
        else {
            continue;
        };
        let sector: usize = sector.trim_start_matches("sector").parse().expect("a size");
        let name = "limit/overlapped".to_owned();
        let least = |rate| fused_limit(rate, sector);
        limits.push(harness::limit(name, ours, machine, least));
    }
    limits
}

pub fn cases() -> Vec<Case<'static>> {
    let best = (Backend::best(), HashBackend::best());
    let mut cases = vec![
        seal("A1", 4096, "best", best),
        seal("A1", 512, "best", best),
        open("A2", 4096, "best", best),
        open("A2", 512, "best", best),
    ];
    for (name, backend) in [
        ("vaes256+shani", Backend::Vaes256),
        ("aesni+shani", Backend::AesNi),
    ] {
        if backend.is_available() && HashBackend::ShaNi.is_available() {
            for sector_bytes in [4096, 512] {
                let backends = (backend, HashBackend::ShaNi);
                cases.push(seal("A5", sector_bytes, name, backends));
                cases.push(open("A5", sector_bytes, name, backends));
            }
        }
    }
    cases
}

/// Backends of cipher and hash that one CPU may have as its best.
const TIERS: [(&str, Backend, HashBackend); 4] = [
    (
        "luksmith/portable+portable",
        Backend::Portable,
        HashBackend::Portable,
    ),
    ("luksmith/aesni+shani", Backend::AesNi, HashBackend::ShaNi),
    (
        "luksmith/vaes256+shani",
        Backend::Vaes256,
        HashBackend::ShaNi,
    ),
    (
        "luksmith/vaes512+avx512",
        Backend::Vaes512,
        HashBackend::Avx512,
    ),
];

/// Every tier with requests of many sizes. What is opened goes to another place, since what is
/// sealed cannot be opened twice in the same one.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for sealing in [true, false] {
        for sector_bytes in [512, 4096] {
            for bytes in REQUESTS {
                cases.push(tiers(sealing, sector_bytes, bytes));
            }
        }
    }
    cases
}

fn tiers(sealing: bool, sector_bytes: usize, bytes: usize) -> Case<'static> {
    let run = run(sector_bytes);
    let mut contenders = Vec::new();
    let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
    for (name, backend, hash_backend) in TIERS {
        if !backend.is_available() || !hash_backend.is_available() {
            continue;
        }
        let cipher = XtsKey::with_backend(&xts_key(), backend).expect("an available backend");
        let mac = TagKey::hmac_sha256(MAC_KEY)
            .with_backend(hash_backend)
            .expect("an available backend");
        let mut data = Pages::pattern(bytes);
        let mut tags = vec![0; bytes / sector_bytes * 32];
        let first = run.first;
        seal_in_place(&cipher, &mac, run, first, data.bytes(), &mut tags).expect("shapes fit");
        let made = (data.bytes().to_vec(), tags.clone());
        let same = *expected.get_or_insert_with(|| made.clone()) == made;
        assert!(same, "{name} makes something else");
        let sealed = made.0;
        let work: Box<dyn FnMut()> = if sealing {
            Box::new(move || {
                seal_in_place(&cipher, &mac, run, first, data.bytes(), &mut tags)
                    .expect("shapes fit");
            })
        } else {
            Box::new(move || {
                open_between(&cipher, &mac, run, first, &sealed, &tags, data.bytes())
                    .expect("true tags");
            })
        };
        contenders.push(Contender { name, bytes, work });
    }
    let verb = if sealing { "seal" } else { "open" };
    let sectors = bytes / sector_bytes;
    Case {
        row: SIZES,
        name: format!("{verb}/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}"),
        contenders,
    }
}
