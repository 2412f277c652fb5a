//! The course of a replay.

use super::job::{ReplayJob, ReplayState};
use crate::accept::{AcceptError, JournalAppender, OnDisk};
use crate::dead_letters::{DeadLetterQuery, lanes_of, some_of};
use crate::delivery::{DeliveryTracker, Lane};
use crate::history::EventHistory;
use crate::sink::StoredLetter;
use crate::table::LiveTable;
use crate::unreadable_endpoint;
use crate::user_code::EventHooks;
use crate::user_code::UserStore;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use twinroute_model::event::Event;
use twinroute_retry::dead_letter::listing::ListingOrder;

/// Replayed deliveries that may be open at a time.
const OPEN_MAX: usize = 256;

/// So many in a row that become dead letters again end a replay.
const FAILURES_MAX: u64 = 5;

/// How long an endpoint may take nothing before a replay stops itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a replay waits for its turn.
const OVERLOADED: &str = "the router has more to do than it can";

/// How often an endpoint that takes nothing is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Dead letters examined in one go, and put back between two notes.
const CHUNK: usize = 100;

/// Why a replay does not go on with an endpoint.
pub(super) struct StopReason(pub(super) String);

/// What replays work with.
pub(super) struct ReplayMeans {
    pub(super) live: Arc<LiveTable>,
    pub(super) appender: Arc<JournalAppender>,
    /// What order is kept for.
    pub(super) order: EventHooks,
    pub(super) history: Option<EventHistory>,
}

/// Runs a replay to its end.
pub(super) async fn run(means: ReplayMeans, job: Arc<ReplayJob>, query: DeadLetterQuery) {
    let ReplayMeans {
        live,
        appender,
        order,
        history,
    } = means;
    let course = async {
        let mut stopped = Vec::new();
        for lane in lanes_of(live.lanes(), &query, None) {
            let mut course = LaneReplay::new((&appender, &order), &job, &lane);
            let request = job.status().request;
            let end = match (request.history, request.container_prefix) {
                (Some(wanted), _) => course.past(history.as_ref(), wanted).await,
                (None, None) => course.kept(&query).await,
                (None, Some(prefix)) => course.stored(&query, &prefix).await,
            };
            if let Err(StopReason(reason)) = end {
                stopped.push(format!(
                    "endpoint {}/{}: {reason}",
                    lane.instance, lane.name
                ));
            }
        }
        stopped
    };
    tokio::select! {
        stopped = course => {
            if appender.is_stopping() {
                // It goes on after the next start, from where its note says.
                return;
            }
            let state = if stopped.is_empty() { ReplayState::Done } else { ReplayState::Stopped };
            job.end(state, &stopped.join("; "));
        }
        () = job.cancelled() => {}
    }
    let status = job.status();
    tracing::info!(replay = job.number, state = ?status.state, replayed = status.replayed,
        reason = status.reason, "a replay has ended");
    if let Err(error) = job.note().await {
        tracing::warn!(%error, replay = job.number, "the record of a replay could not be removed");
    }
}

/// The replay of one endpoint's dead letters.
pub(super) struct LaneReplay<'a> {
    appender: &'a JournalAppender,
    /// What order is kept for.
    pub(super) order: &'a EventHooks,
    pub(super) job: &'a Arc<ReplayJob>,
    pub(super) lane: &'a Arc<Lane>,
    next_at: Instant,
    open: VecDeque<Arc<DeliveryTracker>>,
    failures: u64,
    since_note: usize,
}

impl<'a> LaneReplay<'a> {
    fn new(
        (appender, order): (&'a JournalAppender, &'a EventHooks),
        job: &'a Arc<ReplayJob>,
        lane: &'a Arc<Lane>,
    ) -> Self {
        Self {
            appender,
            order,
            job,
            lane,
            next_at: Instant::now(),
            open: VecDeque::new(),
            failures: 0,
            since_note: 0,
        }
    }

