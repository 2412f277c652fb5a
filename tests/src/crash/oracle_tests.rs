//! Forged histories: a good one, and each kind of violation put into it.

use super::*;
use crate::crash::history::{DeadLetters, Endpoints, Ledger, Letter, Place, Replay, Snapshot};

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn event(content: u64) -> Event {
    Event {
        twin: 7,
        content,
        json: Some(content + 1_000),
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
            alone: false,
            kill: true,
        }],
        snapshots: vec![snapshot(60, 2), snapshot(900, 6)],
        ..History::default()
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

fn touch(history: &mut History, endpoint: Endpoint, (from, to): (i64, i64), refusals: u32) {
    history.disturbances.push(Disturbance {
        from: at(from),
        to: at(to),
        endpoints: [endpoint].into_iter().collect(),
        refusals,
        alone: refusals > 0,
        kill: false,
    });
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
        drop_delivery(history, Endpoint::Hub, place(1, 0));
    };
    let expect =
        "torn: event 0-1-0 for hub-1 is missing, while later ones of its batch were accepted";
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
fn wrong_order_is_named_but_for_other_twins_and_what_was_refused_and_sent_again() {
    let swapped = |history: &mut History| {
        let early = drop_delivery(history, Endpoint::Hub, place(0, 1));
        history.deliveries.push(early);
        history.deliveries.last_mut().unwrap().at = at(300);
    };
    let expect = "out of order: event 0-0-1 came to hub-1 after event 0-2-1 of the same twin";
    assert_eq!(found(swapped), [expect], "a kill is no excuse");
    let other_twin = |history: &mut History| {
        swapped(history);
        history.posts[0].events[1].twin = 8;
    };
    assert_eq!(found(other_twin), NOTHING);
    let refused = |history: &mut History| {
        swapped(history);
        touch(history, Endpoint::Hub, (20, 90), 1);
    };
    assert_eq!(
        found(refused),
        NOTHING,
        "refused, and its death lost by the kill"
    );
    let refused_in_one_life = |history: &mut History| {
        refused(history);
        history.disturbances[0].kill = false;
    };
    assert_eq!(found(refused_in_one_life), [expect]);
    let replayed = |endpoint, from| {
        found(|history| {
            refused_in_one_life(history);
            let from = at(from);
            history.replays.push(Replay { endpoint, from });
        })
    };
    assert_eq!(replayed(Endpoint::Hub, 100), NOTHING);
    assert_eq!(replayed(Endpoint::Hub, 301), [expect], "a replay after it");
    assert_eq!(replayed(Endpoint::Grid, 100), [expect], "of another one");
    let in_a_pipeline = |endpoint, from, to| {
        found(|history| {
            let early = drop_delivery(history, endpoint, place(0, 1));
            history.deliveries.push(early);
            history.deliveries.last_mut().unwrap().at = at(300);
            touch(history, endpoint, (from, to), 0);
            history.disturbances.last_mut().unwrap().alone = true;
        })
    };
    assert_eq!(in_a_pipeline(Endpoint::Hub, 20, 260), NOTHING);
    let earlier = in_a_pipeline(Endpoint::Hub, 20, 240);
    assert_eq!(earlier, [expect], "retrying in an earlier life");
    let grid = in_a_pipeline(Endpoint::Grid, 20, 260);
    assert_eq!(grid, [expect.replace("hub", "grid")], "one at a time");
}

#[test]
fn a_repeat_needs_a_reason_between_its_two_arrivals() {
    let repeat = |post, millis: i64| {
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
    let late = found(|history| {
        history.deliveries[0].at = at(2_000);
        history
            .deliveries
            .push(delivery(Endpoint::Grid, 0, 0, 2_100));
    });
    let expect = "repeated: event 0-0-0 at grid-1, with nothing wrong in between";
    assert_eq!(late, [expect], "killed before it first arrived");
}

#[test]
fn what_was_settled_stays_where_it_is_in_the_calm_end() {
    let late = |calm_from, replayed: Option<Endpoint>| {
        found(|history| {
            let again = delivery(Endpoint::Hub, 0, 0, 400);
            history.deliveries.push(again);
            history.calm_from = Some(at(calm_from));
            let from = at(390);
            let replay = replayed.map(|endpoint| Replay { endpoint, from });
            history.replays.extend(replay);
        })
    };
    let expect = "stray: event 0-0-0 at hub-1, settled before";
    assert_eq!(late(350, None), [expect]);
    assert_eq!(late(350, Some(Endpoint::Grid)), [expect]);
    assert_eq!(late(350, Some(Endpoint::Hub)), NOTHING);
    assert_eq!(late(401, None), NOTHING);
}

#[test]
fn a_wrong_sum_is_named_in_whatever_snapshot() {
    let unbalanced = found(|history| history.snapshots[0].ledgers[1].retrying = 1);
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
    let expect = |name, what| format!("miscounted: snapshot 1 of {name}: {what} is 5, not 6 to 6");
    let all =
        ["grid-1", "hub-1"].map(|name| ["matched", "delivered"].map(|what| expect(name, what)));
    assert_eq!(missing, all.concat());
    let discarded = found(|history| {
        let ledger = &mut history.snapshots[0].ledgers[1];
        (ledger.delivered, ledger.discarded) = (1, 1);
    });
    let expect = "miscounted: snapshot 0 of hub-1: discarded is 1, not 0 to 0";
    assert_eq!(discarded, [expect]);
    let replayed = found(|history| {
        let ledger = &mut history.snapshots[0].ledgers[0];
        (ledger.delivered, ledger.replayed) = (3, 1);
    });
    let expect = "miscounted: snapshot 0 of grid-1: replayed dead letters is 0, not 1 to 1";
    assert_eq!(replayed, [expect]);
}

#[test]
fn what_is_not_settled_in_the_end_is_named() {
    let pending = found(|history| {
        let ledger = &mut history.snapshots[1].ledgers[0];
        ledger.delivered -= 1;
        ledger.retrying += 1;
    });
    assert_eq!(pending.len(), 2, "also not all delivered: {pending:?}");
    assert!(pending[0].starts_with("pending: grid-1"), "{pending:?}");
    let blind = found(|history| history.snapshots.clear());
    assert_eq!(blind, ["failed: there is no last snapshot"]);
}

#[path = "letter_tests.rs"]
mod letters;

#[test]
fn a_run_that_failed_is_a_violation() {
    let failed = found(|history| history.failures.push("it hung".to_owned()));
    assert_eq!(failed, ["failed: it hung"]);
}
