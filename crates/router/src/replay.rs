//! Replays: dead letters go back into the lanes of the endpoints that failed, as new deliveries.
//!
//! A replay takes its time: it keeps to a rate, has few deliveries open, waits for its endpoint and stops
//! when the failure persists. What it has done is noted, so that it goes on after a restart.

mod job;
mod run;

pub use job::{ReplayRequest, ReplayState, ReplayStatus};

use crate::router::Router;
use job::Job;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use twinroute_retry::replay::Notes;

/// Replays that are remembered after they have ended.
const ENDED_MAX: usize = 32;

/// Replays that may run at a time.
const RUNNING_MAX: usize = 8;

/// Why a replay was not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The request cannot be understood.
    #[error("{0}")]
    Request(String),
    /// There is no such endpoint.
    #[error("endpoint {0}: there is none of this name")]
    UnknownEndpoint(String),
    /// Enough are under way.
    #[error("{RUNNING_MAX} replays are under way; wait for one, or cancel it")]
    TooMany,
    /// It could not be noted.
    #[error("the replay cannot be noted on disk: {0}")]
    Note(String),
}

/// The replays of a router.
#[derive(Default)]
pub(crate) struct Replays {
    jobs: Mutex<BTreeMap<u64, Arc<Job>>>,
    notes: Option<Notes>,
}

impl Replays {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps notes in `folder`.
    pub(crate) fn noted(folder: PathBuf) -> io::Result<Self> {
        Ok(Self {
            jobs: Mutex::default(),
            notes: Some(Notes::create(folder)?),
        })
    }

    /// Notes how far those are that are under way, for the next start.
    pub(crate) async fn note_all(&self) {
        let running: Vec<_> = self.lock().values().cloned().collect();
        for job in running.iter().filter(|job| job.is_running()) {
            if let Err(error) = job.note().await {
                tracing::warn!(%error, replay = job.number, "the note of a replay is old");
            }
        }
    }

    /// Ends what runs; their notes stay, so that they go on after the next start.
    pub(crate) fn abort_all(&self) {
        self.lock().values().for_each(|job| job.abort());
    }

    /// Adds a job under a new number, unless there are enough.
    fn add(&self, request: ReplayRequest) -> Result<Arc<Job>, ReplayError> {
        let mut jobs = self.lock();
        let running = jobs.values().filter(|job| job.is_running()).count();
        if running >= RUNNING_MAX {
            return Err(ReplayError::TooMany);
        }
        let number = jobs.keys().next_back().map_or(1, |last| last + 1);
        let job = Arc::new(Job::new(number, request, self.notes.clone()));
        jobs.insert(number, Arc::clone(&job));
        let ended = jobs.values().filter(|job| !job.is_running());
        let ended: Vec<u64> = ended.map(|job| job.number).collect();
        let surplus = ended.len().saturating_sub(ENDED_MAX);
        for number in &ended[..surplus] {
            jobs.remove(number);
        }
        Ok(job)
    }
}

impl Router {
    /// Begins to replay dead letters; see [`Self::replays`] for how it goes.
    ///
    /// # Errors
    /// Why it was not begun.
    pub async fn replay(&self, request: ReplayRequest) -> Result<ReplayStatus, ReplayError> {
        let query = request.check().map_err(ReplayError::Request)?;
        if let Some(endpoint) = &query.endpoint
            && self.lanes_of(&query, None).is_empty()
        {
            let instance = query.instance.as_ref().map(|name| format!("{name}/"));
            let name = format!("{}{endpoint}", instance.unwrap_or_default());
            return Err(ReplayError::UnknownEndpoint(name));
        }
        let job = self.replay_jobs().add(request)?;
        if let Err(error) = job.note().await {
            job.end(ReplayState::Stopped, "it could not be noted");
            return Err(ReplayError::Note(error.to_string()));
        }
        let course = run::run(self.for_task(), Arc::clone(&job), query);
        job.runs_as(tokio::spawn(course).abort_handle());
        Ok(job.status())
    }

    /// Replays that are under way, and the last that have ended; oldest first.
    #[must_use]
    pub fn replays(&self) -> Vec<ReplayStatus> {
        let jobs = self.replay_jobs().lock();
        jobs.values().map(|job| job.status()).collect()
    }

    /// Ends a replay; what it has put back stays. False when there is none of this number.
    #[must_use]
    pub fn cancel_replay(&self, number: u64) -> bool {
        let job = self.replay_jobs().lock().get(&number).cloned();
        job.map(|job| job.cancel()).is_some()
    }

    /// Goes on with what was under way when the process ended.
    pub(crate) fn resume_replays(&self) {
        let replays = self.replay_jobs();
        let Some(notes) = &replays.notes else { return };
        let read = notes.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the notes of replays cannot be read; they do not go on");
            Vec::new()
        });
        for (number, note) in read {
            let Some((job, query)) = Job::resumed(number, &note, notes.clone()) else {
                tracing::error!(replay = number, "the note of a replay makes no sense");
                continue;
            };
            tracing::info!(replay = number, "a replay goes on");
            let job = Arc::new(job);
            replays.lock().insert(number, Arc::clone(&job));
            let course = run::run(self.for_task(), Arc::clone(&job), query);
            job.runs_as(tokio::spawn(course).abort_handle());
        }
    }
}
