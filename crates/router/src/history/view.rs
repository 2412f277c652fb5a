//! What the history shows.

use super::routes::PastRoutes;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twinroute_filter::explain::{FilterExplanation, explain};
use twinroute_journal::FailedSendFault;
use twinroute_journal::history::{HistoryDelivery, HistoryEvent, HistoryState};
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::twin::TwinKey;

/// A part of the history.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryRows {
    /// A row for each delivery, and one for each event without a route, in the order of acceptance.
    pub rows: Vec<DeliveryRow>,
    /// Where to go on.
    pub next: String,
    /// Whether all was looked at that was there.
    pub at_end: bool,
}

/// A delivery, or an event that no route matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The event's place in the order of acceptance; 0: it has none, since no route matched it.
    pub sequence: u64,
    /// The event's id.
    pub id: String,
    /// The event's source.
    pub source: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its twin: host and id.
    pub twin: String,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// The instance that it was sent to; empty where that is not known.
    pub instance: String,
    /// The endpoint; empty where no route matched.
    pub endpoint: String,
    /// The routes to it that matched, if the table of then is kept.
    pub routes: Vec<String>,
    /// One of [`OUTCOMES`](super::OUTCOMES).
    pub outcome: String,
    /// Why: the reason of a dead letter or a discard; empty where there is none.
    pub reason: String,
    /// When it was settled, RFC 3339; empty as long as it is not.
    pub settled_at: String,
    /// Attempts, the one that delivered it included.
    pub attempts: u32,
    /// What the last attempt that failed came to.
    pub last_outcome: String,
    /// Who sent it, if a name is known.
    pub caller: String,
    /// From which address, if that is known.
    pub address: String,
    /// Whether it is a replay.
    pub replay: bool,
}

impl DeliveryRow {
    /// Whether it came to its end.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        const ENDS: [&str; 4] = ["delivered", "dead-lettered", "replayed", "discarded"];
        ENDS.contains(&self.outcome.as_str())
    }
}

/// An event in full.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventView {
    /// Its place in the order of acceptance; 0: no route matched it.
    pub sequence: u64,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// The instance that it was sent to; empty where that is not known.
    pub instance: String,
    /// Its twin: host and id.
    pub twin: String,
    /// Who sent it, if a name is known.
    pub caller: String,
    /// From which address, if that is known.
    pub address: String,
    /// Whether it is a replay.
    pub replay: bool,
    /// The generation of the table that it was matched against, and since when that was in use; 0: not known.
    pub generation: u64,
    /// RFC 3339.
    pub table_since: String,
    /// What each route decided then; none where that table is not kept.
    pub routes: Vec<RouteDecision>,
    /// What each route of today decides; none where that was not asked of a router.
    pub now: Vec<RouteDecision>,
    /// What became of each delivery.
    pub deliveries: Vec<DeliveryView>,
    /// The event as it was accepted.
    pub event: Box<RawValue>,
}

/// A part of the history, events alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PastEvents {
    /// In the order of acceptance.
    pub events: Vec<PastEvent>,
    /// Where to go on.
    pub next: String,
    /// Whether all was looked at that was there.
    pub at_end: bool,
}

/// An event alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PastEvent {
    /// Its place in the order of acceptance; 0: no route matched it.
    pub sequence: u64,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// The instance that it was sent to; empty where that is not known.
    pub instance: String,
    /// Whether it is a replay.
    pub replay: bool,
    /// The event as it was accepted.
    pub event: Box<RawValue>,
}

