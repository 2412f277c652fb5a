//! Which twin an event is about.

use crate::event::{Event, TELEMETRY};
use crate::stable_hash::stable_hash;
use memchr::{memchr, memchr_iter};

/// The twin of an event: what order is kept for.
///
/// The host of `source` plus, for telemetry, the last segment of `source`; else `subject` up to
/// `/relationships/`; else the whole `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TwinKey<'a> {
    /// Host of the event's source.
    pub host: &'a str,
    /// The twin's id, as far as the event tells it.
    pub twin: &'a str,
}

impl<'a> TwinKey<'a> {
    /// The twin of `event`.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        let source = event.source();
        let mut instance = source;
        let twin = if event.event_type() == TELEMETRY {
            // A source that names no host, such as a topic's resource id, is shared by a twin's telemetry
            // and its other events only without the twin's own part.
            let twins = source.rmatch_indices('/').map(|(at, _)| at);
            let mut twins = twins.filter(|at| source[*at..].starts_with("/digitaltwins/"));
            instance = twins.next().map_or(source, |end| &source[..end]);
            source
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or(source)
        } else {
            match event.subject() {
                Some(subject) => {
                    let end = find(subject, b"/relationships/");
                    end.map_or(subject, |end| &subject[..end])
                }
                None => source,
            }
        };
        Self {
            host: host(instance),
            twin,
        }
    }

    /// A hash that is the same in every process and version: [`stable_hash()`] of host and twin.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        stable_hash(self.host, self.twin)
    }
}

/// Where `wanted` stands in a short text. `str::find` prepares itself for long ones, and that alone costs more than to
/// look at each place where it could begin.
fn find<const N: usize>(text: &str, wanted: &[u8; N]) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr_iter(wanted[0], bytes).find(|at| bytes[*at..].starts_with(wanted))
}

/// The host of a source: its authority, or what stands before the first slash.
fn host(source: &str) -> &str {
    let scheme_end = find(source, b"://");
    let rest = scheme_end.map_or(source, |end| &source[end + "://".len()..]);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    match memchr(b'/', rest.as_bytes()) {
        // A path alone, such as an Azure resource id, names no host.
        Some(0) => source,
        Some(end) => &rest[..end],
        None => rest,
    }
}

impl std::fmt::Display for TwinKey<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.host, self.twin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventLimits, EventParts};

    fn key(source: &str, event_type: &str, subject: Option<&str>) -> String {
        let mut parts = EventParts::new("1", source, event_type);
        if let Some(subject) = subject {
            parts = parts.set("subject", subject).unwrap();
        }
        TwinKey::of(&parts.build(&EventLimits::default()).unwrap()).to_string()
    }

    #[test]
    fn all_seven_types_name_their_twin() {
        let host = "c.api.weu.digitaltwins.azure.net";
        for kind in ["Create", "Update", "Delete"] {
            let twin = format!("Microsoft.DigitalTwins.Twin.{kind}");
            assert_eq!(key(host, &twin, Some("room1")), format!("{host}/room1"));
            let relationship = format!("Microsoft.DigitalTwins.Relationship.{kind}");
            let subject = Some("room1/relationships/floor");
            assert_eq!(key(host, &relationship, subject), format!("{host}/room1"));
        }
        let source = format!("{host}/digitaltwins/room1");
        assert_eq!(key(&source, TELEMETRY, None), format!("{host}/room1"));
        assert_eq!(
            key(&source, TELEMETRY, Some("component1")),
            format!("{host}/room1")
        );
    }

    #[test]
    fn a_twin_is_one_whatever_names_its_instance() {
        let topic = "/subscriptions/1/topics/x";
        let telemetry = key(&format!("{topic}/digitaltwins/room1"), TELEMETRY, None);
        let update = key(topic, "Microsoft.DigitalTwins.Twin.Update", Some("room1"));
        assert_eq!(telemetry, update);
    }

    #[test]
    fn a_word_that_nearly_stands_there_does_not_cut_the_key() {
        assert_eq!(key("h", "t", Some("a/relations/b")), "h/a/relations/b");
        assert_eq!(
            key("h", "t", Some("a/relations/relationships/b")),
            "h/a/relations"
        );
        assert_eq!(key("h", "t", Some("a/relationships")), "h/a/relationships");
        assert_eq!(key("urn:x://h/y", "t", Some("s")), "h/s");
        let twice = "h/digitaltwins/a/digitaltwins/b";
        assert_eq!(key(twice, TELEMETRY, None), "h/b");
        assert_eq!(key("t://h/digitaltwins", TELEMETRY, None), "h/digitaltwins");
    }

    #[test]
    fn other_producers_events_have_a_twin_too() {
        assert_eq!(
            key("https://h:8080/a/b", "t", None),
            "h:8080/https://h:8080/a/b"
        );
        assert_eq!(key("urn:x", "t", Some("s")), "urn:x/s");
        assert_eq!(
            key("/subscriptions/1", "t", Some("s")),
            "/subscriptions/1/s"
        );
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        // Buckets and partitions of events already sent depend on it.
        let key = TwinKey {
            host: "h",
            twin: "room1",
        };
        assert_eq!(key.stable_hash(), 0x009e_862b_9aba_1246);
    }
}
