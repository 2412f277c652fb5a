//! What is sent, and what each answer of a broker becomes.

use super::batch::MessageRouting;
use super::entity::AmqpEntity;
use super::testing::broker::{TestBroker, TransferAction};
use super::testing::{
    PRIMARY_KEY, SECONDARY_KEY, TestWire, deliveries, delivery, manner, short, sink, target,
};
use super::{AmqpSink, SendSettings};
use std::sync::Arc;
use twinroute_model::endpoint::ConnectionCredential;
use twinroute_model::sas::ServiceBusToken;
use twinroute_model::settings::{AmqpAuth, PartitionKey, SessionKey};
use twinroute_router::sink::{DeliveryOutcome, FaultKind, Sink};

#[tokio::test(start_paused = true)]
async fn a_batch_arrives_in_one_transfer_in_order() {
    let broker = Arc::new(TestBroker::default());
    let sink = sink(&TestWire::to(&broker), manner());
    let outcomes = sink.send(&deliveries(0..50)).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == DeliveryOutcome::Delivered)
    );
    let transfers = broker.transfers();
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0].format, 0x8001_3700);
    let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
    assert_eq!(broker.ids(), ids);
    sink.send(&deliveries(50..60)).await;
    assert_eq!((broker.ids().len(), broker.connections()), (60, 1));
}

#[tokio::test(start_paused = true)]
async fn sessions_carry_group_id_partition_key_and_message_id() {
    let broker = Arc::new(TestBroker::default());
    let routing = MessageRouting::ServiceBus(SessionKey::Twin);
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            routing,
            ..manner()
        },
    );
    sink.send(&deliveries(0..2)).await;
    for transfer in broker.transfers() {
        assert_eq!(transfer.events.len(), 1);
        assert!(transfer.group_id.as_deref().unwrap().starts_with("h/twin"));
        assert_eq!(transfer.group_id, transfer.partition_key);
        assert_eq!(transfer.message_id.as_ref().unwrap().len(), 43);
        let event = &transfer.events[0];
        assert_eq!(event.message_id, transfer.message_id);
        assert_eq!(event.group_id, transfer.group_id);
        assert_eq!(event.partition_key, transfer.partition_key);
    }
}

