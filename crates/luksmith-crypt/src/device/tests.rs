#[path = "../../tests/tagged/mod.rs"]
mod tagged;

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, Error as BlockError, MemDevice, ReadOnly, SectorNumber,
    SectorSize, Window,
};

use tagged::Tagged;

use super::*;
use crate::{
    AeadCipher, AuthSpec, CipherSpec, Error, Integrity, RandomError, RandomSource, SectorCipher,
    SystemRandom,
};

fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn xts(size: SectorSize) -> SectorCipher {
    let spec = CipherSpec::parse("aes-xts-plain64").unwrap();
    SectorCipher::new(&spec, &pattern(64), size).unwrap()
}

fn medium(len: u64) -> MemDevice {
    MemDevice::new(ByteLen::new(len), SectorSize::S512).unwrap()
}

#[test]
fn what_is_written_lies_encrypted_below_and_reads_back() {
    let len = 3 * RUN_BYTES + 8192;
    let volume = CryptDevice::new(
        Window::from_start(medium(len as u64 + 4096), ByteOffset::new(4096)).unwrap(),
        xts(SectorSize::S4096),
    )
    .unwrap();
    assert_eq!(volume.size(), ByteLen::new(len as u64));
    let data = pattern(len - 4096);
    volume.write_at(ByteOffset::new(4096), &data).unwrap();
    let mut expected = data.clone();
    xts(SectorSize::S4096)
        .encrypt_in_place(SectorNumber::new(8), &mut expected)
        .unwrap();
    let below = volume.device().device().to_vec();
    assert!(below[8192..] == expected[..], "the ciphertext lies below");
    assert!(below[..8192].iter().all(|byte| *byte == 0));
    let mut back = vec![0; data.len()];
    volume.read_at(ByteOffset::new(4096), &mut back).unwrap();
    assert!(back == data, "the plaintext comes back");
}

#[test]
fn a_tail_that_is_no_whole_sector_is_not_seen() {
    let volume = CryptDevice::new(medium(4096 + 3584), xts(SectorSize::S4096)).unwrap();
    assert_eq!(volume.size(), ByteLen::new(4096));
    assert_eq!(
        volume.read_at(ByteOffset::new(4096), &mut [0; 4096]),
        Err(BlockError::PastEnd {
            at: ByteOffset::new(4096),
            len: ByteLen::new(4096),
            size: ByteLen::new(4096)
        })
    );
}

#[test]
fn larger_sectors_below_are_refused() {
    let below = MemDevice::new(ByteLen::new(8192), SectorSize::S4096).unwrap();
    assert_eq!(
        CryptDevice::new(below, xts(SectorSize::S512)).err(),
        Some(Error::DeviceSector {
            found: SectorSize::S4096,
            expected: SectorSize::S512
        })
    );
}

#[test]
fn a_read_only_device_below_takes_no_write() {
    let volume = CryptDevice::new(ReadOnly::new(medium(4096)), xts(SectorSize::S512)).unwrap();
    let written = volume.write_at(ByteOffset::ZERO, &[0; 512]);
    assert_eq!(written, Err(BlockError::ReadOnly));
}

#[test]
fn zeroes_are_written_encrypted() {
    let volume = CryptDevice::new(medium(8192), xts(SectorSize::S512)).unwrap();
    volume
        .write_zeroes(ByteOffset::new(512), ByteLen::new(1024))
        .unwrap();
    let mut data = [1; 1024];
    volume.read_at(ByteOffset::new(512), &mut data).unwrap();
    assert_eq!(data, [0; 1024]);
    assert!(
        volume.device().to_vec()[512..]
            .iter()
            .any(|byte| *byte != 0)
    );
}

fn aead(spec: &str, integrity: &str, key_bytes: usize, size: SectorSize) -> AeadCipher {
    let spec = CipherSpec::parse(spec).unwrap();
    let spec = AuthSpec::new(spec, Integrity::parse(integrity).unwrap(), None).unwrap();
    AeadCipher::new(&spec, &pattern(key_bytes), size).unwrap()
}

