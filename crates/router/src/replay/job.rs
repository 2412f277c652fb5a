//! A replay: what was asked for, how far it is.

use super::notes::ReplayNotes;
use crate::dead_letters::{DeadLetterQuery, DeadLetterQueryText};
use crate::history::HistoryQueryText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, spawn_blocking};

/// What is to be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayRequest {
    /// Which dead letters.
    pub query: DeadLetterQueryText,
    /// Those with these sequences only; all that `query` wants when empty. At most 10,000.
    pub sequences: Vec<u64>,
    /// Read them from the endpoint's container instead of those kept here: names that begin with this.
    /// Twinroute and Azure Digital Twins write below `<endpoint>/`.
    pub container_prefix: Option<String>,
    /// Events of the history instead of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryReplay>,
    /// Events a second, at most: 0.1 to 10,000.
    pub per_second: f64,
    /// No more than so many.
    pub most: Option<u64>,
}

impl Default for ReplayRequest {
    fn default() -> Self {
        Self {
            query: DeadLetterQueryText::default(),
            sequences: Vec::new(),
            container_prefix: None,
            history: None,
            per_second: 100.0,
            most: None,
        }
    }
}

/// Which events of the history, and where they go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryReplay {
    /// Deliveries that came to their end; with `to`, all events.
    pub query: HistoryQueryText,
    /// To this endpoint (`endpoint`, or `instance/endpoint`), each event once; to those that they went to when empty.
    pub to: String,
}

impl HistoryReplay {
    /// The endpoints that it is for, as a query of dead letters names them.
    fn endpoints(&self) -> Result<DeadLetterQuery, String> {
        let (instance, endpoint) = match self.to.split_once('/') {
            Some((instance, endpoint)) => (instance, endpoint),
            None if self.to.is_empty() => (&*self.query.instance, &*self.query.endpoint),
            None => (&*self.query.instance, &*self.to),
        };
        let text = DeadLetterQueryText {
            instance: instance.to_owned(),
            endpoint: endpoint.to_owned(),
            ..DeadLetterQueryText::default()
        };
        text.parse()
    }
}

impl ReplayRequest {
    /// Checks it.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn check(&self) -> Result<DeadLetterQuery, String> {
        if !(0.1..=10_000.0).contains(&self.per_second) {
            return Err("per_second must be 0.1 to 10000".to_owned());
        }
        if self.sequences.len() > 10_000 {
            return Err("sequences: at most 10000".to_owned());
        }
        if let Some(history) = &self.history {
            let is_mixed = self.container_prefix.is_some()
                || !self.sequences.is_empty()
                || self.query != DeadLetterQueryText::default();
            if is_mixed {
                return Err("history: leave query, sequences and container_prefix out".to_owned());
            }
            history.query.clone().parse()?;
            return history.endpoints();
        }
        let query = self.query.parse()?;
        if !self.sequences.is_empty() && query.endpoint.is_none() {
            return Err("sequences: name the endpoint too".to_owned());
        }
        if self.container_prefix.is_some() && query.endpoint.is_none() {
            return Err("container_prefix: name the endpoint too".to_owned());
        }
        if self.container_prefix.is_some() && !self.sequences.is_empty() {
            return Err("sequences: dead letters in a container have none".to_owned());
        }
        Ok(query)
    }
}

/// Where a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReplayState {
    /// It puts dead letters back.
    #[default]
    Running,
    /// It waits for an endpoint that takes nothing.
    Waiting,
    /// All that was asked for was put back.
    Done,
    /// It stopped itself; `reason` says why.
    Stopped,
    /// Somebody ended it.
    Cancelled,
}

impl ReplayState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
        }
    }

    const fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }
}

/// How a replay goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplayStatus {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub state: ReplayState,
    /// Why it waits, or why it stopped; empty else.
    pub reason: String,
    /// What was asked for.
    pub request: ReplayRequest,
    /// Dead letters that were put back as new deliveries.
    pub replayed: u64,
    /// Of those, what arrived.
    pub delivered: u64,
    /// Of those, what became a dead letter again.
    pub dead_lettered: u64,
    /// Of those, what was discarded.
    pub discarded: u64,
    /// Dead letters that were skipped: busy, unreadable or gone.
    // Notes of earlier builds name it `passed_over`.
    #[serde(alias = "passed_over")]
    pub skipped: u64,
    /// The container's name that was put back last, by endpoint (`instance/endpoint`).
    pub container_names: BTreeMap<String, String>,
    /// Where it is in the history, by endpoint (`instance/endpoint`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history_places: BTreeMap<String, String>,
    /// Events of the history from this sequence on came after it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_end: Option<u64>,
}

