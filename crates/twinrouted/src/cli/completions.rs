//! `twinroute completions`: for `source <(twinroute completions bash)` and its like.

use super::output;
use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use std::process::ExitCode;

pub(super) fn run(shell: Shell, command: &mut Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "twinroute", &mut script);
    output::print(String::from_utf8(script).context("the script")?)?;
    Ok(ExitCode::SUCCESS)
}
