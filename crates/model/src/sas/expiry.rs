//! When a signature ends, as clients write it: `aeg-sas-token` has the words of the client's own language there.
//!
//! | written by | form |
//! |---|---|
//! | Python, `str` of a `datetime` | `2030-01-01 00:00:00+00:00`, with or without fraction and zone |
//! | JavaScript, `toISOString` | `2030-01-01T00:00:00.000Z` |
//! | JavaScript, `toUTCString`, `toString` | `Tue, 01 Jan 2030 00:00:00 GMT`, `Tue Jan 01 2030 00:00:00 GMT+0000 (…)` |
//! | JavaScript, `toLocaleString("en-US")` | `1/1/2030, 12:00:00 AM` |
//! | .NET, `ToString` in `en-US` | `1/1/2030 12:00:00 AM`, with a zone for a `DateTimeOffset` |
//!
//! Newer Node.js and .NET (ICU 72) write U+202F before AM and PM. No zone means UTC, as the service reads it.

use crate::clock::Timestamp;
use crate::http_date::parse_http_date;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// Reads the end of a signature.
pub(super) fn parse_expiry(text: &str, now: Timestamp) -> Option<Timestamp> {
    let plain: String = text
        .chars()
        .filter(|character| !matches!(character, '\u{200e}' | '\u{200f}' | '\u{feff}'))
        .map(|character| match character {
            '\u{202f}' | '\u{a0}' | '\u{2009}' => ' ',
            character => character,
        })
        .collect();
    let plain = plain.trim();
    if plain.len() >= 9 && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: i64 = plain.parse().unwrap_or(i64::MAX);
        return Some(Timestamp::from_unix_millis(seconds.saturating_mul(1_000)));
    }
    if let Some(date) = parse_http_date(plain, now) {
        return Some(date);
    }
    let plain = plain.replace(',', " ");
    let mut words: Vec<&str> = plain.split_ascii_whitespace().collect();
    let date = match words.first()?.split_once(['T', 't']) {
        Some((date, time)) if date.contains('-') => {
            words.splice(..1, [date, time]);
            iso_date(date)?
        }
        _ if words[0].contains('/') => us_date(words[0])?,
        _ if words[0].contains('-') => iso_date(words[0])?,
        // The day of the week, and a date in words.
        _ => {
            let date = worded_date(words.get(1..4)?)?;
            words.drain(..3);
            date
        }
    };
    time_of_day(date, &words[1..])
}

/// A time, perhaps with AM or PM, and perhaps a zone.
fn time_of_day(date: Date, words: &[&str]) -> Option<Timestamp> {
    let (time, glued) = match words.first() {
        None => ("0:00:00", ""),
        Some(word) => {
            let end = word.find(|character: char| !matches!(character, '0'..='9' | ':' | '.'));
            word.split_at(end.unwrap_or(word.len()))
        }
    };
    let rest = words.get(1..).unwrap_or_default();
    let mut rest = Some(glued).into_iter().chain(rest.iter().copied());
    let mut afternoon = None;
    let mut zone = UtcOffset::UTC;
    for word in rest.by_ref().filter(|word| !word.is_empty()) {
        match word.to_ascii_uppercase().as_str() {
            "AM" | "A.M." => afternoon = Some(false),
            "PM" | "P.M." => afternoon = Some(true),
            "Z" | "UTC" | "GMT" => {}
            // The zone's name in words.
            word if word.starts_with('(') => break,
            word => zone = offset(word.strip_prefix("GMT").unwrap_or(word))?,
        }
    }
    let mut parts = time.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let (second, fraction) = match parts.next() {
        None => (0, ""),
        Some(second) => {
            let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
            (number(second, 2)?, fraction)
        }
    };
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !digits {
        return None;
    }
    let hour = match (afternoon, hour) {
        (None, hour) => hour,
        (Some(_), 0 | 13..) => return None,
        (Some(false), hour) => hour % 12,
        (Some(true), hour) => hour % 12 + 12,
    };
    let [hour, minute, second] = [hour, minute, second].map(|part| u8::try_from(part).ok());
    let time = Time::from_hms(hour?, minute?, second?).ok()?;
    let moment = PrimitiveDateTime::new(date, time).assume_offset(zone);
    Some(Timestamp::from_unix_millis(moment.unix_timestamp() * 1_000))
}

/// `2030-01-01`.
fn iso_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    date(year, number(month, 2)?, day).filter(|_| parts.next().is_none())
}

