//! A request for a sector works in memory that is there already.
#![cfg(feature = "std")]
#![expect(
    clippy::indexing_slicing,
    reason = "a slip here fails the test that makes it"
)]

mod tagged;

use std::sync::Arc;

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_crypt::{
    AeadCipher, AuthSpec, AuthenticatedDevice, CipherSpec, CryptDevice, Integrity, SectorCipher,
    SystemRandom,
};
use luksmith_testkit::allocations::{self, CountingAllocator};
use tagged::Tagged;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The allocations of this thread while `work` runs.
fn counted(work: impl FnOnce()) -> u64 {
    let before = allocations::of_this_thread();
    work();
    allocations::of_this_thread() - before
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(counted(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
}

#[test]
fn reads_and_writes_of_a_plain_volume_allocate_nothing_once_a_buffer_is_there() {
    for (spec, key_bytes) in [
        ("aes-xts-plain64", 64),
        ("aes-xts-plain", 32),
        ("aes-cbc-essiv:sha256", 32),
        ("serpent-xts-plain64", 64),
    ] {
        let medium = MemDevice::new(ByteLen::new(1 << 20), SectorSize::S512).unwrap();
        let spec = CipherSpec::parse(spec).unwrap();
        let key = vec![7; key_bytes];
        let cipher = SectorCipher::new(&spec, &key, SectorSize::S4096).unwrap();
        let volume = CryptDevice::new(medium, cipher).unwrap();
        let mut data = vec![1; 256 << 10];
        let mut pass = |sizes: [usize; 4]| {
            for (size, at) in sizes.into_iter().zip([0, 1 << 18, 1 << 19, 3 << 18]) {
                let (request, at) = (&mut data[..size], ByteOffset::new(at));
                volume.write_at(at, request).unwrap();
                volume.read_at(at, request).unwrap();
            }
        };
        let first = counted(|| pass([4096, 4096, 256 << 10, 8192]));
        assert!(first > 0, "{spec}: the buffer has to come from somewhere");
        let later = counted(|| pass([4096, 256 << 10, 4096, 65536]));
        assert_eq!(later, 0, "{spec}");
        assert!(data.iter().all(|&byte| byte == 1), "{spec}");
    }
}

const BLOCKS: u64 = 2048;

type Authenticated = Arc<AuthenticatedDevice<Arc<Tagged>>>;

fn authenticated(spec: &str, integrity: &str, key_bytes: usize) -> (Arc<Tagged>, Authenticated) {
    let spec = CipherSpec::parse(spec).expect("a shape that fits");
    let spec = AuthSpec::new(
        spec,
        Integrity::parse(integrity).expect("a shape that fits"),
        None,
    )
    .expect("a shape that fits");
    let key: Vec<u8> = (1..).take(key_bytes).collect();
    let cipher = AeadCipher::new(&spec, &key, SectorSize::S512).expect("a shape that fits");
    let tagged = Arc::new(Tagged::new(BLOCKS, SectorSize::S512, cipher.tuple_bytes()));
    let volume =
        AuthenticatedDevice::new(tagged.clone(), cipher, SystemRandom).expect("a shape that fits");
    (tagged, Arc::new(volume))
}

#[test]
fn reads_and_writes_of_an_authenticated_volume_allocate_nothing_once_a_buffer_is_there() {
    for (spec, integrity, key_bytes) in [
        ("aes-xts-plain64", "hmac(sha256)", 96),
        ("aes-xts-random", "hmac(sha256)", 96),
        ("aes-gcm-random", "aead", 32),
        ("aegis128-random", "aead", 16),
    ] {
        let (_, volume) = authenticated(spec, integrity, key_bytes);
        let mut data = vec![1; 300 << 10];
        let mut pass = |sizes: [usize; 3]| {
            for size in sizes {
                volume
                    .write_at(ByteOffset::new(512), &data[..size])
                    .unwrap();
                volume
                    .read_at(ByteOffset::new(512), &mut data[..size])
                    .unwrap();
            }
        };
        let first = counted(|| pass([512, 300 << 10, 4096]));
        assert!(first > 0, "{spec}: the buffer has to come from somewhere");
        let later = counted(|| pass([4096, 300 << 10, 512]));
        assert_eq!(later, 0, "{spec}");
        assert!(data.iter().all(|&byte| byte == 1), "{spec}");
    }
}

/// A read had in its hands, for a few tuples, the buffer that a verification needed for data: each
/// thread could end up with two of them.
#[test]
fn a_read_leaves_the_large_buffer_to_a_verification_at_the_same_time() {
    const RUN: ByteLen = ByteLen::new(256 << 10);
    let (tagged, volume) = authenticated("aes-xts-plain64", "hmac(sha256)", 96);
    volume.write_at(ByteOffset::ZERO, &[1; 256 << 10]).unwrap();
    let both = || {
        let other = volume.clone();
        let verify = Box::new(move || other.verify_at(ByteOffset::ZERO, RUN).unwrap());
        *tagged.meanwhile.lock().unwrap() = Some(verify);
        let read = counted(|| volume.read_at(ByteOffset::ZERO, &mut [0; 512]).unwrap());
        assert!(tagged.meanwhile.lock().unwrap().is_none());
        read
    };
    let alone = || volume.verify_at(ByteOffset::ZERO, RUN).unwrap();
    // Data and tuples, and the lists of both.
    assert_eq!(counted(alone), 4);
    // The tuples of the read are in use, so those of the verification need a buffer of their own.
    assert_eq!(both(), 1);
    assert_eq!([both(), counted(alone)], [0, 0]);
}
