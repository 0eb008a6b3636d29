//! Rows G1 and G2: AES-256-GCM sectors, with sector number and nonce as associated data.

use luksmith_simd::{Backend, GcmKey, GcmRun};

use crate::harness::{Case, Contender, SIZES};
use crate::peers::{AwsLcGcm, EvpGcm, OpenSslGcm};
use crate::system::SystemOpenSsl;
use crate::xts::{Pages, REQUEST, REQUESTS, contender_name};

/// Bytes of associated data: the sector number and the nonce, as in dm-crypt.
const AD_BYTES: usize = 20;

/// What belongs to a request, besides its data.
struct Request {
    nonces: Vec<[u8; 12]>,
    ads: Vec<u8>,
    sector_bytes: usize,
}

impl Request {
    fn new(sector_bytes: usize, bytes: usize) -> Self {
        let sectors = bytes / sector_bytes;
        let nonces: Vec<[u8; 12]> = (0..sectors)
            .map(|at| core::array::from_fn(|byte| (at * 31 + byte * 7).to_le_bytes()[0]))
            .collect();
        let mut ads = Vec::new();
        for (at, nonce) in nonces.iter().enumerate() {
            ads.extend_from_slice(&(at as u64).to_le_bytes());
            ads.extend_from_slice(nonce);
        }
        Self {
            nonces,
            ads,
            sector_bytes,
        }
    }

    fn run(&self) -> GcmRun<'_> {
        GcmRun {
            nonces: &self.nonces,
            ads: &self.ads,
            ad_bytes: AD_BYTES,
            sector_bytes: self.sector_bytes,
        }
    }
}

/// A sealer or opener of one request: what belongs to it, source, destination, tags.
type Work = Box<dyn FnMut(&Request, &[u8], &mut [u8], &mut [u8])>;

/// What one contender is called, and what it does.
type Named = (&'static str, Work);

/// Runs of sealing in place, or of opening from one buffer into another: what is sealed cannot be
/// opened twice in the same place. `works` makes the contenders.
fn case(
    row: &'static str,
    key: &[u8],
    seal: bool,
    sector_bytes: usize,
    bytes: usize,
    works: fn(&[u8], bool) -> Vec<Named>,
) -> Case<'static> {
    let request = Request::new(sector_bytes, bytes);
    let mut sealed = Pages::pattern(bytes);
    let mut sealed_tags = vec![0; bytes / sector_bytes * 16];
    GcmKey::with_backend(key, Backend::Portable)
        .and_then(|gcm| gcm.seal_in_place(request.run(), sealed.bytes(), &mut sealed_tags))
        .expect("shapes fit");
    let sealed = sealed.bytes().to_vec();
    let mut contenders = Vec::new();
    for (name, mut work) in works(key, seal) {
        let request = Request::new(sector_bytes, bytes);
        let (mut src, mut data) = (Pages::pattern(bytes), Pages::pattern(bytes));
        src.bytes().copy_from_slice(&sealed);
        let mut tags = if seal {
            vec![0; sealed_tags.len()]
        } else {
            sealed_tags.clone()
        };
        work(&request, src.bytes(), data.bytes(), &mut tags);
        let mut plain = Pages::pattern(bytes);
        let expected = if seal { &sealed[..] } else { plain.bytes() };
        assert!(
            data.bytes() == expected && tags == sealed_tags,
            "{name} computes something else"
        );
        contenders.push(Contender {
            name,
            bytes,
            work: Box::new(move || work(&request, src.bytes(), data.bytes(), &mut tags)),
        });
    }
    let verb = if seal { "seal" } else { "open" };
    let (bits, run) = (key.len() * 8, bytes / sector_bytes);
    let name = format!("gcm/{verb}/aes{bits}/sector{sector_bytes}/run{run}");
    Case {
        row,
        name,
        contenders,
    }
}

/// A library's sealer or opener, which `EvpGcm` runs over the sectors of a request.
fn by_evp(mut library: impl EvpGcm + 'static, seal: bool) -> Work {
    Box::new(move |request, src, data, tags| {
        if seal {
            library.seal(request.run(), data, tags);
        } else {
            library.open(request.run(), src, data, tags);
        }
    })
}

/// Everybody who can do it.
fn everybody(key: &[u8], seal: bool) -> Vec<Named> {
    let mut works = vec![
        ("openssl", by_evp(OpenSslGcm::new(key, seal), seal)),
        ("aws-lc", by_evp(AwsLcGcm::new(key, seal), seal)),
    ];
    if let Some(system) = SystemOpenSsl::load() {
        works.push(("openssl/system", by_evp(system.gcm(key, seal), seal)));
    }
    let ring_key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key).expect("32 bytes");
    let ring_key = ring::aead::LessSafeKey::new(ring_key);
    works.push((
        "ring",
        Box::new(move |request, src, data, tags| {
            ring_sectors(&ring_key, seal, request.run(), src, data, tags);
        }),
    ));
    works.extend(ours(key, seal));
    works
}

/// Every backend that has kernels of its own; the portable one is the crate `aes-gcm`.
fn ours(key: &[u8], seal: bool) -> Vec<Named> {
    let mut works: Vec<Named> = Vec::new();
    for backend in Backend::available() {
        let gcm = GcmKey::with_backend(key, backend).expect("an available backend");
        if gcm.backend() != backend {
            continue;
        }
        works.push((
            contender_name(backend),
            Box::new(move |request, src, data, tags| {
                if seal {
                    gcm.seal_in_place(request.run(), data, tags)
                        .expect("shapes fit");
                } else {
                    gcm.open(request.run(), src, tags, data)
                        .expect("tags are right");
                }
            }),
        ));
    }
    works
}

/// The same with ring, which opens in place: the copy into that place is part of its work, as
/// reading the source is of the others'.
fn ring_sectors(
    key: &ring::aead::LessSafeKey,
    seal: bool,
    run: GcmRun<'_>,
    src: &[u8],
    data: &mut [u8],
    tags: &mut [u8],
) {
    use ring::aead::{Aad, Nonce, Tag};
    if !seal {
        data.copy_from_slice(src);
    }
    let sectors = data.chunks_exact_mut(run.sector_bytes);
    let ads = run.ads.chunks_exact(run.ad_bytes);
    for (((sector, nonce), ad), tag) in sectors
        .zip(run.nonces)
        .zip(ads)
        .zip(tags.chunks_exact_mut(16))
    {
        let (nonce, ad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(ad));
        if seal {
            let made = key.seal_in_place_separate_tag(nonce, ad, sector);
            tag.copy_from_slice(made.expect("it fits").as_ref());
        } else {
            let tag = Tag::try_from(&*tag).expect("16 bytes");
            key.open_in_place_separate_tag(nonce, ad, tag, sector, 0..)
                .expect("a true tag");
        }
    }
}

/// The key of a request: as many bytes as AES takes.
const KEY: [u8; 32] = [0x42; 32];

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for seal in [true, false] {
        cases.push(case("G1", &KEY, seal, 4096, REQUEST, everybody));
        cases.push(case("G2", &KEY, seal, 512, REQUEST, everybody));
    }
    cases
}

/// Every backend with requests of many sizes.
pub fn sizes() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for (key, seal) in [(32, true), (32, false), (16, true), (16, false)] {
        for sector_bytes in [512, 4096] {
            for bytes in REQUESTS {
                let key = &KEY[..key];
                cases.push(case(SIZES, key, seal, sector_bytes, bytes, ours));
            }
        }
    }
    cases
}
