//! The audit log: which changes were asked for over the management and the admin API, by whom, and what became
//! of them.
//!
//! A folder of files of JSON lines, one entry a line, to which is only added. Each line ends with the hash of the
//! line before and with its own, so that a line that was changed or taken out is seen. An entry is on disk before
//! the change is made: what was answered is in the log, and what cannot be recorded is not done. No secret is in it:
//! whoever notes a change gives it as reads show it.
//!
//! Layout: `audit-00000001.jsonl` and so on, `head` with number and hash of the last entry, by which a missing end
//! is seen, and `lock`. A line is an [`AuditEntry`] as JSON, followed by `"previous"` and `"hash"`; the hash is SHA-256,
//! in hexadecimal, over the line's bytes before `,"hash":`, which hold that of the line before. The first has
//! zeros in its place.

mod entry;
mod file;
mod log;
mod read;
mod refusals;
mod settings;

use self::log::AuditWriter;
use self::refusals::RefusalCounts;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use twinroute_model::clock::{Clock, Timestamp};

pub use self::entry::{
    AuditEntry, AuditedCaller, AuditedChange, CallerProof, ChangeAuthor, ChangeOutcome,
};
pub use self::log::AuditError;
pub use self::read::{AuditFinding, AuditReader, AuditReport, read, verify};
pub use self::settings::AuditSettings;

/// The log of a process. Cheap to clone.
#[derive(Clone, Default)]
pub struct AuditLog(Option<Arc<OpenLog>>);

struct OpenLog {
    log: Mutex<AuditWriter>,
    refusals: Mutex<RefusalCounts>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Audit");
        debug.field("on", &self.0.is_some()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Notes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the log in `folder`, which is made with mode 0700 where there is none; one process at a time has it.
    /// A last line that a crash tore is cut off, and an entry says so. Blocks on the disk.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(
        folder: &Path,
        settings: &AuditSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        let log = AuditWriter::open(folder, settings, clock.now())?;
        Ok(Self(Some(Arc::new(OpenLog {
            log: Mutex::new(log),
            refusals: Mutex::default(),
            clock,
        }))))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes changes that are to be made now: they are on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// [`AuditError`]; then none is recorded, and none may be made.
    pub fn accept(
        &self,
        author: &ChangeAuthor,
        changes: &[AuditedChange],
    ) -> Result<(), AuditError> {
        let Some(open) = &self.0 else {
            return Ok(());
        };
        let now = open.clock.now();
        let entries = changes
            .iter()
            .map(|change| AuditEntry::accepted(author, change, now));
        open.log().append(entries.collect(), now)
    }

    /// As [`Self::accept`], away from the threads that serve requests. Dropping the future may leave it recorded or
    /// not.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub async fn accept_one(
        &self,
        author: &ChangeAuthor,
        change: AuditedChange,
    ) -> Result<(), AuditError> {
        if self.0.is_none() {
            return Ok(());
        }
        let (audit, author) = (self.clone(), author.clone());
        let recorded = tokio::task::spawn_blocking(move || audit.accept(&author, &[change]));
        recorded.await.unwrap_or(Err(AuditError::Interrupted))
    }

    /// Records that changes, recorded as accepted, were not made after all. What cannot be recorded is logged.
    pub fn failed(&self, author: &ChangeAuthor, changes: &[AuditedChange], code: &str) {
        let Some(open) = &self.0 else {
            return;
        };
        let now = open.clock.now();
        let entries = changes.iter().map(|change| AuditEntry {
            outcome: ChangeOutcome::Failed,
            code: code.to_owned(),
            before: None,
            after: None,
            ..AuditEntry::accepted(author, change, now)
        });
        report(open.log().append(entries.collect(), now));
    }

    /// Notes a change that was refused: at most 60 a minute of callers who may make changes, and 60 of others; the
    /// next that is recorded tells how many were not. What cannot be recorded is logged: nothing was done.
    ///
    /// Returns at once; a crash may lose it.
    pub fn refuse(&self, author: &ChangeAuthor, change: &AuditedChange, status: u16, code: &str) {
        let Some(open) = &self.0 else {
            return;
        };
        let now = open.clock.now();
        let Some(unnoted) = open.refusals().admit(status, now) else {
            return;
        };
        let entry = AuditEntry {
            outcome: ChangeOutcome::Refused,
            status: Some(status),
            code: code.to_owned(),
            unnoted,
            ..AuditEntry::accepted(author, change, now)
        };
        let audit = self.clone();
        let write = move || audit.append_unsynced(entry, now);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    fn append_unsynced(&self, entry: AuditEntry, now: Timestamp) {
        if let Some(open) = &self.0 {
            report(open.log().append_unsynced(entry, now));
        }
    }
}

impl OpenLog {
    fn log(&self) -> MutexGuard<'_, AuditWriter> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, RefusalCounts> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(recorded: Result<(), AuditError>) {
    if let Err(error) = recorded {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "the audit log lacks an entry");
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
