//! Who may bring events in just now: what was accepted goes on before more is accepted.
//!
//! A runtime polls what is ready in turn. With many producers and few endpoints nearly all turns would be
//! the producers', and endpoints that take everything at once would get their events ever later, until their
//! queues overflow. So accepting has a credit, in bytes, which is refilled once everything else that was
//! ready had its turn: lanes, their connections, answers. Producers without credit wait, first come, first
//! served, before the bodies of their requests are read. Whoever waits holds nothing, so an endpoint that
//! does not answer can keep nobody waiting here.
//!
//! No credit is given either while the disk has too much of what was accepted still before it.

use super::admission_turn::{AdmissionTurn, EventProducer};
use super::answer::AcceptError;
use super::matched_batch::MatchedBatch;
use super::slowdown::ProducerSlowdown;
use crate::delivery::{LANE_WAIT_MAX, Lane};
use crate::status::{AdmissionState, AdmissionStatus};
use futures_util::future::{FutureExt as _, select_all};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// How long a producer waits at most, unless told otherwise, before it is answered that the router is
/// overloaded.
pub const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(5);

/// When to come back after that.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);

/// Bytes of deliveries that are accepted, for each worker of the runtime, before all else has a turn. About
/// a millisecond's work: more lets lanes wait, less costs turns.
const TURN_BYTES: i64 = 512 << 10;

/// Turns that are saved up for a burst.
const TURNS_SAVED: i64 = 4;

/// What a delivery costs beside its bytes.
const DELIVERY_BYTES: i64 = 512;

/// What a request costs until its events are known.
const REQUEST_BYTES: i64 = 1 << 10;

/// What is announced counts no more than this; it costs whoever says it nothing.
const ANNOUNCED_BYTES_MAX: u64 = 4 << 20;

/// Bytes of events between the journal and their lanes, at which no more are accepted: they wait for the
/// disk. Less than a lane keeps in memory (`LANE_MEMORY_MAX`), or it would have to read them back.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// Producers that may wait at a time.
const WAITING_MAX: usize = 16 << 10;

/// Gives out turns. One for a router; the task that refills it is [`give_turns`].
#[derive(Debug)]
pub(crate) struct AdmissionGate {
    turns: Mutex<AdmissionTurns>,
    /// Tells the task that credit was spent, or is wanted.
    wanted: Notify,
    /// Tells the task that the disk has caught up.
    synced: Notify,
    unsynced_bytes: AtomicU64,
    /// Producers that wait for a lane; see [`Self::wait_for_lanes`].
    waiting_for_lanes: AtomicUsize,
    slowdown: ProducerSlowdown,
}

#[derive(Debug)]
struct AdmissionTurns {
    /// Bytes that may be accepted; below 0 when a batch was larger.
    credit: i64,
    /// What a turn adds.
    turn_bytes: i64,
    waiting: VecDeque<WaitingProducer>,
    closed: bool,
}

/// Who takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnTaker {
    Producer,
    /// It stands in the same line, with one event a turn. That it waits slows nobody.
    Replay,
}

#[derive(Debug)]
struct WaitingProducer {
    taker: TurnTaker,
    cost: i64,
    since: Instant,
    granted: oneshot::Sender<()>,
}

/// The answer to a producer that waited long enough.
fn overloaded(waited: Duration) -> AcceptError {
    AcceptError::Overloaded {
        waited,
        retry_after: OVERLOADED_RETRY,
    }
}