#[test]
fn authenticated_data_come_back_and_every_changed_sector_is_counted() {
    for (spec, integrity, key) in [
        ("aes-xts-plain64", "hmac(sha256)", 96),
        ("aes-gcm-random", "aead", 32),
        ("aes-xts-random", "hmac(sha1)", 84),
    ] {
        let cipher = aead(spec, integrity, key, SectorSize::S4096);
        let tagged = Tagged::new(200, SectorSize::S4096, cipher.tuple_bytes());
        let volume = AuthenticatedDevice::new(tagged, cipher, SystemRandom).unwrap();
        assert_eq!(volume.size(), ByteLen::new(200 * 4096));
        let data = pattern(199 * 4096);
        volume.write_at(ByteOffset::new(4096), &data).unwrap();
        let mut back = vec![0; data.len()];
        volume.read_at(ByteOffset::new(4096), &mut back).unwrap();
        assert!(back == data, "{spec}: the plaintext comes back");
        // One block in the first run, two in the last.
        for at in [5 * 4096, 190 * 4096, 191 * 4096 + 1] {
            volume.device().content.lock().unwrap().0[at] ^= 1;
        }
        assert_eq!(
            volume.read_at(ByteOffset::new(4096), &mut back),
            Err(BlockError::TagMismatch {
                first: SectorNumber::new(40),
                count: 24
            })
        );
        assert!(back.iter().all(|byte| *byte == 0), "{spec}");
        // The block before and the one after the changed one still read.
        for block in [4, 6] {
            let mut one = [0; 4096];
            volume
                .read_at(ByteOffset::new(block * 4096), &mut one)
                .unwrap();
        }
        // Overwriting heals.
        volume
            .write_at(ByteOffset::new(5 * 4096), &[9; 4096])
            .unwrap();
        let mut one = [0; 4096];
        volume.read_at(ByteOffset::new(5 * 4096), &mut one).unwrap();
        assert_eq!(one, [9; 4096]);
    }
}

#[test]
fn a_block_that_was_never_written_is_an_error() {
    let cipher = aead("aes-xts-plain64", "hmac(sha256)", 96, SectorSize::S512);
    let volume =
        AuthenticatedDevice::new(Tagged::new(4, SectorSize::S512, 32), cipher, SystemRandom)
            .unwrap();
    assert_eq!(
        volume.read_at(ByteOffset::ZERO, &mut [0; 1024]),
        Err(BlockError::TagMismatch {
            first: SectorNumber::ZERO,
            count: 2
        })
    );
}

#[test]
fn a_nonce_that_is_the_sector_number_makes_the_volume_read_only() {
    let cipher = aead("aes-gcm-plain64", "aead", 32, SectorSize::S512);
    let mut data = vec![0; 512];
    let mut tuple = vec![0; 16];
    cipher
        .seal_once(
            SectorNumber::ZERO,
            &pattern(512),
            &[],
            &mut data,
            &mut tuple,
        )
        .unwrap();
    let tagged = Tagged::new(1, SectorSize::S512, 16);
    *tagged.content.lock().unwrap() = (data, tuple);
    let volume = AuthenticatedDevice::new(tagged, cipher, SystemRandom).unwrap();
    assert!(volume.capabilities().read_only);
    let mut back = [0; 512];
    volume.read_at(ByteOffset::ZERO, &mut back).unwrap();
    assert_eq!(back[..], pattern(512));
    let written = volume.write_at(ByteOffset::ZERO, &back);
    assert_eq!(written, Err(BlockError::ReadOnly));
}

#[test]
fn other_blocks_or_tuples_than_the_ciphers_are_refused() {
    let cipher = || aead("aes-xts-plain64", "hmac(sha256)", 96, SectorSize::S4096);
    let tagged = Tagged::new(4, SectorSize::S512, 32);
    assert_eq!(
        AuthenticatedDevice::new(tagged, cipher(), SystemRandom).err(),
        Some(Error::BlockSize {
            found: SectorSize::S512,
            expected: SectorSize::S4096
        })
    );
    let tagged = Tagged::new(4, SectorSize::S4096, 28);
    assert_eq!(
        AuthenticatedDevice::new(tagged, cipher(), SystemRandom).err(),
        Some(Error::TupleBytes {
            spec: "aes-xts-plain64".into(),
            found: 28,
            expected: 32
        })
    );
}

struct Broken;

impl RandomSource for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn without_random_bytes_nothing_is_written() {
    let cipher = aead("aes-gcm-random", "aead", 32, SectorSize::S512);
    let volume =
        AuthenticatedDevice::new(Tagged::new(4, SectorSize::S512, 28), cipher, Broken).unwrap();
    let written = volume.write_at(ByteOffset::ZERO, &[1; 512]);
    assert_eq!(written, Err(BlockError::Random));
    assert_eq!(volume.device().content.lock().unwrap().0, [0; 2048]);
}
