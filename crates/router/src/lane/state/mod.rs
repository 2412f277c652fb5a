//! A lane's state and what it decides: pure but for logs and counters.

mod outcomes;

use super::Setup;
use super::durable::{LaneJournal, Origin};
use super::queue::{Caps, Queue, Room, Waiting};
use crate::latency::Histogram;
use crate::sink::{Delivery, FaultKind, Sink};
use crate::status::{EndpointStatus, discarded_by};
use metrics::{Counter, counter};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::settings::EndpointSettings;
use twinroute_model::twin::TwinKey;
use twinroute_retry::journal::{LaneNumber, PendingDelivery};
use twinroute_retry::ledger::{Discard, Fate, Ledger};

#[derive(Debug)]
pub(super) struct State {
    label: String,
    endpoint_type: &'static str,
    sink: SinkHandle,
    settings: EndpointSettings,
    queue: Queue,
    ledger: Ledger,
    fault: Option<Fault>,
    /// Counts changes of the sink and of its health; a batch sent before one tells nothing about it.
    epoch: u64,
    last_error: String,
    flights: BTreeMap<u64, Instant>,
    flights_begun: u64,
    latency: Histogram,
    retired: Option<Retirement>,
    ended: bool,
    overflowing: bool,
    chance: fastrand::Rng,
    counters: Counters,
    journal: Option<LaneJournal>,
}

#[derive(Clone)]
struct SinkHandle(Arc<dyn Sink>);

impl std::fmt::Debug for SinkHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sink")
    }
}

/// A lane that is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retirement {
    /// It stays at least until then.
    pub(super) not_before: Instant,
    /// What is not settled by then is given up.
    pub(super) deadline: Instant,
    /// Why.
    pub(super) reason: Discard,
}

/// An endpoint that takes nothing just now.
#[derive(Debug)]
struct Fault {
    kind: FaultKind,
    /// Faults in a row.
    count: u32,
    until: Instant,
}

#[derive(Debug)]
struct Counters {
    matched: Counter,
    delivered: Counter,
    discarded: [Counter; Discard::ALL.len()],
    faults: [Counter; FaultKind::ALL.len()],
}

/// What became of an offered delivery.
pub(crate) enum Offer {
    Queued {
        /// Whether the loop has to hear of it.
        wake: bool,
        /// How many older ones left for it.
        evicted: usize,
    },
    /// The lane is over; the delivery is counted as given up.
    Ended,
}

/// What the loop is to do next.
pub(super) enum Step {
    Send(Flight),
    /// Wait for an outcome, a wake-up or this moment.
    Wait(Option<Instant>),
    End,
}

/// A batch on its way.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) batch: Vec<Waiting>,
    pub(super) deadline: Duration,
    epoch: u64,
}