impl AdmissionGate {
    /// Must be called within a tokio runtime, whose workers it counts.
    pub(crate) fn new() -> Self {
        let workers = i64::try_from(Handle::current().metrics().num_workers()).unwrap_or(1);
        let turn_bytes = TURN_BYTES * workers.max(1);
        Self {
            turns: Mutex::new(AdmissionTurns {
                credit: turn_bytes * TURNS_SAVED,
                turn_bytes,
                waiting: VecDeque::new(),
                closed: false,
            }),
            wanted: Notify::new(),
            synced: Notify::new(),
            unsynced_bytes: AtomicU64::new(0),
            waiting_for_lanes: AtomicUsize::new(0),
            slowdown: ProducerSlowdown::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionTurns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn, at most `wait_max`, before `bytes` are read and accepted.
    ///
    /// Dropping the future gives the place up.
    ///
    /// # Errors
    /// When there was none in time, or the router stops.
    pub(crate) async fn admit(
        &self,
        bytes: u64,
        wait_max: Duration,
    ) -> Result<AdmissionTurn, AcceptError> {
        self.turn(TurnTaker::Producer, bytes, wait_max).await
    }

    /// Waits for the turn of a replay that brings an event of `bytes` to a lane, and for that lane if it is behind for
    /// the router's sake; at most `wait_max` for both.
    ///
    /// Dropping the future gives the place up.
    ///
    /// # Errors
    /// As for [`Self::admit`].
    pub(super) async fn admit_replay(
        &self,
        lane: &Lane,
        bytes: u64,
        wait_max: Duration,
    ) -> Result<(), AcceptError> {
        let bytes = bytes + DELIVERY_BYTES.unsigned_abs();
        let admitted = self.turn(TurnTaker::Replay, bytes, wait_max).await?;
        while lane.backlog().makes_wait() {
            if self.is_closed() {
                return Err(AcceptError::Stopping);
            }
            if Instant::now() >= admitted.until {
                return Err(overloaded(wait_max));
            }
            lane.catch_up(admitted.until).await;
        }
        Ok(())
    }

    async fn turn(
        &self,
        taker: TurnTaker,
        bytes: u64,
        wait_max: Duration,
    ) -> Result<AdmissionTurn, AcceptError> {
        let now = Instant::now();
        let cost = REQUEST_BYTES + bytes.min(ANNOUNCED_BYTES_MAX) as i64;
        let admitted = AdmissionTurn {
            producer: EventProducer::default(),
            trace: None,
            begun: now,
            cost,
            until: now + wait_max,
        };
        let turn = {
            let mut turns = self.lock();
            if turns.closed {
                return Err(AcceptError::Stopping);
            }
            if turns.waiting.is_empty() && turns.credit > 0 && !self.is_unsynced() {
                let runs_low = turns.spend(cost);
                drop(turns);
                if runs_low {
                    self.wanted.notify_one();
                }
                return Ok(admitted);
            }
            turns.forget_gone();
            if turns.waiting.len() >= WAITING_MAX {
                return Err(self.refuse(taker, now, Duration::ZERO));
            }
            let (granted, turn) = oneshot::channel();
            turns.waiting.push_back(WaitingProducer {
                taker,
                cost,
                since: now,
                granted,
            });
            turn
        };
        self.wanted.notify_one();
        match timeout_at(admitted.until, turn).await {
            Ok(Ok(())) => Ok(admitted),
            Ok(Err(_)) => Err(AcceptError::Stopping),
            Err(_) => Err(self.refuse(taker, Instant::now(), wait_max)),
        }
    }

    /// What is said to one who waited so long.
    fn refuse(&self, taker: TurnTaker, now: Instant, waited: Duration) -> AcceptError {
        if taker == TurnTaker::Producer {
            self.slowdown.refused(now, waited);
        }
        overloaded(waited)
    }

    /// Pays for what a turn brought.
    pub(super) fn charge(&self, admitted: &AdmissionTurn, matched: &MatchedBatch) {
        let (deliveries, bytes) = matched.deliveries();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 2);
        let cost = bytes + DELIVERY_BYTES * i64::try_from(deliveries).unwrap_or(i64::MAX >> 32);
        // What brought no delivery was read and matched all the same.
        let cost = (cost - admitted.cost).max(0);
        if self.lock().spend(cost) {
            self.wanted.notify_one();
        }
    }

    /// Counts bytes that are on their way to the disk; they are taken off when the guard is dropped.
    pub(crate) fn unsynced(self: &Arc<Self>, bytes: u64) -> UnsyncedBytes {
        self.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed);
        UnsyncedBytes {
            admission: Arc::clone(self),
            bytes,
        }
    }

    fn is_unsynced(&self) -> bool {
        self.unsynced_bytes.load(Ordering::Relaxed) >= UNSYNCED_BYTES_MAX
    }

    /// Waits while a batch has to wait for lanes that it goes to. Dropping the future gives the batch up.
    ///
    /// # Errors
    /// It waited as long as it may, or the router stops.
    pub(super) async fn wait_for_lanes(
        &self,
        admitted: &AdmissionTurn,
        matched: &MatchedBatch,
        all: &[Arc<Lane>],
    ) -> Result<(), AcceptError> {
        let begun = Instant::now();
        let until = admitted.until.min(begun + LANE_WAIT_MAX);
        self.waiting_for_lanes.fetch_add(1, Ordering::Relaxed);
        let _waiting = WaitsForLane(self);
        while matched.has_to_wait(all) {
            if self.is_closed() {
                return Err(AcceptError::Stopping);
            }
            let now = Instant::now();
            if now >= until {
                self.slowdown.refused(now, now - begun);
                return Err(overloaded(now - begun));
            }
            let lanes = matched.distinct_lanes(all);
            let behind = lanes.filter(|lane| lane.backlog().makes_wait());
            let caught_up: Vec<_> = behind.map(|lane| lane.catch_up(until).boxed()).collect();
            if !caught_up.is_empty() {
                select_all(caught_up).await;
            }
        }
        let now = Instant::now();
        self.slowdown.waited(now, now - begun);
        Ok(())
    }

