//! Volumes, an ext4 in them, and kills.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use luksmith::block::{BlockDevice, FileOptions};
use luksmith::{OpenOptions, Passphrase, Unlock};
use luksmith_testkit::{LoggedRequest, Oracle, Prng, parse_write_log};

/// Bytes of the file system.
const EXT4: usize = 16 << 20;
/// Volumes in one boot: they lose power together.
const TOGETHER: usize = 4;
/// The passphrase of every volume.
const PASSPHRASE: &str = "pass";

/// How many volumes survived, and what was looked for in them.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) volumes: usize,
    pub(crate) files: usize,
}

/// How many processes were killed at which time.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) middle: usize,
    pub(crate) edge: usize,
}

pub(crate) struct Work {
    oracle: Oracle,
    folder: tempfile::TempDir,
}

impl Work {
    pub(crate) fn new(oracle: &Oracle) -> Self {
        let work = Self {
            // A machine that shares its processors with others is slow, not stuck.
            oracle: oracle.clone().with_limit(Duration::from_secs(3000)),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::write(work.path("key"), PASSPHRASE).expect("a key file");
        let files = work.path("files");
        fs::create_dir(&files).expect("a folder");
        for number in 0..40 {
            let bytes = Prng::new(number).bytes(1000 * (1 + usize::try_from(number).expect("few")));
            fs::write(files.join(format!("old{number}")), bytes).expect("a file");
        }
        let image = work.path("ext4");
        let made = work
            .program("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-J", "size=4", "-d"])
            .arg(&files)
            .arg(&image)
            .arg(format!("{}k", EXT4 / 1024))
            .status();
        assert!(made.expect("mke2fs runs").success());
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        self.oracle.program(name).expect("the oracle has it")
    }

    fn luksmith(&self, action: &str, disk: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_luksmith"));
        command.arg(action).arg(disk).args(more);
        command.arg("--key-file").arg(self.path("key"));
        command.stdin(Stdio::null());
        command
    }

    /// Makes a volume, with the file system in it if it is `filled`: a copy of the first such one.
    fn volume(&self, name: &str, filled: bool) -> PathBuf {
        let first = self.path(if filled { "first-filled" } else { "first" });
        if !first.exists() {
            // Blocks that were never written read as zeros only after a wipe.
            let options = "--size 28M --init wipe --integrity hmac-sha256 --sector-size 4096 \
                           --offset 2048 --luks2-keyslots-size 512K --pbkdf pbkdf2 \
                           --pbkdf-force-iterations 1000";
            let options: Vec<&str> = options.split_whitespace().collect();
            succeeds(&mut self.luksmith("luksFormat", &first, &options));
            if filled {
                succeeds(self.luksmith("import", &first, &[]).arg(self.path("ext4")));
            }
        }
        let disk = self.path(name);
        fs::copy(first, &disk).expect("room");
        disk
    }

    /// Exports a volume, repairs nothing but the file system's own journal, and checks it.
    fn check(&self, disk: &Path) -> PathBuf {
        let out = disk.with_extension("out");
        succeeds(self.luksmith("export", disk, &[]).arg(&out));
        let bytes = fs::read(&out).expect("what was exported");
        fs::write(&out, &bytes[..EXT4]).expect("room");
        succeeds(
            self.program("e2fsck")
                .args(["-p", "-E", "journal_only"])
                .arg(&out),
        );
        succeeds(self.program("e2fsck").arg("-fn").arg(&out));
        out
    }

    /// The kernel mounts volumes, works on them and is killed; we export, check, and look for every
    /// file that was synced. Then the same volumes go on.
    pub(crate) fn kill_the_kernel(&self, volumes: usize, prng: &mut Prng) -> Kernel {
        let mut survived = Kernel::default();
        let disks: Vec<PathBuf> = (0..TOGETHER.min(volumes))
            .map(|number| self.volume(&format!("kernel{number}"), true))
            .collect();
        let mut synced: Vec<Vec<String>> = vec![Vec::new(); disks.len()];
        let mut round = 0;
        while survived.volumes < volumes {
            let script = work_until_killed(disks.len(), round, prng);
            let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
            let report = self.boot(&script, &paths, None);
            for (number, disk) in disks.iter().enumerate() {
                let mark = format!("@synced {number} ");
                let names = report.lines().filter_map(|line| line.strip_prefix(&mark));
                synced[number].extend(names.map(str::to_owned));
                let out = self.check(disk);
                for name in &synced[number] {
                    self.holds(&out, name);
                }
                survived.files += synced[number].len();
            }
            survived.volumes += disks.len();
            round += 1;
        }
        survived
    }

    /// Compares a file with what the script writes into one of that name.
    fn holds(&self, image: &Path, name: &str) {
        let mut debugfs = self.program("debugfs");
        let cat = debugfs
            .args(["-R", &format!("cat /{name}")])
            .arg(image)
            .output();
        let found = cat.expect("debugfs runs").stdout;
        let expected = format!("{name}\n").repeat(found.len() / (name.len() + 1));
        assert!(found == expected.as_bytes(), "{name} has other contents");
        assert!(found.len() >= 4000, "{name} has {} bytes", found.len());
    }

