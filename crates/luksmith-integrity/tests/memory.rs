//! An open device takes the same memory whatever its size: 1 TiB, sparse, in a file.
//!
//! Peak resident memory is asked of the system, so this file has one test: others beside it would
//! count too.
#![cfg(target_os = "linux")]

use std::{fs, sync::Arc};

use luksmith_block::{
    BlockDevice, ByteLen, ByteOffset, FileDevice, FileOptions, SectorNumber, TaggedDevice,
};
use luksmith_integrity::{
    Devices, DigestName, FormatRequest, HashedDevice, Mode, OpenOptions, format,
};
use luksmith_testkit::{CountingDevice, Prng};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Bytes of resident memory at its peak since the last reset.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux tells the peak");
    let kib = line.trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().expect("a number") * 1024
}

fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux resets the peak");
}

fn adopted(file: &fs::File) -> FileDevice {
    let file = file.try_clone().expect("a descriptor");
    FileOptions::writer().adopt(file).expect("a file")
}

fn open(file: &fs::File, mode: Mode, buffer: u64) -> HashedDevice<FileDevice> {
    let device = adopted(file);
    let options = OpenOptions::new()
        .mode(mode)
        .journal_buffer(ByteLen::new(buffer));
    HashedDevice::open(
        Devices::interleaved(device),
        options,
        DigestName::Crc32c,
        None,
    )
    .expect("formatted")
}

/// Opens, writes here and there and in large requests, flushes, reads, verifies, closes.
fn work(file: &fs::File, mode: Mode, buffer: u64) {
    let mut prng = Prng::new(7);
    let device = open(file, mode, buffer);
    let blocks = device.size().get() / 4096;
    let at = |block: u64| ByteOffset::new(block * 4096);
    let large = vec![3; 1 << 20];
    let mut written = Vec::new();
    for round in 0..40 {
        for _ in 0..50 {
            let block = prng.below(blocks);
            device.write_at(at(block), &[7; 4096]).expect("room enough");
            written.push(block);
        }
        let first = prng.below(blocks - 256);
        device.write_at(at(first), &large).expect("room enough");
        if round % 8 == 7 {
            device.flush().expect("a file");
        }
    }
    let mut back = [0; 4096];
    for block in written {
        device
            .read_at(at(block), &mut back)
            .expect("it was written");
        assert!([7, 3].contains(&back[0]));
    }
    // What a verification reads, tags and all, for 64 MiB that nobody wrote.
    let (mut data, mut tags) = (vec![0; 1 << 20], vec![0; 4 << 8]);
    for step in 0..64 {
        let first = SectorNumber::new(blocks / 2 * 8 + step * 2048);
        device
            .unchecked()
            .read_tagged(first, &mut data, &mut tags)
            .expect("a file");
    }
    device.close().expect("a file");
}

#[test]
fn an_open_device_of_a_tebibyte_takes_16_mib_beside_its_journal_buffer() {
    let file = tempfile::tempfile().expect("a temporary file");
    file.set_len(TIB).expect("a sparse file");
    let device = adopted(&file);
    let request =
        FormatRequest::new(4, luksmith_block::SectorSize::S4096).expect("a tag size that exists");
    format(&Devices::interleaved(&device), &request, None, None).expect("room enough");
    // The small buffer first: what a process was once given it may keep.
    reset_peak();
    let before = peak();
    for buffer in [MIB, 16 * MIB] {
        for mode in [Mode::Journal, Mode::Direct, Mode::Bitmap] {
            work(&file, mode, buffer);
            let taken = peak() - before;
            println!("{mode:?}, journal buffer of {buffer} bytes: {taken} bytes");
            assert!(
                taken < 16 * MIB + buffer,
                "{mode:?}: {taken} bytes with a journal buffer of {buffer}"
            );
        }
    }
    what_opening_reads(&file);
}

/// Opening reads the journal, which is 64 MiB by default however large the device is, and nothing
/// that grows with the device.
fn what_opening_reads(file: &fs::File) {
    let device = adopted(file);
    let counted = Arc::new(CountingDevice::new(device));
    let devices = Devices::interleaved(Arc::clone(&counted));
    let device = HashedDevice::open(devices, OpenOptions::new(), DigestName::Crc32c, None)
        .expect("formatted");
    let journal = device.layout().init_sectors().get() * 512;
    let counts = counted.take();
    println!("opening reads {} bytes", counts.read_bytes);
    assert!(counts.read_bytes <= journal + 4096, "{counts:?}");
    assert_eq!(counts.written_bytes, 0);
    assert!(journal <= 64 * MIB + 4096);
}
