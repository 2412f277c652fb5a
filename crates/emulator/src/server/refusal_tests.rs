//! What is refused on the wire, without a socket.

use super::peer::AmqpPeer;
use super::tests::{NOW, attach, attach_with, body, broker_of, open, put, store, written};
use crate::amqp::message;
use crate::amqp::performative::{self, AmqpPerformative, AttachFrame, TransferFrame};
use crate::broker::settings::{
    BrokerLimits, BrokerSettings, HubSettings, QueueSettings, TopicSettings,
};
use bytes::Bytes;
use std::sync::Arc;
use twinroute_model::clock::ManualClock;

/// The conditions of the dispositions that were written, in order; `None` for accepted ones.
fn outcomes(written: &[(AmqpPerformative, Bytes)]) -> Vec<Option<String>> {
    let dispositions = written.iter().filter_map(|(one, _)| match one {
        AmqpPerformative::Disposition(disposition) => Some(disposition),
        _ => None,
    });
    let condition = |disposition: &performative::DispositionFrame| {
        let error = disposition.state.items().first()?.items().first()?;
        Some(error.as_str()?.to_owned())
    };
    dispositions.map(condition).collect()
}

#[tokio::test]
async fn a_message_over_the_limit_is_rejected_and_its_link_and_connection_stay() {
    let settings = BrokerSettings {
        require_tokens: false,
        hubs: vec![HubSettings::new("hub")],
        queues: vec![QueueSettings::new("queue")],
        limits: BrokerLimits {
            message_bytes_max: 100,
            ..BrokerLimits::default()
        },
        ..BrokerSettings::default()
    };
    let store = broker_of(settings, Arc::new(ManualClock::new(NOW)));
    let part = |id, more, format| {
        AmqpPerformative::Transfer(TransferFrame {
            handle: 0,
            delivery_id: Some(id),
            message_format: Some(format),
            more,
            ..TransferFrame::default()
        })
    };
    for address in ["hub", "queue"] {
        let mut input = open(None);
        put(attach(false, 0, address), &[], &mut input);
        // In one frame, in several, as a batch; then one that fits.
        put(part(0, false, 0), &[b'x'; 101], &mut input);
        for _ in 0..3 {
            put(part(1, true, 0), &[b'x'; 60], &mut input);
        }
        put(part(1, false, 0), &body("the end"), &mut input);
        put(
            part(2, false, message::BATCH_FORMAT),
            &[b'x'; 101],
            &mut input,
        );
        put(part(3, false, 0), &body("fits"), &mut input);
        let mut peer = AmqpPeer::new(Arc::clone(&store));
        peer.feed(&mut input).unwrap();
        let written = written(&mut peer);
        let too_large = Some("amqp:link:message-size-exceeded".to_owned());
        let expect = [too_large.clone(), too_large.clone(), too_large, None];
        assert_eq!(outcomes(&written), expect, "{address}");
        let ended = |one: &AmqpPerformative| {
            matches!(
                one,
                AmqpPerformative::Detach(_) | AmqpPerformative::End(_) | AmqpPerformative::Close(_)
            )
        };
        assert!(!written.iter().any(|(one, _)| ended(one)), "{written:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_subscription_or_received_from_a_topic_or_hub() {
    let settings = BrokerSettings {
        require_tokens: false,
        hubs: vec![HubSettings::new("hub")],
        queues: vec![QueueSettings::new("queue")],
        topics: vec![TopicSettings::new("topic", &["one"])],
        ..BrokerSettings::default()
    };
    let store = broker_of(settings, Arc::new(ManualClock::new(NOW)));
    for (receiver, address, expect) in [
        (false, "topic/Subscriptions/one", Some("amqp:not-allowed")),
        (false, "queue/$DeadLetterQueue", Some("amqp:not-allowed")),
        (true, "topic", Some("amqp:not-allowed")),
        (true, "hub", Some("amqp:not-allowed")),
        (
            false,
            "hub/ConsumerGroups/$Default/Partitions/0",
            Some("amqp:not-found"),
        ),
        (
            true,
            "hub/ConsumerGroups/other/Partitions/0",
            Some("amqp:not-found"),
        ),
        (true, "topic/Subscriptions/two", Some("amqp:not-found")),
        (
            true,
            "hub/ConsumerGroups/$Default/Partitions/4",
            Some("com.microsoft:argument-out-of-range"),
        ),
        (
            false,
            "hub/Partitions/9",
            Some("com.microsoft:argument-out-of-range"),
        ),
        (false, "hub/Partitions/3", None),
        (true, "hub/ConsumerGroups/$default/Partitions/3", None),
        (true, "queue/$DeadLetterQueue", None),
    ] {
        let mut peer = AmqpPeer::new(Arc::clone(&store));
        let mut input = open(None);
        put(attach(receiver, 0, address), &[], &mut input);
        peer.feed(&mut input).unwrap();
        let condition = written(&mut peer)
            .into_iter()
            .find_map(|(one, _)| match one {
                AmqpPerformative::Detach(detach) => Some(detach.error?.condition),
                _ => None,
            });
        assert_eq!(condition.as_deref(), expect, "{address}");
    }
}

#[tokio::test]
async fn an_answer_names_the_settle_mode_that_is_in_force() {
    let store = store();
    for (receiver, asked, expect) in [
        (true, None, 0),
        (true, Some(0), 0),
        (true, Some(1), 1),
        (true, Some(2), 0),
        (false, None, 2),
        (false, Some(0), 0),
        (false, Some(2), 2),
    ] {
        let mut peer = AmqpPeer::new(Arc::clone(&store));
        let mut input = open(None);
        let with_mode = |attach: &mut AttachFrame| attach.snd_settle_mode = asked;
        put(
            attach_with(receiver, 0, "queue", with_mode),
            &[],
            &mut input,
        );
        peer.feed(&mut input).unwrap();
        let mode = written(&mut peer)
            .into_iter()
            .find_map(|(one, _)| match one {
                AmqpPerformative::Attach(answer) => answer.snd_settle_mode,
                _ => None,
            });
        assert_eq!(mode, Some(expect), "receiver {receiver}, asked {asked:?}");
    }
}