    /// Producers that wait.
    pub(crate) fn waiting(&self) -> usize {
        let mut turns = self.lock();
        turns.forget_gone();
        let waiting = turns.waiting.iter();
        let producers = waiting.filter(|waiting| waiting.taker == TurnTaker::Producer);
        producers.count() + self.waiting_for_lanes.load(Ordering::Relaxed)
    }

    /// What `/status` shows of it.
    pub(crate) fn status(&self) -> AdmissionStatus {
        let waiting = self.waiting();
        let known = self.slowdown.counts(Instant::now(), waiting);
        let state = match (known.lasts, known.refused_now) {
            (None, _) => AdmissionState::Open,
            (Some(_), 0) => AdmissionState::Slowed,
            (Some(_), _) => AdmissionState::Refusing,
        };
        let lasts = known.lasts.unwrap_or_default();
        AdmissionStatus {
            state,
            lasts_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            waiting: waiting as u64,
            slowed: known.slowed,
            refused: known.refused,
            unsynced_bytes: self.unsynced_bytes.load(Ordering::Relaxed),
        }
    }

    /// What `/status` warns about, if there is anything.
    pub(crate) fn warning(&self) -> Option<String> {
        let known = self.slowdown.counts(Instant::now(), self.waiting());
        let lasts = known.lasts?;
        Some(format!(
            "the router has more to do than it can, for {} s: producers waited up to {} ms, {} were \
             answered 503; give it more CPU or a quicker disk, or send less",
            lasts.as_secs(),
            known.wait_max.as_millis(),
            known.refused_now
        ))
    }

    /// Lets nobody in any more; those who wait are told that the router stops.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut turns = self.lock();
            turns.closed = true;
            std::mem::take(&mut turns.waiting)
        };
        drop(waiting);
        self.wanted.notify_one();
        self.synced.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Adds the credit of a turn and lets in whom it lets in; true when nobody wants more.
    fn refill(&self) -> bool {
        let now = Instant::now();
        let mut turns = self.lock();
        let most = turns.turn_bytes * TURNS_SAVED;
        turns.credit = (turns.credit + turns.turn_bytes).min(most);
        while turns.credit > 0
            && let Some(next) = turns.waiting.pop_front()
        {
            // Whoever has gone costs nothing.
            if next.granted.send(()).is_ok() {
                turns.credit -= next.cost;
                if next.taker == TurnTaker::Producer {
                    self.slowdown.waited(now, now - next.since);
                }
            }
        }
        turns.waiting.is_empty() && turns.credit >= most
    }
}

impl AdmissionTurns {
    /// True when the credit runs low by it, so that the task is to be woken.
    fn spend(&mut self, cost: i64) -> bool {
        let before = self.credit;
        self.credit -= cost;
        before > self.turn_bytes && self.credit <= self.turn_bytes
    }

    /// Forgets those at the head of the line who wait no more, and all of them when there are too many.
    fn forget_gone(&mut self) {
        while self.waiting.front().is_some_and(WaitingProducer::is_gone) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|producer| !producer.is_gone());
        }
    }
}

impl WaitingProducer {
    fn is_gone(&self) -> bool {
        self.granted.is_closed()
    }
}

/// Bytes that are on their way to the disk.
#[derive(Debug)]
pub(crate) struct UnsyncedBytes {
    admission: Arc<AdmissionGate>,
    bytes: u64,
}

impl Drop for UnsyncedBytes {
    fn drop(&mut self) {
        let admission = &self.admission;
        let before = admission
            .unsynced_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
        let falls_below = before >= UNSYNCED_BYTES_MAX && !admission.is_unsynced();
        if falls_below {
            admission.synced.notify_one();
        }
    }
}

/// Counts a producer that waits for a lane.
#[derive(Debug)]
pub(crate) struct WaitsForLane<'a>(&'a AdmissionGate);

impl Drop for WaitsForLane<'_> {
    fn drop(&mut self) {
        self.0.waiting_for_lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives turns until the router is dropped or stops.
///
/// `yield_now` comes back when the runtime has nothing else that is ready and has looked for input and
/// timers, or after some dozens of turns. What that input woke runs before the second one comes back: so
/// lanes have sent what they could by then.
pub(crate) async fn give_turns(admission: Arc<AdmissionGate>) {
    loop {
        admission.wanted.notified().await;
        loop {
            yield_now().await;
            yield_now().await;
            while admission.is_unsynced() && !admission.is_closed() {
                admission.synced.notified().await;
            }
            if admission.is_closed() {
                return;
            }
            if admission.refill() {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