/// What a route decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteDecision {
    /// Its id.
    pub route: String,
    /// The endpoint that it sends to.
    pub endpoint: String,
    /// Its filter.
    pub filter: String,
    /// Whether it matched.
    pub matches: bool,
    /// Clause by clause, in lines.
    pub explanation: String,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryView {
    /// The instance of its endpoint.
    pub instance: String,
    /// Its endpoint.
    pub endpoint: String,
    /// One of [`OUTCOMES`](super::OUTCOMES).
    pub outcome: String,
    /// Why, of a dead letter or a discard.
    pub reason: String,
    /// When it was settled, RFC 3339; empty as long as it is not.
    pub settled_at: String,
    /// When it is tried again, RFC 3339; empty where it is not.
    pub due_at: String,
    /// Attempts that failed, those of the endpoint's fault included, oldest first.
    pub failed: Vec<AttemptView>,
    /// Attempts that count: those in which it failed alone, and the one that delivered it.
    pub attempts: u32,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// When, RFC 3339.
    pub at: String,
    /// Whose fault it was: `event` or `endpoint`.
    pub fault: String,
    /// What the destination said.
    pub outcome: String,
}

fn time(time: Option<Timestamp>) -> String {
    time.map(Timestamp::rfc3339).unwrap_or_default()
}

/// The outcome's word and the reason.
fn outcome(state: &HistoryState) -> (&'static str, String) {
    match state {
        HistoryState::Queued => ("queued", String::new()),
        HistoryState::Retrying(_) => ("retrying", String::new()),
        HistoryState::Dead(letter) => ("dead-letter", letter.reason.to_string()),
        HistoryState::Unknown => ("unknown", String::new()),
        HistoryState::Settled(settlement, letter) => {
            let of_letter = || {
                let reason = letter.as_ref().map(|letter| letter.reason.to_string());
                reason.unwrap_or_default()
            };
            match settlement {
                DeliverySettlement::Delivered => ("delivered", String::new()),
                DeliverySettlement::DeadLettered => ("dead-lettered", of_letter()),
                DeliverySettlement::Replayed => ("replayed", of_letter()),
                DeliverySettlement::Discarded(reason) => ("discarded", reason.as_str().to_owned()),
            }
        }
    }
}

fn attempts(delivery: &HistoryDelivery) -> u32 {
    let delivered = HistoryState::Settled(DeliverySettlement::Delivered, None);
    delivery.failed_alone + u32::from(delivery.state == delivered)
}

fn last_outcome(delivery: &HistoryDelivery) -> String {
    let letter = match &delivery.state {
        HistoryState::Dead(letter) | HistoryState::Settled(_, Some(letter)) => Some(letter),
        _ => None,
    };
    let last = delivery.attempts.last().map(|last| last.outcome.clone());
    last.or_else(|| letter.map(|letter| letter.outcome.to_string()))
        .unwrap_or_default()
}

/// The rows of an event.
pub(super) fn rows(
    found: &HistoryEvent,
    routes: &mut PastRoutes,
) -> impl Iterator<Item = DeliveryRow> {
    let event = &found.event;
    let base = DeliveryRow {
        sequence: found.sequence.unwrap_or_default(),
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        event_type: event.event_type().to_owned(),
        twin: TwinKey::of(event).to_string(),
        accepted_at: found.accepted_at.rfc3339(),
        instance: found.instance.clone().unwrap_or_default(),
        caller: found.caller.clone().unwrap_or_default(),
        address: found.address.map(|one| one.to_string()).unwrap_or_default(),
        replay: found.is_replay,
        ..DeliveryRow::default()
    };
    let matched = routes.matched(found);
    let of_delivery = |delivery: &HistoryDelivery| {
        let (instance, endpoint) = names(delivery);
        let (word, reason) = outcome(&delivery.state);
        let to_here = matched
            .iter()
            .filter(|(_, to)| to.eq_ignore_ascii_case(&endpoint));
        DeliveryRow {
            instance,
            routes: to_here.map(|(route, _)| route.clone()).collect(),
            endpoint,
            outcome: word.to_owned(),
            reason,
            settled_at: time(delivery.at),
            attempts: attempts(delivery),
            last_outcome: last_outcome(delivery),
            ..base.clone()
        }
    };
    let mut rows: Vec<DeliveryRow> = found.deliveries.iter().map(of_delivery).collect();
    if rows.is_empty() {
        rows.push(DeliveryRow {
            outcome: "unmatched".to_owned(),
            ..base
        });
    }
    rows.into_iter()
}

