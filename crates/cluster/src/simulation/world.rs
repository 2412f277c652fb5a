//! What happens in a simulated cluster beside the log: destinations, and all that is recorded for the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::PartitionNumber;
use twinroute_journal::partition::HistoryDamage;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::stable_hash::stable_hash;

/// Endpoints of the simulated instance.
pub(super) const ENDPOINTS: [&str; 2] = ["hub", "topic"];

/// A delivery: its event's sequence and its endpoint.
pub(super) type DeliveryKey = (u64, usize);

/// What a destination answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimulatedAnswer {
    Delivered,
    Rejected,
    Unavailable,
}

/// A send of a delivery.
#[derive(Clone, Debug)]
pub(super) struct RecordedSend {
    pub(super) delivery: DeliveryKey,
    pub(super) router: String,
    pub(super) partition: PartitionNumber,
    pub(super) epoch: u64,
    /// When it began, and when it arrived, if it did.
    pub(super) began: Instant,
    pub(super) arrived: Option<Instant>,
    pub(super) answer: SimulatedAnswer,
}

/// A dead letter that was written.
#[derive(Clone, Debug)]
pub(super) struct RecordedLetter {
    pub(super) delivery: DeliveryKey,
    /// The epoch of who wrote it, and when that began.
    pub(super) epoch: u64,
    pub(super) at: Instant,
}

/// A partition that was opened by an owner.
#[derive(Clone, Debug)]
pub(super) struct RecordedOpening {
    pub(super) partition: PartitionNumber,
    pub(super) epoch: u64,
    pub(super) at: Instant,
}

/// An event that a producer was promised.
#[derive(Clone, Debug)]
pub(super) struct RecordedAcknowledgement {
    pub(super) id: String,
    pub(super) twin: u64,
    /// The router that did, and when.
    pub(super) router: String,
    pub(super) at: Instant,
}

/// A fault that may cost duplicates: whose, and from when until when its consequences may last.
#[derive(Clone, Debug)]
pub(super) struct RecordedFault {
    /// The router it happened to; none: all.
    pub(super) router: Option<String>,
    pub(super) from: Instant,
    pub(super) until: Instant,
    pub(super) cost: FaultCost,
}

/// Which duplicates a fault may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultCost {
    /// Those of what was in flight, however the router's owning of a partition ends.
    InFlight,
    /// Those of a lease that ended alone: one that was given back costs none.
    LostLease,
}

#[derive(Debug, Default)]
pub(super) struct WorldRecord {
    pub(super) trace: Vec<String>,
    /// Ids of events that were posted, by twin, in the order of their posts; and those that were acknowledged.
    pub(super) posted: BTreeMap<u64, Vec<String>>,
    pub(super) acknowledged: Vec<RecordedAcknowledgement>,
    pub(super) sends: Vec<RecordedSend>,
    /// Dead letters in the container.
    pub(super) letters: Vec<RecordedLetter>,
    pub(super) openings: Vec<RecordedOpening>,
    pub(super) faults: Vec<RecordedFault>,
    pub(super) quarantined: Vec<HistoryDamage>,
    /// The partition whose log was damaged.
    pub(super) damaged: Option<PartitionNumber>,
    /// Ids of events that it lost.
    pub(super) forgotten: Vec<String>,
    /// How many records it had ever had by then.
    pub(super) forgotten_behind: usize,
    endpoints_down: BTreeMap<usize, Instant>,
    endpoints_refuse: BTreeMap<usize, Instant>,
}

/// The world. Clones share it.
#[derive(Clone)]
pub(super) struct SimulatedWorld {
    start: Instant,
    record: Arc<Mutex<WorldRecord>>,
}

impl fmt::Debug for SimulatedWorld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SimulatedWorld")
    }
}

impl SimulatedWorld {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            record: Arc::default(),
        }
    }

    pub(super) fn record(&self) -> MutexGuard<'_, WorldRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn trace(&self, line: impl fmt::Display) {
        let at = self.start.elapsed().as_millis();
        self.record().trace.push(format!("{at:>7} {line}"));
    }

    /// Something happened that may cost duplicates: until its end, and the time in which a partition finds its next owner.
    pub(super) fn fault(&self, router: Option<&str>, lasts: Duration) {
        self.fault_of_cost(router, lasts, FaultCost::InFlight);
    }

    pub(super) fn fault_of_cost(&self, router: Option<&str>, lasts: Duration, cost: FaultCost) {
        let now = Instant::now();
        self.record().faults.push(RecordedFault {
            router: router.map(str::to_owned),
            from: now,
            until: now + lasts + Duration::from_secs(20),
            cost,
        });
    }

    pub(super) fn endpoint_down(&self, endpoint: usize, lasts: Duration) {
        let until = Instant::now() + lasts;
        self.record().endpoints_down.insert(endpoint, until);
    }

    pub(super) fn endpoint_refuses(&self, endpoint: usize, lasts: Duration) {
        let until = Instant::now() + lasts;
        self.record().endpoints_refuse.insert(endpoint, until);
    }

    /// A destination takes a delivery, or does not.
    pub(super) fn arrive(&self, send: usize, event_id: &str) -> SimulatedAnswer {
        let now = Instant::now();
        let mut record = self.record();
        let (_, endpoint) = record.sends[send].delivery;
        let is_down = record
            .endpoints_down
            .get(&endpoint)
            .is_some_and(|until| now < *until);
        let refuses = record.endpoints_refuse.get(&endpoint);
        let refuses = refuses.is_some_and(|until| now < *until);
        let answer = if is_down {
            SimulatedAnswer::Unavailable
        } else if refuses || is_rejected(event_id, endpoint) {
            SimulatedAnswer::Rejected
        } else {
            SimulatedAnswer::Delivered
        };
        let send = &mut record.sends[send];
        (send.arrived, send.answer) = (Some(now), answer);
        answer
    }
}

/// Wall time of a router. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SimulatedClock {
    start: Instant,
    jumped_millis: Arc<AtomicI64>,
}

impl SimulatedClock {
    pub(super) fn new(world: &SimulatedWorld) -> Self {
        Self {
            start: world.start,
            jumped_millis: Arc::default(),
        }
    }

    /// Somebody sets it.
    pub(super) fn jump(&self, millis: i64) {
        self.jumped_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let jumped = self.jumped_millis.load(Ordering::Relaxed);
        Timestamp::from_unix_millis(1_700_000_000_000 + jumped).after(self.start.elapsed())
    }
}

/// Whether a destination never takes an event: one of thirteen.
pub(super) fn is_rejected(event_id: &str, endpoint: usize) -> bool {
    stable_hash(event_id, ENDPOINTS[endpoint]).is_multiple_of(13)
}
