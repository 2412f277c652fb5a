//! The programs that chores start, built beside this one.

use anyhow::{Context as _, ensure};
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
/// share what is compiled.
///
/// # Errors
/// Cargo does not run, or the build fails.
pub(crate) fn build(folder: &Path, examples: &[&str]) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "twinroute"]);
    for example in examples {
        cargo.args(["--example", example]);
    }
    // What `cargo run` says of this package would make build scripts of others run again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|of| name.to_string_lossy().starts_with(of))
        {
            cargo.env_remove(name);
        }
    }
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}
