//! `twinroute man`: manual pages, made of what the commands say of themselves.

use crate::cli::output;
use anyhow::Context as _;
use clap::Command;
use std::path::Path;
use std::process::ExitCode;

/// Prints the page of the command itself, or writes those of all commands into a folder.
pub(super) fn run(folder: Option<&Path>, command: Command) -> anyhow::Result<ExitCode> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::print(String::from_utf8_lossy(&page))?;
        return Ok(ExitCode::SUCCESS);
    };
    let name = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {name}"))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write manual pages into {name}"))?;
    output::line(format_args!(
        "{name}: written; read them with `man -M` or copy them to man1"
    ))?;
    Ok(ExitCode::SUCCESS)
}