    /// Boots; a machine that does not come to its work is started again.
    fn boot(&self, script: &str, disks: &[&Path], log: Option<(usize, &Path)>) -> String {
        let mut why = String::new();
        for _ in 0..3 {
            match self.oracle.boot_with_log(script, disks, log) {
                Ok(report) if report.text.contains("@ready") => {
                    assert!(!report.text.contains("@bad"), "{}", report.text);
                    return report.text;
                }
                Ok(report) => why = report.text,
                Err(problem) => why = problem.to_string(),
            }
            println!("machine failed: {why}");
        }
        panic!("the machine failed three times, which is no verdict: {why}");
    }

    /// Has the kernel work on the file system for a while and gives every write of it.
    pub(crate) fn log(&self) -> Vec<LoggedRequest> {
        let (disk, log) = (self.path("plain"), self.path("log"));
        fs::copy(self.path("ext4"), &disk).expect("room");
        let script = "echo 3 > /proc/sys/kernel/printk
            mkdir /mnt0; mount -t ext4 /disk/0 /mnt0 || echo @bad mount
            echo @ready
            for i in $(seq 1 60); do
              yes l$i | head -c $((4000 * (i % 17 + 1))) > /mnt0/l$i
              [ $((i % 3)) = 0 ] && sync; [ $((i % 5)) = 0 ] && rm /mnt0/old$((i / 2))
              mkdir -p /mnt0/d$((i % 7)); mv /mnt0/l$i /mnt0/d$((i % 7))/
            done
            umount /mnt0 || echo @bad umount";
        self.boot(script, &[&disk], Some((0, &log)));
        let requests = parse_write_log(&fs::read(&log).expect("a log"));
        // What the log says is what the disk holds, or it is worth nothing.
        let mut image = fs::read(self.path("ext4")).expect("an image");
        for request in &requests {
            request.apply(&mut image);
        }
        assert!(
            image == fs::read(&disk).expect("a disk"),
            "the log is not whole"
        );
        requests
    }

    /// Kills our process while it writes what the kernel wrote; gives the volumes to check.
    pub(crate) fn kill_our_writer(
        &self,
        log: &[LoggedRequest],
        volumes: usize,
        prng: &mut Prng,
    ) -> (Kills, Vec<PathBuf>) {
        let mut kills = Kills::default();
        let mut disks = Vec::new();
        let done = self.write_log(&self.volume("whole", true), usize::MAX);
        assert_eq!(done, log.len(), "the writer did not come to its end");
        for number in kills_until_one_hits(volumes) {
            if number >= volumes && kills.middle > 0 {
                break;
            }
            let disk = self.volume(&format!("writer{number}"), true);
            let done = self.write_log(&disk, prng.index(log.len()));
            match done {
                0 => kills.edge += 1,
                done if done == log.len() => kills.edge += 1,
                _ => kills.middle += 1,
            }
            disks.push(disk);
        }
        (kills, disks)
    }

