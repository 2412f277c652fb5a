//! Sums up trouble that goes on: once a minute, with how long it has lasted and how much it cost.
//!
//! That it begins and that it is over, lanes say themselves; what happens again and again in between would fill a log.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use twinroute_router::status::{EndpointState, EndpointStatus, RouterStatus};

/// How often it is summed up.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Endpoints with a line of their own, at most: the rest share one.
const LINES_MAX: usize = 10;

/// Logs what goes on. Never ends; dropping the future is harmless.
pub(crate) async fn run(status: impl Fn() -> RouterStatus) {
    let mut known = KnownTrouble::default();
    loop {
        sleep(SUMMARY_INTERVAL).await;
        let summary = known.check(&status(), Instant::now());
        for trouble in &summary.lines {
            trouble.log();
        }
        let (endpoints, backlog) = (summary.further, summary.further_backlog);
        if endpoints > 0 {
            tracing::warn!(
                endpoints,
                backlog,
                "trouble goes on at more endpoints; `twinroute status` names them"
            );
        }
        if let Some(overload) = summary.overload {
            let lasts = whole_seconds(overload.lasts);
            let refused = overload.refused;
            tracing::warn!(?lasts, refused, "the router is still overloaded");
        }
    }
}

/// What an endpoint has counted by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FailureCounts {
    failed_attempts: u64,
    dead_letters: u64,
    discarded: u64,
}

impl FailureCounts {
    fn of(endpoint: &EndpointStatus) -> Self {
        Self {
            failed_attempts: endpoint.metrics.failed_attempts,
            dead_letters: endpoint.dead_letters.all(),
            discarded: endpoint.discarded,
        }
    }

    /// What came to `self` since; a replay takes dead letters away.
    fn since(self, before: Self) -> Self {
        Self {
            failed_attempts: self.failed_attempts.saturating_sub(before.failed_attempts),
            dead_letters: self.dead_letters.saturating_sub(before.dead_letters),
            discarded: self.discarded.saturating_sub(before.discarded),
        }
    }
}

/// An endpoint as it was at the last check.
#[derive(Debug)]
struct CheckedEndpoint {
    counts: FailureCounts,
    /// Since which check it has had trouble.
    since: Option<Instant>,
}

/// All endpoints as they were at the last check.
#[derive(Debug, Default)]
struct KnownTrouble {
    endpoints: BTreeMap<String, CheckedEndpoint>,
    refused: u64,
}

/// Trouble of an endpoint that was there at the last check too.
#[derive(Debug, PartialEq, Eq)]
struct EndpointTrouble {
    endpoint: String,
    state: EndpointState,
    lasts: Duration,
    /// What came since the last check.
    new: FailureCounts,
    backlog: u64,
    backlog_bytes: u64,
    last_error: String,
}

/// Producers have been waiting.
#[derive(Debug, PartialEq, Eq)]
struct OverloadSummary {
    lasts: Duration,
    /// Producers that were refused since the last check.
    refused: u64,
}

/// What goes on.
#[derive(Debug, Default, PartialEq, Eq)]
struct TroubleSummary {
    lines: Vec<EndpointTrouble>,
    /// Endpoints without a line.
    further: usize,
    /// Deliveries that they have not settled.
    further_backlog: u64,
    overload: Option<OverloadSummary>,
}

impl KnownTrouble {
    fn check(&mut self, status: &RouterStatus, now: Instant) -> TroubleSummary {
        let mut before = std::mem::take(&mut self.endpoints);
        let mut goes_on = Vec::new();
        for instance in &status.instances {
            for endpoint in &instance.endpoints {
                let name = format!("{}/{}", instance.name, endpoint.name);
                let counts = FailureCounts::of(endpoint);
                let last = before.remove(&name);
                // What was counted before this process, or before the endpoint was known, is no news.
                let new = last
                    .as_ref()
                    .map_or_else(FailureCounts::default, |last| counts.since(last.counts));
                let has_trouble =
                    endpoint.state.fault().is_some() || new != FailureCounts::default();
                let since = last.and_then(|last| last.since);
                if let Some(since) = since.filter(|_| has_trouble) {
                    goes_on.push(EndpointTrouble {
                        endpoint: name.clone(),
                        state: endpoint.state,
                        lasts: now.duration_since(since),
                        new,
                        backlog: endpoint.queued + endpoint.in_flight + endpoint.retrying,
                        backlog_bytes: endpoint.queue_bytes,
                        last_error: endpoint.last_error.clone(),
                    });
                }
                let since = has_trouble.then(|| since.unwrap_or(now));
                self.endpoints
                    .insert(name, CheckedEndpoint { counts, since });
            }
        }
        // Those that lose most come first.
        goes_on.sort_by_key(|trouble| {
            let FailureCounts {
                failed_attempts,
                dead_letters,
                discarded,
            } = trouble.new;
            std::cmp::Reverse((discarded, dead_letters, trouble.backlog, failed_attempts))
        });
        let further = goes_on.split_off(goes_on.len().min(LINES_MAX));
        TroubleSummary {
            lines: goes_on,
            further: further.len(),
            further_backlog: further.iter().map(|trouble| trouble.backlog).sum(),
            overload: self.overload(status),
        }
    }

    fn overload(&mut self, status: &RouterStatus) -> Option<OverloadSummary> {
        let admission = &status.admission;
        let refused = admission.refused.saturating_sub(self.refused);
        self.refused = admission.refused;
        let lasts = Duration::from_millis(admission.lasts_ms);
        (lasts >= SUMMARY_INTERVAL).then_some(OverloadSummary { lasts, refused })
    }
}

impl EndpointTrouble {
    fn log(&self) {
        let FailureCounts {
            failed_attempts,
            dead_letters,
            discarded,
        } = self.new;
        tracing::warn!(
            endpoint = self.endpoint,
            state = self.state.as_str(),
            lasts = ?whole_seconds(self.lasts),
            failed_attempts,
            dead_letters,
            discarded,
            backlog = self.backlog,
            backlog_bytes = self.backlog_bytes,
            reason = self.last_error,
            "trouble goes on at the endpoint; the counts are those of the last minute"
        );
    }
}

/// As people say it.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

#[cfg(test)]
#[path = "trouble_tests.rs"]
mod tests;
