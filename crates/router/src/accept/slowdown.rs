//! Whether producers are being slowed: what status, metrics and log tell of it.

use metrics::{Counter, Gauge, counter, gauge};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A producer that waited so long was slowed; less is no more than taking turns.
const SLOWED_AT: Duration = Duration::from_millis(250);

/// How long nobody may have been slowed before it is said to be over.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// What is known of it.
#[derive(Debug)]
pub(crate) struct ProducerSlowdown {
    state: Mutex<SlowdownState>,
    slowed_total: Counter,
    refused_total: Counter,
    waiting: Gauge,
}

impl Default for ProducerSlowdown {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            slowed_total: counter!("twinroute_admission_slowed_total"),
            refused_total: counter!("twinroute_admission_refused_total"),
            waiting: gauge!("twinroute_admission_waiting"),
        }
    }
}

#[derive(Debug, Default)]
struct SlowdownState {
    since: Option<Instant>,
    /// When a producer was slowed or refused last.
    last: Option<Instant>,
    wait_max: Duration,
    slowed: u64,
    refused: u64,
    /// Of those, since it began.
    refused_now: u64,
}

/// A snapshot of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlowdownCounts {
    /// How long it has lasted, if it does.
    pub(crate) lasts: Option<Duration>,
    /// The longest that a producer waited in it.
    pub(crate) wait_max: Duration,
    /// Producers that waited long, since the start.
    pub(crate) slowed: u64,
    /// Producers that were refused, since the start.
    pub(crate) refused: u64,
    /// Of those, in this slowdown.
    pub(crate) refused_now: u64,
}

impl ProducerSlowdown {
    fn lock(&self) -> MutexGuard<'_, SlowdownState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A producer waited so long for its turn and got it.
    pub(crate) fn waited(&self, now: Instant, waited: Duration) {
        if waited < SLOWED_AT {
            return;
        }
        let mut known = self.lock();
        known.slowed += 1;
        known.begin(now, waited);
        drop(known);
        self.slowed_total.increment(1);
    }

    /// A producer waited so long and was refused.
    pub(crate) fn refused(&self, now: Instant, waited: Duration) {
        let mut known = self.lock();
        known.refused += 1;
        known.begin(now, waited);
        known.refused_now += 1;
        drop(known);
        self.refused_total.increment(1);
    }

    /// What there is to tell; says in the log when it is over.
    pub(crate) fn counts(&self, now: Instant, waiting: usize) -> SlowdownCounts {
        self.waiting.set(waiting as f64);
        let mut known = self.lock();
        known.end(now);
        SlowdownCounts {
            lasts: known.since.map(|since| now - since),
            wait_max: known.wait_max,
            slowed: known.slowed,
            refused: known.refused,
            refused_now: known.refused_now,
        }
    }
}

impl SlowdownState {
    fn begin(&mut self, now: Instant, waited: Duration) {
        self.end(now);
        self.last = Some(now);
        self.wait_max = self.wait_max.max(waited);
        if self.since.is_none() {
            self.since = Some(now);
            tracing::warn!(
                "the router is overloaded: producers wait for their turn, and are answered 503 when that takes \
                 too long; no accepted event is lost"
            );
        }
    }

    fn end(&mut self, now: Instant) {
        let quiet = self.last.is_some_and(|last| now - last >= OVER_AFTER);
        if !quiet {
            return;
        }
        if let Some(since) = self.since.take() {
            let (lasted, refused) = (now - since, self.refused_now);
            tracing::info!(?lasted, refused, "producers do not wait any more");
        }
        self.last = None;
        self.wait_max = Duration::ZERO;
        self.refused_now = 0;
    }
}
