//! Hubs and queues without a network.

use super::hub::{AppendContext, EventHub, ReadStart};
use super::queue::{MessageQueue, ReceiveMode, ReceiverSettlement};
use super::settings::{BrokerLimits, HubSettings, QueueSettings};
use super::stored::LockTokens;
use crate::amqp::encode;
use crate::amqp::message::{self, AmqpMessage};
use crate::amqp::value::AmqpValue;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use twinroute_model::clock::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

pub(super) fn message(id: &str, session: &str) -> AmqpMessage {
    let mut properties = vec![AmqpValue::Null; 13];
    properties[0] = AmqpValue::string(id);
    properties[10] = AmqpValue::string(session);
    let mut out = BytesMut::new();
    encode::described(0x73, &AmqpValue::List(properties), &mut out);
    encode::described(
        0x75,
        &AmqpValue::Binary(Bytes::copy_from_slice(id.as_bytes())),
        &mut out,
    );
    message::cut(&out.freeze()).unwrap()
}

pub(super) fn queue(change: impl FnOnce(&mut QueueSettings)) -> MessageQueue {
    let mut settings = QueueSettings::new("q");
    change(&mut settings);
    MessageQueue::new(
        "q".to_owned(),
        &settings,
        &BrokerLimits::default(),
        &Arc::new(LockTokens::default()),
    )
}

pub(super) fn ids(queue: &MessageQueue) -> Vec<String> {
    queue
        .messages()
        .into_iter()
        .filter_map(|message| message.message_id)
        .collect()
}

#[test]
fn a_lock_ends_and_the_last_delivery_goes_to_the_dead_letters() {
    let queue = queue(|settings| settings.deliveries_max = 2);
    queue.push(vec![message("a", "s")], 0, NOW);
    let first = queue.take(None, ReceiveMode::PeekLock, NOW).unwrap();
    assert!(queue.take(None, ReceiveMode::PeekLock, NOW).is_none());
    let later = NOW.after(Duration::from_secs(31));
    queue.sweep(later);
    let lost = queue
        .settle(first.token, ReceiverSettlement::Complete, later)
        .unwrap_err();
    assert_eq!(lost.condition, "com.microsoft:message-lock-lost");
    let second = queue.take(None, ReceiveMode::PeekLock, later).unwrap();
    assert_eq!(second.stored.delivery_count, 1);
    queue
        .settle(second.token, ReceiverSettlement::Abandon, later)
        .unwrap();
    assert!(queue.messages().is_empty());
    let dead = queue.dead_letters.as_ref().unwrap().messages();
    let reason = dead[0]
        .application_properties
        .get("DeadLetterReason")
        .unwrap();
    assert_eq!(reason, &"MaxDeliveryCountExceeded");
}

#[test]
fn settlements_do_what_they_say() {
    let queue = queue(|_| ());
    let all = ["a", "b", "c", "d"].map(|id| message(id, "s"));
    queue.push(all.to_vec(), 0, NOW);
    let token = || queue.take(None, ReceiveMode::PeekLock, NOW).unwrap().token;
    queue
        .settle(token(), ReceiverSettlement::Complete, NOW)
        .unwrap();
    let deferred = queue.take(None, ReceiveMode::PeekLock, NOW).unwrap();
    queue
        .settle(deferred.token, ReceiverSettlement::Defer, NOW)
        .unwrap();
    let reason = Some("why".to_owned());
    queue
        .settle(
            token(),
            ReceiverSettlement::DeadLetter {
                reason,
                description: None,
            },
            NOW,
        )
        .unwrap();
    queue
        .settle(token(), ReceiverSettlement::Release, NOW)
        .unwrap();
    assert_eq!(ids(&queue), ["b", "d"]);
    assert_eq!(ids(queue.dead_letters.as_ref().unwrap()), ["c"]);
    let again = queue
        .take(None, ReceiveMode::ReceiveAndDelete, NOW)
        .unwrap();
    assert_eq!(again.stored.delivery_count, 0);
    assert!(queue.take(None, ReceiveMode::PeekLock, NOW).is_none());
    let sequence = deferred.stored.sequence;
    assert_eq!(
        queue
            .take_deferred(&[sequence, 99], None, ReceiveMode::ReceiveAndDelete, NOW)
            .len(),
        1
    );
    assert!(ids(&queue).is_empty());
}

