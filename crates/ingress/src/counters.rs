//! Counters, registered once: a request costs additions, no look-ups.

use crate::target::IngressSurface;
use http::StatusCode;
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use std::time::Duration;

/// How long requests took.
const REQUEST_DURATION: &str = "twinroute_ingress_request_duration_seconds";

/// Counters of all surfaces. Must be made after the recorder is installed.
pub(crate) struct IngressCounters {
    events: SurfaceCounters,
    event_grid: SurfaceCounters,
    /// Paths that stand for nothing.
    other: SurfaceCounters,
}

/// Counters of one surface.
pub(crate) struct SurfaceCounters {
    surface: &'static str,
    success: Counter,
    client_error: Counter,
    server_error: Counter,
    events: Counter,
    unreadable: Counter,
    bytes: Counter,
    duration: Histogram,
}

impl IngressCounters {
    pub(crate) fn new() -> Self {
        describe_counter!(
            "twinroute_ingress_requests_total",
            "Requests answered, by status class"
        );
        describe_counter!(
            "twinroute_ingress_unavailable_total",
            "Requests answered 503, by the code in the answer"
        );
        describe_counter!("twinroute_ingress_events_total", "Events accepted");
        describe_counter!(
            "twinroute_ingress_unreadable_total",
            "Parts of webhook deliveries that are no event and were kept"
        );
        describe_counter!("twinroute_ingress_bytes_total", "Bytes of bodies read");
        describe_histogram!(
            REQUEST_DURATION,
            "From the head of a request to its answer, reading the body included"
        );
        Self {
            events: SurfaceCounters::new("events"),
            event_grid: SurfaceCounters::new("event_grid"),
            other: SurfaceCounters::new("other"),
        }
    }

    pub(crate) fn of(&self, surface: Option<IngressSurface>) -> &SurfaceCounters {
        match surface {
            Some(IngressSurface::Events) => &self.events,
            Some(IngressSurface::EventGrid) => &self.event_grid,
            None => &self.other,
        }
    }
}

impl SurfaceCounters {
    fn new(surface: &'static str) -> Self {
        const REQUESTS: &str = "twinroute_ingress_requests_total";
        let requests = |class: &'static str| {
            let labels = [("surface", surface), ("status", class)];
            counter!(REQUESTS, &labels)
        };
        Self {
            surface,
            success: requests("2xx"),
            client_error: requests("4xx"),
            server_error: requests("5xx"),
            events: counter!("twinroute_ingress_events_total", "surface" => surface),
            unreadable: counter!("twinroute_ingress_unreadable_total", "surface" => surface),
            bytes: counter!("twinroute_ingress_bytes_total", "surface" => surface),
            duration: histogram!(REQUEST_DURATION, "surface" => surface),
        }
    }

    /// A request was answered with this status, so long after it came.
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        self.duration.record(took);
        if status.is_success() {
            self.success.increment(1);
        } else if status.is_client_error() {
            self.client_error.increment(1);
        } else {
            self.server_error.increment(1);
        }
    }

    /// A request was answered 503 for this reason.
    pub(crate) fn unavailable(&self, reason: &'static str) {
        const UNAVAILABLE: &str = "twinroute_ingress_unavailable_total";
        let labels = [("surface", self.surface), ("reason", reason)];
        counter!(UNAVAILABLE, &labels).increment(1);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.bytes.increment(bytes as u64);
    }

    pub(crate) fn unreadable(&self, parts: usize) {
        self.unreadable.increment(parts as u64);
    }

    pub(crate) fn accepted(&self, events: usize) {
        self.events.increment(events as u64);
    }
}
