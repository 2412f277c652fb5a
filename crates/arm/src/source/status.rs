//! How a source of definitions goes, for `status` and the log.

use super::super::error::Error;
use super::snapshot::DefinitionsSnapshot;
use serde::Serialize;
use twinroute_model::clock::Timestamp;

/// Of endpoints that wait and of warnings this many are shown, beside their count.
const SHOWN_MAX: usize = 100;

/// How a source goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AzureStatus {
    /// Seconds since the definitions were last seen to be current.
    pub age_seconds: Option<u64>,
    /// When that was (RFC 3339); from an earlier process where they come from the saved file.
    pub last_success: Option<Timestamp>,
    /// Why the last read failed; `None` when it did not.
    pub last_error: Option<String>,
    /// Reads that failed since the last good one.
    pub failures: u32,
    /// The snapshot's; 0 before the first.
    pub generation: u64,
    /// The snapshot's.
    pub hash: Option<String>,
    /// Whether no poll of this process has been good yet, so that the saved definitions are used.
    pub from_saved_file: bool,
    /// Why the saved file could not be read or written.
    pub saved_problem: Option<String>,
    /// How many endpoints wait.
    pub waiting_count: usize,
    /// The first of them, and for what they wait.
    pub waiting: Vec<String>,
    /// How many warnings there are.
    pub warning_count: usize,
    /// The first of them.
    pub warnings: Vec<String>,
}

/// What is counted and remembered of polls.
#[derive(Debug, Default)]
pub(super) struct PollProgress {
    last_success: Option<Timestamp>,
    last_error: Option<String>,
    failures: u32,
    from_saved_file: bool,
    pub(super) saved_problem: Option<String>,
}

impl PollProgress {
    pub(super) fn loaded(&mut self, at: Option<Timestamp>) {
        self.last_success = at;
        self.from_saved_file = true;
    }

    pub(super) fn succeeded(&mut self, now: Timestamp) {
        if self.failures > 0 {
            tracing::info!(
                failures = self.failures,
                "definitions are read from Azure again"
            );
        }
        self.last_success = Some(now);
        self.last_error = None;
        self.failures = 0;
        self.from_saved_file = false;
    }

    pub(super) fn failed(&mut self, error: &Error, now: Timestamp) {
        let text = error.to_string();
        self.failures = self.failures.saturating_add(1);
        // Changes are logged, not repetitions; request ids differ each time.
        let kind = |text: &str| {
            text.split(" (request ")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let known = self.last_error.as_deref().map(kind);
        if known != Some(kind(&text)) {
            let age_seconds = self.last_success.map(|at| now.since(at).as_secs());
            tracing::warn!(
                error = text,
                age_seconds,
                "definitions could not be read from Azure; the last ones stay in use"
            );
        }
        self.last_error = Some(text);
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn show(
        &self,
        current: Option<&DefinitionsSnapshot>,
        now: Timestamp,
    ) -> AzureStatus {
        let view = |faults: &[twinroute_router::source::DefinitionFault]| {
            let faults = faults.iter().take(SHOWN_MAX);
            faults.map(ToString::to_string).collect::<Vec<_>>()
        };
        let empty = [].as_slice();
        let waiting = current.map_or(empty, |current| &current.waiting);
        let warnings = current.map_or(empty, |current| &current.warnings);
        AzureStatus {
            age_seconds: self.last_success.map(|at| now.since(at).as_secs()),
            last_success: self.last_success,
            last_error: self.last_error.clone(),
            failures: self.failures,
            generation: current.map_or(0, |current| current.generation),
            hash: current.map(|current| current.hash.clone()),
            from_saved_file: self.from_saved_file,
            saved_problem: self.saved_problem.clone(),
            waiting_count: waiting.len(),
            waiting: view(waiting),
            warning_count: warnings.len(),
            warnings: view(warnings),
        }
    }
}
