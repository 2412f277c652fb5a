//! `/status` and an endpoint's part of it, for tests of what is made of them.

use serde_json::{Value, json};

/// An endpoint that 16 deliveries were made for, and with which nothing happened.
pub(super) fn endpoint_json(name: &str, state: &str, last_error: &str) -> Value {
    json!({
        "name": name, "endpoint_type": "EventHub", "state": state, "last_error": last_error,
        "backing_off_ms": 0, "matched": 16, "replayed": 0, "queued": 0, "in_flight": 0,
        "retrying": 0, "delivered": 0, "discarded": 0, "discarded_by": {}, "queue_bytes": 0,
        "memory_bytes": 0, "oldest_age_ms": 0, "latency_p50_ms": 0, "latency_p99_ms": 0,
        "batches_in_flight_max": 1,
        "dead_letters": {
            "uploaded": 0, "awaiting_upload": 0, "local": 0, "replayed": 0, "by_reason": {},
            "bytes": 0, "store": "local", "last_error": "", "backing_off_ms": 0,
            "expires_at": "", "expires_in_s": null,
        },
        "retry": {
            "schedule_s": [], "jitter_percent": 0, "attempts_max": 1, "time_to_live_s": 1,
            "standing_still": false, "retry_after_max_s": 1, "probe_interval_max_s": 1,
            "when_full": "refuse", "answers": {},
        },
    })
}

/// A router with these instances that keeps events in memory.
pub(super) fn status_json(instances: &Value) -> Value {
    json!({
        "version": "0", "readiness": { "ready": true, "reason": "" },
        "table": { "generation": 1, "hash": "", "since": "2026-11-22T10:00:00Z", "errors": [], "warnings": [] },
        "journal": {
            "kind": "memory", "events": 0, "bytes": 0, "bytes_max": 0, "disk_bytes": 0,
            "lost": 0, "accepted": 0, "unmatched": 0,
        },
        "instances": instances,
    })
}
