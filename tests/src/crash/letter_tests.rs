//! Forged dead letters.

use super::*;

/// What a second name ends in.
const SEAL: &str = "0123abc";

/// Of event 0-2-1, which the hub refused, stored at 400 ms.
fn letter(name: &str) -> Letter {
    Letter {
        endpoint: Endpoint::Hub,
        place: Place::Container {
            name: name.to_owned(),
            seal: SEAL.to_owned(),
        },
        id: "0-2-1".to_owned(),
        content: 21,
        json: 1_021,
        at: at(400),
    }
}

const FIRST: &str = "hub-1/1970/01/01/00/0-2-1.json";

fn second() -> String {
    FIRST.replace(".json", &format!("-{SEAL}.json"))
}

/// The hub refused event 0-2-1, whose letter stands in its container.
fn refused(history: &mut History) {
    drop_delivery(history, Endpoint::Hub, place(2, 1));
    touch(history, Endpoint::Hub, (220, 230), 1);
    history.letters.push(letter(FIRST));
    let dead = DeadLetters {
        uploaded: 1,
        ..DeadLetters::default()
    };
    tell(history, Endpoint::Hub, dead);
}

/// The last ledger of an endpoint.
fn tell(history: &mut History, endpoint: Endpoint, dead_letters: DeadLetters) {
    history.snapshots.last_mut().unwrap().ledgers[endpoint as usize] = Ledger {
        matched: 6,
        delivered: 6 - dead_letters.uploaded - dead_letters.local,
        dead_letters,
        ..Ledger::default()
    };
}

fn forged(forge: impl FnOnce(&mut History)) -> Vec<String> {
    found(|history| {
        refused(history);
        forge(history);
    })
}

#[test]
fn what_was_refused_is_a_dead_letter_or_lost() {
    assert_eq!(forged(|_| {}), NOTHING);
    let gone = forged(|history| history.letters.clear());
    let miscounted = [
        "miscounted: snapshot 1 of hub-1: uploaded is 1, not 0 to 0",
        "miscounted: snapshot 1 of hub-1: uploaded is 1, not 0 to 0",
        "miscounted: snapshot 1 of hub-1: delivered is 5, not 6 to 6",
    ];
    let mut expect = vec!["lost: event 0-2-1 for hub-1"];
    expect.extend(miscounted);
    assert_eq!(gone, expect);
    let too_large = forged(|history| {
        history.disturbances.pop();
        history.posts[2].events[1].refused_by = [Endpoint::Hub].into_iter().collect();
    });
    assert_eq!(too_large, NOTHING);
    // An unanswered post whose only trace is a dead letter was accepted.
    let evident = forged(|history| history.posts[2].answer = Answer::None);
    assert_eq!(evident, NOTHING);
}

#[test]
fn a_dead_letter_is_of_what_was_accepted_and_as_it_was_posted() {
    let wrong = |id: &str| {
        let mut stranger = letter(&FIRST.replace("0-2-1", id));
        stranger.id = id.to_owned();
        let expect = format!(
            "dead letter of hub-1, {}: of an event that was never accepted for this endpoint",
            stranger.place
        );
        assert_eq!(forged(|history| history.letters.push(stranger)), [expect]);
    };
    wrong("0-3-0");
    wrong("hello");
    let expect = format!("dead letter of hub-1, {FIRST}: not what was posted");
    assert_eq!(
        forged(|history| history.letters[0].content = 22),
        [&*expect]
    );
    assert_eq!(forged(|history| history.letters[0].json = 22), [&*expect]);
    let binary = forged(|history| {
        history.letters[0].json = 22;
        history.posts[2].events[1].json = None;
    });
    assert_eq!(binary, NOTHING, "written again, with the same content");
    let refused = forged(|history| history.posts[2].answer = Answer::Refused(503));
    assert!(
        refused
            .iter()
            .any(|one| one.starts_with("dead letter of hub-1"))
    );
}

#[test]
fn a_dead_letter_stands_where_it_belongs() {
    for name in [
        "hub-1/1970/01/01/01/0-2-1.json",
        "hub-1/1970/01/01/0/0-2-1.json",
        "hub-1/1970/01/01/00/0-2-0.json",
        "topic-1/1970/01/01/00/0-2-1.json",
        "hub-1/1970/01/01/00/0-2-1-4567def.json",
        "0-2-1.json",
        // The first name is free.
        &second(),
    ] {
        let misplaced = forged(|history| history.letters = vec![letter(name)]);
        let expect = format!("dead letter of hub-1, {name}: not where it belongs");
        assert_eq!(misplaced.first(), Some(&expect));
    }
    let hours = |stored, name: &str| {
        forged(|history| {
            history.letters = vec![letter(name)];
            history.letters[0].at = at(stored);
            history.snapshots[1].asked_at = at(stored);
            history.snapshots[1].answered_at = at(stored);
        })
    };
    let next = "hub-1/1970/01/01/01/0-2-1.json";
    assert_eq!(
        hours(3_600_000, next),
        NOTHING,
        "the hour may change on the way"
    );
    assert_eq!(hours(3_599_999, next).len(), 1);
    let kept = forged(|history| history.letters[0].place = Place::Kept(3));
    let expect = "dead letter of hub-1, kept as 3: not where it belongs";
    assert_eq!(kept.first().map(String::as_str), Some(expect));
}

