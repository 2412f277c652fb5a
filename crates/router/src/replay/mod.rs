//! Replays: dead letters go back into the lanes of the endpoints that failed, as new deliveries.
//!
//! A replay takes its time: it keeps to a rate, has few deliveries open, waits for its endpoint and stops
//! when the failure persists. What it has done is recorded, so that it goes on after a restart.

mod history;
mod job;
mod notes;
mod run;

pub use job::{HistoryReplay, ReplayRequest, ReplayState, ReplayStatus};
pub(crate) use notes::ReplayNotes;

use crate::accept::JournalAppender;
use crate::dead_letters::{DeadLetterQuery, lanes_of};
use crate::history::EventHistory;
use crate::table::LiveTable;
use crate::user_code::EventHooks;
use job::ReplayJob;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Replays that are remembered after they have ended.
const ENDED_MAX: usize = 32;

/// Replays that may run at a time.
const RUNNING_MAX: usize = 8;

/// Why a replay was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The request cannot be understood.
    #[error("{0}")]
    Request(String),
    /// There is no such endpoint.
    #[error("endpoint {0}: not found")]
    UnknownEndpoint(String),
    /// Enough are under way.
    #[error("{RUNNING_MAX} replays are under way; wait for one, or cancel it")]
    TooMany,
    /// It could not be recorded.
    #[error("the replay cannot be recorded on disk: {0}")]
    Note(String),
}

/// The replays of a router.
pub(crate) struct ReplayJobs {
    live: Arc<LiveTable>,
    appender: Arc<JournalAppender>,
    jobs: Mutex<BTreeMap<u64, Arc<ReplayJob>>>,
    notes: Option<ReplayNotes>,
    /// What order is kept for.
    order: EventHooks,
    /// Where the journal is on disk.
    history: Option<EventHistory>,
}

impl ReplayJobs {
    /// None yet; what is recorded goes on with [`Self::resume`].
    pub(crate) fn new(
        live: Arc<LiveTable>,
        appender: Arc<JournalAppender>,
        notes: Option<ReplayNotes>,
        order: EventHooks,
        history: Option<EventHistory>,
    ) -> Self {
        Self {
            live,
            appender,
            jobs: Mutex::default(),
            notes,
            order,
            history,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ReplayJob>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far those are that are under way, for the next start.
    pub(crate) async fn note_all(&self) {
        let running: Vec<_> = self.lock().values().cloned().collect();
        for job in running.iter().filter(|job| job.is_running()) {
            if let Err(error) = job.note().await {
                tracing::warn!(%error, replay = job.number, "the record of a replay is outdated");
            }
        }
    }

    /// Ends what runs; their notes stay, so that they go on after the next start.
    pub(crate) fn abort_all(&self) {
        self.lock().values().for_each(|job| job.abort());
    }

    /// Adds a job under a new number, unless there are enough.
    fn add(&self, request: ReplayRequest) -> Result<Arc<ReplayJob>, ReplayError> {
        let mut jobs = self.lock();
        let running = jobs.values().filter(|job| job.is_running()).count();
        if running >= RUNNING_MAX {
            return Err(ReplayError::TooMany);
        }
        let number = jobs.keys().next_back().map_or(1, |last| last + 1);
        let job = Arc::new(ReplayJob::new(number, request, self.notes.clone()));
        jobs.insert(number, Arc::clone(&job));
        let ended = jobs.values().filter(|job| !job.is_running());
        let ended: Vec<u64> = ended.map(|job| job.number).collect();
        let surplus = ended.len().saturating_sub(ENDED_MAX);
        for number in &ended[..surplus] {
            jobs.remove(number);
        }
        Ok(job)
    }

    /// As [`Router::replay`](crate::Router::replay).
    pub(crate) async fn begin(&self, request: ReplayRequest) -> Result<ReplayStatus, ReplayError> {
        let query = request.check().map_err(ReplayError::Request)?;
        if let Some(endpoint) = &query.endpoint
            && lanes_of(self.live.lanes(), &query, None).is_empty()
        {
            let instance = query.instance.as_ref().map(|name| format!("{name}/"));
            let name = format!("{}{endpoint}", instance.unwrap_or_default());
            return Err(ReplayError::UnknownEndpoint(name));
        }
        if request.history.is_some() && self.history.is_none() {
            let reason = "history: the journal is in memory and keeps none; set [journal] path";
            return Err(ReplayError::Request(reason.to_owned()));
        }
        let is_past = request.history.is_some();
        let job = self.add(request)?;
        let end = is_past.then(|| self.appender.next_sequence());
        job.update(|progress| progress.history_end = end);
        if let Err(error) = job.note().await {
            job.end(ReplayState::Stopped, "it could not be recorded");
            return Err(ReplayError::Note(error.to_string()));
        }
        self.run(&job, query);
        Ok(job.status())
    }

    /// Those that are under way, and the last that have ended; oldest first.
    pub(crate) fn statuses(&self) -> Vec<ReplayStatus> {
        self.lock().values().map(|job| job.status()).collect()
    }

    /// Resolves when a replay is over, or left to the next start; at once for one that is not known.
    pub(crate) async fn until_over(&self, number: u64) {
        let job = self.lock().get(&number).cloned();
        if let Some(job) = job {
            job.until_over().await;
        }
    }

    /// Ends one; what it has put back stays. False when not found.
    pub(crate) fn cancel(&self, number: u64) -> bool {
        let job = self.lock().get(&number).cloned();
        job.map(|job| job.cancel()).is_some()
    }

    /// Goes on with what was under way when the process ended.
    pub(crate) fn resume(&self) {
        let Some(notes) = &self.notes else { return };
        let read = notes.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the records of replays cannot be read; the replays do not continue");
            Vec::new()
        });
        for (number, note) in read {
            let Some((job, query)) = ReplayJob::resumed(number, &note, notes.clone()) else {
                tracing::error!(replay = number, "the record of a replay is invalid");
                continue;
            };
            tracing::info!(replay = number, "a replay continues");
            let job = Arc::new(job);
            self.lock().insert(number, Arc::clone(&job));
            self.run(&job, query);
        }
    }

    fn run(&self, job: &Arc<ReplayJob>, query: DeadLetterQuery) {
        let (live, appender) = (Arc::clone(&self.live), Arc::clone(&self.appender));
        let means = run::ReplayMeans {
            live,
            appender,
            order: self.order.clone(),
            history: self.history.clone(),
        };
        let course = run::run(means, Arc::clone(job), query);
        let over = ReplayCourse(Arc::clone(job));
        let guarded = async move {
            let _over = over;
            course.await;
        };
        job.runs_as(tokio::spawn(guarded).abort_handle());
    }
}

/// The course of a replay. However it ends, those who wait for its end are notified.
struct ReplayCourse(Arc<ReplayJob>);

impl Drop for ReplayCourse {
    fn drop(&mut self) {
        self.0.set_over();
    }
}