    /// Those that are kept here. What becomes a dead letter while this runs is not replayed once more.
    async fn kept(&mut self, query: &DeadLetterQuery) -> Result<(), StopReason> {
        let wanted = self.job.status().request.sequences;
        let end = self.appender.next_sequence();
        let mut after = 0;
        loop {
            let found = some_of(self.lane, query, after, CHUNK);
            after = found.last;
            for (sequence, dead) in found.letters {
                if sequence >= end {
                    return self.wait_for_all().await;
                }
                if !wanted.is_empty() && !wanted.contains(&sequence) {
                    continue;
                }
                let Ok(event) = self.lane.read_dead(sequence, &dead).await else {
                    self.job.update(|progress| progress.skipped += 1);
                    continue;
                };
                if !query.wants_event(&event) {
                    continue;
                }
                if self.is_enough() {
                    return self.wait_for_all().await;
                }
                self.make_room(event.size()).await?;
                // One that is on its way to its container is left to that.
                if self.lane.take_dead(sequence).is_none() {
                    self.job.update(|progress| progress.skipped += 1);
                    continue;
                }
                let event = (*event).clone();
                if let Err(stop) = self.put_back(Some(sequence), event, dead.twin).await {
                    self.lane.put_back_dead(sequence);
                    return Err(stop);
                }
            }
            if found.at_end {
                return self.wait_for_all().await;
            }
        }
    }

    /// Those that stand in the endpoint's container.
    async fn stored(&mut self, query: &DeadLetterQuery, prefix: &str) -> Result<(), StopReason> {
        let Some(store) = self.lane.store() else {
            return Err(StopReason("it has no container".to_owned()));
        };
        let label = format!("{}/{}", self.lane.instance, self.lane.name);
        // Names come in one order, so the last one done tells where to go on.
        let done = self.job.status().container_names.remove(&label);
        let mut marker: Option<String> = None;
        let mut order = ListingOrder::default();
        loop {
            let page = store.list(prefix, marker.as_deref()).await;
            let page = page.map_err(|fault| StopReason(fault.reason.to_string()))?;
            let names = page.names.iter().map(String::as_str);
            let checked = order.check(names, page.next.as_deref());
            checked.map_err(|fault| StopReason(fault.to_string()))?;
            for name in page.names {
                if done.as_ref().is_some_and(|done| name <= *done) {
                    continue;
                }
                if self.is_enough() {
                    return self.wait_for_all().await;
                }
                self.stored_one(&store, &name, query).await?;
                self.job.update(|progress| {
                    progress.container_names.insert(label.clone(), name);
                });
            }
            match page.next {
                Some(next) => marker = Some(next),
                None => return self.wait_for_all().await,
            }
        }
    }

    async fn stored_one(
        &mut self,
        store: &UserStore,
        name: &str,
        query: &DeadLetterQuery,
    ) -> Result<(), StopReason> {
        let letters = match store.read(name).await {
            Ok(letters) => letters,
            Err(fault) => {
                tracing::warn!(name, reason = %fault.reason, "a stored dead letter cannot be read");
                self.job.update(|progress| progress.skipped += 1);
                return Ok(());
            }
        };
        for StoredLetter { event, about } in letters {
            let wanted = match about {
                Some(about) => query.wants_about(&about),
                None => query.asks_nothing_about(),
            };
            if wanted && query.wants_event(&event) {
                self.make_room(event.size()).await?;
                let twin = self.order.order_key(&event);
                self.put_back(None, event, twin).await?;
            }
        }
        Ok(())
    }

    pub(super) fn is_enough(&self) -> bool {
        let status = self.job.status();
        status
            .request
            .most
            .is_some_and(|most| status.replayed >= most)
    }

    /// Waits until one more, of so many bytes, may be put back: by the rate, by what is open, by the endpoint's health,
    /// by what else the router has to do.
    pub(super) async fn make_room(&mut self, bytes: usize) -> Result<(), StopReason> {
        let pause = Duration::from_secs_f64(1.0 / self.job.status().request.per_second);
        // A rate that was not used up is not made up for.
        self.next_at = self.next_at.max(Instant::now());
        sleep_until(self.next_at).await;
        self.next_at += pause;
        self.look_back()?;
        self.wait_for_health().await?;
        while self.open.len() >= OPEN_MAX {
            let Some(oldest) = self.open.front() else {
                break;
            };
            // Its twin may be retrying for long; others need not wait for that for ever.
            if timeout(PATIENCE, oldest.all()).await.is_err() {
                return Err(StopReason("what was replayed is not delivered".to_owned()));
            }
            self.look_back()?;
        }
        self.wait_for_turn(bytes as u64).await
    }

