//! `twinroute journal`: looks into a journal that nobody has open, and repairs it.

use super::EX_CONFIG;
use anyhow::Context as _;
use clap::Subcommand;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use twinroute_model::clock::SystemClock;
use twinroute_retry::journal;
use twinroute_retry::journal::storage::Folder;

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
    /// Saves damaged bytes to files, carries what is live forward, removes damaged segments.
    Repair {
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
        Look::Repair { path } => {
            let folder = Folder::existing(path).with_context(|| path.display().to_string())?;
            let mut out = std::io::stdout().lock();
            journal::repair(Arc::new(folder), Arc::new(SystemClock), &mut out)?;
            out.flush().context("standard output")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EX_CONFIG)
    })
}
