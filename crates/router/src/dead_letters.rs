//! Looking at dead letters that are kept here, and controlling endpoints.

pub use crate::delivery::PurgeResult;
use crate::delivery::{KeptDeadLetter, Lane};
use crate::sink::HeldEvent;
use crate::status::moment;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// Dead letters that one listing examines at most; a filter may let few of them pass.
const EXAMINED_MAX: usize = 10_000;

/// Which dead letters are meant: those that all that is set holds for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeadLetterQuery {
    /// Of this instance.
    pub instance: Option<InstanceName>,
    /// Of this endpoint.
    pub endpoint: Option<EndpointName>,
    /// That died of this.
    pub reason: Option<DeadLetterReason>,
    /// That died at or after this.
    pub since: Option<Timestamp>,
    /// That died before this.
    pub until: Option<Timestamp>,
    /// With this event type.
    pub event_type: Option<String>,
    /// With events that a route with this filter would match.
    pub filter: Option<RouteFilter>,
}

/// A [`DeadLetterQuery`] as people and programs write it; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterQueryText {
    /// Name of an instance.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Name of an endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// `overflow`, `rejected`, `exhausted`, `expired` or `removed`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// An event type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub event_type: String,
    /// The filter of a route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
}

impl DeadLetterQueryText {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// The first part that cannot be read, by name.
    pub fn parse(&self) -> Result<DeadLetterQuery, String> {
        fn part<T, E: fmt::Display>(
            name: &str,
            text: &str,
            read: impl FnOnce(&str) -> Result<T, E>,
        ) -> Result<Option<T>, String> {
            if text.is_empty() {
                return Ok(None);
            }
            read(text)
                .map(Some)
                .map_err(|error| format!("{name}: {error}"))
        }
        let time = |text: &str| {
            Timestamp::parse_rfc3339(text).ok_or("not a time as in 2026-11-22T10:00:00Z (RFC 3339)")
        };
        let reason = |text: &str| {
            let known = DeadLetterReason::ALL
                .map(DeadLetterReason::as_str)
                .join(", ");
            DeadLetterReason::parse(text)
                .ok_or_else(|| format!("{text:?} is not a reason; there are {known}"))
        };
        Ok(DeadLetterQuery {
            instance: part("instance", &self.instance, InstanceName::new)?,
            endpoint: part("endpoint", &self.endpoint, EndpointName::new)?,
            reason: part("reason", &self.reason, reason)?,
            since: part("since", &self.since, time)?,
            until: part("until", &self.until, time)?,
            event_type: Some(self.event_type.clone()).filter(|text| !text.is_empty()),
            filter: part("filter", &self.filter, |text| {
                RouteFilter::parse(text, &FilterOptions::default())
            })?,
        })
    }
}

/// A dead letter that is kept here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetterView {
    /// Instance of its endpoint.
    pub instance: String,
    /// Its endpoint.
    pub endpoint: String,
    /// Its event's place in the order of acceptance; with the endpoint, its name here.
    pub sequence: u64,
    /// Why it is one.
    pub reason: DeadLetterReason,
    /// The last outcome; empty if it was never tried.
    pub outcome: String,
    /// Attempts in which its event failed alone.
    pub attempts: u32,
    /// When its event was accepted.
    pub accepted_at: Timestamp,
    /// When it was last tried, where that is known.
    #[serde(with = "moment")]
    pub last_attempt_at: Option<Timestamp>,
    /// When it became a dead letter.
    pub died_at: Timestamp,
    /// On its way to its container, or back into the queue.
    pub busy: bool,
    /// Its container will never take it.
    pub unstorable: bool,
    /// `id` of its event.
    pub id: String,
    /// `source` of its event.
    pub source: String,
    /// `type` of its event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `subject` of its event; empty if it has none.
    pub subject: String,
    /// What its event takes, in bytes.
    pub bytes: u64,
}

/// Some dead letters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetterPage {
    /// They are ordered by instance, endpoint and sequence.
    pub dead_letters: Vec<DeadLetterView>,
    /// Where to go on, a [`DeadLetterCursor`]; empty when there are no more. A page may be short and yet
    /// not the last.
    pub next: String,
}

/// A place among all dead letters: `instance/endpoint/sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterCursor {
    /// The instance.
    pub instance: InstanceName,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The sequence last seen.
    pub sequence: u64,
}

/// What people may ask of a running endpoint.
#[derive(Clone, Debug)]
pub struct EndpointHandle(pub(crate) Arc<Lane>);

impl EndpointHandle {
    /// Sends nothing from here on, over restarts too; events wait and their time to live stands still.
    pub fn pause(&self) {
        self.0.set_paused(true);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.0.set_paused(false);
    }

    /// Retries now: the endpoint, retrying events, the dead-letter container.
    pub fn retry_now(&self) {
        self.0.retry_now();
    }

    /// Discards what waits; what is in flight is not waited for and goes on.
    /// Dead letters that are kept here stay unless `dead_letters` is set.
    #[must_use]
    pub fn purge(&self, dead_letters: bool) -> PurgeResult {
        self.0.purge(dead_letters)
    }
}

impl DeadLetterQuery {
    /// Whether all that can be checked without the event holds.
    pub(crate) fn wants_about(&self, about: &DeadLetter) -> bool {
        self.reason.is_none_or(|reason| reason == about.reason)
            && self.since.is_none_or(|since| about.died_at >= since)
            && self.until.is_none_or(|until| about.died_at < until)
    }