    /// Waits for its turn among the producers, first come, first served.
    async fn wait_for_turn(&self, bytes: u64) -> Result<(), StopReason> {
        let turn = self.appender.admit_replay(self.lane, bytes, PATIENCE);
        let mut turn = pin!(turn);
        let admitted = match timeout(POLL_INTERVAL, turn.as_mut()).await {
            Ok(admitted) => admitted,
            Err(_) => {
                self.job.wait(OVERLOADED);
                let admitted = turn.await;
                self.job.wait("");
                admitted
            }
        };
        admitted.map_err(|error| match error {
            AcceptError::Overloaded { waited, .. } => StopReason(format!(
                "{OVERLOADED}: the replay waited {} s for its turn",
                waited.as_secs()
            )),
            error => StopReason(error.to_string()),
        })
    }

    /// Puts one back, and waits until that is on disk.
    pub(super) async fn put_back(
        &mut self,
        of: Option<u64>,
        event: Event,
        twin: u64,
    ) -> Result<(), StopReason> {
        let tracker = Arc::new(DeliveryTracker::default());
        tracker.expect(&self.lane.name, 1);
        let replayed = self
            .appender
            .append_replay(self.lane, of, event, twin, &tracker);
        let on_disk: Option<OnDisk> = replayed.map_err(|error| StopReason(error.to_string()))?;
        if let Some(on_disk) = on_disk {
            match on_disk.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(StopReason(error.to_string())),
                Err(_) => return Err(StopReason("twinroute is stopping".to_owned())),
            }
        }
        self.open.push_back(tracker);
        self.job.update(|progress| progress.replayed += 1);
        self.since_note += 1;
        if self.since_note >= CHUNK {
            self.since_note = 0;
            self.job
                .note()
                .await
                .map_err(|error| StopReason(error.to_string()))?;
        }
        Ok(())
    }

    /// Counts what has ended; an error when the failure persists.
    fn look_back(&mut self) -> Result<(), StopReason> {
        let (mut failures, job) = (self.failures, self.job);
        self.open.retain(|tracker| {
            let outcomes = tracker.outcomes();
            let sum = |count: fn(&crate::EndpointResult) -> u64| {
                outcomes.values().map(count).sum::<u64>()
            };
            let (delivered, dead) = (sum(|of| of.delivered), sum(|of| of.dead_lettered));
            let discarded = sum(|of| of.discarded);
            if delivered + dead + discarded == 0 {
                return true;
            }
            job.update(|progress| {
                progress.delivered += delivered;
                progress.dead_lettered += dead;
                progress.discarded += discarded;
            });
            failures = if delivered > 0 { 0 } else { failures + dead };
            false
        });
        self.failures = failures;
        // What cannot be read says nothing of what comes behind it.
        if failures < FAILURES_MAX || unreadable_endpoint::is_reserved(&self.lane.name) {
            return Ok(());
        }
        let last = self.lane.status().last_error;
        Err(StopReason(format!(
            "the failure persists: {failures} in a row became dead letters again ({last})"
        )))
    }

    async fn wait_for_health(&self) -> Result<(), StopReason> {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.lane.status();
            if status.state == "healthy" {
                self.job.wait("");
                return Ok(());
            }
            let reason = format!("it is {} ({})", status.state, status.last_error);
            if Instant::now() >= until {
                return Err(StopReason(reason));
            }
            self.job.wait(&reason);
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for what is open, for a while.
    pub(super) async fn wait_for_all(&mut self) -> Result<(), StopReason> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.look_back()?;
            let Some(oldest) = self.open.front() else {
                return Ok(());
            };
            let left = until.saturating_duration_since(Instant::now());
            if timeout(left, oldest.all()).await.is_err() {
                // They wait in the queue like all others now.
                return Ok(());
            }
        }
    }
}