/// A replay and who may change it.
pub(super) struct ReplayJob {
    pub(super) number: u64,
    progress: Mutex<ReplayStatus>,
    cancelled: Notify,
    /// Whether its course is over, for whatever reason.
    over: watch::Sender<bool>,
    notes: Option<ReplayNotes>,
    task: OnceLock<AbortHandle>,
}

impl ReplayJob {
    pub(super) fn new(number: u64, request: ReplayRequest, notes: Option<ReplayNotes>) -> Self {
        let progress = ReplayStatus {
            number,
            request,
            ..ReplayStatus::default()
        };
        Self::of(progress, notes)
    }

    /// One that was under way when it was recorded.
    pub(super) fn resumed(
        number: u64,
        note: &str,
        notes: ReplayNotes,
    ) -> Option<(Self, DeadLetterQuery)> {
        let progress: ReplayStatus = serde_json::from_str(note).ok()?;
        let query = progress.request.check().ok()?;
        let job = Self::of(ReplayStatus { number, ..progress }, Some(notes));
        Some((job, query))
    }

    fn of(progress: ReplayStatus, notes: Option<ReplayNotes>) -> Self {
        Self {
            number: progress.number,
            progress: Mutex::new(progress),
            cancelled: Notify::new(),
            over: watch::Sender::new(false),
            notes,
            task: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReplayStatus> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> ReplayStatus {
        self.lock().clone()
    }

    pub(super) fn is_running(&self) -> bool {
        self.lock().state.is_running()
    }

    /// Changes what it shows.
    pub(super) fn update(&self, change: impl FnOnce(&mut ReplayStatus)) {
        change(&mut self.lock());
    }

    /// Says that it waits, or that it goes on (no reason). One that has ended does neither: its course may take another
    /// step before it hears that it was cancelled.
    pub(super) fn wait(&self, reason: &str) {
        let mut progress = self.lock();
        if !progress.state.is_running() {
            return;
        }
        progress.state = if reason.is_empty() {
            ReplayState::Running
        } else {
            ReplayState::Waiting
        };
        reason.clone_into(&mut progress.reason);
    }

    /// Ends it; the first end counts.
    pub(super) fn end(&self, state: ReplayState, reason: &str) {
        let mut progress = self.lock();
        if !progress.state.is_running() {
            return;
        }
        progress.state = state;
        reason.clone_into(&mut progress.reason);
    }

    pub(super) fn cancel(&self) {
        self.end(ReplayState::Cancelled, "");
        self.cancelled.notify_one();
    }

    /// Its course runs as this task.
    pub(super) fn runs_as(&self, task: AbortHandle) {
        drop(self.task.set(task));
    }

    /// Ends its course where it is.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Resolves when it was cancelled.
    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// Its course is over: whoever waits for that may go on.
    pub(super) fn set_over(&self) {
        self.over.send_replace(true);
    }

    /// Resolves when its course is over.
    pub(super) async fn until_over(&self) {
        let mut over = self.over.subscribe();
        // The sender is this job's own, so this ends only with that word.
        drop(over.wait_for(|over| *over).await);
    }

    /// Notes how far it is; nothing is left of the note of one that has ended.
    pub(super) async fn note(self: &Arc<Self>) -> io::Result<()> {
        let Some(notes) = self.notes.clone() else {
            return Ok(());
        };
        let job = Arc::clone(self);
        let writing = spawn_blocking(move || {
            if !job.is_running() {
                return notes.remove(job.number);
            }
            let note = serde_json::to_string(&job.status()).map_err(io::Error::other)?;
            notes.write(job.number, &note)
        });
        writing.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_replay_stays_cancelled_whatever_its_course_still_says() {
        let job = ReplayJob::new(1, ReplayRequest::default(), None);
        job.wait("the endpoint is unavailable");
        assert_eq!(job.status().state, ReplayState::Waiting);
        job.cancel();
        for _ in 0..2 {
            job.wait("");
            job.wait("the endpoint is unavailable");
            job.end(ReplayState::Done, "");
            let status = job.status();
            assert_eq!(
                (status.state, &*status.reason),
                (ReplayState::Cancelled, "")
            );
        }
    }

    #[test]
    fn a_replay_that_an_earlier_build_kept_is_read() {
        let status = ReplayStatus {
            skipped: 3,
            ..ReplayStatus::default()
        };
        let now = serde_json::to_string(&status).unwrap();
        let before = now.replace("skipped", "passed_over");
        assert_ne!(before, now);
        let read: ReplayStatus = serde_json::from_str(&before).unwrap();
        assert_eq!(read, status);
    }
}
