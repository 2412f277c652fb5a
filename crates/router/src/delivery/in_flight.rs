//! Batches in flight: what a lane knows of each until it is answered.

use super::lane_reader::LaneReader;
use super::partition_shares::OwnedEpochs;
use super::queued_delivery::QueuedDelivery;
use crate::sink::Delivery;
use crate::trace::{AttemptSpans, SpanQueue, TracedDelivery};
use crate::user_code::UserSink;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A batch on its way.
pub(super) struct InFlightBatch {
    pub(super) id: u64,
    pub(super) sink: UserSink,
    pub(super) batch: Vec<QueuedDelivery>,
    pub(super) deadline: Duration,
    /// Where events that are not in memory are read from.
    pub(super) reader: Option<LaneReader>,
    pub(super) begun: Instant,
    /// Batches in flight when it was sent, itself included.
    pub(super) in_flight_then: usize,
    pub(super) epoch: u64,
    /// In which epochs its partitions are owned, where there are some.
    pub(super) epochs: OwnedEpochs,
    /// It was not sent: the lease of a partition ended before.
    pub(super) is_withheld: bool,
    /// Where its attempts are recorded.
    pub(super) spans: SpanQueue,
    /// Those that are, once its events are in memory.
    pub(super) attempts: Option<AttemptSpans>,
}

impl InFlightBatch {
    /// Its events are in memory from here on: how long the disk took says nothing of the endpoint.
    pub(super) fn note_read(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Its deliveries whose events are in memory.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        let delivery = |(place, waiting): (usize, &QueuedDelivery)| {
            let held = waiting.event.as_ref()?;
            let attempts = self.attempts.as_ref();
            let attempt = attempts.and_then(|attempts| attempts.context(place));
            Some(Delivery {
                sequence: waiting.sequence,
                event: held.clone(),
                twin: waiting.twin,
                attempts: waiting.attempts,
                trace: attempt.or_else(|| waiting.trace.clone()),
            })
        };
        let batch = self.batch.iter().enumerate();
        batch.filter_map(delivery).collect()
    }

    /// Its attempts begin, where they are recorded.
    pub(super) fn begin_attempts(&mut self) {
        let batch = self.batch.iter().map(traced);
        self.attempts = AttemptSpans::begin(&self.spans, batch);
    }
}

/// What is known of a batch while it is in flight.
#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    /// When the oldest of it came.
    came: Instant,
    begun: Instant,
}

/// All batches of a lane that are in flight.
#[derive(Debug, Default)]
pub(super) struct BatchesInFlight {
    open: BTreeMap<u64, OpenBatch>,
    begun: u64,
    /// When the last one was sent.
    last_sent: Option<Instant>,
    bytes: u64,
}

impl BatchesInFlight {
    /// Takes in a batch that is sent now; gives its number.
    pub(super) fn begin(&mut self, batch: &[QueuedDelivery], now: Instant) -> u64 {
        let id = self.begun;
        self.begun += 1;
        self.last_sent = Some(now);
        let oldest = batch.iter().map(|waiting| waiting.came).min();
        let came = oldest.unwrap_or(now);
        self.open.insert(id, OpenBatch { came, begun: now });
        self.bytes += bytes_of(batch);
        id
    }

    /// A batch was answered.
    pub(super) fn end(&mut self, flight: &InFlightBatch) {
        self.open.remove(&flight.id);
        self.bytes -= bytes_of(&flight.batch);
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes of their events.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last one was sent, answered or not.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.last_sent
    }

    /// When the event of them that is oldest came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.open.values().map(|batch| batch.came).min()
    }

    /// When the one that is unanswered for longest was sent.
    pub(super) fn longest_open(&self) -> Option<Instant> {
        self.open.values().map(|batch| batch.begun).min()
    }
}

/// What spans are to know of a delivery; nothing of one that is not sent.
fn traced(waiting: &QueuedDelivery) -> Option<TracedDelivery<'_>> {
    Some(TracedDelivery {
        trace: waiting.trace.as_deref(),
        event: waiting.event.as_deref()?,
        attempts: waiting.attempts,
    })
}

fn bytes_of(batch: &[QueuedDelivery]) -> u64 {
    batch.iter().map(|waiting| u64::from(waiting.bytes)).sum()
}
