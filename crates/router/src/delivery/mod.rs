//! The lane of one endpoint: its queue, its ledger, its back-off.
//!
//! State stands behind one mutex that is never held across an await: accepting pushes under it, the
//! lane's loop takes batches and notes outcomes under it, status reads it. So every snapshot adds up.

mod action;
mod arrival;
mod backlog;
mod cluster_lane;
mod concurrency;
mod counters;
mod durable;
mod duration_histogram;
mod eviction;
mod hold;
mod in_flight;
mod kept_dead_letters;
mod lane_journal;
pub(crate) mod lane_origin;
mod lane_reader;
mod latency;
mod log_throttle;
mod metric_labels;
mod metric_series;
mod partition_shares;
mod partitions;
pub(crate) mod queue;
mod queued_delivery;
mod recent_outcomes;
mod run;
mod setup;
mod state;
mod target_health;
mod tracker;
mod ttl_clock;
mod twin_states;

pub(crate) use arrival::LaneArrival;
pub(crate) use backlog::{BatchBacklog, LaneBacklog};
pub(crate) use counters::{ATTEMPT_DURATION, DELIVERY_DURATION};
pub use duration_histogram::DurationHistogram;
pub(crate) use eviction::{EvictedDelivery, EvictionKind, LaneRoom};
pub(crate) use hold::{HeldSink, HoldReason};
pub(crate) use kept_dead_letters::KeptDeadLetter;
pub(crate) use metric_labels::MetricLabels;
pub use metric_series::REMAINDER;
pub(crate) use recent_outcomes::{EventAbout, OutcomeRun, RecentOutcome, RecentOutcomes};
pub(crate) use run::spawn;
pub(crate) use setup::{LaneKey, LaneReports, LaneSetup};
pub use state::PurgeResult;
pub use tracker::EndpointResult;
pub(crate) use tracker::{DeliveryTracker, TrackedBatch};

use crate::status::EndpointStatus;
use crate::user_code::UserStore;
use backlog::SharedBacklog;
use lane_origin::LaneOrigin;
use lane_reader::LaneReader;
use state::{LaneCore, LaneRetirement, ProgramReports};
use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use twinroute_journal::ledger::{DiscardReason, Ledger};
use twinroute_journal::{HeldEvent, JournalEntry, LaneId, UnreadableEvent};
use twinroute_model::name::{EndpointName, InstanceName};

/// Longer than any batch takes from its match to its lanes.
const LATECOMERS: Duration = Duration::from_secs(5);

/// The longest that a batch which was matched waits for a lane.
pub(crate) const LANE_WAIT_MAX: Duration = Duration::from_secs(3);

const _: () = assert!(LANE_WAIT_MAX.as_secs() < LATECOMERS.as_secs());

/// Dead letters that are examined or discarded while a lane is locked once: below a millisecond.
const DISCARDS_PER_LOCK: usize = 1_024;

/// How often whoever waits for a lane sees for himself: an endpoint that ceases to answer wakes nobody.
const BACKLOG_CHECK: Duration = Duration::from_millis(50);

/// A lane. Cheap to share; the loop that drives it ends when it was retired and is empty.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) instance: InstanceName,
    pub(crate) name: EndpointName,
    /// Its number in the journal on disk.
    pub(crate) number: Option<LaneId>,
    state: Mutex<LaneCore>,
    /// Whether events for it are to be refused; it is at its cap and its settings say so.
    refusing: Arc<AtomicBool>,
    /// Whether those who bring more have to wait.
    backlog: SharedBacklog,
    /// Tells them that they need not any more.
    caught_up: Notify,
    /// Where dead letters are read from; nowhere when the journal is in memory.
    reader: Option<LaneReader>,
    wake: Notify,
    /// Tells whoever waits for the lane to be empty that it may be.
    settled: Notify,
}

/// The state of a lane, locked. What its backlog means is found out when it is let go, so that it always holds
/// for what was done last.
struct LockedState<'a> {
    lane: &'a Lane,
    state: MutexGuard<'a, LaneCore>,
}

impl Deref for LockedState<'_> {
    type Target = LaneCore;

    fn deref(&self) -> &LaneCore {
        &self.state
    }
}

