//! Rows G1 and G2: AES-256-GCM sectors, with sector number and nonce as associated data.

use luksmith_simd::{Backend, GcmKey, GcmRun};

use crate::harness::{Case, Contender};
use crate::peers::{AwsLcGcm, OpenSslGcm};
use crate::xts::{Pages, REQUEST, contender_name};

/// Bytes of associated data: the sector number and the nonce, as in dm-crypt.
const AD_BYTES: usize = 20;

/// What belongs to a request, besides its data.
struct Request {
    nonces: Vec<[u8; 12]>,
    ads: Vec<u8>,
    sector_bytes: usize,
}

impl Request {
    fn new(sector_bytes: usize) -> Self {
        let sectors = REQUEST / sector_bytes;
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

/// Runs of sealing in place, or of opening from one buffer into another: what is sealed cannot be
/// opened twice in the same place.
fn case(row: &'static str, seal: bool, sector_bytes: usize) -> Case<'static> {
    let key = [0x42; 32];
    let request = Request::new(sector_bytes);
    let mut sealed = Pages::pattern(REQUEST);
    let mut sealed_tags = vec![0; REQUEST / sector_bytes * 16];
    OpenSslGcm::new(&key, true).seal(request.run(), sealed.bytes(), &mut sealed_tags);
    let sealed = sealed.bytes().to_vec();
    let mut contenders = Vec::new();
    for (name, mut work) in works(&key, seal) {
        let request = Request::new(sector_bytes);
        let (mut src, mut data) = (Pages::pattern(REQUEST), Pages::pattern(REQUEST));
        src.bytes().copy_from_slice(&sealed);
        let mut tags = if seal {
            vec![0; sealed_tags.len()]
        } else {
            sealed_tags.clone()
        };
        work(&request, src.bytes(), data.bytes(), &mut tags);
        let mut plain = Pages::pattern(REQUEST);
        let expected = if seal { &sealed[..] } else { plain.bytes() };
        assert!(
            data.bytes() == expected && tags == sealed_tags,
            "{name} computes something else"
        );
        contenders.push(Contender {
            name,
            work: Box::new(move || work(&request, src.bytes(), data.bytes(), &mut tags)),
        });
    }
    let verb = if seal { "seal" } else { "open" };
    let run = REQUEST / sector_bytes;
    let name = format!("gcm/{verb}/aes256/sector{sector_bytes}/run{run}");
    Case {
        row,
        name,
        bytes: REQUEST,
        contenders,
    }
}

/// Everybody who can do it.
fn works(key: &[u8; 32], seal: bool) -> Vec<(&'static str, Work)> {
    let mut openssl = OpenSslGcm::new(key, seal);
    let mut aws = AwsLcGcm::new(key, seal);
    let mut works: Vec<(&'static str, Work)> = vec![
        (
            "openssl",
            Box::new(move |request, src, data, tags| {
                if seal {
                    openssl.seal(request.run(), data, tags);
                } else {
                    openssl.open(request.run(), src, data, tags);
                }
            }),
        ),
        (
            "aws-lc",
            Box::new(move |request, src, data, tags| {
                if seal {
                    aws.seal(request.run(), data, tags);
                } else {
                    aws.open(request.run(), src, data, tags);
                }
            }),
        ),
    ];
    let ring_key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key).expect("32 bytes");
    let ring_key = ring::aead::LessSafeKey::new(ring_key);
    works.push((
        "ring",
        Box::new(move |request, src, data, tags| {
            ring_sectors(&ring_key, seal, request.run(), src, data, tags);
        }),
    ));
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

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for seal in [true, false] {
        cases.push(case("G1", seal, 4096));
        cases.push(case("G2", seal, 512));
    }
    cases
}
