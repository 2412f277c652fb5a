//! What headers of an answer say of time: how long to wait, and whose clock is wrong.

use http::header::{DATE, HeaderMap};
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::http_date::clock_difference;
use twinroute_model::retry_after;

/// How long the server asks to wait. The lane caps it.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let pairs = headers.iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    retry_after::retry_after(pairs, now, Duration::MAX)
}

/// What a refusal may come of: signatures, and certificates in between, are good for a time.
pub(crate) fn clock_hint(status: u16, headers: &HeaderMap, now: Timestamp) -> Option<String> {
    let date = headers.get(DATE).filter(|_| matches!(status, 401 | 403))?;
    clock_difference(date.to_str().ok()?, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:07Z.
    const NOW: Timestamp = Timestamp::from_unix_millis(784_111_747_000);

    #[test]
    fn retry_after_forms_are_read_from_headers() {
        for (text, expect) in [
            ("120", Some(Duration::from_secs(120))),
            (
                "Sunday, 06-Nov-94 08:49:37 GMT",
                Some(Duration::from_secs(30)),
            ),
            ("Sun Nov  6 08:49:37 1994", Some(Duration::from_secs(30))),
            (
                "99999999999999999999",
                Some(Duration::from_millis(u64::MAX)),
            ),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("retry-after", text.parse().unwrap());
            headers.append("retry-after", "\u{e9}".parse().unwrap());
            assert_eq!(retry_after(&headers, NOW), expect, "{text}");
        }
    }

    #[test]
    fn clock_skew_is_named_where_a_credential_is_refused() {
        let hint = |status, date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            clock_hint(status, &headers, NOW)
        };
        let ahead = hint(401, "Sunday, 06-Nov-94 05:49:07 GMT").unwrap();
        assert!(
            ahead.starts_with("this machine's clock is 3 h 0 min ahead"),
            "{ahead}"
        );
        let behind = hint(403, "Sun Nov  6 11:49:07 1994").unwrap();
        assert!(behind.contains("3 h 0 min behind"), "{behind}");
        assert_eq!(hint(401, "Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(hint(400, "Sun, 06 Nov 1994 11:49:07 GMT"), None);
    }
}