#[tokio::test(start_paused = true)]
async fn buckets_do_not_mix_in_a_transfer() {
    let broker = Arc::new(TestBroker::default());
    let routing = MessageRouting::EventHubs(PartitionKey::Bucket);
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            routing,
            ..manner()
        },
    );
    let outcomes = sink.send(&deliveries(0..500)).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == DeliveryOutcome::Delivered)
    );
    let transfers = broker.transfers();
    assert_eq!(transfers.len(), 32);
    for transfer in transfers {
        let key = transfer.partition_key.clone();
        assert!(
            transfer
                .events
                .iter()
                .all(|event| event.partition_key == key)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_batches_each_event_is_one_message() {
    let broker = Arc::new(TestBroker::default());
    let batched = false;
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            batched,
            ..manner()
        },
    );
    let outcomes = sink.send(&deliveries(0..300)).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == DeliveryOutcome::Delivered)
    );
    let transfers = broker.transfers();
    assert_eq!(transfers.len(), 300);
    assert!(transfers.iter().all(|transfer| transfer.format == 0));
    let event = &transfers[7].events[0];
    assert_eq!((event.id.as_str(), event.data.len()), ("7", 18));
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_outcome() {
    for (reply, expected) in [
        (TransferAction::Accept, "delivered"),
        (TransferAction::Release, "retry released"),
        (
            TransferAction::Modify {
                undeliverable_here: false,
            },
            "retry modified",
        ),
        (
            TransferAction::Modify {
                undeliverable_here: true,
            },
            "reject undeliverable-here",
        ),
        (TransferAction::RejectWithout, "reject rejected"),
        (
            TransferAction::Reject("com.microsoft:server-busy", "Please wait 9 seconds"),
            "throttled server-busy",
        ),
        (
            TransferAction::Reject("amqp:unauthorized-access", ""),
            "unauthorized unauthorized-access",
        ),
        (
            TransferAction::Detach("com.microsoft:entity-disabled"),
            "gone entity-disabled",
        ),
        (
            TransferAction::Close("amqp:connection:forced"),
            "unreachable forced",
        ),
    ] {
        let broker = Arc::new(TestBroker::default());
        let mut reply = Some(reply);
        broker.script(move |_| reply.take().unwrap_or(TransferAction::Accept));
        let sink = sink(&TestWire::to(&broker), manner());
        assert_eq!(short(&sink.send(&deliveries(0..1)).await), [expected]);
        // Whatever it was, the next batch goes through.
        assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_at_fault_is_found_and_the_others_arrive() {
    let broker = Arc::new(TestBroker::default());
    broker.script(|transfer| match transfer.ids().contains(&"13") {
        true => TransferAction::Reject("com.microsoft:argument-error", "bad property"),
        false => TransferAction::Accept,
    });
    let sink = sink(&TestWire::to(&broker), manner());
    let outcomes = short(&sink.send(&deliveries(0..64)).await);
    for (id, outcome) in outcomes.iter().enumerate() {
        let expected = if id == 13 {
            "reject argument-error"
        } else {
            "delivered"
        };
        assert_eq!(outcome, expected, "{id}");
    }
    // One of 64 is found with at most two transfers for each halving.
    assert_eq!(broker.transfers().len(), 13);
}

/// Some brokers do not reject what is too large, they end the link; it must not block the endpoint.
#[tokio::test(start_paused = true)]
async fn the_event_that_ends_links_by_its_size_is_found() {
    let broker = Arc::new(TestBroker::default());
    broker.script(|transfer| match transfer.ids().contains(&"13") {
        true => TransferAction::Detach("amqp:link:message-size-exceeded"),
        false => TransferAction::Accept,
    });
    let routing = MessageRouting::EventHubs(PartitionKey::Bucket);
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            routing,
            ..manner()
        },
    );
    let mut left = deliveries(0..200);
    let mut rejected = Vec::new();
    for _ in 0..4 {
        let outcomes = sink.send(&left).await;
        let mut again = Vec::new();
        for (delivery, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                DeliveryOutcome::Delivered => {}
                DeliveryOutcome::Reject(_) => rejected.push(delivery.sequence),
                _ => again.push(delivery),
            }
        }
        left = again;
    }
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(rejected, [13]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_takes_less_is_learnt_and_obeyed() {
    let broker = Arc::new(TestBroker {
        max_message_size: 10_000,
        ..TestBroker::default()
    });
    let sink = sink(&TestWire::to(&broker), manner());
    assert_eq!(sink.limits().bytes_max, 1 << 20);
    let mut batch: Vec<_> = (0..8).map(|id| delivery(id, 3_000)).collect();
    batch.push(delivery(8, 20_000));
    let outcomes = short(&sink.send(&batch).await);
    assert!(outcomes[..8].iter().all(|outcome| outcome == "delivered"));
    assert_eq!(outcomes[8], "reject payload-too-large");
    assert_eq!(sink.limits().bytes_max, 10_000);
    let before = broker.transfers().len();
    assert_eq!(short(&sink.send(&batch).await), outcomes);
    // Known limits cut the batch before it is sent: three events fit a transfer.
    assert_eq!(broker.transfers().len() - before, 3);
}

#[tokio::test(start_paused = true)]
async fn the_secondary_key_takes_over_and_is_remembered() {
    let broker = Arc::new(TestBroker::default());
    let only = |key: &'static str| {
        move |token: &str| {
            let parsed = ServiceBusToken::parse(token).unwrap();
            let now = twinroute_model::clock::Timestamp::from_unix_millis(1_700_000_000_000);
            Some(if parsed.verify(key, now).is_ok() {
                202
            } else {
                401
            })
        }
    };
    broker.gate(only(SECONDARY_KEY));
    let wire = TestWire::to(&broker);
    let targets = [PRIMARY_KEY, SECONDARY_KEY]
        .map(|key| target(&wire, key, AmqpAuth::Cbs))
        .to_vec();
    let sink = AmqpSink::new(targets, manner());
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    assert_eq!(broker.tokens.lock().unwrap().len(), 2);
    wire.cut().await;
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    assert_eq!(broker.tokens.lock().unwrap().len(), 3);
    assert_eq!(broker.tokens.lock().unwrap()[0].0, "sb://ns.example/hub");
    // Both refused: the endpoint's fault. The primary back in force: found again.
    broker.gate(|_| Some(401));
    wire.cut().await;
    let refused = short(&sink.send(&deliveries(2..3)).await);
    assert_eq!(refused, ["unauthorized cbs-401"]);
    broker.gate(only(PRIMARY_KEY));
    assert_eq!(short(&sink.send(&deliveries(2..3)).await), ["delivered"]);
}

