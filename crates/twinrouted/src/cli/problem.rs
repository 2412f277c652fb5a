//! What is wrong with an endpoint, in lines that say what to do.

use twinroute_model::clock::Timestamp;
use twinroute_model::settings::WhenFull;
use twinroute_router::status::{EndpointStatus, LetterStoreState};

/// Whether it needs somebody, or is held back.
pub(super) fn has_problem(endpoint: &EndpointStatus) -> bool {
    let is_over = matches!(endpoint.state.as_str(), "removed" | "stopped");
    let works = endpoint.state == "healthy" && failing(endpoint) == 0 && endpoint.retrying == 0;
    (!works && !is_over) || matches!(endpoint.dead_letters.store, LetterStoreState::Fault(_))
}

/// Events in a row that it did not take, though nothing is wrong with itself.
pub(super) fn failing(endpoint: &EndpointStatus) -> u64 {
    if endpoint.state != "healthy" {
        return 0;
    }
    // Counts of events outlive a restart, and this one does not.
    match (endpoint.failed_in_a_row, endpoint.delivered) {
        (0, 0) => endpoint
            .dead_letters
            .all()
            .saturating_sub(endpoint.replayed),
        (count, _) => count,
    }
}

/// Why events do not arrive, or dead letters do not.
pub(super) fn reasons(endpoint: &EndpointStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    let works = matches!(endpoint.state.as_str(), "healthy" | "paused" | "stopped");
    let waits = endpoint.backing_off_ms > 0 || endpoint.retrying > 0;
    if (!works || waits || failing(endpoint) > 0) && !endpoint.last_error.is_empty() {
        reasons.push(endpoint.last_error.clone());
    }
    let letters = &endpoint.dead_letters;
    if matches!(letters.store, LetterStoreState::Fault(_)) {
        let count = letters.awaiting_upload;
        reasons.push(format!(
            "{count} dead letters wait for their container, which is {}: {}",
            letters.store, letters.last_error
        ));
    }
    reasons
}

/// Where it is, since when it takes nothing, how often it was tried, and when its queue is full.
pub(super) fn outlook(endpoint: &EndpointStatus) -> Option<String> {
    let mut parts = Vec::new();
    if endpoint.failed_attempts > 0 {
        if !endpoint.address.is_empty() {
            parts.push(endpoint.address.clone());
        }
        parts.push(format!("since {}", whole_seconds(endpoint.since)));
        parts.push(match endpoint.failed_attempts {
            1 => "1 attempt".to_owned(),
            count => format!("{count} attempts"),
        });
        parts.push(match endpoint.backing_off_ms {
            0 => "next attempt now".to_owned(),
            wait => format!("next attempt in {}", age(wait.max(1_000))),
        });
    }
    let is_held = endpoint.failed_attempts > 0
        || !matches!(endpoint.state.as_str(), "healthy" | "removed" | "stopped");
    parts.extend(full_in(endpoint).filter(|_| is_held));
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// How long the queue has room if as much comes as came since its oldest event.
fn full_in(endpoint: &EndpointStatus) -> Option<String> {
    let events = endpoint.queued + endpoint.in_flight + endpoint.retrying;
    let left = |held: u64, most: u64| {
        if most == 0 || held == 0 {
            return None;
        }
        let left = u128::from(most.saturating_sub(held));
        Some(left * u128::from(endpoint.oldest_age_ms) / u128::from(held))
    };
    let bytes = left(endpoint.queue_bytes, endpoint.queue_bytes_max);
    let events = left(events, endpoint.queue_events_max);
    let millis = bytes.into_iter().chain(events).min()?;
    let then = match endpoint.retry.when_full {
        WhenFull::Refuse => "then events are refused",
        WhenFull::DiscardOldest => "then the oldest are discarded",
        _ => "then the oldest become dead letters",
    };
    Some(match u64::try_from(millis).unwrap_or(u64::MAX) {
        0..1_000 => format!("queue full: {then}"),
        millis => format!("queue full in {} at this rate, {then}", age(millis)),
    })
}

/// What helps.
pub(super) fn advice(endpoint: &EndpointStatus) -> Option<&'static str> {
    if failing(endpoint) > 0 {
        return Some(
            "see why with `twinroute deadletter list`, fix the cause, then `twinroute deadletter replay`",
        );
    }
    Some(match endpoint.state.as_str() {
        "paused" => "`twinroute endpoint resume` when it may be sent to again",
        "unreachable" => {
            "check the host's name, its port, firewalls between, and the service's health"
        }
        "throttled" => "give the destination more capacity, or send fewer events",
        "unauthorized" => "put a valid key into the definition, or give the identity its role",
        "gone" => "create the topic or hub, or correct its name in the definition",
        "unsupported" => {
            "set `credential` in [identity] of the configuration, or use a connection string"
        }
        "failed" | "canceled" => "correct the definition and put the endpoint again",
        "waiting-for-secret" => "provide the secret that is named above",
        "undefined" => "define the endpoint again, and its events are delivered",
        _ => return None,
    })
}

/// A time without its fraction of a second.
fn whole_seconds(time: Option<Timestamp>) -> String {
    let rfc3339 = time.map(Timestamp::rfc3339).unwrap_or_default();
    match rfc3339.get(..19) {
        Some(seconds) => format!("{seconds}Z"),
        None => rfc3339,
    }
}

/// In the largest unit that leaves a number above one.
pub(super) fn age(millis: u64) -> String {
    match millis / 1_000 {
        0 => "0".to_owned(),
        seconds @ 1..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample_status::endpoint_json;

    fn endpoint(state: &str) -> EndpointStatus {
        serde_json::from_value(endpoint_json("hub-1", state, "why")).unwrap()
    }

    #[test]
    fn full_queue_is_foreseen_by_what_fills_first() {
        let mut status = endpoint("unreachable");
        assert_eq!(full_in(&status), None);
        status.retry.when_full = WhenFull::DeadLetterOldest;
        (status.queued, status.oldest_age_ms) = (100, 60_000);
        status.queue_events_max = 1_000;
        let then = "then the oldest become dead letters";
        // 100 events a minute, room for 900.
        assert_eq!(
            full_in(&status),
            Some(format!("queue full in 9m at this rate, {then}"))
        );
        (status.queue_bytes, status.queue_bytes_max) = (1 << 20, 4 << 20);
        assert_eq!(
            full_in(&status),
            Some(format!("queue full in 3m at this rate, {then}"))
        );
        status.queued = 1_000;
        assert_eq!(full_in(&status), Some(format!("queue full: {then}")));
        status.retry.when_full = WhenFull::Refuse;
        assert_eq!(
            full_in(&status),
            Some("queue full: then events are refused".to_owned())
        );
    }

    #[test]
    fn every_state_of_a_fault_says_what_to_do() {
        use twinroute_router::sink::FaultKind;
        for kind in FaultKind::ALL {
            let status = endpoint(kind.as_str());
            assert!(
                advice(&status).is_some() && has_problem(&status),
                "{kind:?}"
            );
        }
        assert!(!has_problem(&endpoint("healthy")) && !has_problem(&endpoint("removed")));
    }
}
