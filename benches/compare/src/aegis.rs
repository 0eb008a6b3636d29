//! AEGIS-128 sectors by backend.

use luksmith_simd::{Aegis128, Backend};

use crate::harness::{Case, Contender, SIZES};
use crate::xts::{Pages, REQUESTS, contender_name};

const NONCE: [u8; 16] = [9; 16];
/// Sector number and nonce.
const AD: [u8; 24] = [8; 24];

/// A request, sector by sector. Opening needs its ciphertext back each time, so a copy of the
/// request is part of its work.
fn case(seal: bool, sector_bytes: usize, bytes: usize) -> Case<'static> {
    let mut contenders = Vec::new();
    let mut expected: Option<(Vec<u8>, Vec<[u8; 16]>)> = None;
    for backend in Backend::available() {
        let cipher = Aegis128::with_backend([7; 16], backend).expect("an available backend");
        if cipher.backend() != backend {
            continue;
        }
        let mut data = Pages::pattern(bytes);
        let seal_all = move |cipher: &Aegis128, data: &mut [u8]| -> Vec<[u8; 16]> {
            let sectors = data.chunks_exact_mut(sector_bytes);
            let tags = sectors.map(|sector| cipher.seal(&NONCE, &AD, sector));
            tags.map(|tag| tag.expect("whole blocks")).collect()
        };
        let tags = seal_all(&cipher, data.bytes());
        let made = (data.bytes().to_vec(), tags.clone());
        let same = *expected.get_or_insert_with(|| made.clone()) == made;
        assert!(same, "{backend} computes something else");
        let work: Box<dyn FnMut()> = if seal {
            Box::new(move || {
                seal_all(&cipher, data.bytes());
            })
        } else {
            Box::new(move || {
                data.bytes().copy_from_slice(&made.0);
                for (sector, tag) in data.bytes().chunks_exact_mut(sector_bytes).zip(&tags) {
                    let right = cipher.open(&NONCE, &AD, sector, tag);
                    assert!(right.expect("whole blocks"), "the tag is right");
                }
            })
        };
        contenders.push(Contender {
            name: contender_name(backend),
            bytes,
            work,
        });
    }
    let verb = if seal { "seal" } else { "open" };
    let run = bytes / sector_bytes;
    Case {
        row: SIZES,
        name: format!("aegis128/{verb}/sector{sector_bytes}/run{run}"),
        contenders,
    }
}

/// Every backend with requests of many sizes.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for seal in [true, false] {
        for sector_bytes in [512, 4096] {
            for bytes in REQUESTS {
                cases.push(case(seal, sector_bytes, bytes));
            }
        }
    }
    cases
}
