//! Event Hubs: tokens, sends, batches, reading and `$management`.

use crate::client::{self, AmqpClient, WAIT, ask, batch, body, code, message};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::messaging::{Body, Outcome};
use fe2o3_amqp::types::primitives::Value;
use fe2o3_amqp::{Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::KeySlot;

#[tokio::test]
async fn a_batch_is_unpacked_and_read_back() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub/Partitions/2").await;
    let single = sender.send(message("m-0", b"{}")).await.unwrap();
    assert!(matches!(single, Outcome::Accepted(_)));
    let members = (1..=50).map(|n| message(&format!("m-{n}"), format!("{n}").as_bytes()));
    let sent = sender.send(batch(members.collect())).await.unwrap();
    assert!(matches!(sent, Outcome::Accepted(_)));
    emulator.broker().wait_for("hub", 51, WAIT).await.unwrap();

    let events = emulator.broker().hub_events("hub");
    let ids: Vec<_> = events
        .iter()
        .map(|event| event.message_id.clone().unwrap())
        .collect();
    assert_eq!(ids, (0..=50).map(|n| format!("m-{n}")).collect::<Vec<_>>());
    let event = &events[7];
    assert_eq!((event.partition, event.sequence), (Some(2), 7));
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    assert_eq!(event.group_id.as_deref(), Some("session"));
    assert_eq!(event.application_properties["cloudEvents:type"], "sample");
    assert_eq!(&event.body[..], b"7");

    let address = "hub/ConsumerGroups/$Default/Partitions/2";
    let mut receiver = Receiver::attach(&mut client.session, "read", address)
        .await
        .unwrap();
    for n in 0..=50 {
        let delivery = tokio::time::timeout(WAIT, receiver.recv::<Body<Value>>()).await;
        let delivery = delivery.unwrap().unwrap();
        receiver.accept(&delivery).await.unwrap();
        let expected = if n == 0 {
            "{}".to_owned()
        } else {
            n.to_string()
        };
        assert_eq!(body(&delivery), expected.as_bytes());
    }
}

#[tokio::test]
async fn a_large_message_crosses_in_many_frames_both_ways() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub/Partitions/0").await;
    let large: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
    sender.send(message("large", &large)).await.unwrap();
    assert_eq!(&emulator.broker().hub_events("hub")[0].body[..], &large[..]);
    let address = "hub/ConsumerGroups/$default/Partitions/0";
    let mut receiver = Receiver::attach(&mut client.session, "read", address)
        .await
        .unwrap();
    let delivery = tokio::time::timeout(WAIT, receiver.recv::<Body<Value>>()).await;
    assert_eq!(body(&delivery.unwrap().unwrap()), large);
}

#[tokio::test]
async fn management_describes_hub_and_partition() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    client
        .sender("hub/Partitions/1")
        .await
        .send(message("m", b"x"))
        .await
        .unwrap();
    let (mut sender, mut receiver) = client.control("$management").await;
    let hub = [
        ("operation", "READ"),
        ("name", "hub"),
        ("type", "com.microsoft:eventhub"),
    ];
    let reply = ask(&mut sender, &mut receiver, &hub, Value::Null).await;
    assert_eq!(code(&reply, "status-code"), 200);
    let Body::Value(map) = reply.body() else {
        panic!()
    };
    let Value::Map(map) = &map.0 else { panic!() };
    let field = |name: &str| map.get(&Value::String(name.to_owned())).cloned().unwrap();
    assert_eq!(field("partition_count"), Value::Int(4));
    let Value::Array(ids) = field("partition_ids") else {
        panic!()
    };
    assert_eq!(ids.len(), 4);

    let partition = [
        ("operation", "READ"),
        ("name", "hub"),
        ("type", "com.microsoft:partition"),
        ("partition", "1"),
    ];
    let reply = ask(&mut sender, &mut receiver, &partition, Value::Null).await;
    let Body::Value(map) = reply.body() else {
        panic!()
    };
    let Value::Map(map) = &map.0 else { panic!() };
    let last = map.get(&Value::String("last_enqueued_sequence_number".to_owned()));
    assert_eq!(last, Some(&Value::Long(0)));

    let absent = [
        ("operation", "READ"),
        ("name", "absent"),
        ("type", "com.microsoft:eventhub"),
    ];
    let reply = ask(&mut sender, &mut receiver, &absent, Value::Null).await;
    assert_eq!(code(&reply, "status-code"), 404);
}