impl DerefMut for LockedState<'_> {
    fn deref_mut(&mut self) -> &mut LaneCore {
        &mut self.state
    }
}

impl Drop for LockedState<'_> {
    fn drop(&mut self) {
        let before = self.lane.backlog.get();
        let backlog = self.state.backlog(before);
        if backlog != before {
            self.lane.backlog.set(backlog);
        }
        if before.makes_wait() && !backlog.makes_wait() {
            self.lane.caught_up.notify_waiters();
        }
    }
}

impl Lane {
    pub(crate) fn new(
        instance: InstanceName,
        name: EndpointName,
        setup: LaneSetup,
        mut origin: LaneOrigin,
        reports: LaneReports,
    ) -> Arc<Self> {
        let now = Instant::now();
        let refusing = Arc::new(AtomicBool::new(false));
        let reader = origin.reader();
        let pending = std::mem::take(&mut origin.pending);
        let mut state = LaneCore::new(
            &instance,
            &name,
            setup,
            origin,
            now,
            Arc::clone(&refusing),
            reports,
        );
        state.restore(pending, now);
        let number = state.number();
        Arc::new(Self {
            instance,
            name,
            number,
            state: Mutex::new(state),
            refusing,
            backlog: SharedBacklog::new(),
            caught_up: Notify::new(),
            reader,
            wake: Notify::new(),
            settled: Notify::new(),
        })
    }

