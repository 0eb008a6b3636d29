use std::{cell::Cell, io::Write};

use super::*;

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a folder for temporary files");
    file.write_all(bytes).expect("room for temporary files");
    file
}

fn painted(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

#[test]
fn a_tail_below_a_sector_is_not_seen_and_never_changed() {
    let bytes = painted(1500);
    let file = file_of(&bytes);
    let device = FileOptions::writer().open(file.path()).unwrap();
    assert_eq!(device.size(), ByteLen::new(1024));
    device.write_at(ByteOffset::new(512), &[9; 512]).unwrap();
    let past_end = device.write_at(ByteOffset::new(1024), &[9; 512]);
    assert!(matches!(past_end, Err(Error::PastEnd { .. })));
    device.flush().unwrap();
    let mut expected = bytes;
    expected[512..1024].fill(9);
    assert_eq!(std::fs::read(file.path()).unwrap(), expected);
}

#[test]
fn a_reader_refuses_every_write_and_the_file_keeps_its_bytes() {
    let bytes = painted(4096);
    let file = file_of(&bytes);
    let device = FileOptions::reader().open(file.path()).unwrap();
    let (at, len) = (ByteOffset::ZERO, ByteLen::new(512));
    assert_eq!(device.write_at(at, &[0; 512]), Err(Error::ReadOnly));
    assert_eq!(
        device.write_vectored_at(at, &[&[0; 512]]),
        Err(Error::ReadOnly)
    );
    assert_eq!(device.write_zeroes(at, len), Err(Error::ReadOnly));
    assert_eq!(device.discard(at, len), Err(Error::ReadOnly));
    assert_eq!(device.flush(), Ok(()));
    assert_eq!(device.resized(len).unwrap_err(), Error::ReadOnly);
    assert_eq!(std::fs::read(file.path()).unwrap(), bytes);
}

#[test]
fn a_writer_is_alone_and_readers_share() {
    let file = file_of(&painted(4096));
    let reader = FileOptions::reader().open(file.path()).unwrap();
    let second = FileOptions::reader().open(file.path()).unwrap();
    assert_eq!(
        FileOptions::writer().open(file.path()).unwrap_err(),
        Error::Busy
    );
    drop((reader, second));
    let writer = FileOptions::writer().open(file.path()).unwrap();
    assert_eq!(
        FileOptions::reader().open(file.path()).unwrap_err(),
        Error::Busy
    );
    let unlocked = FileOptions::reader().without_lock();
    assert!(unlocked.open(file.path()).is_ok());
    drop(writer);
    assert!(FileOptions::writer().open(file.path()).is_ok());
}

#[test]
fn what_is_no_file_or_block_device_is_refused_by_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        FileOptions::reader().open(folder.path()).unwrap_err(),
        Error::NotStorage {
            found: "a directory"
        }
    );
    #[cfg(unix)]
    assert_eq!(
        FileOptions::writer().open("/dev/null").unwrap_err(),
        Error::NotStorage {
            found: "a pipe, socket or character device"
        }
    );
    let missing = FileOptions::reader().open(folder.path().join("none"));
    let error = missing.unwrap_err();
    assert!(matches!(
        error,
        Error::System {
            operation: Operation::Open,
            ..
        }
    ));
    assert_eq!(error.raw_os_error(), Some(2));
}

#[test]
fn a_new_file_is_sparse_grows_with_zeros_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.img");
    let tib = ByteLen::new(1 << 40);
    let device = FileOptions::writer().create(&path, tib).unwrap();
    assert_eq!(device.size(), tib);
    device
        .write_at(ByteOffset::new(1 << 39), &[1; 512])
        .unwrap();
    assert_eq!(
        device.next_data(ByteOffset::ZERO).unwrap(),
        Some(ByteOffset::new(1 << 39))
    );
    device.discard(ByteOffset::ZERO, tib).unwrap();
    assert_eq!(device.next_data(ByteOffset::ZERO).unwrap(), None);
    assert_eq!(
        device.next_hole(ByteOffset::ZERO).unwrap(),
        ByteOffset::ZERO
    );
    let device = device.resized(ByteLen::new(4096)).unwrap();
    assert_eq!(device.size(), ByteLen::new(4096));
    drop(device);
    let again = FileOptions::writer().create(&path, tib).unwrap_err();
    assert_eq!(io::Error::from(again).kind(), io::ErrorKind::AlreadyExists);
}