#[test]
fn a_dead_letter_needs_a_reason_and_a_refusal_of_its_own() {
    let unfounded = forged(|history| {
        let refusal = history.disturbances.last_mut().unwrap();
        (refusal.from, refusal.to) = (at(20), at(30));
    });
    let expect = format!("dead letter of hub-1, {FIRST}: of an event that nothing refused");
    assert_eq!(unfounded, [expect]);
    let two = forged(|history| {
        drop_delivery(history, Endpoint::Hub, place(2, 0));
        let mut other = letter(&FIRST.replace("0-2-1", "0-2-0"));
        (other.id, other.content, other.json) = ("0-2-0".to_owned(), 20, 1_020);
        history.letters.push(other);
        let dead = DeadLetters {
            uploaded: 2,
            ..DeadLetters::default()
        };
        tell(history, Endpoint::Hub, dead);
    });
    let expect = "excess dead letters: hub-1 has 2 dead letters of events that it could have taken, and \
                  refused 1 times";
    assert_eq!(two, [expect]);
}

#[test]
fn an_event_arrives_or_is_a_dead_letter_and_both_only_for_a_reason() {
    let both = |history: &mut History| {
        let arrived = delivery(Endpoint::Hub, 2, 1, 250);
        history.deliveries.push(arrived);
    };
    assert_eq!(forged(both), NOTHING, "a fault in between");
    let never = forged(|history| {
        both(history);
        history.posts[2].events[1].refused_by = [Endpoint::Hub].into_iter().collect();
    });
    let expect = format!(
        "dead letter of hub-1, {FIRST}: of an event that arrived, with nothing wrong in between"
    );
    assert_eq!(never, [&*expect], "it could never arrive");
    let undisturbed = forged(|history| {
        both(history);
        history.disturbances.pop();
    });
    assert!(!undisturbed.is_empty());
}

#[test]
fn a_second_name_needs_a_reason_and_there_is_no_third() {
    let again = |stored, name: &str| {
        let mut twice = letter(name);
        twice.at = at(stored);
        let prefix = format!("dead letter of hub-1, {name}: ");
        let found = forged(|history| {
            history.letters.push(twice);
            touch(history, Endpoint::Hub, (2_000, 2_010), 0);
        });
        (prefix, found)
    };
    let (_, found) = again(2_005, &second());
    assert_eq!(found, NOTHING, "a fault in between");
    let (prefix, found) = again(1_900, &second());
    assert_eq!(found, NOTHING, "it may have been stored late: {prefix}");
    let undisturbed = forged(|history| {
        history.disturbances.clear();
        history.posts[2].events[1].refused_by = [Endpoint::Hub].into_iter().collect();
        history.letters.push(letter(&second()));
    });
    let expect = format!("{prefix}the second one of its event, without a reason");
    assert_eq!(undisturbed, [expect]);
    let (prefix, found) = again(2_005, FIRST);
    assert_eq!(
        found,
        [format!(
            "{prefix}the second one of its event, without a reason"
        )]
    );
}

#[test]
fn what_is_kept_is_listed_once_and_counted() {
    let kept = |letters: usize, local: u64| {
        found(|history| {
            drop_delivery(history, Endpoint::Grid, place(2, 1));
            touch(history, Endpoint::Grid, (220, 230), 2);
            for sequence in 0..letters {
                history.letters.push(Letter {
                    endpoint: Endpoint::Grid,
                    place: Place::Kept(sequence as u64),
                    ..letter("")
                });
            }
            let dead = DeadLetters {
                local,
                ..DeadLetters::default()
            };
            tell(history, Endpoint::Grid, dead);
        })
    };
    assert_eq!(kept(1, 1), NOTHING);
    let expect = "dead letter of grid-1, kept as 1: the second one of its event, without a reason";
    assert_eq!(kept(2, 1), [expect]);
    let uncounted = [
        "miscounted: snapshot 1 of grid-1: local is 0, not 1 to 1",
        "miscounted: snapshot 1 of grid-1: delivered is 6, not 5 to 5",
    ];
    assert_eq!(kept(1, 0), uncounted);
    assert_eq!(kept(0, 1)[0], "lost: event 0-2-1 for grid-1");
}

#[test]
fn uploads_are_not_reported_before_they_are_there_nor_left_for_later() {
    let early = forged(|history| history.letters[0].at = at(901));
    assert_eq!(
        early,
        ["miscounted: snapshot 1 of hub-1: uploaded is 1, not 0 to 0"]
    );
    let waiting = forged(|history| {
        let dead = &mut history.snapshots[1].ledgers[1].dead_letters;
        (dead.uploaded, dead.awaiting_upload) = (0, 1);
    });
    assert!(waiting[0].starts_with("pending: hub-1"), "{waiting:?}");
}
