//! Runs the real binary on real images.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use luksmith_testkit::test_image;

/// What one run of `luksmith` answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code().expect("an exit status, not a signal"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("messages are text"),
        }
    }

    /// Gives standard output of a run that has to succeed.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""));
        std::str::from_utf8(&self.stdout).expect("text")
    }

    /// Checks the status and the one line of a run that has to fail.
    #[track_caller]
    pub(crate) fn fails(&self, status: i32, message: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stderr.starts_with("luksmith: "), "{}", self.stderr);
        assert!(self.stderr.contains(message), "{}", self.stderr);
    }
}

/// Costs that open at once.
pub(crate) const WEAK: [&str; 4] = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

/// Runs `luksmith` with nothing on standard input.
pub(crate) fn luksmith(arguments: &[&str]) -> Answer {
    luksmith_with(arguments, b"")
}

/// Runs `luksmith` with `input` on standard input.
pub(crate) fn luksmith_with(arguments: &[&str], input: &[u8]) -> Answer {
    answer(
        Command::new(env!("CARGO_BIN_EXE_luksmith")).args(arguments),
        input,
    )
}

/// Runs `luksmith` on a system that refuses to write behind byte `limit` of any file.
#[cfg(target_os = "linux")]
pub(crate) fn luksmith_limited(limit: u64, arguments: &[&str]) -> Answer {
    let script = format!(
        "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
        limit / 512
    );
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_luksmith");
    answer(shell.args(["-c", &script, program]).args(arguments), b"")
}

/// An option as `--help` tells it: the heading above it, and its long name.
pub(crate) struct Offered {
    pub(crate) heading: String,
    pub(crate) name: String,
}

/// Gives the options of every action that `--help` lists.
pub(crate) fn options_of() -> Vec<(String, Vec<Offered>)> {
    let help = luksmith(&["--help"]);
    let (_, rest) = help.text().split_once("Actions:\n").expect("actions");
    let (actions, _) = rest.split_once("\n\n").expect("an end");
    // A line that goes on is indented further.
    let names = actions.lines().filter(|line| !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().expect("a name").to_owned());
    names
        .map(|name| (options(&name), name))
        .map(|(options, name)| (name, options))
        .collect()
}

fn options(action: &str) -> Vec<Offered> {
    let help = match action {
        "image" => luksmith(&[action, "build", "--help"]),
        _ => luksmith(&[action, "--help"]),
    };
    let mut heading = "";
    let mut found = Vec::new();
    for line in help.text().lines() {
        if let Some(above) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            heading = above;
        }
        let long = line.split([' ', ',']).find(|word| word.starts_with("--"));
        if let Some(name) = long.filter(|_| line.trim_start().starts_with('-')) {
            found.push(Offered {
                heading: heading.to_owned(),
                name: name.to_owned(),
            });
        }
    }
    assert!(!found.is_empty(), "{action}");
    found
}

/// Runs `luksmith` on a system that gives it this much address space and no more.
#[cfg(target_os = "linux")]
pub(crate) fn luksmith_with_memory(kib: u64, arguments: &[&str], input: &[u8]) -> Answer {
    let script = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_luksmith");
    answer(shell.args(["-c", &script, program]).args(arguments), input)
}

/// Runs `luksmith` from a shell, which opens descriptors for it: `$f` in `redirections` is
/// `file`.
#[cfg(unix)]
pub(crate) fn luksmith_redirected(redirections: &str, file: &str, arguments: &[&str]) -> Answer {
    let script = format!("f=$1; shift; exec \"$0\" \"$@\" {redirections}");
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_luksmith");
    let base = ["-c", script.as_str(), program, file];
    answer(shell.args(base).args(arguments), b"")
}

/// Runs `luksmith` with this as its standard input.
#[cfg(unix)]
pub(crate) fn luksmith_from(arguments: &[&str], input: impl Into<Stdio>) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luksmith"));
    let output = command.args(arguments).stdin(input).output();
    Answer::of(output.expect("an answer"))
}

fn answer(command: &mut Command, input: &[u8]) -> Answer {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A run that fails early reads nothing.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("an answer");
    writer.join().expect("the writer");
    Answer::of(output)
}

/// A folder for one test, with images as files.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file");
        text(&path)
    }

    /// Unpacks the test image of this name and gives its path.
    pub(crate) fn image(&self, name: &str) -> String {
        self.file(&format!("{name}.img"), &test_image(name).file("image"))
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

pub(crate) fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).expect("a readable file")
}
