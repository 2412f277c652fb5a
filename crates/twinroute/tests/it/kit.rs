//! The kit passes sinks that are right and finds what is wrong with others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use twinroute::prelude::*;
use twinroute::testing::{SinkCheck, check_sink};

/// A destination in memory.
#[derive(Clone, Default)]
struct ShelfSink(Arc<Mutex<Vec<Event>>>);

impl ShelfSink {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap()
    }

    fn put(&self, delivery: &Delivery) {
        self.lock().push(Event::clone(&delivery.event));
    }
}

/// What is wrong with a sink that is right but for that.
#[derive(Clone, Copy, PartialEq)]
enum SinkFlaw {
    None,
    /// Says `Delivered` and delivers with the next batch.
    LatePut,
    /// Gives outcomes for those that it delivered alone.
    MissingOutcomes,
    /// Groups a batch by the end of its ids.
    OtherOrder,
    /// One event that is refused makes the whole batch wait.
    RefusesAll,
    /// Is of no use after a batch was dropped.
    LostConnection,
    /// Empties its destination when it is made.
    EmptiesAtStart,
    /// Repeats are an error.
    NoRepeats,
    /// Hangs on payloads of text.
    HangsOnText,
    /// Panics over events without a payload.
    PanicsWithoutPayload,
    /// Writes JSON again, in its own way.
    RewritesJson,
    /// Says something of its own in each event.
    AddsExtension,
    /// Says that it takes nothing at a time.
    NoLimits,
    /// Forgets a batch while another is on its way.
    OneAtATime,
}

struct FlawedSink {
    shelf: ShelfSink,
    flaw: SinkFlaw,
    late: Mutex<Vec<Delivery>>,
    connection: Mutex<Option<()>>,
    busy: Mutex<bool>,
}

impl FlawedSink {
    fn new(shelf: &ShelfSink, flaw: SinkFlaw) -> Self {
        if flaw == SinkFlaw::EmptiesAtStart {
            shelf.lock().clear();
        }
        Self {
            shelf: shelf.clone(),
            flaw,
            late: Mutex::default(),
            connection: Mutex::new(Some(())),
            busy: Mutex::default(),
        }
    }

    fn put_one(&self, delivery: &Delivery) -> DeliveryOutcome {
        let event = &delivery.event;
        if event.id() == "refused" {
            return DeliveryOutcome::reject("too strange");
        }
        if self.flaw == SinkFlaw::NoRepeats
            && self.shelf.lock().iter().any(|own| own.id() == event.id())
        {
            return DeliveryOutcome::reject("it is here already");
        }
        match (self.flaw, event.json_data()) {
            (SinkFlaw::RewritesJson, Some(json)) => {
                let value: serde_json::Value = serde_json::from_str(json).unwrap();
                let builder = Event::builder().id(event.id()).source(event.source());
                let builder = builder.event_type(event.event_type());
                let builder = builder.subject(event.subject().unwrap());
                self.shelf.lock().push(builder.json(value).build().unwrap());
            }
            (SinkFlaw::AddsExtension, _) => {
                let marked = Event::clone(event).with_extension("shelf", 7);
                self.shelf.lock().push(marked.unwrap());
            }
            _ => self.shelf.put(delivery),
        }
        DeliveryOutcome::Delivered
    }
}

impl Sink for FlawedSink {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        let is_text = |one: &Delivery| {
            one.event
                .datacontenttype()
                .is_some_and(|kind| kind.starts_with("text/"))
        };
        let is_empty = |one: &Delivery| one.event.payload().bytes.is_empty();
        match self.flaw {
            SinkFlaw::LostConnection => {
                let connection = self.connection.lock().unwrap().take();
                assert!(connection.is_some(), "nobody gave it back");
                tokio::task::yield_now().await;
                *self.connection.lock().unwrap() = connection;
            }
            SinkFlaw::HangsOnText if batch.iter().any(is_text) => std::future::pending().await,
            SinkFlaw::PanicsWithoutPayload if batch.iter().any(is_empty) => panic!("no payload"),
            SinkFlaw::RefusesAll if batch.iter().any(|one| one.event.id() == "refused") => {
                return Err(SendError::unavailable("one of them is too strange"));
            }
            SinkFlaw::LatePut => {
                let late = std::mem::replace(&mut *self.late.lock().unwrap(), batch.to_vec());
                late.iter().for_each(|delivery| self.shelf.put(delivery));
                return Ok(SendOutcome::all_delivered());
            }
            SinkFlaw::OtherOrder => {
                let mut groups: BTreeMap<char, Vec<&Delivery>> = BTreeMap::new();
                for delivery in batch {
                    let last = delivery.event.id().chars().next_back().unwrap();
                    groups.entry(last).or_default().push(delivery);
                }
                for delivery in groups.values().flatten() {
                    self.shelf.put(delivery);
                }
                return Ok(SendOutcome::all_delivered());
            }
            SinkFlaw::OneAtATime => {
                if std::mem::replace(&mut *self.busy.lock().unwrap(), true) {
                    return Ok(SendOutcome::all_delivered());
                }
                tokio::task::yield_now().await;
                *self.busy.lock().unwrap() = false;
            }
            _ => tokio::task::yield_now().await,
        }
        let outcomes = batch.iter().map(|delivery| self.put_one(delivery));
        let given = |outcome: &DeliveryOutcome| *outcome == DeliveryOutcome::Delivered;
        match self.flaw {
            SinkFlaw::MissingOutcomes => Ok(outcomes.filter(given).skip(1).collect()),
            _ => Ok(outcomes.collect()),
        }
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits {
            in_flight_max: if self.flaw == SinkFlaw::NoLimits {
                0
            } else {
                4
            },
            events_max: 64,
            ..BatchLimits::default()
        }
    }
}

