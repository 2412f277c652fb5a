//! Names of dead letters in their container.
//!
//! ```text
//! <endpoint-name>/<yyyy>/<MM>/<dd>/<HH>/<id>.json
//! <endpoint-name>/<yyyy>/<MM>/<dd>/<HH>/<id>-<SHA-256 of source, id and content>.json
//! ```
//!
//! Azure Digital Twins publishes the first form, without saying how it is padded or in which zone; here
//! it is UTC with leading zeros, so names sort by time. The second form is for an event whose first name
//! is taken. It says what is in the blob, so a blob of that name is that event.
//!
//! An event's id becomes `<id>` so that two ids never give the same name:
//!
//! - Letters, digits, `-`, `_` and `.` stay; every other byte of its UTF-8 is written `%XX`.
//! - An id that ends as the second form does, with a hyphen and 64 hexadecimal digits, has that hyphen
//!   written `%2D`.
//! - Past [`ID_BYTES_MAX`] bytes it is cut and goes on with `~` and the SHA-256 of the id. No other id
//!   has a `~`.
//!
//! So a name has six segments, ends in `.json`, holds no control characters, and stays below Azure's
//! 1,024 characters. Source: Azure Storage "Naming and referencing containers, blobs, and metadata".

use percent_encoding::percent_encode_byte;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use time::OffsetDateTime;
use twinroute_model::clock::Timestamp;
use twinroute_model::event::Event;
use twinroute_model::name::EndpointName;

/// The longest written-out id in a name, in bytes. A longer one is cut and ends in a hash.
pub const ID_BYTES_MAX: usize = 512;

/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// The name that an event gets first.
#[must_use]
pub fn first(endpoint: &EndpointName, died_at: Timestamp, event: &Event) -> String {
    let mut name = folder(endpoint, died_at);
    write_id(&mut name, event.id());
    name.push_str(".json");
    name
}

/// The name that an event gets when its first one is taken; `content` is what the blob holds.
#[must_use]
pub fn second(
    endpoint: &EndpointName,
    died_at: Timestamp,
    event: &Event,
    content: &[u8],
) -> String {
    let mut name = folder(endpoint, died_at);
    write_id(&mut name, event.id());
    name.push('-');
    let parts = [
        event.source().as_bytes(),
        &[0],
        event.id().as_bytes(),
        &[0],
        content,
    ];
    write_hash(&mut name, &parts);
    name.push_str(".json");
    name
}

/// `<endpoint-name>/<yyyy>/<MM>/<dd>/<HH>/`.
fn folder(endpoint: &EndpointName, died_at: Timestamp) -> String {
    /// The years that four digits hold.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;
    let seconds = died_at
        .unix_seconds()
        .clamp(*SECONDS.start(), *SECONDS.end());
    let moment = OffsetDateTime::from_unix_timestamp(seconds).expect("a year of four digits");
    let (year, month, day) = moment.to_calendar_date();
    let mut folder = String::with_capacity(256);
    write!(
        folder,
        "{endpoint}/{year:04}/{:02}/{day:02}/{:02}/",
        u8::from(month),
        moment.hour()
    )
    .expect("a String takes everything");
    folder
}

fn write_id(out: &mut String, id: &str) {
    let start = out.len();
    let hyphen = hash_hyphen(id);
    for (at, byte) in id.bytes().enumerate() {
        let before = out.len();
        if Some(at) != hyphen && (byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            out.push(char::from(byte));
        } else {
            out.push_str(percent_encode_byte(byte));
        }
        if out.len() - start > ID_BYTES_MAX {
            let room = start + ID_BYTES_MAX - HASH_DIGITS - 1;
            out.truncate(before);
            out.truncate(whole_escape(out, room));
            out.push('~');
            write_hash(out, &[id.as_bytes()]);
            return;
        }
    }
}

/// The hyphen of an id that ends in a hyphen and a hash.
fn hash_hyphen(id: &str) -> Option<usize> {
    let at = id.len().checked_sub(HASH_DIGITS + 1)?;
    let (hyphen, digits) = id.as_bytes()[at..].split_first()?;
    let hash = *hyphen == b'-' && digits.iter().all(u8::is_ascii_hexdigit);
    hash.then_some(at)
}

/// The last place up to `end` that does not cut an escape.
fn whole_escape(text: &str, end: usize) -> usize {
    let from = end.saturating_sub(2);
    text[from..end].rfind('%').map_or(end, |at| from + at)
}

