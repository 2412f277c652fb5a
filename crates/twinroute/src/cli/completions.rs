//! `twinroute completions`: for `source <(twinroute completions bash)` and its like.

use super::{Arguments, output};
use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::process::ExitCode;

pub(super) fn run(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "twinroute", &mut script);
    output::print(String::from_utf8(script).context("the script")?)?;
    Ok(ExitCode::SUCCESS)
}
