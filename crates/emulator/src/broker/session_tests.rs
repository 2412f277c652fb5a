//! Sessions of a queue without a network.

use super::queue::{MessageQueue, ReceiveMode, ReceiverSettlement};
use super::session::SessionHold;
use super::settings::{BrokerLimits, QueueSettings, TopicSettings};
use super::tests::{NOW, ids, message, queue};
use super::topic::MessageTopic;
use crate::amqp::value::AmqpValue;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use twinroute_model::clock::Timestamp;

fn with_sessions() -> MessageQueue {
    queue(|settings| settings.requires_session = true)
}

fn hold(queue: &MessageQueue, name: Option<&str>, now: Timestamp) -> SessionHold {
    queue.lock_session(name, now).unwrap().unwrap().0
}

fn arrival(queue: &MessageQueue, hold: &SessionHold, now: Timestamp) -> Option<u64> {
    let taken = queue.take(Some(hold), ReceiveMode::PeekLock, now);
    taken.map(|taken| taken.stored.arrival)
}

fn condition<T: std::fmt::Debug>(result: Result<T, crate::amqp::state::AmqpError>) -> String {
    result.unwrap_err().condition
}

#[test]
fn a_session_is_held_by_one_receiver_and_given_back() {
    let queue = with_sessions();
    let all = [("a", "one"), ("b", "two"), ("c", "one")];
    let all = all.map(|(id, session)| message(id, session));
    queue.push(all.to_vec(), 0, NOW);
    let first = hold(&queue, None, NOW);
    assert_eq!(first.name, "one");
    let held = condition(queue.lock_session(Some("one"), NOW));
    assert_eq!(held, "com.microsoft:session-cannot-be-locked");
    assert_eq!(arrival(&queue, &first, NOW), Some(0));
    assert_eq!(arrival(&queue, &first, NOW), Some(2));
    assert_eq!(arrival(&queue, &first, NOW), None);
    queue.free_session(&first);
    let again = hold(&queue, Some("one"), NOW);
    let taken = queue
        .take(Some(&again), ReceiveMode::PeekLock, NOW)
        .unwrap();
    assert_eq!(taken.stored.arrival, 0);
    assert_eq!(
        taken.stored.delivery_count, 0,
        "closing a session counts nothing"
    );
}

#[test]
fn no_session_is_next_when_all_are_held_or_empty() {
    let queue = with_sessions();
    assert_eq!(queue.lock_session(None, NOW), Ok(None));
    let empty = hold(&queue, Some("empty"), NOW);
    assert_eq!(queue.lock_session(None, NOW), Ok(None));
    queue.push(vec![message("a", "empty")], 0, NOW);
    assert_eq!(queue.lock_session(None, NOW), Ok(None), "it is held");
    queue.free_session(&empty);
    assert!(queue.lock_session(None, NOW).unwrap().is_some());
}

#[test]
fn a_message_without_a_session_is_refused_where_sessions_are() {
    let queue = with_sessions();
    let bare = crate::amqp::message::AmqpMessage::default();
    assert_eq!(condition(queue.admit(&[bare])), "amqp:not-allowed");
    assert!(queue.admit(&[message("a", "s")]).is_ok());
}

#[test]
fn a_subscription_with_sessions_dead_letters_what_has_none() {
    let mut settings = TopicSettings::new("t", &["plain", "sessions"]);
    settings.subscriptions[1].requires_session = true;
    let topic = MessageTopic::new(&settings, &BrokerLimits::default(), &Arc::default());
    let counter = AtomicU64::new(0);
    let limits = BrokerLimits::default();
    let arrival = super::hub::AppendContext {
        counter: &counter,
        now: NOW,
        limits: &limits,
    };
    let mut bare = message("a", "s");
    bare.group_id = None;
    topic.push(&[bare, message("b", "s")], arrival).unwrap();
    let [plain, sessions] = &topic.subscriptions[..] else {
        panic!()
    };
    assert_eq!(ids(plain), ["a", "b"]);
    assert_eq!(ids(sessions), ["b"]);
    let dead = sessions.dead_letters.as_ref().unwrap().messages();
    assert_eq!(dead[0].message_id.as_deref(), Some("a"));
    let reason = &dead[0].application_properties["DeadLetterReason"];
    assert_eq!(reason, &"Session ID is null.");
}

#[test]
fn the_end_of_a_lock_counts_the_delivery_and_takes_the_session_away() {
    let queue = queue(|settings: &mut QueueSettings| {
        settings.requires_session = true;
        settings.deliveries_max = 2;
    });
    queue.push(vec![message("a", "s"), message("b", "s")], 0, NOW);
    let first = hold(&queue, None, NOW);
    let taken = queue
        .take(Some(&first), ReceiveMode::PeekLock, NOW)
        .unwrap();
    let later = NOW.after(Duration::from_secs(31));
    assert_eq!(arrival(&queue, &first, later), None, "the lock has ended");
    let lost = queue.settle(taken.token, ReceiverSettlement::Complete, later);
    assert_eq!(condition(lost), "com.microsoft:session-lock-lost");
    assert!(!queue.holds_session(&first));
    let second = hold(&queue, None, later);
    // The first receiver's link is closed only now; the session is another's.
    queue.free_session(&first);
    assert!(queue.holds_session(&second));
    let taken = queue
        .take(Some(&second), ReceiveMode::PeekLock, later)
        .unwrap();
    assert_eq!(taken.stored.delivery_count, 1);
    queue.sweep(later.after(Duration::from_secs(31)));
    let dead = queue.dead_letters.as_ref().unwrap();
    assert_eq!(
        (ids(&queue), ids(dead)),
        (vec!["b".to_owned()], vec!["a".to_owned()])
    );
}