impl State {
    pub(super) fn new(
        instance: &InstanceName,
        name: &EndpointName,
        setup: Setup,
        origin: Origin,
    ) -> Self {
        let (instance, name) = (instance.to_string(), name.to_string());
        let delivery = |outcome: &'static str| {
            counter!("twinroute_deliveries_total", "adt_instance" => instance.clone(),
                "endpoint" => name.clone(), "outcome" => outcome)
        };
        let mut state = Self {
            counters: Counters {
                matched: delivery("matched"),
                delivered: delivery("delivered"),
                discarded: Discard::ALL.map(|reason| {
                    counter!("twinroute_discarded_total", "adt_instance" => instance.clone(),
                        "endpoint" => name.clone(), "reason" => reason.as_str())
                }),
                faults: FaultKind::ALL.map(|kind| {
                    counter!("twinroute_endpoint_faults_total", "adt_instance" => instance.clone(),
                        "endpoint" => name.clone(), "kind" => kind.as_str())
                }),
            },
            label: format!("{instance}/{name}"),
            queue: Queue::new(setup.settings.ordering),
            endpoint_type: setup.endpoint_type,
            sink: SinkHandle(setup.sink),
            settings: setup.settings,
            ledger: origin.ledger,
            journal: origin.journal,
            fault: None,
            epoch: 0,
            last_error: String::new(),
            flights: BTreeMap::new(),
            flights_begun: 0,
            latency: Histogram::default(),
            retired: None,
            ended: false,
            overflowing: false,
            chance: fastrand::Rng::new(),
        };
        state.count_ledger();
        state.restore(origin.pending, Instant::now());
        state
    }

    /// Counters go on from what was counted before a restart, so that they add up.
    fn count_ledger(&self) {
        self.counters.matched.increment(self.ledger.matched);
        self.counters.delivered.increment(self.ledger.delivered);
        for reason in Discard::ALL {
            let counter = &self.counters.discarded[reason as usize];
            counter.increment(self.ledger.discarded(reason));
        }
    }

    /// Queues what was not settled before a restart; its matches are counted already.
    fn restore(&mut self, pending: Vec<PendingDelivery>, now: Instant) {
        let Some(journal) = &self.journal else { return };
        let mut restored = Vec::with_capacity(pending.len());
        for delivery in pending {
            let waiting = Waiting {
                twin: TwinKey::of(&delivery.entry.event).stable_hash(),
                accepted: journal.moment(delivery.accepted_at, now),
                entry: delivery.entry,
                attempts: delivery.attempts,
            };
            restored.push((waiting, delivery.due.map(|due| journal.due(due, now))));
        }
        for (waiting, due) in restored {
            match due {
                Some(due) => self.queue.restore_parked(waiting, due),
                None => drop(self.enqueue(waiting)),
            }
        }
        self.hand_over();
    }

    pub(super) fn reconfigure(&mut self, setup: Setup) {
        self.queue.set_ordering(setup.settings.ordering);
        self.endpoint_type = setup.endpoint_type;
        self.sink = SinkHandle(setup.sink);
        self.settings = setup.settings;
        self.fault = None;
        self.epoch += 1;
    }

    pub(super) fn offer(&mut self, waiting: Waiting) -> Offer {
        self.ledger.matched += 1;
        self.counters.matched.increment(1);
        if self.ended {
            self.discard(waiting.entry.sequence, Discard::Removed);
            return Offer::Ended;
        }
        self.enqueue(waiting)
    }

    fn enqueue(&mut self, waiting: Waiting) -> Offer {
        let had_none = self.queue.oldest_sendable().is_none();
        let room = self.room();
        let filled = self.queue.fills(room);
        let evicted = self.queue.push(waiting, self.caps());
        for oldest in &evicted {
            self.note_overflow(oldest);
            self.discard(oldest.entry.sequence, Discard::Overflow);
        }
        Offer::Queued {
            wake: had_none || (!filled && self.queue.fills(room)),
            evicted: evicted.len(),
        }
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

    fn caps(&self) -> Caps {
        let bytes_max = usize::try_from(self.settings.queue_bytes_max.as_u64());
        Caps {
            events_max: self.settings.queue_events_max,
            bytes_max: bytes_max.unwrap_or(usize::MAX),
        }
    }

    fn room(&self) -> Room {
        let limits = self.sink.0.limits();
        Room {
            events_max: limits.events_max.max(1),
            bytes_max: limits.bytes_max,
        }
    }

    /// Says once that a lane gives up events, and once more when it has stopped to.
    fn note_overflow(&mut self, oldest: &Waiting) {
        if self.overflowing {
            return;
        }
        self.overflowing = true;
        tracing::error!(
            endpoint = self.label,
            event = oldest.entry.event.id(),
            queue_bytes = self.queue.bytes(),
            queue_events = self.queue.queued(),
            "the endpoint's queue is full: its oldest events are given up until there is room; \
             raise queue_bytes_max or queue_events_max, or mend the endpoint"
        );
    }

    fn discard(&mut self, sequence: u64, reason: Discard) {
        if let Some(journal) = &mut self.journal {
            journal.settle(sequence, Fate::Discarded(reason));
        }
        self.ledger.discard(reason);
        self.counters.discarded[reason as usize].increment(1);
    }

    /// Decides what to do now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some(retired) = self.retired {
            if self.journal.is_some() && retired.reason == Discard::Stopped {
                // What waits stays in the journal; only what is in flight is waited for.
                if now >= retired.deadline && self.flights.is_empty() {
                    self.ended = true;
                    return Step::End;
                }
                if now >= retired.deadline {
                    return Step::Wait(None);
                }
            } else if now >= retired.deadline {
                self.give_up(retired.reason);
            }
            if self.is_empty() && now >= retired.not_before {
                self.ended = true;
                return Step::End;
            }
        }
        let limits = self.sink.0.limits();
        let backing_off = self.fault.as_ref().map(|fault| fault.until);
        let in_flight_max = if backing_off.is_some() {
            1
        } else {
            limits
                .in_flight_max
                .clamp(1, self.settings.batches_in_flight_max)
        };
        let retire_at = self
            .retired
            .map(|retired| {
                if self.is_empty() {
                    retired.not_before
                } else {
                    retired.deadline
                }
            })
            .filter(|moment| *moment > now);
        if self.flights.len() >= in_flight_max {
            return Step::Wait(retire_at);
        }
        if let Some(until) = backing_off.filter(|until| *until > now) {
            return Step::Wait(earliest([Some(until), retire_at]));
        }
        let room = self.room();
        let due = self.queue.next_due();
        let oldest = self.queue.oldest_sendable();
        let lingering = oldest.map(|oldest| oldest + self.settings.linger);
        let go = due.is_some_and(|due| due <= now)
            || lingering.is_some_and(|end| end <= now || self.queue.fills(room));
        let batch = if go {
            self.queue.take(room, now)
        } else {
            Vec::new()
        };
        if !batch.is_empty() {
            return Step::Send(self.launch(batch, now));
        }
        // A due delivery whose twin is in flight waits for that outcome, not for a moment.
        let due = due.filter(|due| *due > now);
        let lingering = lingering.filter(|end| *end > now);
        Step::Wait(earliest([due, lingering, retire_at]))
    }

    fn launch(&mut self, batch: Vec<Waiting>, now: Instant) -> Flight {
        let id = self.flights_begun;
        self.flights_begun += 1;
        let oldest = batch.iter().map(|waiting| waiting.accepted).min();
        self.flights.insert(id, oldest.unwrap_or(now));
        let delivery = |waiting: &Waiting| Delivery {
            sequence: waiting.entry.sequence,
            event: Arc::clone(&waiting.entry.event),
            twin: waiting.twin,
            attempts: waiting.attempts,
        };
        Flight {
            id,
            sink: Arc::clone(&self.sink.0),
            deliveries: batch.iter().map(delivery).collect(),
            batch,
            // The sink keeps its own time; this is for one that does not.
            deadline: self.settings.attempt_timeout * 4 + Duration::from_secs(10),
            epoch: self.epoch,
        }
    }

    pub(super) fn retire(&mut self, retirement: Retirement) {
        self.retired = Some(retirement);
    }

    pub(super) fn revive(&mut self) -> bool {
        if !self.ended {
            self.retired = None;
        }
        !self.ended
    }

    pub(super) fn is_running(&self) -> bool {
        self.retired.is_none() && !self.ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What waits is over, but for what a journal on disk keeps over a stop.
    fn give_up(&mut self, reason: Discard) {
        let mut count = 0_u64;
        while let Some(waiting) = self.queue.evict_oldest() {
            self.discard(waiting.entry.sequence, reason);
            count += 1;
        }
        self.hand_over();
        if count > 0 {
            tracing::error!(
                endpoint = self.label,
                count,
                "events were given up: {reason}"
            );
        }
    }

    fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.queue.queued() == 0 && self.queue.parked() == 0
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ended || self.is_empty()
    }

    pub(super) fn status(&self, name: &str, now: Instant) -> EndpointStatus {
        // An endpoint that is over has no faults any more.
        let fault = self.fault.as_ref().filter(|_| !self.ended);
        let state = match (fault, &self.retired) {
            (Some(fault), _) => fault.kind.as_str(),
            (None, Some(retired)) => retired.reason.as_str(),
            (None, None) => "healthy",
        };
        let until = fault.map(|fault| fault.until.saturating_duration_since(now));
        let oldest = self
            .flights
            .values()
            .copied()
            .chain(self.queue.oldest())
            .min();
        EndpointStatus {
            name: name.to_owned(),
            endpoint_type: self.endpoint_type.to_owned(),
            state: state.to_owned(),
            last_error: self.last_error.clone(),
            backing_off_ms: millis(until.unwrap_or_default()),
            matched: self.ledger.matched,
            queued: self.queue.recount() as u64,
            in_flight: self.queue.in_flight() as u64,
            parked: self.queue.parked() as u64,
            delivered: self.ledger.delivered,
            discarded: self.ledger.discarded_all(),
            discarded_by: discarded_by(&self.ledger),
            queue_bytes: self.queue.bytes() as u64,
            oldest_age_ms: millis(oldest.map(|oldest| now - oldest).unwrap_or_default()),
            latency_p50_ms: self.latency.percentile_ms(0.5),
            latency_p99_ms: self.latency.percentile_ms(0.99),
        }
    }
}

fn earliest<const N: usize>(moments: [Option<Instant>; N]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
