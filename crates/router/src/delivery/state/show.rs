//! What a lane shows of itself.

use super::LaneCore;
use crate::delivery::hold::HoldReason;
use crate::sink::{CredentialState, EndpointFault};
use crate::status::{
    CredentialStatus, DeadLetterStatus, EndpointMetrics, EndpointState, EndpointStatus,
    LetterStoreState, RetryStatus, discarded_by,
};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::ledger::DiscardReason;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetterReason;

/// What the code of the program reported, asked without the lane's lock.
pub(in crate::delivery) struct ProgramReports {
    pub(in crate::delivery) credentials: Result<Vec<CredentialState>, EndpointFault>,
    /// When the credential of the dead-letter store ends.
    pub(in crate::delivery) expires_at: Result<Option<Timestamp>, EndpointFault>,
}

impl LaneCore {
    pub(in crate::delivery) fn status(
        &self,
        reports: ProgramReports,
        now: Instant,
    ) -> EndpointStatus {
        // An endpoint that is over has no faults any more, though it may have dead letters.
        let over = self.ended || (self.retired.is_some() && self.is_empty());
        let fault = self.health.fault.as_ref().filter(|_| !over);
        let state = match (&self.setup.hold, self.paused, fault, &self.retired) {
            (Some(hold @ HoldReason::Undefined), _, _, _) | (Some(hold), _, _, None) => {
                hold.state()
            }
            (_, true, _, _) => EndpointState::Paused,
            (_, false, Some(fault), _) => EndpointState::Fault(fault.kind),
            (_, false, None, Some(retired)) if retired.reason == DiscardReason::Stopped => {
                EndpointState::Stopped
            }
            (_, false, None, Some(_)) => EndpointState::Removed,
            (None, false, None, None) => EndpointState::Healthy,
        };
        let until = fault.map(|fault| fault.until.saturating_duration_since(now));
        let queued = self.queue.oldest().map(|oldest| oldest.age(now));
        let in_flight = self.in_flight.oldest();
        let in_flight = in_flight.map(|came| now.saturating_duration_since(came));
        let ledger = &self.ledger;
        EndpointStatus {
            name: self.name.to_string(),
            endpoint_type: self.setup.endpoint_type.to_string(),
            address: self.setup.address.clone(),
            state,
            since: fault.map(|fault| fault.since),
            failed_attempts: fault.map_or(0, |fault| fault.count),
            last_error: self.last_error(reports.credentials.as_ref().err()),
            credentials: self.credentials(reports.credentials.unwrap_or_default()),
            failed_in_a_row: self.dead_lettered_in_a_row,
            backing_off_ms: millis(until.unwrap_or_default()),
            matched: ledger.matched,
            replayed: ledger.replayed,
            queued: self.queue.recount() as u64,
            in_flight: self.queue.in_flight() as u64,
            retrying: self.queue.retrying() as u64,
            delivered: ledger.delivered,
            dead_letters: self.dead_letters(reports.expires_at, now),
            discarded: ledger.discarded_all(),
            discarded_by: discarded_by(ledger),
            queue_bytes: self.queue.bytes() as u64,
            queue_bytes_max: self.setup.settings.queue_bytes_max.as_u64(),
            queue_events_max: self.setup.settings.queue_events_max as u64,
            memory_bytes: self.queue.memory() as u64,
            oldest_age_ms: millis(queued.max(in_flight).unwrap_or_default()),
            latency_p50_ms: self.latency.percentile_ms(0.5),
            latency_p99_ms: self.latency.percentile_ms(0.99),
            batches_in_flight_max: self.concurrency.limit(self.in_flight_cap()) as u64,
            retry: self.retry(),
            metrics: EndpointMetrics {
                is_in_remainder: self.counters.is_in_remainder(),
                failed_attempts: self.failed_attempts,
                deliveries: self.delivery_durations.clone(),
                attempts: self.attempt_durations.clone(),
            },
        }
    }

    fn last_error(&self, failed: Option<&EndpointFault>) -> String {
        match (&self.setup.hold, failed) {
            (Some(hold), _) => hold.why(),
            (None, Some(fault)) if self.health.last_error.is_empty() => fault.reason.to_string(),
            (None, _) => self.health.last_error.clone(),
        }
    }

    fn credentials(&self, known: Vec<CredentialState>) -> Vec<CredentialStatus> {
        let status = |known: CredentialState| CredentialStatus {
            slot: known.slot,
            active: known.active,
            expires_at: known.expires_at,
            expires_in_s: self.seconds_until(known.expires_at),
        };
        known.into_iter().map(status).collect()
    }

    /// Seconds from now until a credential ends.
    fn seconds_until(&self, end: Option<Timestamp>) -> Option<i64> {
        end.map(|end| end.seconds_from(self.clock.now()))
    }

    fn dead_letters(
        &self,
        expires_at: Result<Option<Timestamp>, EndpointFault>,
        now: Instant,
    ) -> DeadLetterStatus {
        let here = self.dead.len() as u64;
        let storable = self.dead.storable() as u64;
        let has_store = self.setup.store.is_some();
        let awaiting_upload = if has_store { storable } else { 0 };
        let failed = expires_at.as_ref().err();
        let failed = failed.map(|fault| fault.reason.to_string());
        let last_error =
            Some(self.store_health.last_error.clone()).filter(|error| !error.is_empty());
        let expires_at = expires_at.unwrap_or_default();
        let fault = self.store_health.fault.as_ref().filter(|_| has_store);
        let counts = self.dead_by_reason();
        let counted = DeadLetterReason::ALL.map(|reason| (reason, counts[reason as usize]));
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        let state = match (has_store, fault) {
            (false, _) => LetterStoreState::Local,
            (true, None) => LetterStoreState::Ok,
            (true, Some(fault)) => LetterStoreState::Fault(fault.kind),
        };
        DeadLetterStatus {
            uploaded: self.ledger.dead_lettered,
            awaiting_upload,
            local: here - awaiting_upload,
            replayed: self.ledger.dead_replayed,
            by_reason: counted.collect(),
            bytes: self.dead.bytes(),
            store: state,
            last_error: last_error.or(failed).unwrap_or_default(),
            backing_off_ms: fault.map_or(0, |fault| {
                millis(fault.until.saturating_duration_since(now))
            }),
            expires_at,
            expires_in_s: self.seconds_until(expires_at),
        }
    }

    fn retry(&self) -> RetryStatus {
        let settings = &self.setup.settings;
        let steps = settings.retry_schedule.iter();
        RetryStatus {
            schedule_s: steps.map(Duration::as_secs_f64).collect(),
            jitter_percent: settings.retry_jitter_percent,
            attempts_max: settings.attempts_max,
            time_to_live_s: settings.time_to_live.as_secs(),
            standing_still: self.ttl_clock.is_stopped(),
            retry_after_max_s: settings.retry_after_max.as_secs(),
            probe_interval_max_s: settings.probe_interval_max.as_secs_f64(),
            when_full: settings.when_full,
            answers: settings.answers.clone(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
