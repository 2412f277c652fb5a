//! `twinroute journal`: looks into a journal that nobody has open, and repairs it.

use super::exit::ExitReason;
use crate::auditing;
use crate::cli::output;
use crate::config::LoadedConfig;
use crate::keys;
use anyhow::Context as _;
use clap::Subcommand;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use twinroute_audit::AuditedChange;
use twinroute_journal::EventSealing;
use twinroute_journal::storage::FolderStorage;
use twinroute_model::clock::SystemClock;

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Reads all of it and says what is in it and what is wrong with it.
    Verify {
        /// The journal's folder.
        path: PathBuf,
        /// The configuration of the twinroute whose journal it is, for the key that sealed events are opened with.
        #[arg(long)]
        config: Option<PathBuf>,
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
        /// As for `verify`; the repair is recorded in its audit log.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

pub(super) fn run(look: &JournalCommand) -> anyhow::Result<ExitCode> {
    let report = match look {
        JournalCommand::Verify { path, config } => {
            let report = twinroute_journal::verify(path, &sealing(path, config.as_deref())?)?;
            output::line(&report)?;
            report
        }
        JournalCommand::Dump { path } => {
            let mut out = BufWriter::new(output::stream());
            let report = twinroute_journal::dump(path, &mut out)?;
            out.flush()?;
            report
        }
        JournalCommand::Repair { path, config } => {
            let sealing = sealing(path, config.as_deref())?;
            if let Some(config) = config {
                let audit = auditing::open(&LoadedConfig::read(config)?)?;
                let repair = AuditedChange::step("journal/repair", path.display().to_string());
                audit.accept(&auditing::author(), &[repair])?;
            }
            let folder =
                FolderStorage::existing(path).with_context(|| path.display().to_string())?;
            // A repair goes on to its end when nobody reads about it any more.
            let mut out = output::PatientStream::new();
            twinroute_journal::repair(Arc::new(folder), Arc::new(SystemClock), &sealing, &mut out)?;
            out.finish()?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ExitReason::Configuration.code())
    })
}

/// What opens sealed events, if a configuration is named.
fn sealing(folder: &Path, config: Option<&Path>) -> anyhow::Result<EventSealing> {
    match config {
        None => Ok(EventSealing::Off),
        Some(config) => keys::sealing(&LoadedConfig::read(config)?, folder),
    }
}
