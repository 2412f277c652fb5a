//! `cargo xtask crash`: builds the router and the crash oracle, and lets the one judge the other.

use crate::programs;
use anyhow::Context as _;
use clap::Args;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const KILLS: u64 = 200;
const SECONDS_MAX: u64 = 300;

/// What a run is to be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CrashOptions {
    /// How often the router is killed
    #[arg(long, value_name = "N", default_value_t = KILLS)]
    kills: u64,
    /// What is posted, what fails and when it is killed: another one each time when it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// After so many seconds no more kills come
    #[arg(long, value_name = "N", default_value_t = SECONDS_MAX)]
    seconds_max: u64,
}

/// Makes a run; true when no promise was broken. After a broken one what the router left stays in
/// `crash/SEED` in the target folder.
pub(super) fn run(options: &CrashOptions) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    programs::build(&programs, &["crash"])?;
    let seed = options.seed.unwrap_or_else(any_seed);
    let alone = programs::alone(&programs, &format!("crash/{seed}"))?;
    let status = oracle(&programs.join("examples/crash"))
        .arg(programs.join("twinroute"))
        .arg(&alone.folder)
        .args([seed, options.kills, options.seconds_max].map(|number| number.to_string()))
        .status()
        .context("cannot run the crash oracle")?;
    if !status.success() {
        println!(
            "again with: cargo xtask crash --seed {seed} --kills {}",
            options.kills
        );
    }
    Ok(status.success())
}

/// The crash oracle, where possible with mounts of its own: one trial has a disk of a few megabytes.
fn oracle(program: &Path) -> Command {
    let unshare = ["-Urm", "true"];
    let probe = Command::new("unshare").args(unshare).status();
    if probe.is_ok_and(|status| status.success()) {
        let mut command = Command::new("unshare");
        command.arg("-Urm").arg(program);
        command.env("TWINROUTE_CRASH_PRIVATE_MOUNTS", "1");
        return command;
    }
    Command::new(program)
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is stored; any number will do"
)]
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()))
}
