//! A request for a sector works in memory that is there already.
#![cfg(feature = "std")]

use luksmith_block::{BlockDevice, ByteLen, ByteOffset, MemDevice, SectorSize};
use luksmith_crypt::{CipherSpec, CryptDevice, SectorCipher};
use luksmith_testkit::allocations::{self, CountingAllocator};

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
