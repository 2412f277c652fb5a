//! Forged histories: a good one, and each kind of violation put into it.

use super::*;
use crate::crash::history::Snapshot;

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn event(content: u64) -> Event {
    Event {
        twin: 7,
        content,
        matched: [Endpoint::Grid, Endpoint::Hub].into_iter().collect(),
        refused_by: Endpoints::default(),
    }
}

fn place(post: u32, index: u32) -> EventId {
    EventId {
        producer: 0,
        post,
        index,
    }
}

fn delivery(endpoint: Endpoint, post: u32, index: u32, millis: i64) -> Delivery {
    Delivery {
        endpoint,
        id: place(post, index).to_string(),
        content: u64::from(post * 10 + index),
        at: at(millis),
    }
}

fn ledger(matched: u64) -> Ledger {
    Ledger {
        matched,
        delivered: matched,
        ..Ledger::default()
    }
}

fn snapshot(millis: i64, matched: u64) -> Snapshot {
    Snapshot {
        life: 0,
        asked_at: at(millis),
        answered_at: at(millis),
        ledgers: [ledger(matched), ledger(matched), ledger(0)],
    }
}

/// Three posts of two events each at 0, 100 and 200 ms, answered 10 ms later; the second was not, and
/// arrived. The process was killed at 110 ms and was back at 120 ms.
fn good() -> History {
    let post = |number: u32, answer| Post {
        producer: 0,
        number,
        sent_at: at(i64::from(number) * 100),
        answer,
        events: (0..2)
            .map(|index| event(u64::from(number * 10 + index)))
            .collect(),
    };
    let mut deliveries = Vec::new();
    for endpoint in [Endpoint::Grid, Endpoint::Hub] {
        for number in 0..3 {
            for index in 0..2 {
                let millis = i64::from(number) * 100 + 50;
                deliveries.push(delivery(endpoint, number, index, millis));
            }
        }
    }
    History {
        posts: vec![
            post(0, Answer::Acknowledged(at(10))),
            post(1, Answer::None),
            post(2, Answer::Acknowledged(at(210))),
        ],
        deliveries,
        disturbances: vec![Disturbance {
            from: at(110),
            to: at(120),
            endpoints: Endpoints::ALL,
            refusals: 0,
            parks: false,
        }],
        snapshots: vec![snapshot(60, 2), snapshot(900, 6)],
        failures: Vec::new(),
    }
}

fn found(forge: impl FnOnce(&mut History)) -> Vec<String> {
    let mut history = good();
    forge(&mut history);
    let (violations, _) = check(&history);
    violations.iter().map(Violation::to_string).collect()
}

fn drop_delivery(history: &mut History, endpoint: Endpoint, id: EventId) -> Delivery {
    let mut all = history.deliveries.iter();
    let place = all.position(|delivery| {
        delivery.endpoint == endpoint && EventId::parse(&delivery.id) == Some(id)
    });
    history.deliveries.remove(place.unwrap())
}

fn refuse(history: &mut History, from: i64, to: i64) {
    history.disturbances.push(Disturbance {
        from: at(from),
        to: at(to),
        endpoints: [Endpoint::Hub].into_iter().collect(),
        refusals: 1,
        parks: false,
    });
}

