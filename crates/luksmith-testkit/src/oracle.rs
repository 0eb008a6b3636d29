//! The oracle: a real Linux with the real cryptsetup, asked what it thinks of our files.
//!
//! `cargo xtask oracle` prepares a kernel and a userland from Debian packages in a folder under
//! `target/oracle`. [`Oracle::boot`] starts the kernel in QEMU under software emulation, runs a
//! shell script in it as root and gives back what the script printed; image files given as disks
//! keep what the kernel wrote. A boot takes seconds, so put many cases into one.
//! [`Oracle::program`] runs a program of that userland right here, without a boot and without root.
//!
//! In the script, disk number `n` is `/disk/n`. There are busybox, cryptsetup, integritysetup,
//! veritysetup, dmsetup, mke2fs, e2fsck, debugfs and jq. Use cheap key derivation: it is emulated.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Problem;

/// First word of the line that the guest prints before the script runs.
const BEGIN: &str = "@oracle-begin ";
/// First word of the line that the guest prints after the script has ended.
const END: &str = "@oracle-end ";

/// A kernel and a userland that `cargo xtask oracle` prepared.
#[derive(Clone, Debug)]
pub struct Oracle {
    folder: PathBuf,
    limit: Duration,
    memory_mib: u32,
}

/// What a script printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The kernel's release, such as `6.1.0-37-amd64`.
    pub kernel: String,
    /// Standard output and standard error of the script.
    pub text: String,
    /// Exit status of the script; `None` if it cut the power.
    pub status: Option<u32>,
}

impl Oracle {
    /// Finds the oracle that was prepared on this machine.
    ///
    /// The variable `LUKSMITH_ORACLE` names its folder; without it, it is the one of this machine's
    /// Debian release.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::at(&env::var_os("LUKSMITH_ORACLE").map_or_else(default_folder, PathBuf::from))
    }

    /// Gives the oracle of a Debian release that was prepared on this machine.
    #[must_use]
    pub fn of_suite(name: &str) -> Option<Self> {
        Self::at(&prepared().join(name))
    }

    /// Gives the oracle that was prepared in `folder`, if one was.
    #[must_use]
    pub fn at(folder: &Path) -> Option<Self> {
        folder.join("ready").is_file().then(|| Self {
            folder: folder.to_path_buf(),
            limit: Duration::from_secs(580),
            memory_mib: 1024,
        })
    }

    /// Changes how long a boot may take in all; 580 seconds unless told.
    #[must_use]
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Changes the guest's memory, in MiB; 1024 unless told.
    #[must_use]
    pub const fn with_memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Gives what this oracle consists of: one `name version` per line.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn versions(&self) -> Result<String, Problem> {
        let path = self.folder.join("ready");
        fs::read_to_string(&path).map_err(|error| Problem::at(&path, &error))
    }

    /// Gives the version of one package of the userland, or of the kernel (`linux`).
    ///
    /// # Errors
    /// If there is no such package.
    pub fn version(&self, name: &str) -> Result<String, Problem> {
        let versions = self.versions()?;
        let mut words = versions.lines().filter_map(|line| line.split_once(' '));
        words.find(|(word, _)| *word == name).map_or_else(
            || Err(Problem::new(format!("the oracle has no {name}"))),
            |(_, version)| Ok(version.to_owned()),
        )
    }

    /// Makes a command of a program of the userland, run on this machine and its files.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn program(&self, name: &str) -> Result<Command, Problem> {
        let usr = self.folder.join("root/usr");
        let file = ["sbin", "bin"]
            .iter()
            .map(|folder| usr.join(folder).join(name))
            .find(|file| file.is_file())
            .ok_or_else(|| Problem::new(format!("the oracle's userland has no {name}")))?;
        let libraries = usr.join("lib/x86_64-linux-gnu");
        let mut command = Command::new(usr.join("lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(&libraries)
            .arg(file)
            .env("OPENSSL_MODULES", libraries.join("ossl-modules"))
            .env("DM_DISABLE_UDEV", "1")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Boots, runs `script` with `disks`, and gives back what it printed.
    ///
    /// Each disk is a file of whole 512-byte sectors, in the script `/disk/0` and so on; 24 fit.
    ///
    /// # Errors
    /// If QEMU cannot be run, the kernel does not reach the script, the time is up, or the script's
    /// exit status is not 0. The message has the end of what was printed.
    pub fn boot(&self, script: &str, disks: &[&Path]) -> Result<Report, Problem> {
        let report = self.boot_to_any_end(script, disks)?;
        match report.status {
            Some(0) => Ok(report),
            Some(status) => Err(Problem::new(format!(
                "the script ended with status {status}; it printed:\n{}",
                report.text
            ))),
            None => Err(Problem::new(format!(
                "the machine stopped before the script ended; it printed:\n{}",
                report.text
            ))),
        }
    }

    /// As [`boot`](Self::boot), for scripts that may fail or cut the power.
    ///
    /// `echo o > /proc/sysrq-trigger` cuts it: nothing is closed, nothing is written back.
    ///
    /// # Errors
    /// If QEMU cannot be run, the kernel does not reach the script, or the time is up.
    pub fn boot_to_any_end(&self, script: &str, disks: &[&Path]) -> Result<Report, Problem> {
        self.boot_with_log(script, disks, None)
    }

    /// As [`boot_to_any_end`](Self::boot_to_any_end), with a log of what is written to a disk.
    ///
    /// `log` is the number of the disk and the file for the log, in the format of dm-log-writes:
    /// every write with its data and every flush, in the order in which the disk took them.
    ///
    /// # Errors
    /// As [`boot_to_any_end`](Self::boot_to_any_end).
    pub fn boot_with_log(
        &self,
        script: &str,
        disks: &[&Path],
        log: Option<(usize, &Path)>,
    ) -> Result<Report, Problem> {
        let scratch = Scratch::new()?;
        let printed = scratch.folder.join("printed");
        let console = scratch.folder.join("console");
        let job = scratch.folder.join("script");
        // A disk is whole sectors; the guest drops the zeros again.
        let mut text = script.as_bytes().to_vec();
        text.push(b'\n');
        text.resize(text.len().next_multiple_of(512), 0);
        fs::write(&job, text).map_err(|error| Problem::at(&job, &error))?;

        let mut command = self.machine(&printed, &console);
        add_disk(&mut command, "script", &job);
        for (number, disk) in disks.iter().enumerate() {
            let serial = format!("disk{number}");
            match log {
                Some((logged, log)) if logged == number => {
                    fs::write(log, []).map_err(|error| Problem::at(log, &error))?;
                    add_logged_disk(&mut command, &serial, disk, log);
                }
                _ => add_disk(&mut command, &serial, disk),
            }
        }
        let child = command
            .spawn()
            .map_err(|error| Problem::new(format!("qemu-system-x86_64: {error}")))?;
        let outcome = wait(child, self.limit);
        let read = |path: &Path| {
            let bytes = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\r', "")
        };
        let text = read(&printed);
        outcome.map_err(|problem| {
            Problem::new(format!(
                "{problem}; printed:\n{text}\nconsole:\n{}",
                read(&console)
            ))
        })?;
        parse(&text).ok_or_else(|| {
            Problem::new(format!(
                "the kernel did not reach the script; console:\n{}\nprinted:\n{text}",
                read(&console)
            ))
        })
    }

    fn machine(&self, printed: &Path, console: &Path) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-serial")
            .arg(format!("file:{}", printed.display()))
            .arg("-kernel")
            .arg(self.folder.join("vmlinuz"))
            .arg("-initrd")
            .arg(self.folder.join("initrd.cpio"))
            // On a busy host the kernel's check of the emulated timer fails for want of ticks.
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1 loglevel=4 no_timer_check",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

/// Finds the folder of the oracle for this machine's Debian release.
fn default_folder() -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("unknown");
    prepared().join(name)
}

/// Where the oracles are prepared.
fn prepared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracle")
}