    /// Whether nothing is asked but about the event.
    pub(crate) fn asks_nothing_about(&self) -> bool {
        self.reason.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// Whether the rest holds too.
    pub(crate) fn wants_event(&self, event: &Event) -> bool {
        let asked = self.event_type.as_deref();
        asked.is_none_or(|asked| asked == event.event_type())
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(event))
    }

    fn wants_lane(&self, lane: &Lane) -> bool {
        self.instance
            .as_ref()
            .is_none_or(|name| *name == lane.instance)
            && self.endpoint.as_ref().is_none_or(|name| *name == lane.name)
    }
}

/// As [`Router::dead_letters`](crate::Router::dead_letters), from these lanes.
pub(crate) async fn page_of(
    lanes: Vec<Arc<Lane>>,
    query: &DeadLetterQuery,
    after: Option<&DeadLetterCursor>,
    most: usize,
) -> DeadLetterPage {
    let mut page = DeadLetterPage::default();
    let mut examined = 0;
    for lane in lanes_of(lanes, query, after) {
        let key = |sequence| DeadLetterCursor {
            instance: lane.instance.clone(),
            endpoint: lane.name.clone(),
            sequence,
        };
        let begin = after.filter(|after| after.is_of(&lane));
        let mut at = begin.map_or(0, |after| after.sequence);
        loop {
            let room = (most - page.dead_letters.len()).min(EXAMINED_MAX - examined);
            if room == 0 {
                page.next = key(at).to_string();
                return page;
            }
            let found = some_of(&lane, query, at, room);
            examined += found.examined;
            at = found.last;
            for (sequence, dead) in found.letters {
                // One that was settled meanwhile is no dead letter any more.
                let Ok(event) = lane.read_dead(sequence, &dead).await else {
                    continue;
                };
                if query.wants_event(&event) {
                    page.dead_letters.push(view(&lane, sequence, &dead, &event));
                }
            }
            if found.at_end {
                break;
            }
        }
    }
    page
}

/// As [`Router::dead_letter`](crate::Router::dead_letter), from this lane.
pub(crate) async fn one_of(lane: &Lane, sequence: u64) -> Option<(DeadLetterView, HeldEvent)> {
    let dead = lane.dead_letter(sequence)?;
    let event = lane.read_dead(sequence, &dead).await.ok()?;
    Some((view(lane, sequence, &dead, &event), event))
}

/// The lanes a query is about, in order, from the one that a cursor stands in on.
pub(crate) fn lanes_of(
    mut lanes: Vec<Arc<Lane>>,
    query: &DeadLetterQuery,
    after: Option<&DeadLetterCursor>,
) -> Vec<Arc<Lane>> {
    lanes.retain(|lane| query.wants_lane(lane));
    let key = |lane: &Arc<Lane>| (lane.instance.clone(), lane.name.clone());
    lanes.sort_by_cached_key(key);
    if let Some(after) = after {
        let after = (after.instance.clone(), after.endpoint.clone());
        lanes.retain(|lane| key(lane) >= after);
    }
    lanes
}

impl fmt::Display for DeadLetterCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}/{}",
            self.instance, self.endpoint, self.sequence
        )
    }
}

impl FromStr for DeadLetterCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (names, sequence) = text.rsplit_once('/')?;
            let (instance, endpoint) = names.split_once('/')?;
            Some(Self {
                instance: InstanceName::new(instance).ok()?,
                endpoint: EndpointName::new(endpoint).ok()?,
                sequence: sequence.parse().ok()?,
            })
        };
        read().ok_or_else(|| {
            format!("{text:?} is no place among dead letters, instance/endpoint/sequence")
        })
    }
}

impl DeadLetterCursor {
    pub(crate) fn is_of(&self, lane: &Lane) -> bool {
        self.instance == lane.instance && self.endpoint == lane.name
    }
}

/// Some dead letters of a lane that a query may want.
pub(crate) struct FoundDeadLetters {
    pub(crate) letters: Vec<(u64, KeptDeadLetter)>,
    pub(crate) examined: usize,
    /// The last one examined.
    pub(crate) last: u64,
    pub(crate) at_end: bool,
}

/// Looks at no more than `room` dead letters.
pub(crate) fn some_of(
    lane: &Lane,
    query: &DeadLetterQuery,
    after: u64,
    room: usize,
) -> FoundDeadLetters {
    let mut found = FoundDeadLetters {
        letters: Vec::new(),
        examined: 0,
        last: after,
        at_end: true,
    };
    lane.look_at_dead(after, |sequence, dead| {
        if found.examined == room {
            found.at_end = false;
            return false;
        }
        found.examined += 1;
        found.last = sequence;
        if query.wants_about(&dead.about) {
            found.letters.push((sequence, dead.clone()));
        }
        true
    });
    found
}

fn view(lane: &Lane, sequence: u64, dead: &KeptDeadLetter, event: &Event) -> DeadLetterView {
    let about = &dead.about;
    DeadLetterView {
        instance: lane.instance.to_string(),
        endpoint: lane.name.to_string(),
        sequence,
        reason: about.reason,
        outcome: about.outcome.to_string(),
        attempts: about.attempts,
        accepted_at: dead.accepted_at,
        last_attempt_at: about.last_attempt_at,
        died_at: about.died_at,
        busy: dead.busy,
        unstorable: dead.unstorable,
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        event_type: event.event_type().to_owned(),
        subject: event.subject().unwrap_or_default().to_owned(),
        bytes: event.size() as u64,
    }
}
