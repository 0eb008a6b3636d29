//! Downloads Debian packages with a package state of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{create, read};
use crate::{Failure, Result, command::output};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Gives the Debian release of this machine, such as `bookworm`.
pub(super) fn machine_suite() -> Result<String> {
    let release = read(Path::new("/etc/os-release"))?;
    release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .ok_or_else(|| Failure::new("/etc/os-release names no release; is this Debian?"))
}

/// apt with lists, cache and state in a folder of ours, as if nothing were installed.
pub(super) struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// Fetches the lists of `suite` from the mirror that this machine uses.
    pub(super) fn new(folder: &Path, suite: &str) -> Result<Self> {
        for name in ["lists/partial", "cache/archives/partial", "state", "etc"] {
            create(&folder.join(name))?;
        }
        let status = folder.join("state/status");
        let sources = folder.join("etc/sources.list");
        for (path, text) in [(&status, String::new()), (&sources, sources_of(suite)?)] {
            fs::write(path, text).map_err(|error| Failure::at(path, &error))?;
        }
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        let options = vec![
            option("Dir::Etc::sourcelist", &sources),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            option("Dir::State::lists", &folder.join("lists")),
            option("Dir::State", &folder.join("state")),
            option("Dir::State::status", &status),
            option("Dir::Cache", &folder.join("cache")),
            // apt would switch to a user who may not write here.
            "APT::Sandbox::User=".to_owned(),
            "Debug::NoLocking=1".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let apt = Self { options };
        run(apt.program("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Downloads packages and all they depend on.
    pub(super) fn download_with_dependencies(
        &self,
        names: &[&str],
        folder: &Path,
    ) -> Result<Vec<PathBuf>> {
        create(&folder.join("partial"))?;
        run(self
            .program("apt-get")
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", folder.display()))
            .args([
                "-qq",
                "-y",
                "--download-only",
                "--no-install-recommends",
                "install",
            ])
            .args(names))?;
        packages_in(folder)
    }

    /// Downloads the kernel that the suite installs by default, without what it depends on.
    pub(super) fn download_kernel(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        create(folder)?;
        let depends = output(
            self.program("apt-cache")
                .args(["depends", "linux-image-amd64"]),
        )?;
        let image = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
            .next_back()
            .ok_or_else(|| Failure::new("linux-image-amd64 names no kernel"))?
            .to_owned();
        // Newer suites have the image and the modules in packages of their own.
        let split = [
            format!("linux-modules-{image}"),
            format!("linux-binary-{image}"),
        ];
        let known = |name: &String| {
            output(self.program("apt-cache").args(["show", name]))
                .is_ok_and(|text| !text.is_empty())
        };
        let names = if split.iter().all(known) {
            split.to_vec()
        } else {
            vec![format!("linux-image-{image}")]
        };
        run(self
            .program("apt-get")
            .args(["-qq", "download"])
            .args(&names)
            .current_dir(folder))?;
        packages_in(folder)
    }
}

/// Runs a program, naming what it does without the options that place its state.
fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .filter(|word| word != "-o" && !word.contains('='))
        .collect();
    println!("+ apt {}", words.join(" "));
    output(command).map(drop)
}

/// Writes apt's source lines for `suite`, from the mirrors that this machine already uses.
fn sources_of(suite: &str) -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    for entry in fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
    {
        files.push(entry.path());
    }
    let mut addresses: Vec<String> = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(str::split_whitespace);
        addresses.extend(words.filter(|word| word.contains("://")).map(str::to_owned));
    }
    let ending = |end: &str| {
        let mut found = addresses
            .iter()
            .map(|address| address.trim_end_matches('/'));
        found
            .find(|address| address.ends_with(end))
            .map(str::to_owned)
    };
    let mirror =
        ending("/debian").ok_or_else(|| Failure::new("apt's sources name no Debian mirror"))?;
    let signed = if Path::new(KEYRING).is_file() {
        format!("[signed-by={KEYRING}] ")
    } else {
        String::new()
    };
    let mut text = format!("deb {signed}{mirror} {suite} main\n");
    if suite == machine_suite()? {
        text += &format!("deb {signed}{mirror} {suite}-updates main\n");
        if let Some(security) = ending("/debian-security") {
            text += &format!("deb {signed}{security} {suite}-security main\n");
        }
    }
    Ok(text)
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| Failure::at(folder, &error))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return Err(Failure::new(format!("no packages in {}", folder.display())));
    }
    Ok(found)
}

/// Writes down what was unpacked: `name version` per line, the suite and the kernel first.
pub(super) fn record(suite: &str, userland: &[PathBuf], kernel: &[PathBuf]) -> Result<String> {
    let field = |package: &Path, name: &str| {
        let mut command = Command::new("dpkg-deb");
        output(command.arg("--field").arg(package).arg(name)).map(|text| text.trim().to_owned())
    };
    let mut text = format!("suite {suite}\n");
    if let Some(package) = kernel.last() {
        text += &format!("linux {}\n", field(package, "Version")?);
    }
    for package in userland {
        text += &format!(
            "{} {}\n",
            field(package, "Package")?,
            field(package, "Version")?
        );
    }
    Ok(text)
}
