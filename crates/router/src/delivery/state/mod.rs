//! A lane's state: pure but for logs and counters. Its parts stand in the files beside this folder, what it decides
//! in those of it.

mod arrivals;
mod control;
mod dead_letters;
mod health;
mod limits;
mod next;
mod outcomes;
mod partitions;
mod retirement;
mod room;
mod show;
mod spans;
mod uploads;

pub use control::PurgeResult;
pub(super) use show::ProgramReports;

use super::concurrency::AdaptiveConcurrency;
use super::counters::LaneCounters;
use super::durable::ClockReading;
use super::in_flight::BatchesInFlight;
use super::kept_dead_letters::LaneDeadLetters;
use super::lane_journal::LaneJournal;
use super::lane_origin::LaneOrigin;
use super::log_throttle::LogThrottle;
use super::partition_shares::{PartitionShares, UnrecordedOutcomes};
use super::queue::LaneQueue;
use super::queued_delivery::QueuedDelivery;
use super::recent_outcomes::LaneOutcomes;
use super::setup::{LaneReports, LaneSetup};
use super::target_health::TargetHealth;
use super::ttl_clock::TtlClock;
use crate::delivery::duration_histogram::DurationHistogram;
use crate::delivery::latency::LatencyHistogram;
use crate::delivery::tracker::{DeliveryEnd, DeliveryTrackers};
use crate::sink::BatchLimits;
use crate::tap::{TapOutcome, TapView};
use crate::user_code::{UserSink, UserStore};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::LaneId;
use twinroute_journal::history::HistoryState;
use twinroute_journal::ledger::{DeliverySettlement, DiscardReason, Ledger};
use twinroute_model::clock::Clock;
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// A lane that is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneRetirement {
    /// It stays at least until then.
    pub(super) not_before: Instant,
    /// What is not settled by then is discarded.
    pub(super) deadline: Instant,
    /// Why.
    pub(super) reason: DiscardReason,
}

/// What holds until a sink was asked: no batch is full.
const UNKNOWN_LIMITS: BatchLimits = BatchLimits {
    events_max: usize::MAX,
    bytes_max: usize::MAX,
    in_flight_max: 1,
};

pub(super) struct LaneCore {
    instance: InstanceName,
    name: EndpointName,
    label: String,
    setup: LaneSetup,
    /// What its sink said last.
    limits: BatchLimits,
    queue: LaneQueue,
    ledger: Ledger,
    /// How its endpoint is.
    health: TargetHealth,
    /// Counts changes of the sink and of its health; a batch sent before one tells nothing about it.
    epoch: u64,
    in_flight: BatchesInFlight,
    concurrency: AdaptiveConcurrency,
    latency: LatencyHistogram,
    /// The same as a scraper reads it.
    delivery_durations: DurationHistogram,
    /// Attempts that failed, of each event of a batch.
    failed_attempts: u64,
    /// How long batches took to be answered.
    attempt_durations: DurationHistogram,
    retired: Option<LaneRetirement>,
    ended: bool,
    /// The router was dropped.
    abandoned: bool,
    overflowing: bool,
    /// Events that had their last attempt, as they are logged.
    deaths: LogThrottle,
    /// Events that had their last attempt since one was delivered.
    dead_lettered_in_a_row: u64,
    /// Deliveries that were discarded to make room, as they are logged.
    evictions: LogThrottle,
    paused: bool,
    ttl_clock: TtlClock,
    dead: LaneDeadLetters,
    /// Whether dead letters leave at their limit, and that was logged.
    dead_overflowing: bool,
    /// How its dead-letter store is.
    store_health: TargetHealth,
    /// Who waits for which deliveries.
    trackers: DeliveryTrackers,
    /// Whether new events are to be refused; read without the lock.
    refusing: Arc<AtomicBool>,
    rng: fastrand::Rng,
    counters: LaneCounters,
    journal: Option<LaneJournal>,
    /// What it has of each partition, where its events stand in a shared log.
    shares: PartitionShares,
    /// Outcomes on their way there.
    unrecorded: UnrecordedOutcomes,
    clock: Arc<dyn Clock>,
    /// Whom it reports to.
    reports: LaneReports,
    /// What it settled lately, if the journal is in memory.
    recent: Option<LaneOutcomes>,
}

impl std::fmt::Debug for LaneCore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("LaneCore");
        debug
            .field("label", &self.label)
            .field("ledger", &self.ledger);
        debug.finish_non_exhaustive()
    }
}

