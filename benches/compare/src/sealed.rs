//! Rows A1 to A3 and A5: encryption and tag together.

use luksmith_simd::{Backend, HashBackend, Run, TagKey, XtsKey, open_in_place, seal_in_place};

use crate::harness::{Case, Contender, Samples, median};
use crate::mac_peers::OpenSslMac;
use crate::machine::fused_limit;
use crate::peers::OpenSsl;
use crate::xts::{Pages, REQUEST};

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
            work: Box::new(move || work(data.bytes(), &mut tags)),
        });
    };
    let mut cipher = OpenSsl::xts(&xts_key(), true);
    let mac = OpenSslMac::hmac(MAC_KEY);
    let mut numbers = Vec::new();
    add(
        "openssl",
        Box::new(move |data, tags| {
            prefixes(run, sectors, &mut numbers);
            for i in 0..sectors {
                let number = run.first + i as u64 * run.step;
                let sector = &mut data[i * sector_bytes..(i + 1) * sector_bytes];
                cipher.xts_run(number, run.step, sector_bytes, sector);
                let prefix = &numbers[i * PREFIX_BYTES..(i + 1) * PREFIX_BYTES];
                let tag = &mut tags[i * 32..(i + 1) * 32];
                mac.tags(prefix, PREFIX_BYTES, sector_bytes, sector, tag);
            }
        }),
    );
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
    Case {
        row,
        name: format!("seal/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}/{tier}"),
        bytes: REQUEST,
        contenders,
    }
}

/// Verify and decrypt, against OpenSSL's encrypt and tag. Opening needs its ciphertext back each
/// time, so a copy of the request is part of its work.
fn open(sector_bytes: usize) -> Case<'static> {
    let sectors = REQUEST / sector_bytes;
    let run = run(sector_bytes);
    let mut case = seal(
        "A2",
        sector_bytes,
        "best",
        (Backend::best(), HashBackend::best()),
    );
    case.contenders.truncate(1);
    case.name = format!("open/aes256-hmac-sha256/sector{sector_bytes}/run{sectors}/best");
    let cipher = XtsKey::new(&xts_key()).expect("64 bytes");
    let mac = TagKey::hmac_sha256(MAC_KEY);
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
    let Some(machine) = samples.iter().find(|one| one.case == "machine/add512") else {
        return limits;
    };
    for sector in [4096, 512] {
        let run = REQUEST / sector;
        let case = format!("seal/aes256-hmac-sha256/sector{sector}/run{run}/best");
        if samples.iter().any(|one| one.case == case) {
            limits.push(Samples {
                row: "A4".to_owned(),
                case,
                contender: "limit/overlapped".to_owned(),
                bytes: REQUEST,
                ns: vec![fused_limit(median(&machine.ns), sector)],
                cycles: vec![fused_limit(median(&machine.cycles), sector)],
            });
        }
    }
    limits
}

pub fn cases() -> Vec<Case<'static>> {
    let best = (Backend::best(), HashBackend::best());
    let mut cases = vec![
        seal("A1", 4096, "best", best),
        seal("A1", 512, "best", best),
        open(4096),
        open(512),
    ];
    for (name, backend) in [
        ("vaes256+shani", Backend::Vaes256),
        ("aesni+shani", Backend::AesNi),
    ] {
        if backend.is_available() && HashBackend::ShaNi.is_available() {
            cases.push(seal("A5", 4096, name, (backend, HashBackend::ShaNi)));
        }
    }
    cases
}