fn names(delivery: &HistoryDelivery) -> (String, String) {
    match &delivery.name {
        Some((instance, endpoint)) => (instance.as_str().to_owned(), endpoint.as_str().to_owned()),
        None => (String::new(), format!("lane {}", delivery.lane.0)),
    }
}

/// What filters make of an event.
pub(crate) fn decision(
    (route, endpoint): (String, String),
    explained: &FilterExplanation,
) -> RouteDecision {
    RouteDecision {
        route,
        endpoint,
        filter: explained.filter.clone(),
        matches: explained.matches,
        explanation: explained.to_string(),
    }
}

/// An event alone.
pub(super) fn past(found: &HistoryEvent) -> PastEvent {
    PastEvent {
        sequence: found.sequence.unwrap_or_default(),
        accepted_at: found.accepted_at.rfc3339(),
        instance: found.instance.clone().unwrap_or_default(),
        replay: found.is_replay,
        event: raw(found),
    }
}

impl EventView {
    /// The event.
    #[must_use]
    pub fn parse(&self) -> Option<Event> {
        parse(&self.event)
    }
}

impl PastEvent {
    /// The event.
    #[must_use]
    pub fn parse(&self) -> Option<Event> {
        parse(&self.event)
    }
}

fn parse(event: &RawValue) -> Option<Event> {
    let limits = EventLimits {
        event_bytes_max: EventLimits::EVENT_BYTES_CEILING,
        ..EventLimits::default()
    };
    json::parse_lenient(Bytes::copy_from_slice(event.get().as_bytes()), &limits).ok()
}

fn raw(found: &HistoryEvent) -> Box<RawValue> {
    let mut content = Vec::new();
    json::write(&found.event, &mut content);
    let content = String::from_utf8_lossy(&content).into_owned();
    RawValue::from_string(content).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// An event in full.
pub(super) fn event(found: &HistoryEvent, routes: &mut PastRoutes) -> EventView {
    let table = routes.table(found);
    let decisions = table.iter().flat_map(|table| table.of(found));
    let decision = |route: &super::routes::PastRoute| {
        let explained = explain(&route.filter, &found.event);
        decision((route.id.clone(), route.endpoint.clone()), &explained)
    };
    EventView {
        sequence: found.sequence.unwrap_or_default(),
        accepted_at: found.accepted_at.rfc3339(),
        instance: found.instance.clone().unwrap_or_default(),
        twin: TwinKey::of(&found.event).to_string(),
        caller: found.caller.clone().unwrap_or_default(),
        address: found.address.map(|one| one.to_string()).unwrap_or_default(),
        replay: found.is_replay,
        generation: found.generation,
        routes: decisions.map(decision).collect(),
        now: Vec::new(),
        table_since: table
            .as_ref()
            .map(|table| table.since.clone())
            .unwrap_or_default(),
        deliveries: found.deliveries.iter().map(delivery).collect(),
        event: raw(found),
    }
}

fn delivery(found: &HistoryDelivery) -> DeliveryView {
    let (instance, endpoint) = names(found);
    let (word, reason) = outcome(&found.state);
    let failed = found.attempts.iter().map(|attempt| AttemptView {
        at: time(attempt.at),
        fault: match attempt.fault {
            FailedSendFault::Event => "event",
            FailedSendFault::Endpoint => "endpoint",
        }
        .to_owned(),
        outcome: attempt.outcome.clone(),
    });
    DeliveryView {
        instance,
        endpoint,
        outcome: word.to_owned(),
        reason,
        settled_at: time(found.at),
        due_at: match found.state {
            HistoryState::Retrying(due) => time(due),
            _ => String::new(),
        },
        failed: failed.collect(),
        attempts: attempts(found),
    }
}