fn write_hash(out: &mut String, parts: &[&[u8]]) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    for byte in hash.finalize() {
        write!(out, "{byte:02x}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use twinroute_model::event::{EventLimits, EventParts};

    const DIED_AT: Timestamp = Timestamp::from_unix_millis(1_772_409_845_123);

    fn hub() -> EndpointName {
        EndpointName::new("Hub-1").unwrap()
    }

    fn event(id: &str) -> Event {
        EventParts::new(id, "source", "type")
            .build(&EventLimits::default())
            .unwrap()
    }

    fn name(id: &str) -> String {
        first(&hub(), DIED_AT, &event(id))
    }

    #[test]
    fn ids_are_made_safe() {
        let plain = "61e2d08c-1b12-4dc4-ab27-3a9a0e5ac2b3";
        let hash = "a".repeat(64);
        for (id, expect) in [
            (plain, plain),
            ("a_b.c", "a_b.c"),
            (".", "."),
            ("..", ".."),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("a\\b?c#d", "a%5Cb%3Fc%23d"),
            ("~", "%7E"),
            ("urn:uuid:1", "urn%3Auuid%3A1"),
            ("ü 1", "%C3%BC%201"),
            (&format!("x-{hash}"), &format!("x%2D{hash}")),
            (&format!("x-{}", &hash[1..]), &format!("x-{}", &hash[1..])),
        ] {
            let expect = format!("Hub-1/2026/03/02/00/{expect}.json");
            assert_eq!(name(id), expect, "{id}");
        }
    }

    #[test]
    fn hours_are_padded_and_in_utc() {
        for (millis, expect) in [
            (0, "1970/01/01/00"),
            (-1, "1969/12/31/23"),
            (1_798_761_599_999, "2026/12/31/23"),
            (1_798_761_600_000, "2027/01/01/00"),
            (i64::MAX, "9999/12/31/23"),
            (i64::MIN, "0000/01/01/00"),
        ] {
            let name = first(&hub(), Timestamp::from_unix_millis(millis), &event("1"));
            assert_eq!(name, format!("Hub-1/{expect}/1.json"));
        }
    }

    #[test]
    fn the_second_name_holds_the_hash_of_source_id_and_content() {
        // printf 'source\0one\0{}' | sha256sum
        assert_eq!(
            second(&hub(), DIED_AT, &event("one"), b"{}"),
            "Hub-1/2026/03/02/00/one-0c629b5691362dd2d1eef30c5314b4f98528f5d4ba605af7c66d8c4ecf679995.json"
        );
        let other = second(&hub(), DIED_AT, &event("one"), b"{ }");
        assert_ne!(other, second(&hub(), DIED_AT, &event("one"), b"{}"));
        // An id made to look like it gets another name.
        let taken = second(&hub(), DIED_AT, &event("one"), b"{}");
        let id = taken.rsplit('/').next().unwrap().trim_end_matches(".json");
        assert_ne!(name(id), taken);
    }

    #[test]
    fn long_ids_are_cut_and_stay_apart() {
        let fits = "x".repeat(ID_BYTES_MAX);
        assert!(name(&fits).ends_with(&format!("/{fits}.json")));
        // Wherever the cut falls in an escape.
        for before in ["", "x", "xx"] {
            let long = |last: char| format!("{before}{}{last}", "ü".repeat(5_000));
            let (one, two) = (name(&long('1')), name(&long('2')));
            assert_ne!(one, two);
            let id = one.rsplit('/').next().unwrap().trim_end_matches(".json");
            assert!(
                id.len() <= ID_BYTES_MAX && id.len() > ID_BYTES_MAX - 3,
                "{id}"
            );
            let (cut, hash) = id.split_once('~').unwrap();
            assert_eq!(hash.len(), HASH_DIGITS);
            assert!(cut.ends_with("%C3") || cut.ends_with("%BC"), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn names_keep_azures_rules(id in "[^\\x00-\\x1f\\x7f-\\x9f]{1,400}|[~%./-]{1,400}|.{0,9}[0-9a-f~%-]{60,70}") {
            prop_assume!(!id.chars().any(char::is_control));
            let event = event(&id);
            for name in [
                first(&hub(), DIED_AT, &event),
                second(&hub(), DIED_AT, &event, b"{}"),
            ] {
                prop_assert!(name.len() <= 1_024, "{}", name.len());
                prop_assert_eq!(name.split('/').count(), 6);
                prop_assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!name.contains(['\\', '?', '#']));
                prop_assert!(name.ends_with(".json"));
            }
        }

        #[test]
        fn distinct_ids_have_distinct_names(
            one in "[a%/~2F-]{1,6}|x-[0-9a-f]{64}|x%2D[0-9a-f]{64}|[üa]{250,300}",
            two in "[a%/~2F-]{1,6}|x-[0-9a-f]{64}|x%2D[0-9a-f]{64}|[üa]{250,300}",
        ) {
            prop_assert_eq!(one == two, name(&one) == name(&two));
            let seconds = [&one, &two].map(|id| second(&hub(), DIED_AT, &event(id), b"{}"));
            prop_assert_eq!(one == two, seconds[0] == seconds[1]);
            prop_assert!(!seconds.contains(&name(&one)));
        }
    }
}
