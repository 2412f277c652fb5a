//! What outcomes do to a lane: deliveries settle, park or go back; the endpoint's health changes.

use super::super::queue::{Fate as Next, Waiting};
use super::{Fault, Flight, State};
use crate::sink::{EndpointFault, Outcome, Reason};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_retry::ledger::{Discard, Fate};
use twinroute_retry::schedule;

impl State {
    /// Takes note of what a sink said of a batch.
    pub(in crate::lane) fn finish(&mut self, flight: Flight, outcomes: Vec<Outcome>, now: Instant) {
        self.flights.remove(&flight.id);
        let mut fates = Vec::with_capacity(flight.batch.len());
        let mut fault = None;
        let mut answered = false;
        let mut rejected = Rejected::default();
        let mut delivered = 0;
        let broken = Outcome::Retry {
            after: None,
            reason: Reason::new("no-outcome", "the sink gave fewer outcomes than deliveries"),
        };
        let mut outcomes = outcomes.into_iter();
        for waiting in flight.batch {
            let twin = waiting.twin;
            let outcome = outcomes.next().unwrap_or_else(|| broken.clone());
            let fate = match outcome {
                Outcome::Delivered => {
                    answered = true;
                    delivered += 1;
                    self.note_delivered(waiting.entry.sequence);
                    self.latency.record(now - waiting.accepted);
                    Next::Settled
                }
                Outcome::Reject(reason) => {
                    answered = true;
                    rejected.note(&waiting, Discard::Rejected, &reason);
                    self.discard(waiting.entry.sequence, Discard::Rejected);
                    Next::Settled
                }
                Outcome::Retry { after, reason } => {
                    answered = true;
                    self.failed_alone(waiting, after, &reason, now, &mut rejected)
                }
                Outcome::Unavailable(endpoint_fault) => {
                    fault.get_or_insert(endpoint_fault);
                    Next::Returned(waiting)
                }
            };
            fates.push((twin, fate));
        }
        self.ledger.delivered += delivered;
        self.counters.delivered.increment(delivered);
        self.queue.resolve(fates);
        self.hand_over();
        self.note_rejected(rejected);
        if flight.epoch == self.epoch {
            match fault {
                Some(fault) => self.back_off(fault, now),
                None if answered => self.recover(),
                None => {}
            }
        }
    }

    fn note_delivered(&mut self, sequence: u64) {
        if let Some(journal) = &mut self.journal {
            journal.settle(sequence, Fate::Delivered);
        }
    }

    /// An event failed alone: it waits for its next attempt, or has had its last.
    fn failed_alone(
        &mut self,
        waiting: Waiting,
        after: Option<Duration>,
        reason: &Reason,
        now: Instant,
        rejected: &mut Rejected,
    ) -> Next {
        self.last_error = reason.to_string();
        let attempts = waiting.attempts + 1;
        let spent = if attempts >= self.settings.attempts_max {
            Some(Discard::Exhausted)
        } else if now - waiting.accepted >= self.settings.time_to_live {
            Some(Discard::Expired)
        } else {
            None
        };
        if let Some(discard) = spent {
            rejected.note(&waiting, discard, reason);
            self.discard(waiting.entry.sequence, discard);
            return Next::Settled;
        }
        let delay = schedule::event_delay(attempts, after, self.chance.f64());
        if let Some(journal) = &self.journal {
            journal.attempt(waiting.entry.sequence, attempts, delay);
        }
        tracing::debug!(endpoint = self.label, event = waiting.entry.event.id(),
            attempts, reason = %reason, ?delay, "an event failed alone and waits");
        Next::Parked(
            Waiting {
                attempts,
                ..waiting
            },
            now + delay,
        )
    }

    fn note_rejected(&mut self, rejected: Rejected) {
        let Some((event, discard, reason)) = rejected.first else {
            return;
        };
        tracing::error!(
            endpoint = self.label, event, count = rejected.count, reason = %reason,
            "events were given up: {discard}"
        );
        self.last_error = reason.to_string();
    }

    fn back_off(&mut self, fault: EndpointFault, now: Instant) {
        let before = self.fault.as_ref();
        let count = before.map_or(0, |fault| fault.count) + 1;
        let other_kind = before.is_none_or(|before| before.kind != fault.kind);
        let delay = schedule::endpoint_delay(count, fault.after, self.chance.f64());
        // What is to be done depends on the kind, so a new one is told too.
        if other_kind {
            tracing::warn!(
                endpoint = self.label, kind = fault.kind.as_str(), reason = %fault.reason,
                "the endpoint takes no events; they wait and it is looked at again"
            );
        }
        self.counters.faults[fault.kind as usize].increment(1);
        self.last_error = fault.reason.to_string();
        self.fault = Some(Fault {
            kind: fault.kind,
            count,
            until: now + delay,
        });
        self.epoch += 1;
    }

    fn recover(&mut self) {
        if let Some(fault) = self.fault.take() {
            self.epoch += 1;
            tracing::info!(
                endpoint = self.label,
                probes = fault.count,
                "the endpoint takes events again"
            );
        }
        if self.overflowing && self.queue.queued() < self.settings.queue_events_max / 2 {
            self.overflowing = false;
            tracing::warn!(
                endpoint = self.label,
                given_up = self.ledger.discarded(Discard::Overflow),
                "the endpoint's queue has room"
            );
        }
    }
}

/// Events given up in one batch: one line in the log for all of them.
#[derive(Default)]
struct Rejected {
    first: Option<(String, Discard, Reason)>,
    count: u64,
}

impl Rejected {
    fn note(&mut self, waiting: &Waiting, discard: Discard, reason: &Reason) {
        self.count += 1;
        self.first
            .get_or_insert_with(|| (waiting.entry.event.id().to_owned(), discard, reason.clone()));
    }
}
