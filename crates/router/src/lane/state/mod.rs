//! A lane's state and what it decides: pure but for logs and counters.

mod control;
mod counters;
mod deaths;
mod fault;
mod flight;
mod limits;
mod outcomes;
mod retirement;
mod room;
mod show;
mod uploads;

pub use control::Purged;
pub(super) use fault::Probe;
pub(super) use flight::Flight;
pub(super) use retirement::Retirement;
pub(crate) use room::{Evictable, EvictedDelivery, LaneRoom};
pub(super) use show::Told;
pub(super) use uploads::{Stored, Upload};

use self::counters::Counters;
use self::fault::{Fault, First};
use self::flight::BatchInFlight;
use super::concurrency::Concurrency;
use super::dead::DeadLetters;
use super::durable::{LaneJournal, Origin, Wall};
use super::queue::Queue;
use super::still::Still;
use super::waiting::Waiting;
use super::{Arrival, Kind, Setup};
use crate::awaited::{Awaited, End};
use crate::latency::Histogram;
use crate::refusals::Refusals;
use crate::sink::{BatchLimits, EndpointFault};
use crate::user_code::{UserSink, UserStore};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_retry::dead_letter::Reason as DeathReason;
use twinroute_retry::journal::{Entry, LaneNumber, PendingDelivery};
use twinroute_retry::ledger::{Fate, Ledger};
use twinroute_retry::schedule;

/// Bytes of events that a lane keeps in memory when they are on disk too. Enough for a few batches; what
/// waits behind them is read back.
const LANE_MEMORY_MAX: usize = 4 << 20;

/// What holds until a sink was asked: no batch is full.
const UNKNOWN_LIMITS: BatchLimits = BatchLimits {
    events_max: usize::MAX,
    bytes_max: usize::MAX,
    in_flight_max: 1,
};

pub(super) struct State {
    instance: InstanceName,
    name: EndpointName,
    label: String,
    setup: Setup,
    /// What its sink said last.
    limits: BatchLimits,
    queue: Queue,
    ledger: Ledger,
    fault: Option<Fault>,
    /// Counts changes of the sink and of its health; a batch sent before one tells nothing about it.
    epoch: u64,
    last_error: String,
    flights: BTreeMap<u64, BatchInFlight>,
    flights_begun: u64,
    /// Bytes of the events in flight.
    flight_bytes: u64,
    concurrency: Concurrency,
    latency: Histogram,
    retired: Option<Retirement>,
    ended: bool,
    /// The router was dropped.
    abandoned: bool,
    overflowing: bool,
    /// When deaths were last told in the log, and how many there were since.
    deaths_told_at: Option<Instant>,
    deaths_untold: u64,
    /// Events that had their last attempt since one was delivered.
    deaths_in_a_row: u64,
    evictions: room::Evictions,
    paused: bool,
    still: Still,
    dead: DeadLetters,
    /// Whether dead letters leave at their limit, and that was logged.
    dead_overflowing: bool,
    /// Why the dead-letter store takes nothing just now.
    store_fault: Option<Fault>,
    store_error: String,
    /// Who waits for which deliveries.
    awaited: HashMap<u64, Weak<Awaited>>,
    /// Whether new events are to be refused; read without the lock.
    refusing: Arc<AtomicBool>,
    chance: fastrand::Rng,
    counters: Counters,
    journal: Option<LaneJournal>,
    clock: Arc<dyn Clock>,
    /// Where it tells that its credential is refused.
    refusals: Refusals,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("State");
        shown
            .field("label", &self.label)
            .field("ledger", &self.ledger);
        shown.finish_non_exhaustive()
    }
}

/// What the loop is to do next.
pub(super) enum Step {
    Send(Flight),
    /// Ask this one for its limits: it took the place of the one that was asked.
    OtherSink(UserSink),
    Probe(Probe),
    Upload(Box<Upload>),
    /// Wait for an outcome, a wake-up or this moment.
    Wait(Option<Instant>),
    End,
}