#[tokio::test]
async fn a_link_needs_a_token_that_covers_it() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let refused = Sender::attach(&mut client.session, "none", "hub")
        .await
        .unwrap_err();
    assert!(
        format!("{refused:?}").contains("UnauthorizedAccess"),
        "{refused:?}"
    );
    client.renew_session().await;
    assert_eq!(client.put_token("topic").await, 200);
    assert!(
        Sender::attach(&mut client.session, "other", "hub")
            .await
            .is_err()
    );
    client.renew_session().await;
    assert_eq!(client.put_token("hub").await, 200);
    Sender::attach(&mut client.session, "hub", "hub")
        .await
        .unwrap();
    let absent = Sender::attach(&mut client.session, "absent", "absent")
        .await
        .unwrap_err();
    assert!(format!("{absent:?}").contains("NotFound"), "{absent:?}");
}

#[tokio::test]
async fn plain_with_the_key_needs_no_token() {
    let emulator = client::emulator().await;
    let string = emulator.event_hubs_connection_string("hub");
    let key = string
        .split("SharedAccessKey=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let plain = SaslProfile::Plain {
        username: "RootManageSharedAccessKey".to_owned(),
        password: key.to_owned(),
    };
    let mut client = AmqpClient::with_sasl(&emulator, plain).await;
    let mut sender = Sender::attach(&mut client.session, "plain", "hub")
        .await
        .unwrap();
    sender.send(message("m", b"x")).await.unwrap();
    assert_eq!(emulator.broker().counts("hub").stored, 1);
}

#[tokio::test]
async fn new_keys_detach_links_and_refuse_old_tokens() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub").await;
    sender.send(message("m", b"x")).await.unwrap();
    emulator.broker().set_shared_access_keys("new", "newer");
    let error = tokio::time::timeout(WAIT, sender.on_detach())
        .await
        .unwrap();
    assert!(
        format!("{error:?}").contains("UnauthorizedAccess"),
        "{error:?}"
    );
    assert_eq!(client.put_token("hub").await, 401);
    let mut again = AmqpClient::connect(&emulator).await;
    again
        .sender("hub")
        .await
        .send(message("m", b"x"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_that_is_regenerated_ends_its_own_links_and_no_others() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub").await;
    let fresh = emulator
        .broker()
        .regenerate_shared_access_key(KeySlot::Secondary);
    let text = emulator.connection_string("hub", KeySlot::Secondary);
    assert!(
        text.contains(&format!("SharedAccessKey={fresh};")),
        "{text}"
    );
    // Longer than links are left that lost their key; there is nothing else to wait for.
    let kept = tokio::time::timeout(Duration::from_millis(500), sender.on_detach()).await;
    assert!(kept.is_err(), "the primary key signed its token");
    sender.send(message("m", b"x")).await.unwrap();
    let next = emulator
        .broker()
        .regenerate_shared_access_key(KeySlot::Primary);
    assert_ne!(next, fresh);
    let error = tokio::time::timeout(WAIT, sender.on_detach()).await;
    let error = format!("{:?}", error.unwrap());
    assert!(error.contains("UnauthorizedAccess"), "{error}");
}

#[tokio::test]
async fn what_was_stored_survives_a_restart_on_the_same_port() {
    let emulator = client::emulator().await;
    let address = emulator.amqp_address();
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub").await;
    sender.send(message("before", b"x")).await.unwrap();
    let broker = Arc::clone(emulator.broker());
    let stopped = emulator.shutdown().await;
    tokio::time::timeout(WAIT, client.connection.on_close())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(broker.hub_events("hub").len(), 1);
    let emulator = stopped.restart().await.unwrap();
    assert_eq!(emulator.amqp_address(), address);
    let mut client = AmqpClient::connect(&emulator).await;
    client
        .sender("hub")
        .await
        .send(message("after", b"x"))
        .await
        .unwrap();
    let events = emulator.broker().hub_events("hub");
    let ids: Vec<_> = events
        .iter()
        .filter_map(|event| event.message_id.as_deref())
        .collect();
    assert_eq!(ids, ["before", "after"]);
    assert_eq!(emulator.broker().connections(), 2);
    let late = emulator
        .broker()
        .wait_for("hub", 3, Duration::from_millis(1))
        .await
        .unwrap_err();
    assert_eq!((late.seen, late.wanted), (2, 3));
}
