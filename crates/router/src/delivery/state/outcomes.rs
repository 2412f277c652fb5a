//! What outcomes do to a lane: deliveries settle, wait for a retry, become dead letters or go back; the endpoint's health changes.

use super::LaneCore;
use crate::delivery::duration_histogram::DurationHistogram;
use crate::delivery::in_flight::InFlightBatch;
use crate::delivery::lane_journal::LaneJournal;
use crate::delivery::latency::LatencyHistogram;
use crate::delivery::queue::DeliveryFate;
use crate::delivery::queued_delivery::QueuedDelivery;
use crate::delivery::tracker::DeliveryEnd;
use crate::sink::{DeliveryOutcome, EndpointFault, FailureReason, FaultKind};
use crate::tap::TapOutcome;
use metrics::Histogram;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::FailedSendFault;
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::AnswerMeaning;
use twinroute_retry::schedule;

impl LaneCore {
    fn settle_delivered(&mut self, waiting: &QueuedDelivery, now: Instant) {
        let delivered = DeliverySettlement::Delivered;
        self.settle(waiting.sequence, Some(waiting), delivered);
        self.tell(waiting.sequence, DeliveryEnd::Delivered);
        let view = (waiting.sequence, waiting.event.as_deref());
        self.show(view, TapOutcome::Delivered, now, String::new);
    }

    /// Takes note of what became of a batch; no outcome is that of an event which the disk did not give
    /// back: that is tried again too, and never discarded, since the disk may work again.
    pub(in crate::delivery) fn finish(
        &mut self,
        mut flight: InFlightBatch,
        outcomes: Vec<Option<DeliveryOutcome>>,
        now: Instant,
    ) {
        self.in_flight.end(&flight);
        let mut twins = Vec::with_capacity(flight.batch.len());
        // Outcomes are collected, and the queue gets them at once: twins become free together, in order.
        let mut fates = Vec::new();
        let mut fault = None;
        let mut answered = false;
        let mut exhausted = ExhaustedDeliveries::default();
        let mut ages = AgeRun::default();
        let (mut delivered, mut failed) = (0, 0);
        let mut outcomes = outcomes.into_iter();
        let taken = std::mem::take(&mut flight.batch);
        for waiting in taken {
            let outcome = outcomes.next();
            let outcome = outcome.expect("there is one for each delivery");
            let (sequence, twin) = (waiting.sequence, waiting.twin);
            if self.was_lost_in_flight(&flight.epochs, sequence) {
                twins.push(twin);
                continue;
            }
            let awaited = exhausted.0.len() + self.unrecorded.open.len();
            failed += u64::from(is_failure(outcome.as_ref()));
            match outcome.map(|outcome| self.answer(outcome)) {
                None if flight.is_withheld => fates.extend(self.returned(waiting)),
                None => {
                    let reason = FailureReason::new(
                        "unreadable",
                        "the journal's disk does not give it back",
                    );
                    fates.extend(self.failed_alone(waiting, None, reason, now, &mut exhausted));
                }
                Some(DeliveryOutcome::Delivered) => {
                    answered = true;
                    delivered += 1;
                    self.settle_delivered(&waiting, now);
                    ages.add(waiting.age(now), self.age_histograms());
                }
                Some(DeliveryOutcome::Reject(reason)) => {
                    answered = true;
                    self.record_failed(&waiting, FailedSendFault::Event, &reason);
                    exhausted.add(waiting, DeadLetterReason::Rejected, reason);
                }
                Some(DeliveryOutcome::Retry { after, reason }) => {
                    answered = true;
                    fates.extend(self.failed_alone(waiting, after, reason, now, &mut exhausted));
                }
                Some(DeliveryOutcome::Unavailable(endpoint_fault)) => {
                    self.record_unavailable(&waiting, &endpoint_fault);
                    fault.get_or_insert(endpoint_fault);
                    fates.extend(self.returned(waiting));
                }
            }
            // Until its outcome is recorded a delivery keeps its twin.
            if !self.is_clustered() || exhausted.0.len() + self.unrecorded.open.len() == awaited {
                self.end_flight(sequence);
                twins.push(twin);
            }
        }
        ages.end(self.age_histograms());
        self.count_attempt(delivered, failed, now - flight.begun);
        if delivered > 0 {
            self.dead_lettered_in_a_row = 0;
        }
        self.queue.resolve(&twins, fates, now);
        self.dead_letter_exhausted(exhausted, now);
        self.hand_over();
        self.judge_endpoint(&flight, fault, answered, now);
        self.note_fullness(now);
    }

