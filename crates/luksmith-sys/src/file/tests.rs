use super::*;

/// A file that is gone when the test ends, whatever the outcome.
struct TestFile(std::path::PathBuf);

impl TestFile {
    fn new(name: &str) -> Self {
        let name = format!("luksmith-sys-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        open(&self.0, &options, OpenFlags::default()).unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_read_past_the_end_is_an_error_not_a_short_read() {
    let path = TestFile::new("short");
    let file = path.open();
    write_all_at(&file, &[1; 1000], 0).unwrap();
    let mut buf = [0; 600];
    read_exact_at(&file, &mut buf, 400).unwrap();
    assert_eq!(buf, [1; 600]);
    let error = read_exact_at(&file, &mut buf, 401).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let (mut a, mut b) = ([0; 500], [0; 501]);
    let error = read_vectored_exact_at(&file, &mut [&mut a, &mut b], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn vectored_requests_cross_the_limit_of_one_call() {
    let path = TestFile::new("vectored");
    let file = path.open();
    let parts: Vec<Vec<u8>> = (0..3000u32).map(|i| i.to_le_bytes().to_vec()).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    write_vectored_all_at(&file, &slices, 100).unwrap();
    assert_eq!(size(&file).unwrap(), 12100);
    let mut back = vec![vec![0; 4]; 3000];
    let mut bufs: Vec<&mut [u8]> = back.iter_mut().map(Vec::as_mut_slice).collect();
    read_vectored_exact_at(&file, &mut bufs, 100).unwrap();
    assert_eq!(back, parts);
}

#[test]
fn kinds_are_told_apart_without_opening() {
    let path = TestFile::new("kind");
    let file = path.open();
    assert_eq!(kind(&file).unwrap(), FileKind::Regular);
    assert_eq!(kind_of_path(&path.0).unwrap(), FileKind::Regular);
    let folder = std::env::temp_dir();
    assert_eq!(kind_of_path(&folder).unwrap(), FileKind::Directory);
    #[cfg(unix)]
    assert_eq!(
        kind_of_path(Path::new("/dev/null")).unwrap(),
        FileKind::Other
    );
    assert_eq!(
        kind_of_path(&folder.join("luksmith-no-such-file"))
            .unwrap_err()
            .kind(),
        io::ErrorKind::NotFound
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_punched_hole_reads_as_zeros_and_is_found_again() {
    let path = TestFile::new("holes");
    let file = path.open();
    write_all_at(&file, &[7; 1 << 20], 0).unwrap();
    match punch_hole(&file, 0, 1 << 19) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return crate::not_run::not_run("holes", "this file system punches no holes");
        }
        result => result.unwrap(),
    }
    assert_eq!(size(&file).unwrap(), 1 << 20);
    let mut half = vec![1; 1 << 19];
    read_exact_at(&file, &mut half, 0).unwrap();
    assert!(half.iter().all(|&byte| byte == 0));
    assert_eq!(next_data(&file, 0).unwrap(), Some(1 << 19));
    assert_eq!(next_hole(&file, 0).unwrap(), 0);
    assert_eq!(next_hole(&file, 1 << 19).unwrap(), 1 << 20);
    file.set_len(2 << 20).unwrap();
    assert_eq!(next_data(&file, 1 << 20).unwrap(), None);
}
