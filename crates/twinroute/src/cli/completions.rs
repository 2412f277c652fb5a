//! `twinroute completions`: for `source <(twinroute completions bash)` and its like.

use super::Arguments;
use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::Write as _;
use std::process::ExitCode;

pub(super) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "twinroute", &mut script);
    std::io::stdout()
        .write_all(&script)
        .context("standard output")?;
    Ok(ExitCode::SUCCESS)
}