impl LaneCore {
    /// A lane that has nothing yet. What was not settled before a restart is given to [`Self::restore`].
    pub(super) fn new(
        instance: &InstanceName,
        name: &EndpointName,
        setup: LaneSetup,
        origin: LaneOrigin,
        now: Instant,
        refusing: Arc<AtomicBool>,
        reports: LaneReports,
    ) -> Self {
        let since = origin.state.still_since;
        let state = Self {
            counters: LaneCounters::new(instance, name, origin.series),
            instance: instance.clone(),
            name: name.clone(),
            label: format!("{instance}/{name}"),
            queue: LaneQueue::new(setup.settings.ordering),
            setup,
            limits: UNKNOWN_LIMITS,
            ledger: origin.ledger,
            journal: origin.journal,
            shares: PartitionShares::default(),
            unrecorded: UnrecordedOutcomes::default(),
            clock: origin.clock,
            health: TargetHealth::default(),
            epoch: 0,
            in_flight: BatchesInFlight::default(),
            concurrency: AdaptiveConcurrency::new(),
            latency: LatencyHistogram::default(),
            delivery_durations: DurationHistogram::default(),
            failed_attempts: 0,
            attempt_durations: DurationHistogram::default(),
            retired: None,
            ended: false,
            abandoned: false,
            overflowing: false,
            deaths: LogThrottle::default(),
            dead_lettered_in_a_row: 0,
            evictions: LogThrottle::default(),
            paused: origin.state.paused,
            ttl_clock: TtlClock::restored(origin.state.still, since.map(|_| now)),
            dead: LaneDeadLetters::default(),
            dead_overflowing: false,
            store_health: TargetHealth::default(),
            trackers: DeliveryTrackers::default(),
            refusing,
            recent: (reports.recent.as_ref()).map(|all| LaneOutcomes::new(all, instance, name)),
            reports,
            rng: fastrand::Rng::new(),
        };
        state.counters.go_on(&state.ledger);
        state
    }

    /// Its sink and its dead-letter store, for their code to be called without the lock.
    pub(super) fn user_objects(&self) -> (UserSink, Option<UserStore>) {
        (self.setup.sink.clone(), self.setup.store.clone())
    }

    /// Tells the journal what was settled since the last time.
    pub(super) fn hand_over(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.hand_over();
        }
        if let Some(recent) = &mut self.recent {
            recent.hand_over();
        }
    }

    /// Keeps how a delivery stands, where the journal is in memory. One that is `waiting` brings its event.
    fn keep_outcome(
        &mut self,
        sequence: u64,
        waiting: Option<&QueuedDelivery>,
        state: impl FnOnce() -> HistoryState,
    ) {
        if let Some(recent) = &mut self.recent {
            recent.record(sequence, waiting, state());
        }
    }

    pub(super) fn number(&self) -> Option<LaneId> {
        self.journal.as_ref().map(LaneJournal::number)
    }

    /// Both clocks.
    fn wall(&self, now: Instant) -> ClockReading {
        let wall = self.clock.now();
        ClockReading { wall, now }
    }

    fn settle(
        &mut self,
        sequence: u64,
        waiting: Option<&QueuedDelivery>,
        settlement: DeliverySettlement,
    ) {
        self.keep_outcome(sequence, waiting, || {
            HistoryState::Settled(settlement, None)
        });
        if let Some(journal) = &mut self.journal {
            journal.settle(sequence, settlement);
        }
        self.count_settled(sequence, settlement);
    }

    /// Discards a delivery, which may have been `waiting`.
    fn discard(&mut self, sequence: u64, waiting: Option<&QueuedDelivery>, reason: DiscardReason) {
        self.settle(sequence, waiting, DeliverySettlement::Discarded(reason));
        self.counters.get().discarded[reason as usize].increment(1);
        self.tell(sequence, DeliveryEnd::Discarded);
        let outcome = TapOutcome::Discarded;
        if self.reports.taps.wants(&[outcome]) {
            self.show((sequence, None), outcome, Instant::now(), || {
                reason.to_string()
            });
        }
    }

    /// Shows what became of a delivery to whoever watches; its event is known while it is in memory.
    fn show(
        &self,
        (sequence, event): (u64, Option<&Event>),
        outcome: TapOutcome,
        now: Instant,
        reason: impl FnOnce() -> String,
    ) {
        if !self.reports.taps.admits(outcome, now) {
            return;
        }
        let view = TapView {
            instance: self.instance.as_str(),
            endpoints: &[self.name.as_str()],
            routes: &[],
            sequence: Some(sequence),
            event,
            outcome,
            reason: &reason(),
        };
        self.reports.taps.show(&view, now);
    }

    /// Tells whoever waits for a delivery how it ended.
    fn tell(&mut self, sequence: u64, end: DeliveryEnd) {
        self.trackers.end(sequence, &self.name, end);
    }

    fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.queue.is_empty() && !self.awaits_records()
    }

    /// Batches that may be unanswered at most.
    fn in_flight_cap(&self) -> usize {
        let most = self.setup.settings.batches_in_flight_max;
        self.limits.in_flight_max.clamp(1, most)
    }

    /// The sink keeps its own time; this is for one that does not.
    fn send_time_max(&self) -> Duration {
        self.setup.settings.attempt_timeout * 4 + Duration::from_secs(10)
    }
}