/// The hub's last ledger with one delivery given up.
fn one_given_up(history: &mut History) {
    let ledger = &mut history.snapshots.last_mut().unwrap().ledgers[1];
    ledger.delivered -= 1;
    ledger.discarded += 1;
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_good_run_has_no_violations() {
    let (violations, tally) = check(&good());
    assert_eq!(violations, []);
    let expect = Tally {
        posted: 6,
        acknowledged: 4,
        unanswered_accepted: 2,
        delivered: 12,
        ..Tally::default()
    };
    assert_eq!(tally, expect);
    let mut not_accepted = good();
    not_accepted
        .deliveries
        .retain(|delivery| !delivery.id.starts_with("0-1-"));
    not_accepted.snapshots[1] = snapshot(900, 4);
    let (violations, tally) = check(&not_accepted);
    assert_eq!(violations, []);
    assert_eq!((tally.unanswered_lost, tally.unanswered_accepted), (2, 0));
}

#[test]
fn a_lost_event_is_named() {
    let lost = |history: &mut History| {
        drop_delivery(history, Endpoint::Hub, place(2, 1));
    };
    assert_eq!(found(lost), ["lost: event 0-2-1 for hub-1"]);
}

#[test]
fn a_torn_batch_is_named() {
    let torn = |history: &mut History| {
        drop_delivery(history, Endpoint::Hub, place(1, 1));
    };
    let expect = "torn: event 0-1-1 for hub-1 is missing, while others of its batch were accepted";
    assert_eq!(found(torn), [expect]);
}

#[test]
fn invented_events_are_named() {
    for (endpoint, id) in [
        (Endpoint::Grid, "0-3-0"),
        (Endpoint::Grid, "0-0-00"),
        (Endpoint::Grid, "hello"),
        (Endpoint::Topic, "0-0-0"),
    ] {
        let expect = format!("invented: event {id:?} at {}", endpoint.name());
        let mut forged = delivery(endpoint, 0, 0, 500);
        forged.id = id.to_owned();
        assert_eq!(found(|history| history.deliveries.push(forged)), [expect]);
    }
    let refused = found(|history| history.posts[1].answer = Answer::Refused(503));
    assert_eq!(refused[0], "invented: event \"0-1-0\" at grid-1");
}

#[test]
fn an_altered_event_is_named() {
    let altered = found(|history| history.deliveries[3].content += 1);
    assert_eq!(altered, ["altered: event 0-1-1 at grid-1"]);
}

#[test]
fn wrong_order_is_named_but_for_other_twins_and_what_failed_alone() {
    let swapped = |history: &mut History| {
        let early = drop_delivery(history, Endpoint::Hub, place(0, 1));
        history.deliveries.push(early);
        history.deliveries.last_mut().unwrap().at = at(300);
    };
    let expect = "out of order: event 0-0-1 came to hub-1 after event 0-2-1 of the same twin";
    assert_eq!(found(swapped), [expect]);
    let other_twin = |history: &mut History| {
        swapped(history);
        history.posts[0].events[1].twin = 8;
    };
    assert_eq!(found(other_twin), NOTHING);
    let refused = |history: &mut History| {
        swapped(history);
        refuse(history, 20, 90);
    };
    assert_eq!(found(refused), NOTHING);
    let parked = |history: &mut History| {
        refused(history);
        let disturbance = history.disturbances.last_mut().unwrap();
        (disturbance.refusals, disturbance.parks) = (0, true);
    };
    assert_eq!(found(parked), NOTHING);
}

#[test]
fn a_repeat_needs_a_reason_between_its_post_and_its_second_arrival() {
    let repeat = |post, millis| {
        let history = |history: &mut History| {
            history
                .deliveries
                .push(delivery(Endpoint::Grid, post, 0, millis));
        };
        found(history)
    };
    assert_eq!(repeat(0, 300), NOTHING, "killed in between");
    let before = repeat(0, 90);
    assert_eq!(before.len(), 1, "killed later: {before:?}");
    let expect = "repeated: event 0-2-0 at grid-1, with nothing wrong in between";
    assert_eq!(repeat(2, 300), [expect], "killed before it was posted");
}

#[test]
fn a_wrong_sum_is_named_in_whatever_snapshot() {
    let unbalanced = found(|history| history.snapshots[0].ledgers[1].parked = 1);
    assert_eq!(unbalanced.len(), 1);
    assert!(
        unbalanced[0].starts_with("unbalanced: snapshot 0 of hub-1: Ledger"),
        "{unbalanced:?}"
    );
}

#[test]
fn a_wrong_count_is_named() {
    let expect = |matched| format!("miscounted: snapshot 0 of hub-1: matched is {matched}, not 2");
    for matched in [1, 3] {
        let miscounted = found(|history| history.snapshots[0].ledgers[1] = ledger(matched));
        assert_eq!(miscounted, [expect(matched) + " to 2"]);
    }
    // The unanswered post is evident, so its events must be counted.
    let missing = found(|history| history.snapshots[1] = snapshot(900, 5));
    let expect = |name| format!("miscounted: snapshot 1 of {name}: matched is 5, not 6 to 6");
    assert_eq!(missing, [expect("grid-1"), expect("hub-1")]);
}

#[test]
fn what_is_not_settled_in_the_end_is_named() {
    let pending = found(|history| {
        let ledger = &mut history.snapshots[1].ledgers[0];
        ledger.delivered -= 1;
        ledger.parked += 1;
    });
    assert_eq!(pending.len(), 1);
    assert!(pending[0].starts_with("pending: grid-1"), "{pending:?}");
    let blind = found(|history| history.snapshots.clear());
    assert_eq!(blind, ["failed: there is no last snapshot"]);
}

#[test]
fn what_is_given_up_needs_a_reason_and_a_count() {
    let unasked = found(one_given_up);
    assert_eq!(unasked, ["given up: hub-1 gave up 1, not 0 to 0"]);
    let refused = |history: &mut History| {
        drop_delivery(history, Endpoint::Hub, place(2, 1));
        refuse(history, 220, 230);
    };
    let uncounted = found(refused);
    let expect = "given up: hub-1 gave up 0, not 1 to 1; event 0-2-1 never arrived";
    assert_eq!(uncounted, [expect]);
    let counted = |history: &mut History| {
        refused(history);
        one_given_up(history);
    };
    assert_eq!(found(counted), NOTHING);
    let never = |history: &mut History| {
        drop_delivery(history, Endpoint::Hub, place(2, 1));
        history.posts[2].events[1].refused_by = [Endpoint::Hub].into_iter().collect();
        one_given_up(history);
    };
    assert_eq!(found(never), NOTHING);
    // Refused before it was posted: no reason at all.
    let too_early = found(|history| {
        drop_delivery(history, Endpoint::Hub, place(2, 1));
        refuse(history, 20, 30);
        one_given_up(history);
    });
    assert_eq!(too_early, ["lost: event 0-2-1 for hub-1"]);
}

#[test]
fn a_run_that_failed_is_a_violation() {
    let failed = found(|history| history.failures.push("it hung".to_owned()));
    assert_eq!(failed, ["failed: it hung"]);
}
