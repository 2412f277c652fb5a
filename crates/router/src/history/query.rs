//! What is asked of the history.

use super::routes::PastRoutes;
use super::view::DeliveryRow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use twinroute_journal::history::{HistoryEvent, HistorySelection};
use twinroute_model::clock::{Clock, SystemClock, Timestamp};
use twinroute_model::twin::TwinKey;

/// What a delivery may have come to, in the history's words.
pub const OUTCOMES: [&str; 9] = [
    "queued",
    "retrying",
    "dead-letter",
    "delivered",
    "dead-lettered",
    "replayed",
    "discarded",
    "unmatched",
    "unknown",
];

/// How long who follows waits for an event to be tried, so that its row says what became of it.
const FOLLOW_DELAY: Duration = Duration::from_secs(2);

/// A [`HistoryQuery`] as people and programs write it; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryQueryText {
    /// Name of an instance.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// A twin's id, or its host and id: `host/id`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub twin: String,
    /// An event's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// An event's source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// An event's type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub event_type: String,
    /// The id of a route that it matched.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// Name of an endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// One of [`OUTCOMES`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// `true`: events that no route matched.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unmatched: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// `true`: pages end before what is about to be sent, so that rows say what became of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub follow: String,
}

/// What is asked of the history.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    text: HistoryQueryText,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    unmatched: bool,
    follow: bool,
}

impl HistoryQueryText {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// The first part that cannot be read, by name.
    pub fn parse(self) -> Result<HistoryQuery, String> {
        let time = |name: &str, text: &str| match text {
            "" => Ok(None),
            text => Timestamp::parse_rfc3339(text).map(Some).ok_or(format!(
                "{name}: not a time as in 2026-11-22T10:00:00Z (RFC 3339)"
            )),
        };
        let flag = |name: &str, text: &str| match text {
            "" | "false" => Ok(false),
            "true" => Ok(true),
            other => Err(format!("{name}: {other:?} is neither true nor false")),
        };
        if !self.outcome.is_empty() && !OUTCOMES.contains(&self.outcome.as_str()) {
            let known = OUTCOMES.join(", ");
            return Err(format!(
                "outcome: {:?} is not an outcome; there are {known}",
                self.outcome
            ));
        }
        Ok(HistoryQuery {
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            unmatched: flag("unmatched", &self.unmatched)? || self.outcome == "unmatched",
            follow: flag("follow", &self.follow)?,
            text: self,
        })
    }
}

impl HistoryQuery {
    /// What can be said without parsing an event.
    pub(super) fn selection(&self) -> HistorySelection {
        let text = &self.text;
        // What stands in an event's JSON as it is, unless it has to be escaped there.
        let twin = text.twin.rsplit('/').next().unwrap_or_default();
        let words = [&*text.id, &*text.source, &*text.event_type, twin];
        let is_plain = |word: &&str| {
            let escaped = |letter: char| letter.is_control() || matches!(letter, '"' | '\\');
            !word.is_empty() && !word.contains(escaped)
        };
        HistorySelection {
            since: self.since,
            until: self.until,
            sequence: None,
            texts: words
                .into_iter()
                .filter(is_plain)
                .map(str::to_owned)
                .collect(),
            untried_after: self.follow.then(|| {
                let delay = i64::try_from(FOLLOW_DELAY.as_millis()).unwrap_or_default();
                Timestamp::from_unix_millis(SystemClock.now().unix_millis() - delay)
            }),
        }
    }

    /// Whether an event is one that is asked for, whatever became of it.
    pub(super) fn wants(&self, found: &HistoryEvent, routes: &mut PastRoutes) -> bool {
        let text = &self.text;
        let event = &found.event;
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let is_named = |wanted: &str, value: &str| wanted.eq_ignore_ascii_case(value);
        if !(is(&text.id, event.id())
            && is(&text.source, event.source())
            && is(&text.event_type, event.event_type()))
        {
            return false;
        }
        if self.unmatched && !(found.sequence.is_none() && found.deliveries.is_empty()) {
            return false;
        }
        if !text.twin.is_empty() {
            let twin = TwinKey::of(event);
            let whole = format!("{}/{}", twin.host, twin.twin);
            if text.twin != twin.twin && text.twin != whole {
                return false;
            }
        }
        let instance = found.instance.as_deref().unwrap_or_default();
        let mut names = found.deliveries.iter().filter_map(|one| one.name.as_ref());
        if !text.instance.is_empty()
            && !is_named(&text.instance, instance)
            && !names.any(|(instance, _)| is_named(&text.instance, instance.as_str()))
        {
            return false;
        }
        let mut endpoints = endpoints(found).into_iter();
        if !text.endpoint.is_empty() && !endpoints.any(|name| is_named(&text.endpoint, name)) {
            return false;
        }
        text.route.is_empty()
            || routes
                .matched(found)
                .iter()
                .any(|(route, _)| *route == text.route)
    }

    /// Whether events that were accepted then are asked for.
    pub(super) fn is_in_time(&self, accepted_at: Timestamp) -> bool {
        self.since.is_none_or(|since| accepted_at >= since)
            && self.until.is_none_or(|until| accepted_at < until)
    }

    /// Whether a row of such an event is shown.
    pub(super) fn shows(&self, row: &DeliveryRow) -> bool {
        let text = &self.text;
        (text.outcome.is_empty() || text.outcome == row.outcome)
            && (text.endpoint.is_empty() || text.endpoint.eq_ignore_ascii_case(&row.endpoint))
            && (text.route.is_empty() || row.routes.contains(&text.route))
    }
}

/// The names of endpoints that an event went to.
fn endpoints(event: &HistoryEvent) -> BTreeSet<&str> {
    let names = event.deliveries.iter();
    names
        .filter_map(|one| one.name.as_ref())
        .map(|(_, endpoint)| endpoint.as_str())
        .collect()
}
