//! When and how long after a failure a request is made again: pure arithmetic.

use reqwest::Method;
use reqwest::header::HeaderMap;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::retry_after::retry_after;

/// Requests that are made for one call, the first included.
pub(super) const ATTEMPTS_MAX: u32 = 4;

/// The longest wait within a call; who asks for more gets the answer passed on.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

const WAIT_MIN: Duration = Duration::from_millis(500);

/// No server is believed to need longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether a request may be made again after an answer with this status.
///
/// Azure's clients repeat 408, 429, 500, 502, 503 and 504, whatever the method. What is not idempotent is
/// repeated here only when the server says that it did nothing.
pub(super) fn repeats(method: &Method, status: u16) -> bool {
    match status {
        408 | 429 | 503 => true,
        500 | 502 | 504 => method.is_idempotent(),
        _ => false,
    }
}

/// How long to wait before the next attempt; `random` is 0 to 1.
pub(super) fn wait(failures: u32, after: Option<Duration>, random: f64) -> Duration {
    let doubled = WAIT_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let own = doubled.min(WAIT_MAX).mul_f64(0.75 + random / 2.0);
    match after {
        // Zero would mean a busy loop, and equal waits that all come back at once.
        Some(after) => after.max(WAIT_MIN) + WAIT_MIN.mul_f64(random),
        None => own,
    }
}

/// How long the server asks to wait.
pub(super) fn after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let pairs = headers.iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    retry_after(pairs, now, RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_spread() {
        let millis = |failures, after, random| wait(failures, after, random).as_millis();
        assert_eq!(millis(1, None, 0.5), 500);
        assert_eq!(millis(2, None, 0.0), 750);
        assert_eq!(millis(3, None, 1.0), 2_500);
        assert_eq!(millis(40, None, 0.5), 60_000);
        assert_eq!(millis(1, Some(Duration::ZERO), 0.0), 500);
        assert_eq!(millis(1, Some(Duration::from_secs(7)), 1.0), 7_500);
    }

    #[test]
    fn retry_after_is_seconds_milliseconds_or_a_date() {
        let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
        let check = |name: &'static str, text: &str, expect: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, text.parse().unwrap());
            let expect = expect.map(Duration::from_millis);
            assert_eq!(after(&headers, now), expect, "{name}: {text}");
        };
        check("retry-after", "10", Some(10_000));
        check("retry-after", "99999999999", Some(86_400_000));
        check("retry-after", "Sun, 22 Nov 2026 08:00:30 GMT", Some(30_000));
        check("retry-after", "Sun, 22 Nov 2026 07:00:30 GMT", Some(0));
        check(
            "retry-after",
            "Sunday, 22-Nov-26 08:00:30 GMT",
            Some(30_000),
        );
        check("retry-after", "Sun Nov 22 08:00:30 2026", Some(30_000));
        check("retry-after", "99999999999999999999", Some(86_400_000));
        check("retry-after", "soon", None);
        check("x-ms-retry-after-ms", "250", Some(250));
    }

    #[test]
    fn what_is_not_idempotent_is_repeated_only_when_nothing_was_done() {
        assert!(repeats(&Method::PUT, 500) && !repeats(&Method::POST, 500));
        assert!(repeats(&Method::PATCH, 503) && !repeats(&Method::GET, 404));
    }
}
