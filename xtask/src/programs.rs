//! The programs that chores start, built beside this one.

use anyhow::{Context as _, bail, ensure};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of built programs: where this one lies.
///
/// # Errors
/// The system does not tell.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent();
    Ok(folder.context("this program lies in no folder")?.to_owned())
}

/// Builds `twinroute` and some examples, with the features of `cargo test --workspace`, so that the two
/// share what is compiled. The folder's name says the profile.
///
/// # Errors
/// Cargo does not run, or the build fails.
pub(crate) fn build(folder: &Path, examples: &[&str]) -> anyhow::Result<()> {
    let mut cargo = cargo(folder);
    cargo.args(["--workspace", "--bin", "twinroute"]);
    if folder.ends_with("dist") {
        // As packages have it.
        cargo.args(["--features", "twinrouted/jemalloc"]);
    }
    for example in examples {
        cargo.args(["--example", example]);
    }
    succeed(cargo)
}

/// Builds one example and nothing that it does not need.
///
/// # Errors
/// Those of [`build`].
pub(crate) fn build_example(folder: &Path, package: &str, example: &str) -> anyhow::Result<()> {
    let mut cargo = cargo(folder);
    cargo.args(["--package", package, "--example", example]);
    succeed(cargo)
}

/// `cargo build` with the profile that a folder is named after.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet"]);
    // What `cargo run` says of this package would make build scripts of others run again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|of| name.to_string_lossy().starts_with(of))
        {
            cargo.env_remove(name);
        }
    }
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            cargo.args(["--profile", profile]);
        }
    }
    cargo
}

fn succeed(mut cargo: Command) -> anyhow::Result<()> {
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

/// A folder that one run at a time has for itself; free again when this is dropped.
pub(crate) struct FolderLock {
    pub(crate) folder: PathBuf,
    _lock: File,
}

/// Empties the folder `name` beside that of the programs, for a run that nobody shares it with: two would
/// send their events to each other's receivers.
///
/// # Errors
/// Another run has it, or it cannot be emptied.
pub(crate) fn alone(programs: &Path, name: &str) -> anyhow::Result<FolderLock> {
    let folder = programs.with_file_name(name);
    let path = folder.with_extension("lock");
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let lock = File::create(&path).with_context(|| path.display().to_string())?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "another run is going in {}; wait for its end",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| path.display().to_string());
        }
    }
    // What an earlier run left.
    if folder.exists() {
        let emptied = std::fs::remove_dir_all(&folder);
        emptied.with_context(|| folder.display().to_string())?;
    }
    Ok(FolderLock {
        folder,
        _lock: lock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_run_at_a_time_and_empty_for_each() {
        let place = tempfile::tempdir().unwrap();
        let programs = place.path().join("debug");
        let first = alone(&programs, "rotate").unwrap();
        std::fs::create_dir_all(first.folder.join("data")).unwrap();
        let second = alone(&programs, "rotate").err().unwrap().to_string();
        assert!(second.starts_with("another run is going in "), "{second}");
        assert!(first.folder.join("data").exists());
        let other = alone(&programs, "crash/7").unwrap();
        assert_ne!(other.folder, first.folder);
        drop(first);
        let third = alone(&programs, "rotate").unwrap();
        assert!(!third.folder.exists());
    }
}
