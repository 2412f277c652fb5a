//! `twinroute journal`: looks into a journal that nobody has open. Changes nothing.

use super::EX_CONFIG;
use anyhow::Context as _;
use clap::Subcommand;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use twinroute_retry::journal;

#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// Reads all of it and says what is in it and what is wrong with it.
    Verify {
        /// The journal's folder.
        path: PathBuf,
    },
    /// Prints every record, one a line.
    Dump {
        /// The journal's folder.
        path: PathBuf,
    },
}

pub(super) fn run(look: &Look) -> anyhow::Result<ExitCode> {
    let report = match look {
        Look::Verify { path } => {
            let report = journal::verify(path)?;
            println!("{report}");
            report
        }
        Look::Dump { path } => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let report = journal::dump(path, &mut out)?;
            out.flush().context("standard output")?;
            report
        }
    };
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EX_CONFIG)
    })
}
