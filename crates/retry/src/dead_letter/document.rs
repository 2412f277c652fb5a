//! What a dead letter's blob holds: the event as it would have been delivered, and beside it, as
//! metadata, why it was not.
//!
//! The content is one event in CloudEvents JSON format, as Azure Digital Twins writes it: no envelope and
//! no attribute more. What Event Grid adds to an event is metadata here, under Event Grid's names:
//!
//! | metadata | value |
//! |---|---|
//! | `deadletterreason` | Event Grid's word for the reason, or ours |
//! | `deliveryattempts` | attempts in which the event failed alone |
//! | `lastdeliveryoutcome` | Event Grid's word for the last outcome, or our code; absent if never tried |
//! | `publishtime` | when the event was accepted, RFC 3339 |
//! | `lastdeliveryattempttime` | when it was last tried, RFC 3339; absent if never tried |
//! | `twinroutereason` | our reason |
//! | `twinrouteoutcome` | our outcome, `code: detail`; absent if never tried |
//! | `twinrouteendpoint`, `twinrouteinstance` | whose delivery it was |
//!
//! Names are letters and digits, since Azure takes C# identifiers only; values are ASCII, with `%XX` for
//! every byte that is not, for `%` itself, and for blanks at either end, which HTTP would drop.
//! Sources: Azure Event Grid "Message delivery and retry" (2026-02-09), dead-letter events; Azure Storage
//! "Setting and retrieving properties and metadata for Blob service resources".

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// Metadata by lower-case name, as it stands in headers.
pub type BlobMetadata = BTreeMap<String, String>;

/// The media type of a dead letter's blob.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

pub(super) const EVENT_GRID_REASON: &str = "deadletterreason";
pub(super) const ATTEMPTS: &str = "deliveryattempts";
pub(super) const EVENT_GRID_OUTCOME: &str = "lastdeliveryoutcome";
pub(super) const PUBLISH_TIME: &str = "publishtime";
pub(super) const LAST_ATTEMPT_TIME: &str = "lastdeliveryattempttime";
pub(super) const REASON: &str = "twinroutereason";
pub(super) const OUTCOME: &str = "twinrouteoutcome";
pub(super) const ENDPOINT: &str = "twinrouteendpoint";
pub(super) const INSTANCE: &str = "twinrouteinstance";

/// What does not stand for itself in a value; everything beyond ASCII never does.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// A dead letter with all that is written of it.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterDocument<'a> {
    /// The instance whose route the event matched.
    pub instance: &'a InstanceName,
    /// The endpoint that did not get it.
    pub endpoint: &'a EndpointName,
    /// The event.
    pub event: &'a Event,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Why it is a dead letter.
    pub dead: &'a DeadLetter,
}

impl DeadLetterDocument<'_> {
    /// The blob's content.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        json::write(self.event, &mut content);
        content
    }

    /// The blob's metadata.
    #[must_use]
    pub fn metadata(&self) -> BlobMetadata {
        let dead = self.dead;
        let tried = Some(&*dead.outcome).filter(|outcome| !outcome.is_empty());
        let entries = [
            (
                EVENT_GRID_REASON,
                Some(event_grid_reason(dead.reason).to_owned()),
            ),
            (ATTEMPTS, Some(dead.attempts.to_string())),
            (
                EVENT_GRID_OUTCOME,
                tried.map(|outcome| event_grid_outcome(outcome).to_owned()),
            ),
            (PUBLISH_TIME, Some(self.accepted_at.rfc3339())),
            (
                LAST_ATTEMPT_TIME,
                dead.last_attempt_at.map(Timestamp::rfc3339),
            ),
            (REASON, Some(dead.reason.as_str().to_owned())),
            (OUTCOME, tried.map(str::to_owned)),
            (ENDPOINT, Some(self.endpoint.as_str().to_owned())),
            (INSTANCE, Some(self.instance.as_str().to_owned())),
        ];
        entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
            .map(|(name, value)| (name.to_owned(), escape(&value)))
            .collect()
    }
}

/// Event Grid's word for a reason, or ours where it publishes none.
fn event_grid_reason(reason: DeadLetterReason) -> &'static str {
    match reason {
        DeadLetterReason::Exhausted => "MaxDeliveryAttemptsExceeded",
        _ => reason.as_str(),
    }
}

/// Event Grid's word for the code of an outcome, or the code itself.
///
/// Source of the words: Azure Event Grid "Message delivery and retry" (2026-02-09), last delivery outcome.
fn event_grid_outcome(outcome: &str) -> &str {
    let code = outcome.split(':').next().unwrap_or(outcome).trim_end();
    match code {
        "http-400"
        | "http-422"
        | "argument-error"
        | "argument-out-of-range"
        | "decode-error"
        | "invalid-field" => "BadRequest",
        "http-401" | "cbs-401" | "unauthorized-access" | "auth-failed" => "Unauthorized",
        "http-403" | "cbs-403" => "Forbidden",
        "http-404" | "http-410" | "cbs-404" | "not-found" => "NotFound",
        "payload-too-large" => "PayloadTooLarge",
        "http-408" | "timeout" | "sink-timeout" | "cbs-timeout" | "connect-timeout"
        | "tls-timeout" | "websocket-timeout" => "TimedOut",
        "http-429" | "http-503" | "cbs-503" | "server-busy" => "Busy",
        "resource-limit-exceeded" => "Full",
        "entity-disabled" => "Disabled",
        "operation-cancelled" => "Canceled",
        "connect" | "socket" | "connection-lost" | "session-lost" | "link-lost" => "SocketError",
        other => other,
    }
}

