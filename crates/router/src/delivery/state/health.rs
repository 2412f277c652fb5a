//! An endpoint that takes nothing: how long it is left alone, what is asked before it is sent to again, and that
//! nobody's time to live runs meanwhile.

use super::LaneCore;
use crate::credential_refresh::RefusedCredential;
use crate::delivery::action::CredentialProbe;
use crate::delivery::target_health::CredentialQuestion;
use crate::sink::{EndpointFault, FaultKind};
use tokio::time::Instant;

/// What comes before the next batch.
pub(super) enum BeforeSending {
    Probe(CredentialProbe),
    /// It is being asked.
    Wait,
    Nothing,
}

impl LaneCore {
    /// What is to be done before events are sent to an endpoint that refused its credential.
    pub(super) fn before_sending(&mut self) -> BeforeSending {
        match self.health.ask() {
            CredentialQuestion::Passed => BeforeSending::Nothing,
            CredentialQuestion::Asked => BeforeSending::Wait,
            CredentialQuestion::Open => BeforeSending::Probe(CredentialProbe {
                sink: self.setup.sink.clone(),
                deadline: self.send_time_max(),
                epoch: self.epoch,
            }),
        }
    }

    /// Takes note of what the destination said.
    pub(in crate::delivery) fn probed(
        &mut self,
        probe: &CredentialProbe,
        said: Result<(), EndpointFault>,
        now: Instant,
    ) {
        if probe.epoch != self.epoch {
            return;
        }
        match said {
            Ok(()) => self.health.pass(),
            Err(fault) => {
                self.back_off(&fault, now);
                self.update_ttl_clock(now);
            }
        }
    }

    /// Its sink failed without being sent anything: that counts once for each time it may be tried.
    pub(super) fn failed_unasked(&mut self, fault: &EndpointFault, now: Instant) {
        if !self.health.is_backing_off(now) {
            self.back_off(fault, now);
            self.update_ttl_clock(now);
        }
    }

    pub(super) fn back_off(&mut self, fault: &EndpointFault, now: Instant) {
        let (wall, random) = (self.wall(now), self.rng.f64());
        let is_new = self.health.fail(fault, &self.setup.settings, random, &wall);
        // What is to be done depends on the kind, so a new one is reported too.
        if is_new {
            tracing::warn!(
                endpoint = self.label, kind = fault.kind.as_str(), reason = %fault.reason,
                "the endpoint accepts no events; they stay queued and it is checked again"
            );
        }
        self.trigger_refresh(fault.kind, is_new);
        if self.journal.is_some() {
            // They may wait for long, and others need the memory.
            self.queue.shed();
        }
        self.counters.get().faults[fault.kind as usize].increment(1);
        self.epoch += 1;
    }

    /// Has the sources of secrets read again, if it is the credential that is refused.
    pub(super) fn trigger_refresh(&self, kind: FaultKind, is_new: bool) {
        if kind == FaultKind::Unauthorized {
            self.reports.refresh_trigger.refused(match is_new {
                true => RefusedCredential::First,
                false => RefusedCredential::Again,
            });
        }
    }

    pub(super) fn recover(&mut self, now: Instant) {
        if let Some(fault) = self.health.fault.take() {
            self.epoch += 1;
            tracing::info!(
                endpoint = self.label,
                probes = fault.count,
                "the endpoint accepts events again"
            );
        }
        if self.overflowing && self.has_room_again(now) {
            self.overflowing = false;
            tracing::warn!(endpoint = self.label, "the endpoint's queue has room again");
        }
    }

    /// Whether nobody's time to live runs: what is the endpoint's fault, or somebody's wish, costs no event.
    pub(super) fn stops_ttl(&self) -> bool {
        self.paused || self.setup.hold.is_some() || self.health.fault.is_some()
    }

    /// Lets time-to-live stand still or go on, as things are.
    pub(super) fn update_ttl_clock(&mut self, now: Instant) {
        if self.is_empty() {
            self.ttl_clock.forget();
        }
        if self.ttl_clock.set(self.stops_ttl(), now) {
            self.note_state(now);
        }
    }

    pub(super) fn note_state(&self, now: Instant) {
        if let Some(journal) = &self.journal {
            journal.state(self.paused, &self.ttl_clock, &self.wall(now));
        }
    }
}