#[test]
fn a_lock_is_renewed_and_its_messages_with_it() {
    let queue = with_sessions();
    queue.push(vec![message("a", "s")], 0, NOW);
    let held = hold(&queue, None, NOW);
    let taken = queue.take(Some(&held), ReceiveMode::PeekLock, NOW).unwrap();
    let single = queue.renew(taken.token, NOW);
    assert_eq!(condition(single), "amqp:not-allowed");
    let later = NOW.after(Duration::from_secs(20));
    let until = queue.renew_session("s", later).unwrap();
    assert_eq!(until, later.after(Duration::from_secs(30)));
    let later = NOW.after(Duration::from_secs(45));
    queue.sweep(later);
    queue
        .settle(taken.token, ReceiverSettlement::Complete, later)
        .unwrap();
    let after_it = queue.renew_session("s", NOW.after(Duration::from_secs(51)));
    assert_eq!(condition(after_it), "com.microsoft:session-lock-lost");
}

#[test]
fn a_state_is_kept_with_a_session_that_is_locked() {
    let queue = with_sessions();
    let value = AmqpValue::Binary(Bytes::from_static(b"half"));
    let unlocked = queue.set_session_state("s", value.clone(), NOW);
    assert_eq!(condition(unlocked), "com.microsoft:session-lock-lost");
    assert_eq!(
        condition(queue.session_state("s", NOW)),
        "com.microsoft:session-lock-lost"
    );
    let held = hold(&queue, Some("s"), NOW);
    assert_eq!(queue.session_state("s", NOW), Ok(None));
    queue.set_session_state("s", value.clone(), NOW).unwrap();
    queue.free_session(&held);
    hold(&queue, Some("s"), NOW);
    assert_eq!(queue.session_state("s", NOW), Ok(Some(value)));
    let later = NOW.after(Duration::from_secs(1));
    assert_eq!(queue.session_names(Some(NOW), 0, 10), Ok(Vec::new()));
    queue
        .set_session_state("s", AmqpValue::string("all"), later)
        .unwrap();
    assert_eq!(
        queue.session_names(Some(NOW), 0, 10),
        Ok(vec!["s".to_owned()])
    );
    queue
        .set_session_state("s", AmqpValue::Null, later)
        .unwrap();
    assert_eq!(queue.session_state("s", NOW), Ok(None));
}

#[test]
fn states_count_towards_what_a_queue_may_hold() {
    let limits = BrokerLimits {
        bytes_per_queue_max: 100,
        ..BrokerLimits::default()
    };
    let mut settings = QueueSettings::new("q");
    settings.requires_session = true;
    let queue = MessageQueue::new("q".to_owned(), &settings, &limits, &Arc::default());
    let state = |length: usize| AmqpValue::Binary(Bytes::from(vec![0; length]));
    hold(&queue, Some("s"), NOW);
    hold(&queue, Some("t"), NOW);
    queue.set_session_state("s", state(90), NOW).unwrap();
    let over = queue.set_session_state("t", state(11), NOW);
    assert_eq!(condition(over), "amqp:resource-limit-exceeded");
    queue.set_session_state("s", state(80), NOW).unwrap();
    queue.set_session_state("t", state(11), NOW).unwrap();
}

#[test]
fn an_entity_without_sessions_answers_nothing_about_them() {
    let queue = queue(|_| ());
    assert_eq!(condition(queue.renew_session("s", NOW)), "amqp:not-allowed");
    assert_eq!(condition(queue.session_state("s", NOW)), "amqp:not-allowed");
    let set = queue.set_session_state("s", AmqpValue::Null, NOW);
    assert_eq!(condition(set), "amqp:not-allowed");
    assert_eq!(
        condition(queue.session_names(None, 0, 1)),
        "amqp:not-allowed"
    );
}

#[test]
fn sessions_are_named_peeked_and_deferred_apart() {
    let queue = with_sessions();
    let all = [("a", "one"), ("b", "two"), ("c", "one")];
    let all = all.map(|(id, session)| message(id, session));
    queue.push(all.to_vec(), 0, NOW);
    assert_eq!(queue.session_names(None, 0, 10).unwrap(), ["one", "two"]);
    assert_eq!(queue.session_names(None, 1, 1).unwrap(), ["two"]);
    let peeked = queue.peek(0, 10, Some("one"));
    let numbers: Vec<u64> = peeked.iter().map(|stored| stored.arrival).collect();
    assert_eq!(numbers, [0, 2]);
    let held = hold(&queue, Some("one"), NOW);
    let taken = queue.take(Some(&held), ReceiveMode::PeekLock, NOW).unwrap();
    queue
        .settle(taken.token, ReceiverSettlement::Defer, NOW)
        .unwrap();
    let sequence = [taken.stored.sequence];
    let deferred = |session| {
        queue
            .take_deferred(&sequence, session, ReceiveMode::ReceiveAndDelete, NOW)
            .len()
    };
    assert_eq!(
        (deferred(Some("two")), deferred(None), deferred(Some("one"))),
        (0, 0, 1)
    );
}
