//! `cargo xtask rotate`: builds the router and the run that rotates keys under load, and lets the one judge
//! the other.

use crate::programs;
use anyhow::Context as _;
use clap::{Args, value_parser};
use std::process::Command;

const SECONDS: u64 = 60;
const EVERY_SECONDS: u64 = 5;

/// What a run is to be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RotateOptions {
    /// For how many seconds
    #[arg(long, value_name = "N", default_value_t = SECONDS, value_parser = value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds between two rotations
    #[arg(
        long = "every",
        value_name = "N",
        default_value_t = EVERY_SECONDS,
        value_parser = value_parser!(u64).range(1..)
    )]
    every_seconds: u64,
}

/// Makes a run; true when every event arrived. After a violation what the router left stays below `rotate`
/// in the target folder.
pub(super) fn run(options: &RotateOptions) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    programs::build(&programs, &["rotate"])?;
    let alone = programs::alone(&programs, "rotate")?;
    let status = Command::new(programs.join("examples/rotate"))
        .arg(programs.join("twinroute"))
        .arg(&alone.folder)
        .args([options.seconds, options.every_seconds].map(|number| number.to_string()))
        .status()
        .context("cannot run the rotations")?;
    Ok(status.success())
}
