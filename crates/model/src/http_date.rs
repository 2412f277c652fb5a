//! Dates in HTTP headers: RFC 9110 §5.6.7, every form that a recipient must read; and what they say of clocks.

use crate::clock::Timestamp;
use std::time::Duration;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// RFC 9110 §5.6.7: a date with a year of two digits that seems further in the future than fifty years is one of
/// the past.
const FUTURE_MAX: Duration = Duration::from_secs(50 * 31_556_952);

/// Reads an HTTP date in any of its three forms; `now` decides the century of a year of two digits.
///
/// | form | example |
/// |---|---|
/// | IMF-fixdate | `Sun, 06 Nov 1994 08:49:37 GMT` |
/// | RFC 850 | `Sunday, 06-Nov-94 08:49:37 GMT` |
/// | asctime | `Sun Nov  6 08:49:37 1994` |
///
/// Read beyond them: names in any case, days of one digit, `UTC` and `+0000` for `GMT`, a year of four digits in
/// the second form, more than one space. The day of the week is not compared with the date. A leap second is
/// the second before it.
#[must_use]
pub fn parse_http_date(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim_matches([' ', '\t']);
    match text.split_once(',') {
        Some((weekday, rest)) if is_weekday(weekday) => {
            let mut words = rest.split_ascii_whitespace();
            let first = words.next()?;
            let (day, month, year) = match first.split_once('-') {
                Some((day, rest)) => {
                    let (month, year) = rest.split_once('-')?;
                    (day, month, year)
                }
                None => (first, words.next()?, words.next()?),
            };
            let time = words.next()?;
            let zone = words.next()?;
            let utc = ["GMT", "UTC", "UT", "Z", "+0000", "-0000"];
            let is_utc = utc.iter().any(|name| zone.eq_ignore_ascii_case(name));
            if !is_utc || words.next().is_some() {
                return None;
            }
            moment(day, month, year, time, now)
        }
        Some(_) => None,
        None => {
            let mut words = text.split_ascii_whitespace();
            let weekday = words.next()?;
            let (month, day) = (words.next()?, words.next()?);
            let (time, year) = (words.next()?, words.next()?);
            if !is_weekday(weekday) || words.next().is_some() {
                return None;
            }
            moment(day, month, year, time, now)
        }
    }
}

fn is_weekday(name: &str) -> bool {
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let is = |day: &&str| day.eq_ignore_ascii_case(name) || day[..3].eq_ignore_ascii_case(name);
    DAYS.iter().any(is)
}

fn moment(day: &str, month: &str, year: &str, time: &str, now: Timestamp) -> Option<Timestamp> {
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let day: u8 = number(day, 1..=2)?.try_into().ok()?;
    let mut clock = time.split(':').map(|part| number(part, 1..=2));
    let mut part = || clock.next()?.and_then(|part| u8::try_from(part).ok());
    let (hour, minute, second) = (part()?, part()?, part()?);
    if part().is_some() || time.split(':').count() != 3 {
        return None;
    }
    let time = Time::from_hms(hour, minute, second.min(59)).ok();
    let time = time.filter(|_| second <= 60)?;
    let at = |year: i32| {
        let date = Date::from_calendar_date(year, month, day).ok()?;
        let seconds = PrimitiveDateTime::new(date, time)
            .assume_utc()
            .unix_timestamp();
        Some(Timestamp::from_unix_millis(seconds.checked_mul(1_000)?))
    };
    match year.len() {
        4 => at(number(year, 4..=4)?),
        2 => {
            let year = number(year, 2..=2)?;
            let this = OffsetDateTime::from_unix_timestamp(now.unix_seconds());
            let century = this.ok()?.year().div_euclid(100) * 100;
            let limit = now.after(FUTURE_MAX);
            let centuries = [century + 100, century, century - 100];
            let mut dates = centuries
                .into_iter()
                .filter_map(|century| at(century + year));
            dates.find(|date| *date <= limit)
        }
        _ => None,
    }
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i32> {
    let legal = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| legal)
}

/// A difference of clocks that is worth a word: signatures are made for longer, and answers travel.
const DIFFERENCE_MIN: Duration = Duration::from_secs(120);

/// What to say of a refusal whose `Date` header shows that the peer's clock and ours differ by two minutes or more.
#[must_use]
pub fn clock_difference(date: &str, now: Timestamp) -> Option<String> {
    let there = parse_http_date(date, now)?;
    let (behind, ahead) = (there.since(now), now.since(there));
    let difference = behind.max(ahead);
    if difference < DIFFERENCE_MIN {
        return None;
    }
    let side = if behind > ahead { "behind" } else { "ahead" };
    Some(format!(
        "this machine's clock is {} {side} (it says {}, the peer's says {}): set it",
        rough(difference),
        now.rfc3339(),
        there.rfc3339()
    ))
}

/// In its two largest units.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
        parse_http_date(text, now).map(Timestamp::rfc3339)
    }

    #[test]
    fn all_three_forms_of_a_date_are_read() {
        let expect = Some("1994-11-06T08:49:37Z".to_owned());
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " sun, 6 nov 1994 08:49:37 gmt\t",
            "Sun, 06-Nov-1994 08:49:37 UTC",
            "Sun,06 Nov 1994 8:49:37 +0000",
            // A wrong day of the week is still a date.
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(read(text), expect, "{text:?}");
        }
        let leap = read("Sat, 31 Dec 2016 23:59:60 GMT");
        assert_eq!(leap.as_deref(), Some("2016-12-31T23:59:59Z"));
        let end = read("Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(end.as_deref(), Some("9999-12-31T23:59:59Z"));
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        for (digits, year) in [
            ("26", "2026"),
            ("75", "2075"),
            ("76", "2076"),
            ("77", "1977"),
            ("99", "1999"),
            ("00", "2000"),
        ] {
            let text = format!("Sunday, 06-Nov-{digits} 08:49:37 GMT");
            let expect = format!("{year}-11-06T08:49:37Z");
            assert_eq!(read(&text).as_deref(), Some(&*expect), "{digits}");
        }
        // Near the end of a century, small numbers are of the next one.
        let now = Timestamp::parse_rfc3339("2099-06-01T00:00:00Z").unwrap();
        let read = parse_http_date("Sunday, 06-Nov-10 08:49:37 GMT", now).unwrap();
        assert_eq!(read.rfc3339(), "2110-11-06T08:49:37Z");
    }

    #[test]
    fn clocks_that_differ_are_named_with_how_much() {
        let now = Timestamp::parse_rfc3339("2026-11-22T08:00:00Z").unwrap();
        let hint = |date: &str| clock_difference(date, now);
        assert_eq!(
            hint("Sun, 22 Nov 2026 11:00:01 GMT").as_deref(),
            Some(
                "this machine's clock is 3 h 0 min behind (it says 2026-11-22T08:00:00Z, the peer's says \
                 2026-11-22T11:00:01Z): set it"
            )
        );
        let ahead = hint("Fri, 13 Nov 2026 08:00:00 GMT").unwrap();
        assert!(ahead.contains("9 d 0 h ahead"), "{ahead}");
        assert!(
            hint("Sun Nov 22 08:02:05 2026")
                .unwrap()
                .contains("2 min 5 s behind")
        );
        assert_eq!(hint("Sun, 22 Nov 2026 08:01:59 GMT"), None);
        assert_eq!(hint("Sun, 22 Nov 2026 07:58:01 GMT"), None);
        assert_eq!(hint("now"), None);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "120",
            "Mon, 00 Foo 0000 99:99:99 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37",
            "1994-11-06T08:49:37Z",
            "Sun Nov  6 08:49:37",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Söndag, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
