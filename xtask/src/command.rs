//! Running programs, and finding the workspace.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Failure, Result};

/// Gives the workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A call of the cargo that runs this tool, in the workspace's root.
pub(crate) fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command with its output on ours; anything but success is a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("+ {}", describe(command));
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("{}: {error}", describe(command))))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{status}: {}", describe(command))))
    }
}

/// Runs a command and gives its standard output as text.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| Failure::new(format!("{}: {error}", describe(command))))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::new(format!(
            "{}: {}: {}",
            output.status,
            describe(command),
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

/// Writes a command down as one would type it.
fn describe(command: &Command) -> String {
    let name = |text: &OsStr| text.to_string_lossy().into_owned();
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}='{}'", name(key), name(value?))))
        .collect();
    let program = Path::new(command.get_program());
    words.push(name(program.file_name().unwrap_or(program.as_os_str())));
    words.extend(command.get_args().map(name));
    words.join(" ")
}

/// Tells whether a program can be found.
pub(crate) fn has_program(name: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Failure::at(path, &error))
}