impl State {
    pub(super) fn new(
        instance: &InstanceName,
        name: &EndpointName,
        setup: Setup,
        origin: Origin,
        refusing: Arc<AtomicBool>,
        refusals: Refusals,
    ) -> Self {
        let now = Instant::now();
        let since = origin.state.still_since;
        let mut state = Self {
            counters: Counters::new(instance, name),
            instance: instance.clone(),
            name: name.clone(),
            label: format!("{instance}/{name}"),
            queue: Queue::new(setup.settings.ordering),
            setup,
            limits: UNKNOWN_LIMITS,
            ledger: origin.ledger,
            journal: origin.journal,
            clock: origin.clock,
            fault: None,
            epoch: 0,
            last_error: String::new(),
            flights: BTreeMap::new(),
            flights_begun: 0,
            flight_bytes: 0,
            concurrency: Concurrency::new(),
            latency: Histogram::default(),
            retired: None,
            ended: false,
            abandoned: false,
            overflowing: false,
            deaths_told_at: None,
            deaths_untold: 0,
            deaths_in_a_row: 0,
            evictions: room::Evictions::default(),
            paused: origin.state.paused,
            still: Still::restored(origin.state.still, since.map(|_| now)),
            dead: DeadLetters::default(),
            dead_overflowing: false,
            store_fault: None,
            store_error: String::new(),
            awaited: HashMap::new(),
            refusing,
            refusals,
            chance: fastrand::Rng::new(),
        };
        state.counters.go_on(&state.ledger);
        state.restore(origin.pending, now);
        state.note_hold();
        state.update_still(now);
        state
    }

    /// Queues what was not settled before a restart; its matches are counted already.
    fn restore(&mut self, pending: Vec<PendingDelivery>, now: Instant) {
        let wall = self.wall(now);
        for delivery in pending {
            if let Some(about) = delivery.dead.clone() {
                self.restore_dead(&delivery, about);
                continue;
            }
            let waiting = Waiting {
                sequence: delivery.sequence,
                twin: delivery.twin,
                bytes: delivery.bytes,
                attempts: delivery.attempts,
                came: now,
                age_then: delivery.age,
                still_then: Duration::ZERO,
                event: None,
            };
            match delivery.due {
                // The clock may have been set since: at worst it waits once more.
                Some(due) => {
                    let most =
                        now + schedule::event_delay_max(&self.setup.settings, waiting.attempts);
                    self.queue
                        .restore_parked(waiting, wall.moment(due).min(most));
                }
                None => self.enqueue(waiting, now),
            }
        }
        self.hand_over();
    }

    /// Gives what it was made of before.
    pub(super) fn reconfigure(&mut self, setup: Setup, now: Instant) -> Setup {
        self.queue.set_ordering(setup.settings.ordering);
        let before = std::mem::replace(&mut self.setup, setup);
        if self.setup.hold != before.hold {
            self.note_hold();
        }
        self.fault = None;
        self.store_fault = None;
        self.dead.retry_all();
        self.concurrency = Concurrency::new();
        self.epoch += 1;
        self.update_still(now);
        self.note_fullness(now);
        before
    }

    /// Its sink and its dead-letter store, for their code to be called without the lock.
    pub(super) fn user_objects(&self) -> (UserSink, Option<UserStore>) {
        (self.setup.sink.clone(), self.setup.store.clone())
    }

    /// Queues a delivery. Never refuses: at its cap the lane lets its oldest go. True when the loop has
    /// to hear of it.
    pub(super) fn offer(&mut self, entry: &Entry, arrival: &Arrival) -> bool {
        match arrival.kind {
            Kind::Matched => {
                self.ledger.matched += 1;
                self.counters.get().matched.increment(1);
            }
            Kind::Replayed { of } => self.note_replayed(of),
        }
        if let Some(awaited) = &arrival.awaited {
            self.await_end(entry.sequence, awaited);
        }
        let now = arrival.came;
        let mut waiting = Waiting {
            sequence: entry.sequence,
            twin: entry.twin,
            bytes: u32::try_from(entry.event.event().size()).unwrap_or(u32::MAX),
            attempts: 0,
            came: now,
            age_then: Duration::ZERO,
            still_then: self.still.total(now),
            event: None,
        };
        if self.keeps_event(waiting.bytes) {
            waiting.event = Some(entry.event.clone());
        }
        if self.ended {
            self.die(waiting, DeathReason::Removed, None, now);
            self.hand_over();
            return false;
        }
        let had_none = self.queue.oldest_sendable().is_none();
        let room = self.room_to_fill();
        let filled = self.queue.fills(room);
        self.enqueue(waiting, now);
        had_none || (!filled && self.queue.fills(room))
    }

    /// Whether an event stays in memory although it is on disk.
    fn keeps_event(&self, bytes: u32) -> bool {
        let held_back = self.fault.is_some() || self.paused || self.setup.hold.is_some();
        let room = self.queue.memory() + bytes as usize <= LANE_MEMORY_MAX;
        match &self.journal {
            None => true,
            Some(journal) => room && !held_back && journal.disk().has_memory(),
        }
    }

    fn enqueue(&mut self, waiting: Waiting, now: Instant) {
        self.queue.push(waiting);
        self.limit_queue(now);
        self.note_fullness(now);
    }