/// `1/1/2030`: the month first.
fn us_date(text: &str) -> Option<Date> {
    let mut parts = text.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    date(year, number(month, 2)?, day).filter(|_| parts.next().is_none())
}

/// `Jan 01 2030`.
fn worded_date(words: &[&str]) -> Option<Date> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let [month, day, year] = words else {
        return None;
    };
    let at = MONTHS.find(month)?;
    if month.len() != 3 || at % 3 != 0 {
        return None;
    }
    date(year, i32::try_from(at / 3 + 1).ok()?, day)
}

fn date(year: &str, month: i32, day: &str) -> Option<Date> {
    let year = number(year, 4).filter(|_| year.len() == 4)?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(number(day, 2)?).ok()?).ok()
}

/// `+01:00`, `+0100`, `+01`, and `01:00` where a plus became a space on its way.
fn offset(text: &str) -> Option<UtcOffset> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let plain = digits.replace(':', "");
    if !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match plain.len() {
        2 => (number(&plain, 2)?, 0),
        4 => (number(&plain[..2], 2)?, number(&plain[2..], 2)?),
        _ => return None,
    };
    // UTC-12 to UTC+14 are in use.
    if hours > 14 || minutes > 59 {
        return None;
    }
    let [hours, minutes] = [hours, minutes].map(|part| i8::try_from(part).ok());
    UtcOffset::from_hms(sign * hours?, sign * minutes?, 0).ok()
}

fn number(text: &str, digits_max: usize) -> Option<i32> {
    let legal = (1..=digits_max).contains(&text.len());
    let legal = legal && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clients_way_to_write_a_time_is_read() {
        let check = |text: &str, expect: Option<&str>| {
            let now = Timestamp::from_unix_millis(1_774_000_000_000);
            let read = parse_expiry(text, now).map(Timestamp::rfc3339);
            assert_eq!(read.as_deref(), expect, "{text:?}");
        };
        for text in [
            "2030-01-01 00:00:00+00:00",
            "2030-01-01 00:00:00",
            "2030-01-01 00:00:00.123456",
            "2030-01-01 00:00:00.123456+00:00",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00Z",
            "2030-01-01t00:00:00z",
            "2030-01-01T00:00:00.000Z",
            "2030-01-01T01:00:00+01:00",
            "2029-12-31T19:00:00-0500",
            "2030-01-01 00:00:00 00:00",
            "2030-01-01",
            "1/1/2030 12:00:00 AM",
            "1/1/2030 12:00:00 AM +00:00",
            "1/1/2030 1:00:00 AM +01:00",
            "1/1/2030, 12:00:00 AM",
            "1/1/2030, 12:00:00\u{202f}AM",
            "1/1/2030 12:00:00\u{202f}AM",
            "1/1/2030 12:00:00\u{a0}AM",
            "\u{200e}1\u{200e}/\u{200e}1\u{200e}/\u{200e}2030\u{200e} \u{200e}12\u{200e}:\u{200e}00\u{200e}:\u{200e}00\u{200e} \u{200e}AM",
            "01/01/2030 00:00:00",
            "1/1/2030 0:00",
            "1/1/2030 12:00:00am",
            "1/1/2030, 12:00:00 AM UTC",
            "Tue, 01 Jan 2030 00:00:00 GMT",
            "Tue Jan 01 2030 01:00:00 GMT+0100 (Central European Standard Time)",
            "Tue Jan 01 2030 00:00:00 GMT+0000 (Coordinated Universal Time)",
            "1893456000",
        ] {
            check(text, Some("2030-01-01T00:00:00Z"));
        }
        check("12/31/2029, 11:59:59 PM", Some("2029-12-31T23:59:59Z"));
        check("1/1/2030 12:30:00 PM", Some("2030-01-01T12:30:00Z"));
        for text in [
            "",
            "soon",
            "31/12/2030 12:00:00 AM",
            "1/1/30 12:00:00 AM",
            "1/1/2030 13:00:00 PM",
            "1/1/2030 0:00:00 AM",
            "1/1/2030 24:00:00",
            "1/1/2030 12:00:00 AM Europe/Berlin",
            "2030-02-30 00:00:00",
            "2030-01-01 00:00:00+25:00",
            "2030-01-01-01",
            "2030-01-01 0:0:0:0",
            "Jan 2030",
            "\u{e9}T\u{e9}",
            "2030-01-01 00:00:00+a\u{e9}b",
            "Tue anF 01 2030 00:00:00",
            "2030-01-01T\u{e9}",
        ] {
            check(text, None);
        }
    }
}