    /// A lane that panicked elsewhere left a state that still adds up: every change is made at once.
    fn lock(&self) -> LockedState<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        LockedState { lane: self, state }
    }

    /// How it keeps up with what it is brought.
    pub(crate) fn backlog(&self) -> LaneBacklog {
        self.backlog.get()
    }

    /// Waits until nobody has to wait for it, or `until`. It has to be asked again then: others may have
    /// been quicker.
    pub(crate) async fn catch_up(&self, until: Instant) {
        let caught_up = self.caught_up.notified();
        tokio::pin!(caught_up);
        caught_up.as_mut().enable();
        if !self.backlog().makes_wait() {
            return;
        }
        let check = until.min(Instant::now() + BACKLOG_CHECK);
        if timeout_at(check, caught_up).await.is_err() {
            // It is checked again when it is released.
            drop(self.lock());
        }
    }

    /// Queues events, in order. Never refuses: at its cap the lane lets its oldest go.
    pub(crate) fn push(&self, deliveries: Vec<JournalEntry>, arrival: &LaneArrival) {
        if self.lock().offer(deliveries, arrival) {
            self.wake.notify_one();
        }
    }

    /// Takes a new sink and settings; what waits stays, back-off begins again.
    pub(crate) fn reconfigure(&self, setup: LaneSetup) {
        // The old sink goes once the lock is free: its end is the program's code.
        let old = self.lock().reconfigure(setup, Instant::now());
        drop(old);
        self.wake.notify_one();
    }

    /// Lets the lane finish until `deadline`, after which the rest are dead letters.
    ///
    /// It does not end at once when it is empty: a batch that was matched against the table before may
    /// still be on its way here. Nor does it while it has dead letters.
    pub(crate) fn retire(&self, deadline: Instant) {
        self.end(
            Instant::now() + LATECOMERS,
            deadline,
            DiscardReason::Removed,
        );
    }

    /// As [`Self::retire`], because the process stops.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.end(Instant::now(), deadline, DiscardReason::Stopped);
    }

    fn end(&self, not_before: Instant, deadline: Instant, reason: DiscardReason) {
        self.lock().retire(LaneRetirement {
            not_before,
            deadline,
            reason,
        });
        self.wake.notify_one();
    }

    /// Ends it as it is, batches in flight included; gives how many deliveries it had not settled.
    pub(crate) fn abandon(&self) -> u64 {
        let open = self.lock().abandon();
        self.settled.notify_waiters();
        self.wake.notify_one();
        open
    }

    /// Takes a retirement back. False when its loop has ended and is to be started again.
    pub(crate) fn revive(&self) -> bool {
        self.lock().revive()
    }

    /// Whether it is neither over nor about to be.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_running()
    }

    /// What it has counted, when there is nothing else left of it.
    pub(crate) fn is_over(&self) -> Option<Ledger> {
        self.lock().is_over()
    }

    /// Whether it wants no more events for now.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        // Outside the lock, which everybody who accepts events needs: it is the program's code.
        let (sink, store) = self.lock().user_objects();
        let reports = ProgramReports {
            credentials: sink.credentials(),
            expires_at: store.map_or(Ok(None), |store| store.expires_at()),
        };
        self.lock().status(reports, Instant::now())
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.lock().set_paused(paused, Instant::now());
        self.wake.notify_one();
    }

    pub(crate) fn retry_now(&self) {
        self.lock().retry_now(Instant::now());
        self.wake.notify_one();
    }

    /// What it has of a journal in memory.
    pub(crate) fn room_taken(&self) -> LaneRoom {
        self.lock().room_taken()
    }

    /// Empties its queue above its `share` into its dead-letter container, `bytes` of it at a time.
    pub(crate) fn relieve(&self, share: u64, bytes: u64) {
        if self.lock().relieve(share, bytes, Instant::now()) {
            self.wake.notify_one();
        }
    }

    /// Discards one delivery, so that others have room in the journal.
    pub(crate) fn evict(&self, what: EvictionKind) -> Option<EvictedDelivery> {
        let evicted = self.lock().evict(what, Instant::now());
        if evicted.is_some() {
            self.settled.notify_waiters();
        }
        evicted
    }

    /// Those of some dead letters that are kept here, and not on their way elsewhere or to a container that answers.
    pub(crate) fn kept_of(&self, sequences: &[u64]) -> HashSet<u64> {
        let chunks = sequences.chunks(DISCARDS_PER_LOCK);
        chunks
            .flat_map(|chunk| self.lock().kept_of(chunk))
            .collect()
    }

    /// Discards those of [`Self::kept_of`], so that others have room on the journal's disk.
    pub(crate) fn discard_kept(&self, sequences: &[u64]) {
        for sequences in sequences.chunks(DISCARDS_PER_LOCK) {
            self.lock().discard_kept(sequences, Instant::now());
            self.settled.notify_waiters();
        }
    }

    pub(crate) fn purge(&self, dead_letters: bool) -> PurgeResult {
        let purged = self.lock().purge(dead_letters);
        self.settled.notify_waiters();
        self.wake.notify_one();
        purged
    }

    /// Looks at the dead letters that are kept here, oldest first, until `look` has seen enough.
    pub(crate) fn look_at_dead(
        &self,
        after: u64,
        mut look: impl FnMut(u64, &KeptDeadLetter) -> bool,
    ) {
        let state = self.lock();
        for (sequence, dead) in state.dead_after(after) {
            if !look(sequence, dead) {
                return;
            }
        }
    }

    /// One of them.
    pub(crate) fn dead_letter(&self, sequence: u64) -> Option<KeptDeadLetter> {
        self.lock().dead_letter(sequence).cloned()
    }

    /// Takes a dead letter for a replay; see [`Self::put_back_dead`].
    pub(crate) fn take_dead(&self, sequence: u64) -> Option<KeptDeadLetter> {
        self.lock().take_dead(sequence)
    }

    pub(crate) fn put_back_dead(&self, sequence: u64) {
        self.lock().put_back_dead(sequence);
        self.wake.notify_one();
    }

    /// Reads the event of a dead letter that is kept here.
    pub(crate) async fn read_dead(
        &self,
        sequence: u64,
        dead: &KeptDeadLetter,
    ) -> Result<HeldEvent, UnreadableEvent> {
        match (&dead.event, &self.reader) {
            (Some(held), _) => Ok(held.clone()),
            (None, Some(reader)) => reader.read_one(sequence).await,
            (None, None) => Err(UnreadableEvent::Settled),
        }
    }

    /// Where its dead letters go.
    pub(crate) fn store(&self) -> Option<UserStore> {
        self.lock().user_objects().1
    }

    /// Resolves when nothing waits and nothing is in flight, or the lane has ended. Dead letters that stay
    /// here, or whose store takes nothing, do not count.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.settled.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.lock().is_idle() {
                return;
            }
            notified.await;
        }
    }
}
