//! An endpoint that takes nothing: how long it is left alone, and what is asked before it is sent to again.

use super::State;
use crate::refusals::Refusal;
use crate::sink::{EndpointFault, FaultKind};
use crate::user_code::UserSink;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Timestamp;
use twinroute_retry::schedule;

/// Somebody who takes nothing just now.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// Faults in a row.
    pub(super) count: u32,
    pub(super) until: Instant,
    /// When the first of this kind came.
    pub(super) since: Timestamp,
    question: Question,
}

/// A credential that was refused is tried without an event before it is tried with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Open,
    Asked,
    /// The destination takes the credential; what becomes of a batch is the last word.
    Passed,
}

impl Fault {
    /// The fault that comes after `before`.
    pub(super) fn after(
        before: Option<&Self>,
        kind: FaultKind,
        until: Instant,
        now: Timestamp,
    ) -> Self {
        let same = before.filter(|before| before.kind == kind);
        Self {
            kind,
            count: before.map_or(0, |before| before.count) + 1,
            until,
            since: same.map_or(now, |before| before.since),
            question: match kind {
                FaultKind::Unauthorized => Question::Open,
                FaultKind::Unreachable
                | FaultKind::Throttled
                | FaultKind::Gone
                | FaultKind::Unsupported => Question::Passed,
            },
        }
    }
}

/// Whether the destination takes the credential is to be asked.
pub(in crate::lane) struct Probe {
    pub(in crate::lane) sink: UserSink,
    pub(in crate::lane) deadline: Duration,
    epoch: u64,
}

/// What comes before the next batch.
pub(super) enum First {
    Probe(Probe),
    /// It is being asked.
    Wait,
    Nothing,
}

impl State {
    /// What is to be done before events are sent to an endpoint that refused its credential.
    pub(super) fn before_sending(&mut self) -> First {
        let Some(fault) = &mut self.fault else {
            return First::Nothing;
        };
        match fault.question {
            Question::Passed => First::Nothing,
            Question::Asked => First::Wait,
            Question::Open => {
                fault.question = Question::Asked;
                First::Probe(Probe {
                    sink: self.setup.sink.clone(),
                    deadline: self.flight_time_max(),
                    epoch: self.epoch,
                })
            }
        }
    }

    /// Takes note of what the destination said.
    pub(in crate::lane) fn probed(
        &mut self,
        probe: &Probe,
        said: Result<(), EndpointFault>,
        now: Instant,
    ) {
        if probe.epoch != self.epoch {
            return;
        }
        match (said, &mut self.fault) {
            (Ok(()), Some(fault)) => fault.question = Question::Passed,
            (Ok(()), None) => {}
            (Err(fault), _) => {
                self.back_off(fault, now);
                self.update_still(now);
            }
        }
    }

    /// Its sink failed without being sent anything: that counts once for each time it may be tried.
    pub(super) fn failed_unasked(&mut self, fault: EndpointFault, now: Instant) {
        if self.fault.as_ref().is_none_or(|before| before.until <= now) {
            self.back_off(fault, now);
            self.update_still(now);
        }
    }

    pub(super) fn back_off(&mut self, fault: EndpointFault, now: Instant) {
        let before = self.fault.as_ref();
        let count = before.map_or(0, |fault| fault.count) + 1;
        let other_kind = before.is_none_or(|before| before.kind != fault.kind);
        let chance = self.chance.f64();
        let delay = schedule::endpoint_delay(&self.setup.settings, count, fault.after, chance);
        // What is to be done depends on the kind, so a new one is told too.
        if other_kind {
            tracing::warn!(
                endpoint = self.label, kind = fault.kind.as_str(), reason = %fault.reason,
                "the endpoint takes no events; they wait and it is looked at again"
            );
        }
        self.tell_refusal(fault.kind, other_kind);
        if self.journal.is_some() {
            // They may wait for long, and others need the memory.
            self.queue.shed();
        }
        self.counters.get().faults[fault.kind as usize].increment(1);
        self.last_error = fault.reason.to_string();
        let wall = self.clock.now();
        let fault = Fault::after(self.fault.as_ref(), fault.kind, now + delay, wall);
        self.fault = Some(fault);
        self.epoch += 1;
    }

    /// Has the sources of secrets looked at, if it is the credential that is refused.
    pub(super) fn tell_refusal(&self, kind: FaultKind, is_new: bool) {
        if kind == FaultKind::Unauthorized {
            self.refusals.tell(match is_new {
                true => Refusal::First,
                false => Refusal::Again,
            });
        }
    }

    pub(super) fn recover(&mut self, now: Instant) {
        if let Some(fault) = self.fault.take() {
            self.epoch += 1;
            tracing::info!(
                endpoint = self.label,
                probes = fault.count,
                "the endpoint takes events again"
            );
        }
        if self.overflowing && self.has_room_again(now) {
            self.overflowing = false;
            tracing::warn!(endpoint = self.label, "the endpoint's queue has room");
        }
    }
}
