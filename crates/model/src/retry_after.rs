//! How long a server asks to be left alone: `Retry-After`, in every form, and what Azure sends beside it.

use crate::clock::Timestamp;
use crate::http_date::parse_http_date;
use std::time::Duration;

/// Azure's own headers, which are exact to the millisecond and win over `Retry-After`.
const MILLIS_HEADERS: [&str; 2] = ["retry-after-ms", "x-ms-retry-after-ms"];
const RETRY_AFTER: &str = "retry-after";

/// The wait that `headers` (names in any case, with their values) ask for, at most `wait_max`.
///
/// RFC 9110 §10.2.3: seconds or a date (§5.6.7). A number of any length is read: one that is too large means the
/// longest wait (RFC 9111 §1.2.2). Where there are several values, in one header or in many, the longest that can
/// be read counts; a date that has passed is no wait. `None` where nothing can be read.
pub fn retry_after<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    now: Timestamp,
    wait_max: Duration,
) -> Option<Duration> {
    let (mut millis, mut seconds) = (None, None);
    for (name, value) in headers {
        if MILLIS_HEADERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            let waits = value.split(',').filter_map(|item| {
                let wait = decimal(item, Duration::from_millis(1))?;
                Some(wait.min(wait_max))
            });
            millis = waits.max().max(millis);
        } else if name.eq_ignore_ascii_case(RETRY_AFTER) {
            seconds = longest(value, now)
                .map(|wait| wait.min(wait_max))
                .max(seconds);
        }
    }
    millis.or(seconds)
}

/// The longest of a header's values: a date has a comma of its own.
fn longest(value: &str, now: Timestamp) -> Option<Duration> {
    let date = |text: &str| parse_http_date(text, now).map(|moment| moment.since(now));
    if let Some(wait) = date(value) {
        return Some(wait);
    }
    let items: Vec<&str> = value.split(',').collect();
    let mut found = None;
    let mut next = 0;
    while let Some(item) = items.get(next) {
        let pair = items.get(next + 1).map(|more| format!("{item},{more}"));
        let pair = pair.and_then(|text| date(&text));
        let wait = pair
            .or_else(|| date(item))
            .or_else(|| decimal(item, Duration::from_secs(1)));
        found = wait.max(found);
        next += 1 + usize::from(pair.is_some());
    }
    found
}

/// A number of `unit`, of any length; what is too large saturates, a fraction is rounded up.
///
/// Numbers have no sign and no exponent; a fraction is no legal value, but its meaning is plain.
#[must_use]
pub fn decimal(text: &str, unit: Duration) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t', '"']);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Digits alone: it fails only when it is too large.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    let count = whole.saturating_add(more);
    let millis = u64::try_from(unit.as_millis()).unwrap_or(u64::MAX);
    Some(Duration::from_millis(count.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn wait(headers: &[(&str, &str)]) -> Option<u128> {
        // Sun, 22 Nov 2026.
        let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
        let wait = retry_after(headers.iter().copied(), now, DAY);
        wait.map(|wait| wait.as_millis())
    }

    #[test]
    fn retry_after_forms_are_all_read() {
        for (text, expect) in [
            ("120", Some(120_000)),
            (" \t120 ", Some(120_000)),
            ("0", Some(0)),
            ("0000000000000000000000000000000000007", Some(7_000)),
            ("99999999999", Some(86_400_000)),
            ("18446744073709551615", Some(86_400_000)),
            ("18446744073709551616", Some(86_400_000)),
            ("99999999999999999999999999999999999", Some(86_400_000)),
            ("1.5", Some(2_000)),
            ("1.0", Some(1_000)),
            ("Sun, 22 Nov 2026 08:00:30 GMT", Some(30_000)),
            ("Sunday, 22-Nov-26 08:00:30 GMT", Some(30_000)),
            ("Sun Nov 22 08:00:30 2026", Some(30_000)),
            ("Sun, 22 Nov 2026 07:00:30 GMT", Some(0)),
            ("Sunday, 22-Nov-94 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400_000)),
            ("120, 60", Some(120_000)),
            ("60, Sun, 22 Nov 2026 08:01:30 GMT", Some(90_000)),
            ("Sun, 22 Nov 2026 08:01:30 GMT, 60", Some(90_000)),
            ("soon, 60", Some(60_000)),
            ("soon", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("", None),
            ("0x10", None),
        ] {
            assert_eq!(wait(&[("retry-after", text)]), expect, "{text:?}");
            assert_eq!(wait(&[("Retry-After", text)]), expect, "{text:?}");
        }
    }

    #[test]
    fn of_several_headers_the_longest_wait_counts_and_milliseconds_win() {
        let check = |headers: &[(&str, &str)], expect| assert_eq!(wait(headers), expect);
        check(
            &[
                ("retry-after", "1"),
                ("retry-after", "7"),
                ("retry-after", "3"),
            ],
            Some(7_000),
        );
        check(
            &[("retry-after", "soon"), ("retry-after", "3")],
            Some(3_000),
        );
        check(
            &[("x-ms-retry-after-ms", "250"), ("retry-after", "1")],
            Some(250),
        );
        check(
            &[("x-ms-retry-after-ms", "soon"), ("retry-after", "1")],
            Some(1_000),
        );
        check(
            &[("retry-after-ms", "99999999999999999999999")],
            Some(86_400_000),
        );
        check(&[("retry-after-ms", "10.2")], Some(11));
        check(&[("date", "1")], None);
        check(&[], None);
    }
}