/// Gives a file's name as QEMU takes it: with commas doubled.
fn quoted(file: &Path) -> String {
    file.to_string_lossy().replace(',', ",,")
}

fn add_disk(command: &mut Command, serial: &str, file: &Path) {
    let file = quoted(file);
    let drive = format!("if=none,id={serial},format=raw,cache=unsafe,file={file}");
    add_drive(command, serial, drive);
}

/// Adds a disk whose writes are logged. Flushes reach the log only where the cache is not unsafe;
/// from there they need not go on to the files.
fn add_logged_disk(command: &mut Command, serial: &str, file: &Path, log: &Path) {
    let (file, log) = (quoted(file), quoted(log));
    let drive = format!(
        "if=none,id={serial},driver=blklogwrites,cache=writeback,file.driver=raw,\
         file.cache.no-flush=on,file.file.driver=file,file.file.filename={file},log.driver=raw,\
         log.cache.no-flush=on,log.file.driver=file,log.file.filename={log}"
    );
    add_drive(command, serial, drive);
}

fn add_drive(command: &mut Command, serial: &str, drive: String) {
    command
        .arg("-drive")
        .arg(drive)
        .arg("-device")
        .arg(format!("virtio-blk-pci,drive={serial},serial={serial}"));
}

fn wait(mut child: Child, limit: Duration) -> Result<(), Problem> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(Problem::new(format!("qemu-system-x86_64: {status}"))),
            Ok(None) if start.elapsed() < limit => thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Problem::new(format!(
                    "the machine was still running after {} s",
                    limit.as_secs()
                )));
            }
            Err(error) => return Err(Problem::new(format!("waiting for QEMU: {error}"))),
        }
    }
}

/// Takes what the guest printed apart; `None` if the script did not start.
fn parse(printed: &str) -> Option<Report> {
    let (_, rest) = printed.split_once(BEGIN)?;
    let (kernel, rest) = rest.split_once('\n')?;
    let (text, status) = match rest.rsplit_once(END) {
        Some((text, end)) => (text, end.trim().parse().ok()),
        None => (rest, None),
    };
    Some(Report {
        kernel: kernel.trim().to_owned(),
        text: text.to_owned(),
        status,
    })
}

/// A folder for one boot, gone afterwards.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, Problem> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("luksmith-oracle-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).map_err(|error| Problem::at(&folder, &error))?;
        Ok(Self { folder })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_prints_stands_between_the_marks() {
        let printed = "noise\n@oracle-begin 6.1.0\none\ntwo\n@oracle-end 3\n";
        assert_eq!(
            parse(printed),
            Some(Report {
                kernel: "6.1.0".to_owned(),
                text: "one\ntwo\n".to_owned(),
                status: Some(3),
            })
        );
    }

    #[test]
    fn a_script_that_cut_the_power_has_no_status() {
        let report = parse("@oracle-begin 7.2\none\n").expect("the script started");
        assert_eq!((report.text.as_str(), report.status), ("one\n", None));
        assert_eq!(parse("Kernel panic"), None);
    }
}