    /// Takes what a batch says of its endpoint: a `fault`, or that it `answered`.
    fn judge_endpoint(
        &mut self,
        flight: &InFlightBatch,
        fault: Option<EndpointFault>,
        answered: bool,
        now: Instant,
    ) {
        let cap = self.in_flight_cap();
        match &fault {
            None => (self.concurrency).answered(now - flight.begun, flight.in_flight_then, cap),
            Some(fault) if slows_down(fault.kind) => self.concurrency.overloaded(cap),
            Some(_) => {}
        }
        // A batch from before a fault, a recovery or a command says nothing about the endpoint as it is
        // now.
        if flight.epoch == self.epoch {
            match fault {
                Some(fault) => self.back_off(&fault, now),
                None if answered => self.recover(now),
                None => {}
            }
            self.update_ttl_clock(now);
        }
    }

    /// Where ages of deliveries that arrived are counted.
    fn age_histograms(&mut self) -> AgeHistograms<'_> {
        let recorded = &self.counters.get().deliveries;
        (&mut self.latency, &mut self.delivery_durations, recorded)
    }

    /// Counts a batch that was answered, once for all that is in it.
    fn count_attempt(&mut self, delivered: u64, failed: u64, took: Duration) {
        self.counters.delivered.increment(delivered);
        self.counters.failed_attempts.increment(failed);
        self.failed_attempts += failed;
        // Of a batch that the disk gave nothing of, nothing was sent.
        if delivered + failed > 0 {
            self.attempt_durations.record(took, 1);
            self.counters.get().attempts.record(took);
        }
    }

    /// What a sink said, as this endpoint's settings see it.
    pub(super) fn answer(&self, outcome: DeliveryOutcome) -> DeliveryOutcome {
        if self.setup.settings.answers.is_empty() {
            return outcome;
        }
        let (after, reason) = match &outcome {
            DeliveryOutcome::Delivered => return outcome,
            DeliveryOutcome::Retry { after, reason } => (*after, reason),
            DeliveryOutcome::Reject(reason) => (None, reason),
            DeliveryOutcome::Unavailable(fault) => (fault.after, &fault.reason),
        };
        let Some(answer) = self.setup.settings.answers.get(&*reason.code) else {
            return outcome;
        };
        let reason = reason.clone();
        match answer {
            AnswerMeaning::Retry => DeliveryOutcome::Retry { after, reason },
            AnswerMeaning::Reject => DeliveryOutcome::Reject(reason),
            // What costs no event an attempt.
            _ => DeliveryOutcome::Unavailable(EndpointFault {
                kind: match &outcome {
                    DeliveryOutcome::Unavailable(fault) => fault.kind,
                    _ => FaultKind::Unreachable,
                },
                after,
                reason,
            }),
        }
    }

    /// An event failed alone: it waits for its next attempt, or, where this gives nothing, has had its last.
    fn failed_alone(
        &mut self,
        waiting: QueuedDelivery,
        after: Option<Duration>,
        reason: FailureReason,
        now: Instant,
        exhausted: &mut ExhaustedDeliveries,
    ) -> Option<DeliveryFate> {
        self.health.last_error = reason.to_string();
        self.record_failed(&waiting, FailedSendFault::Event, &reason);
        let attempts = waiting.attempts + 1;
        let settings = &self.setup.settings;
        let stopped = self
            .ttl_clock
            .total(now)
            .saturating_sub(waiting.ttl_stopped_then);
        let lived = waiting.age(now).saturating_sub(stopped);
        let spent = if attempts >= settings.attempts_max {
            Some(DeadLetterReason::Exhausted)
        } else if lived >= settings.time_to_live {
            Some(DeadLetterReason::Expired)
        } else {
            None
        };
        if let Some(death) = spent {
            exhausted.add(waiting, death, reason);
            return None;
        }
        let delay = schedule::event_delay(settings, attempts, after, self.rng.f64());
        if let Some(LaneJournal::Disk(disk)) = &self.journal {
            disk.attempt(waiting.sequence, attempts, self.wall(now).at(now + delay));
        }
        tracing::debug!(endpoint = self.label, sequence = waiting.sequence,
            attempts, reason = %reason, ?delay, "an event failed alone and will be retried");
        let view = (waiting.sequence, waiting.event.as_deref());
        self.show(view, TapOutcome::Retrying, now, || reason.to_string());
        let retrying = QueuedDelivery {
            attempts,
            ..waiting
        };
        let retrying = self.await_retry(retrying, now + delay, now)?;
        Some(DeliveryFate::Retrying(retrying, now + delay))
    }

    /// What goes back to where it was, unless it is another's to send.
    fn returned(&mut self, waiting: QueuedDelivery) -> Option<DeliveryFate> {
        (!self.goes_to_another(waiting.sequence)).then_some(DeliveryFate::Returned(waiting))
    }

    fn record_unavailable(&mut self, waiting: &QueuedDelivery, fault: &EndpointFault) {
        self.record_failed(waiting, FailedSendFault::Endpoint, &fault.reason);
    }

    fn record_failed(
        &mut self,
        waiting: &QueuedDelivery,
        fault: FailedSendFault,
        reason: &FailureReason,
    ) {
        if let Some(journal) = &mut self.journal {
            journal.failed(waiting.sequence, fault, reason);
        }
    }

    /// Makes dead letters of those that had their last attempt.
    fn dead_letter_exhausted(&mut self, exhausted: ExhaustedDeliveries, now: Instant) {
        let Some((_, death, reason)) = exhausted.0.first() else {
            return;
        };
        self.health.last_error = reason.to_string();
        let count = exhausted.0.len() as u64;
        self.dead_lettered_in_a_row += count;
        if let Some(count) = self.deaths.add(count, now) {
            tracing::error!(
                endpoint = self.label, count, why = death.as_str(),
                reason = %reason, "events became dead letters"
            );
        }
        for (waiting, death, reason) in exhausted.0 {
            let attempts = waiting.attempts + 1;
            let waiting = QueuedDelivery {
                attempts,
                ..waiting
            };
            self.make_dead_letter(waiting, death, Some(&reason.to_string()), now);
        }
    }
}