    /// Runs the writer until it has begun so many requests. Gives how many it had begun when it
    /// ended.
    fn write_log(&self, disk: &Path, limit: usize) -> usize {
        let mut child = Command::new(std::env::current_exe().expect("a test binary"))
            .arg("--nocapture")
            .env("LUKSMITH_KILLS_DISK", disk)
            .env("LUKSMITH_KILLS_LOG", self.path("log"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let out = child.stdout.take().expect("a pipe");
        let mut begun = 0;
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let number = line
                .strip_prefix("@begun ")
                .and_then(|number| number.parse().ok());
            begun = number.unwrap_or(begun);
            if begun >= limit.max(1) {
                // A process that is through already cannot be killed.
                let _ = child.kill();
            }
        }
        child.wait().expect("an end");
        begun
    }

    /// The kernel opens volumes, reads every block, and checks their file systems; then we do.
    pub(crate) fn check_all(&self, disks: &[PathBuf]) {
        for disks in disks.chunks(20) {
            let mut script =
                String::from("echo 3 > /proc/sys/kernel/printk\nprintf pass > /tmp/key\n");
            for number in 0..disks.len() {
                script += &format!(
                    "cryptsetup open -q --key-file /tmp/key /disk/{number} v || echo @bad open
                     dd if=/dev/mapper/v of=/dev/null bs=65536 2>/tmp/said || echo @bad read
                     e2fsck -p -E journal_only /dev/mapper/v >/tmp/said 2>&1 ||
                       {{ echo @bad; cat /tmp/said; }}
                     e2fsck -fn /dev/mapper/v >/tmp/said 2>&1 || {{ echo @bad; cat /tmp/said; }}
                     cryptsetup close v || echo @bad close\n"
                );
            }
            script += "echo @ready\n";
            let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
            self.boot(&script, &paths, None);
        }
        for disk in disks {
            self.check(disk);
        }
    }

    /// Kills `luksmith import`. Every block can still be read, and the next import makes it whole.
    /// Gives the volumes to check.
    pub(crate) fn kill_imports(&self, volumes: usize, prng: &mut Prng) -> (Kills, Vec<PathBuf>) {
        let mut kills = Kills::default();
        let mut disks = Vec::new();
        let image = self.path("ext4");
        let bytes = fs::read(&image).expect("an image");
        for number in kills_until_one_hits(volumes) {
            if number >= volumes && kills.middle > 0 {
                break;
            }
            let disk = self.volume(&format!("import{number}"), false);
            let mut child = self
                .luksmith("import", &disk, &[])
                .stdin(Stdio::piped())
                .spawn()
                .expect("it runs");
            let mut stdin = child.stdin.take().expect("a pipe");
            let fed = prng.index(bytes.len());
            // It takes all of it sooner or later, or has ended by itself.
            let _ = stdin.write_all(&bytes[..fed]);
            thread::sleep(Duration::from_millis(prng.below(20)));
            let _ = child.kill();
            child.wait().expect("an end");
            let out = disk.with_extension("part");
            succeeds(self.luksmith("export", &disk, &[]).arg(&out));
            match imported(&fs::read(&out).expect("an export"), &bytes) {
                (0, _) | (_, 0) => kills.edge += 1,
                _ => kills.middle += 1,
            }
            succeeds(self.luksmith("import", &disk, &[]).arg(&image));
            disks.push(disk);
        }
        (kills, disks)
    }
}

/// Numbers the kills: the last ones are only for when none hit the middle of the work.
fn kills_until_one_hits(kills: usize) -> std::ops::Range<usize> {
    0..kills + 12
}

/// Counts the blocks that were imported, and those that are still zeros. Nothing else is allowed.
fn imported(found: &[u8], image: &[u8]) -> (usize, usize) {
    let (mut new, mut old) = (0, 0);
    for (found, image) in found.chunks(4096).zip(image.chunks(4096)) {
        if image.iter().all(|byte| *byte == 0) {
            assert!(found == image, "a block that was zeros in both is not");
        } else if found == image {
            new += 1;
        } else {
            assert!(
                found.iter().all(|byte| *byte == 0),
                "a block is neither old nor new"
            );
            old += 1;
        }
    }
    (new, old)
}

/// Runs a command that has to succeed.
#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The kernel's work on some volumes at once: files written and synced, written and not, removed
/// and moved, until the power goes.
fn work_until_killed(volumes: usize, round: usize, prng: &mut Prng) -> String {
    let mut script = String::from("echo 3 > /proc/sys/kernel/printk\nprintf pass > /tmp/key\n");
    for number in 0..volumes {
        script += &format!(
            "cryptsetup open -q --key-file /tmp/key /disk/{number} v{number} || echo @bad open
             mkdir /mnt{number}; mount -t ext4 /dev/mapper/v{number} /mnt{number} || echo @bad mount
             work{number}() {{ i=0; while :; do i=$((i+1)); f=r{round}f$i
               yes $f | head -c $((4000 * (i % 7 + 1) * (${{#f}} + 1))) > /tmp/w{number}
               dd if=/tmp/w{number} of=/mnt{number}/$f bs=4096 conv=fsync 2>/dev/null &&
                 echo \"@synced {number} $f\"
               yes junk | head -c 30000 > /mnt{number}/junk$((i % 5))
               mkdir -p /mnt{number}/d$((i % 3))
               mv /mnt{number}/junk$((i % 5)) /mnt{number}/d$((i % 3))/
               rm -f /mnt{number}/d$(((i + 1) % 3))/*; [ $i -gt 25 ] && sleep 1; done; }}\n"
        );
    }
    script += "echo @ready\n";
    for number in 0..volumes {
        script += &format!("work{number} &\n");
    }
    let wait = 20 + prng.below(50);
    script
        + &format!(
            "sleep {}.{}\necho b > /proc/sysrq-trigger\nsleep 60\n",
            wait / 10,
            wait % 10
        )
}

/// Replays a log of writes into a volume, and says how far it is; tells whether it was asked to.
pub(crate) fn writer() -> bool {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(disk), Some(log)) = (
        variable("LUKSMITH_KILLS_DISK"),
        variable("LUKSMITH_KILLS_LOG"),
    ) else {
        return false;
    };
    let requests = parse_write_log(&fs::read(log).expect("a log"));
    let file = FileOptions::writer().open(disk).expect("a disk");
    let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).expect("a passphrase");
    let unlock = Unlock::Passphrase(&passphrase);
    let volume = luksmith::open(file, unlock, &OpenOptions::new()).expect("a volume");
    println!();
    for (number, request) in requests.iter().enumerate() {
        println!("@begun {}", number + 1);
        request.replay(&volume).expect("no faults here");
    }
    volume.flush().expect("a flush");
    volume.close().expect("a clean end");
    true
}