async fn failed(flaw: SinkFlaw) -> Vec<(&'static str, String)> {
    let shelf = ShelfSink::default();
    let refused = Event::builder().id("refused").source("s").event_type("t");
    let check = SinkCheck::default().refused(refused.build().unwrap());
    let observe = async || shelf.lock().clone();
    let checked = check.run(|| FlawedSink::new(&shelf, flaw), observe).await;
    match checked {
        Ok(report) => {
            assert_eq!(report.passed.len(), 10);
            Vec::new()
        }
        Err(failures) => failures.failed,
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_right_passes_all() {
    assert_eq!(failed(SinkFlaw::None).await, []);
}

/// Flaws, the check that finds each, and what it says: what is wrong, and what to do.
const FINDINGS: [(SinkFlaw, &str, &str); 15] = [
    (
        SinkFlaw::LatePut,
        "delivered is there",
        "is not at the destination, though it was delivered",
    ),
    (
        SinkFlaw::MissingOutcomes,
        "delivered is there",
        "it gave 19 outcomes for a batch of 20 events: give one for each delivery",
    ),
    (
        SinkFlaw::MissingOutcomes,
        "outcomes",
        "it gave 0 outcomes for a batch of 1 event: give one",
    ),
    (
        SinkFlaw::OtherOrder,
        "order",
        "of the same twin: send a batch in its order",
    ),
    (
        SinkFlaw::RefusesAll,
        "partial",
        "beside an event that may be refused: event partial-",
    ),
    (
        SinkFlaw::LostConnection,
        "cancelled",
        "it panicked over a batch of 3 events: nobody gave it back: give an error",
    ),
    (
        SinkFlaw::EmptiesAtStart,
        "restart",
        "after a restart: event restart-0 is not at",
    ),
    (
        SinkFlaw::NoRepeats,
        "repeats",
        "event repeats-0 was not delivered",
    ),
    (
        SinkFlaw::HangsOnText,
        "outcomes",
        "a batch of 1 event did not end within 10 s: give up in time",
    ),
    (
        SinkFlaw::PanicsWithoutPayload,
        "outcomes",
        "it panicked over a batch of 1 event: no payload: give an error",
    ),
    (
        SinkFlaw::RewritesJson,
        "delivered is there",
        "event there-0 arrived with another payload",
    ),
    (
        SinkFlaw::AddsExtension,
        "delivered is there",
        "event there-0 arrived with `shelf`, which it did not have: send it as it is",
    ),
    (
        SinkFlaw::NoLimits,
        "limits",
        "in_flight_max is 0: nothing could be sent; say 1 at least",
    ),
    (
        SinkFlaw::OneAtATime,
        "at once",
        "though it was delivered: say `Delivered` only of what the destination has",
    ),
    (
        SinkFlaw::RefusesAll,
        "partial",
        "did not arrive within 10 s of being accepted; the endpoint's last error: ",
    ),
];

#[tokio::test(start_paused = true)]
async fn each_flaw_is_found_by_its_check() {
    for (flaw, check, why) in FINDINGS {
        let failed = failed(flaw).await;
        let found = failed.iter().find(|(name, _)| *name == check);
        let found = found.unwrap_or_else(|| panic!("{check} finds nothing: {failed:?}"));
        assert!(found.1.contains(why), "{check}: {}", found.1);
    }
}

#[tokio::test(start_paused = true)]
async fn ids_are_enough_and_failures_are_told_in_words() {
    let shelf = ShelfSink::default();
    let ids = async || -> Vec<String> {
        shelf
            .lock()
            .iter()
            .map(|event| event.id().to_owned())
            .collect()
    };
    check_sink(|| FlawedSink::new(&shelf, SinkFlaw::RewritesJson), ids)
        .await
        .unwrap();
    let shelf = ShelfSink::default();
    let ids = async || -> Vec<Event> { shelf.lock().clone() };
    let failures = check_sink(|| FlawedSink::new(&shelf, SinkFlaw::NoRepeats), ids).await;
    let text = format!("{:?}", failures.unwrap_err());
    assert!(text.starts_with("the sink fails "), "{text}");
    assert!(
        text.contains("\nrepeats: event repeats-0 was not delivered"),
        "{text}"
    );
}