    /// Tells the journal what was settled since the last time.
    pub(super) fn hand_over(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.hand_over();
        }
    }

    pub(super) fn number(&self) -> Option<LaneNumber> {
        self.journal.as_ref().map(LaneJournal::number)
    }

    /// Both clocks.
    fn wall(&self, now: Instant) -> Wall {
        let wall = self.clock.now();
        Wall { wall, now }
    }

    /// Decides what to do now; `limits` are those of `sink`, just asked for.
    pub(super) fn step(
        &mut self,
        sink: &UserSink,
        limits: Result<BatchLimits, EndpointFault>,
        now: Instant,
    ) -> Step {
        if self.abandoned {
            return Step::End;
        }
        if !self.setup.sink.is(sink) {
            return Step::OtherSink(self.setup.sink.clone());
        }
        match limits {
            Ok(limits) => self.limits = limits,
            Err(fault) => self.failed_unasked(fault, now),
        }
        self.decide(now)
    }

    fn decide(&mut self, now: Instant) -> Step {
        if let Some(step) = self.ending(now) {
            return step;
        }
        let expiry = self.limit_age(now);
        self.limit_queue(now);
        if let Some(upload) = self.next_upload(now) {
            return Step::Upload(Box::new(upload));
        }
        let others = earliest([self.retire_at(now), expiry, self.upload_at(now)]);
        if self.paused || self.setup.hold.is_some() {
            return Step::Wait(others);
        }
        let backing_off = self.fault.as_ref().map(|fault| fault.until);
        if self.flights.len() >= self.in_flight_max() {
            return Step::Wait(others);
        }
        if let Some(until) = backing_off.filter(|until| *until > now) {
            return Step::Wait(earliest([Some(until), others]));
        }
        let room = self.room();
        let due = self.queue.next_due();
        let oldest = self.queue.oldest_sendable();
        let lingering = oldest.map(|oldest| oldest + self.setup.settings.linger);
        let go = due.is_some_and(|due| due <= now)
            || lingering.is_some_and(|end| end <= now || self.queue.fills(self.room_to_fill()));
        if go {
            match self.before_sending() {
                First::Probe(probe) => return Step::Probe(probe),
                First::Wait => return Step::Wait(others),
                First::Nothing => {}
            }
            let batch = self.queue.take(room, now);
            if !batch.is_empty() {
                return Step::Send(self.launch(batch, now));
            }
        }
        // A due delivery whose twin is in flight waits for that outcome, not for a moment.
        let due = due.filter(|due| *due > now);
        let lingering = lingering.filter(|end| *end > now);
        Step::Wait(earliest([due, lingering, others]))
    }

    /// Batches that may be unanswered at most.
    fn in_flight_cap(&self) -> usize {
        let most = self.setup.settings.batches_in_flight_max;
        self.limits.in_flight_max.clamp(1, most)
    }

    /// The sink keeps its own time; this is for one that does not.
    fn flight_time_max(&self) -> Duration {
        self.setup.settings.attempt_timeout * 4 + Duration::from_secs(10)
    }

    fn launch(&mut self, batch: Vec<Waiting>, now: Instant) -> Flight {
        let id = self.flights_begun;
        self.flights_begun += 1;
        let oldest = batch.iter().map(|waiting| waiting.came).min();
        let came = oldest.unwrap_or(now);
        self.flights.insert(id, BatchInFlight { came, begun: now });
        self.flight_bytes += bytes_of(&batch);
        Flight {
            id,
            sink: self.setup.sink.clone(),
            batch,
            disk: self.journal.as_ref().map(|journal| journal.disk().clone()),
            deadline: self.flight_time_max(),
            begun: now,
            company: self.flights.len(),
            epoch: self.epoch,
        }
    }

    /// Notes who waits for a delivery. Those who have gone are forgotten before there are too many.
    fn await_end(&mut self, sequence: u64, awaited: &Arc<Awaited>) {
        if self.awaited.len() == self.awaited.capacity() {
            self.awaited.retain(|_, awaited| awaited.strong_count() > 0);
        }
        self.awaited.insert(sequence, Arc::downgrade(awaited));
    }

    /// Tells whoever waits for a delivery how it ended.
    fn tell(&mut self, sequence: u64, end: End) {
        if self.awaited.is_empty() {
            return;
        }
        let awaited = self.awaited.remove(&sequence);
        if let Some(awaited) = awaited.and_then(|awaited| awaited.upgrade()) {
            awaited.ended(&self.name, end);
        }
    }

    fn settle(&mut self, sequence: u64, fate: Fate) {
        if let Some(journal) = &mut self.journal {
            journal.settle(sequence, fate);
        }
        self.ledger.settle(fate);
    }
}

/// Bytes of the events of a batch.
fn bytes_of(batch: &[Waiting]) -> u64 {
    batch.iter().map(|waiting| u64::from(waiting.bytes)).sum()
}

fn earliest<const N: usize>(moments: [Option<Instant>; N]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}