/// A value as it can stand in a header.
fn escape(value: &str) -> String {
    let encoded = utf8_percent_encode(value, ESCAPED).to_string();
    let inner = encoded.trim_matches(' ');
    let before = encoded.len() - encoded.trim_start_matches(' ').len();
    let after = encoded.len() - before - inner.len();
    format!("{}{inner}{}", "%20".repeat(before), "%20".repeat(after))
}

/// The value that was escaped; any other as it is.
pub(super) fn unescape(value: &str) -> String {
    percent_decode_str(value)
        .decode_utf8()
        .map_or_else(|_| value.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;
    use twinroute_model::event::{EventLimits, EventParts};

    fn render(dead: &DeadLetter) -> String {
        let event = EventParts::new("1", "source", "type")
            .build(&EventLimits::default())
            .unwrap();
        let letter = DeadLetterDocument {
            instance: &InstanceName::new("contoso").unwrap(),
            endpoint: &EndpointName::new("hub").unwrap(),
            event: &event,
            accepted_at: Timestamp::from_unix_millis(1_772_409_600_000),
            dead,
        };
        let mut lines = String::new();
        for (name, value) in letter.metadata() {
            lines.push_str(&format!("{name}: {value}\n"));
        }
        lines
    }

    fn dead(reason: DeadLetterReason, outcome: &str) -> DeadLetter {
        DeadLetter {
            reason,
            attempts: 3,
            died_at: Timestamp::from_unix_millis(1_772_409_845_123),
            last_attempt_at: (!outcome.is_empty())
                .then_some(Timestamp::from_unix_millis(1_772_409_800_000)),
            outcome: outcome.into(),
        }
    }

    #[test]
    fn metadata_says_why_in_event_grids_names() {
        expect![[r"
            deadletterreason: MaxDeliveryAttemptsExceeded
            deliveryattempts: 3
            lastdeliveryattempttime: 2026-03-02T00:03:20Z
            lastdeliveryoutcome: TimedOut
            publishtime: 2026-03-02T00:00:00Z
            twinrouteendpoint: hub
            twinrouteinstance: contoso
            twinrouteoutcome: timeout: nach 100%25 %C3%BCberlanger Zeit
            twinroutereason: exhausted
        "]]
        .assert_eq(&render(&dead(
            DeadLetterReason::Exhausted,
            "timeout: nach 100% überlanger Zeit",
        )));
        expect![[r"
            deadletterreason: overflow
            deliveryattempts: 3
            publishtime: 2026-03-02T00:00:00Z
            twinrouteendpoint: hub
            twinrouteinstance: contoso
            twinroutereason: overflow
        "]]
        .assert_eq(&render(&dead(DeadLetterReason::Overflow, "")));
    }

    #[test]
    fn outcomes_have_event_grids_words() {
        for (outcome, expect) in [
            ("http-400: no", "BadRequest"),
            ("http-401", "Unauthorized"),
            ("http-403: firewall: on", "Forbidden"),
            ("not-found: no such hub", "NotFound"),
            ("payload-too-large", "PayloadTooLarge"),
            ("server-busy: wait", "Busy"),
            ("link-lost", "SocketError"),
            ("undeliverable-here: modified", "undeliverable-here"),
            ("", ""),
        ] {
            assert_eq!(event_grid_outcome(outcome), expect, "{outcome}");
        }
    }

    #[test]
    fn the_content_is_the_event_as_it_came() {
        let bytes = br#"{ "specversion":"1.0", "id":"1","source":"s","type":"t","data":1.10}"#;
        let event = json::parse(bytes.as_slice().into(), &EventLimits::default()).unwrap();
        let letter = DeadLetterDocument {
            instance: &InstanceName::new("contoso").unwrap(),
            endpoint: &EndpointName::new("hub").unwrap(),
            event: &event,
            accepted_at: Timestamp::from_unix_millis(0),
            dead: &dead(DeadLetterReason::Rejected, ""),
        };
        assert_eq!(letter.content(), bytes);
    }

    proptest! {
        #[test]
        fn values_survive_a_header(value in "[ -~]{0,20}|.{0,20}|[ %]{0,6}") {
            let escaped = escape(&value);
            prop_assert!(escaped.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
            prop_assert_eq!(escaped.trim(), &escaped);
            prop_assert_eq!(unescape(&escaped), value);
        }
    }
}