#[test]
fn duplicates_within_the_window_are_dropped() {
    let queue = queue(|settings| settings.duplicate_window = Some(Duration::from_secs(20)));
    queue.push(vec![message("a", "s"), message("a", "s")], 0, NOW);
    assert_eq!(ids(&queue), ["a"]);
    queue.push(
        vec![message("a", "s")],
        2,
        NOW.after(Duration::from_secs(21)),
    );
    assert_eq!(ids(&queue), ["a", "a"]);
}

#[test]
fn a_full_queue_refuses() {
    let limits = BrokerLimits {
        messages_per_queue_max: 2,
        ..BrokerLimits::default()
    };
    let settings = QueueSettings::new("q");
    let queue = MessageQueue::new(
        "q".to_owned(),
        &settings,
        &limits,
        &Arc::new(LockTokens::default()),
    );
    queue.push(vec![message("a", "s")], 0, NOW);
    assert!(queue.admit(&[message("b", "s")]).is_ok());
    let full = queue
        .admit(&[message("b", "s"), message("c", "s")])
        .unwrap_err();
    assert_eq!(full.condition, "amqp:resource-limit-exceeded");
}

#[test]
fn a_hub_keeps_keys_together_and_drops_the_oldest() {
    let hub = EventHub::new(&HubSettings::new("h"), NOW);
    let counter = AtomicU64::new(0);
    let limits = BrokerLimits {
        events_per_partition_max: 2,
        ..BrokerLimits::default()
    };
    let arrival = AppendContext {
        counter: &counter,
        now: NOW,
        limits: &limits,
    };
    for id in ["a", "b", "c"] {
        hub.append(vec![message(id, "s")], Some("key"), None, arrival);
    }
    let events = hub.events();
    let ids: Vec<_> = events
        .iter()
        .filter_map(|event| event.message_id.as_deref())
        .collect();
    assert_eq!(ids, ["b", "c"]);
    assert_eq!(events[0].partition, events[1].partition);
    assert_eq!(events[0].partition_key.as_deref(), Some("key"));
    assert_eq!(hub.arrivals.counts().stored, 3);
    let partition = hub.partition(events[0].partition.unwrap()).unwrap();
    assert_eq!(partition.first_sequence(ReadStart::Earliest), 1);
    assert_eq!(partition.first_sequence(ReadStart::Latest), 3);
    assert_eq!(partition.read(0).unwrap().sequence, 1);
    let offset = partition.read(1).unwrap().offset;
    for (inclusive, expected) in [(true, 1), (false, 2)] {
        assert_eq!(
            partition.first_sequence(ReadStart::Offset {
                at: offset,
                inclusive
            }),
            expected
        );
        let sequence = ReadStart::Sequence { at: 1, inclusive };
        assert_eq!(partition.first_sequence(sequence), expected);
    }
    assert_eq!(
        partition.first_sequence(ReadStart::Time {
            at: NOW,
            inclusive: false
        }),
        3
    );
}

#[test]
fn a_higher_epoch_disconnects_the_others() {
    let hub = EventHub::new(&HubSettings::new("h"), NOW);
    let partition = hub.partition(0).unwrap();
    let wake = Arc::new(Notify::new());
    let plain = partition.claim("g", None, &wake).unwrap();
    let other_group = partition.claim("other", None, &wake).unwrap();
    let first = partition.claim("g", Some(1), &wake).unwrap();
    assert!(plain.load(Ordering::Relaxed));
    assert!(!other_group.load(Ordering::Relaxed));
    assert!(partition.claim("g", None, &wake).is_err());
    assert!(partition.claim("g", Some(0), &wake).is_err());
    let second = partition.claim("g", Some(1), &wake).unwrap();
    assert!(first.load(Ordering::Relaxed) && !second.load(Ordering::Relaxed));
    drop((first, second));
    assert!(partition.claim("g", None, &wake).is_ok());
}

#[test]
fn a_sixth_receiver_of_a_partition_in_one_group_is_refused() {
    let hub = EventHub::new(&HubSettings::new("h"), NOW);
    let partition = hub.partition(0).unwrap();
    let wake = Arc::new(Notify::new());
    let mut five: Vec<_> = (0..5)
        .map(|_| partition.claim("g", None, &wake).unwrap())
        .collect();
    let sixth = partition.claim("G", None, &wake).unwrap_err();
    assert_eq!(sixth.condition, "amqp:resource-limit-exceeded");
    assert!(partition.claim("other", None, &wake).is_ok());
    assert!(hub.partition(1).unwrap().claim("g", None, &wake).is_ok());
    five.pop();
    assert!(partition.claim("g", None, &wake).is_ok());
}