#[tokio::test(start_paused = true)]
async fn sasl_plain_and_anonymous_need_no_cbs() {
    let plain = Arc::new(TestBroker {
        plain: Some(("send", PRIMARY_KEY)),
        ..TestBroker::default()
    });
    let anonymous = Arc::new(TestBroker::default());
    for (broker, auth) in [(&plain, AmqpAuth::Plain), (&anonymous, AmqpAuth::Anonymous)] {
        let targets = vec![target(&TestWire::to(broker), PRIMARY_KEY, auth)];
        let sink = AmqpSink::new(targets, manner());
        assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
        assert!(broker.tokens.lock().unwrap().is_empty());
    }
    let targets = vec![target(&TestWire::to(&plain), "wrong", AmqpAuth::Plain)];
    let outcomes = AmqpSink::new(targets, manner())
        .send(&deliveries(0..1))
        .await;
    assert_eq!(short(&outcomes), ["unauthorized sasl"]);
}

#[tokio::test(start_paused = true)]
async fn no_key_and_no_token_is_ever_shown() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let targets = vec![target(&wire, PRIMARY_KEY, AmqpAuth::Cbs)];
    let sink = AmqpSink::new(targets, manner());
    let mut printed = String::new();
    for status in [Some(401), Some(404), Some(500), None] {
        broker.gate(move |_| status);
        printed += &format!("{:?}", sink.send(&deliveries(0..1)).await);
    }
    wire.refuse();
    let refused = sink.send(&deliveries(0..1)).await;
    let DeliveryOutcome::Unavailable(fault) = &refused[0] else {
        panic!("{refused:?}")
    };
    assert_eq!(fault.kind, FaultKind::Unreachable);
    printed += &format!("{refused:?} {sink:?}");
    assert!(
        !printed.contains(PRIMARY_KEY) && !printed.contains("sig="),
        "{printed}"
    );
    let AmqpEntity::Keys(text) = target(&wire, PRIMARY_KEY, AmqpAuth::Cbs).entity else {
        panic!("keys")
    };
    let ConnectionCredential::Key { key, .. } = text.credential() else {
        panic!("a key")
    };
    assert_eq!(format!("{key:?}"), "***");
}

#[tokio::test(start_paused = true)]
async fn the_size_and_the_limit_stand_in_the_reason_also_before_the_limit_is_known() {
    let broker = Arc::new(TestBroker {
        max_message_size: 10_000,
        ..TestBroker::default()
    });
    let sink = sink(&TestWire::to(&broker), manner());
    let mut reasons = Vec::new();
    // First the link is not open, then its limit is known.
    for id in 0..2 {
        let outcomes = sink.send(&[delivery(id, 20_000)]).await;
        let [DeliveryOutcome::Reject(reason)] = &outcomes[..] else {
            panic!("{outcomes:?}");
        };
        reasons.push(reason.to_string());
    }
    assert_eq!(reasons[0], reasons[1]);
    let text = "bytes encoded, and the link's max-message-size is 10000";
    assert!(reasons[0].contains(text), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_above_one_mebibyte_waits_for_the_links_own_limit() {
    let broker = Arc::new(TestBroker {
        max_message_size: 100 << 20,
        ..TestBroker::default()
    });
    let sink = sink(&TestWire::to(&broker), manner());
    let outcomes = short(&sink.send(&[delivery(0, (1 << 20) - 400)]).await);
    assert_eq!(outcomes, ["delivered"]);
}