/// Where ages are counted: for status, and for scrapers.
type AgeHistograms<'a> = (
    &'a mut LatencyHistogram,
    &'a mut DurationHistogram,
    &'a Histogram,
);

/// Deliveries of one age, which those of one request are: counted once for all.
#[derive(Default)]
struct AgeRun {
    age: Duration,
    count: u32,
}

impl AgeRun {
    fn add(&mut self, age: Duration, histograms: AgeHistograms<'_>) {
        if age != self.age {
            self.end(histograms);
            self.age = age;
        }
        self.count += 1;
    }

    fn end(&mut self, (latency, durations, recorded): AgeHistograms<'_>) {
        let count = std::mem::take(&mut self.count);
        latency.record(self.age, count);
        durations.record(self.age, count);
        recorded.record_many(self.age, count as usize);
    }
}

/// Whether an attempt failed; none is what the disk did not give back.
const fn is_failure(outcome: Option<&DeliveryOutcome>) -> bool {
    !matches!(outcome, None | Some(DeliveryOutcome::Delivered))
}

/// Whether a fault says that there was too much at a time.
const fn slows_down(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Unreachable | FaultKind::Throttled)
}

/// Deliveries of one batch that had their last attempt.
#[derive(Default)]
struct ExhaustedDeliveries(Vec<(QueuedDelivery, DeadLetterReason, FailureReason)>);

impl ExhaustedDeliveries {
    fn add(&mut self, waiting: QueuedDelivery, death: DeadLetterReason, reason: FailureReason) {
        self.0.push((waiting, death, reason));
    }
}