/// What was made half-way stayed, and callers that cleaned up removed files of others.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_made_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.img");
    // No file system has room for this.
    let size = ByteLen::new(i64::MAX.unsigned_abs() + 1);
    FileOptions::writer().create(&path, size).unwrap_err();
    assert!(!path.exists());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/no/such/folder/file", &link).unwrap();
    let error = FileOptions::writer().create(&link, ByteLen::new(4096));
    let kind = io::Error::from(error.unwrap_err()).kind();
    assert_eq!(kind, io::ErrorKind::AlreadyExists);
    assert!(std::fs::symlink_metadata(&link).is_ok());
}

#[test]
fn zeroed_and_discarded_ranges_read_as_zeros_and_their_neighbours_stay() {
    let bytes = painted(1 << 20);
    let file = file_of(&bytes);
    let device = FileOptions::writer().open(file.path()).unwrap();
    let (at, len) = (ByteOffset::new(1536), ByteLen::new(100 * 512));
    device.write_zeroes(at, len).unwrap();
    device
        .discard(ByteOffset::new(1 << 19), ByteLen::new(8192))
        .unwrap();
    device.discard(ByteOffset::ZERO, ByteLen::ZERO).unwrap();
    let mut expected = bytes;
    expected[1536..1536 + 51200].fill(0);
    expected[1 << 19..(1 << 19) + 8192].fill(0);
    assert_eq!(std::fs::read(file.path()).unwrap(), expected);
}

#[test]
fn vectored_requests_fill_and_take_every_part_in_order() {
    let file = file_of(&vec![0; 8192]);
    let device = FileOptions::writer().open(file.path()).unwrap();
    let bytes = painted(2048);
    let (a, b) = bytes.split_at(512);
    device
        .write_vectored_at(ByteOffset::new(1024), &[a, &[], b])
        .unwrap();
    let (mut c, mut d) = ([0; 1536], [0; 512]);
    device
        .read_vectored_at(ByteOffset::new(1024), &mut [&mut c, &mut d])
        .unwrap();
    assert_eq!([&c[..], &d[..]].concat(), bytes);
    assert!(matches!(
        device.read_vectored_at(ByteOffset::new(7168), &mut [&mut c, &mut d]),
        Err(Error::PastEnd { .. })
    ));
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_failed_flush_writes_are_refused_and_reads_go_on() {
    // A real file whose writes fail with "no space" and whose syncs fail with "invalid argument".
    let full = OpenOptions::new().read(true).write(true).open("/dev/full");
    let options = FileOptions::writer().size(ByteLen::new(4096));
    let device = options.adopt(full.unwrap()).unwrap();
    let (at, len) = (ByteOffset::ZERO, ByteLen::new(512));
    let no_space = Error::Io {
        operation: Operation::Write,
        at,
        failure: IoFailure::Os(28),
    };
    assert_eq!(device.write_at(at, &[0; 512]), Err(no_space));
    assert_eq!(device.write_vectored_at(at, &[&[0; 512]]), Err(no_space));
    let invalid = Error::System {
        operation: Operation::Flush,
        failure: IoFailure::Os(22),
    };
    assert_eq!(device.flush(), Err(invalid));
    let stopped = Error::FailStop {
        operation: Operation::Flush,
    };
    assert_eq!(device.write_at(at, &[0; 512]), Err(stopped));
    assert_eq!(device.write_zeroes(at, len), Err(stopped));
    assert_eq!(device.discard(at, len), Err(stopped));
    assert_eq!(device.flush(), Err(stopped));
    assert_eq!(device.read_at(at, &mut [1; 512]), Ok(()));
}

thread_local! {
    /// What the file system of this thread says to a hole: a full one cannot be had in a test.
    pub(super) static REFUSED: Cell<Option<io::ErrorKind>> = const { Cell::new(None) };
}

/// A full file system may refuse a hole, and zeros could not be had at all then.
#[test]
fn zeros_are_written_where_a_hole_is_refused_for_any_reason() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Unsupported] {
        let file = file_of(&painted(4096));
        let device = FileOptions::writer().open(file.path()).unwrap();
        let (at, len) = (ByteOffset::new(512), ByteLen::new(1024));
        REFUSED.set(Some(kind));
        let discarded = device.discard(at, len);
        device.write_zeroes(at, len).unwrap();
        REFUSED.set(None);
        assert!(discarded.is_err(), "{kind}");
        let mut expected = painted(4096);
        expected[512..1536].fill(0);
        assert_eq!(std::fs::read(file.path()).unwrap(), expected, "{kind}");
    }
}
