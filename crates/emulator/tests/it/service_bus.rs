//! Service Bus: copies per subscription, settlement and the dead-letter queue.

use crate::client::{self, AmqpClient, WAIT, batch, body, message};
use fe2o3_amqp::types::definitions::{Error, ErrorCondition, SenderSettleMode};
use fe2o3_amqp::types::messaging::{Body, Modified};
use fe2o3_amqp::types::primitives::{Symbol, Value};
use fe2o3_amqp::{Delivery, Receiver};

async fn next(receiver: &mut Receiver) -> Delivery<Body<Value>> {
    tokio::time::timeout(WAIT, receiver.recv::<Body<Value>>())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn every_subscription_gets_a_copy_and_settles_on_its_own() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("topic").await;
    sender.send(message("a", b"a")).await.unwrap();
    let rest = ["b", "c", "d"].map(|id| message(id, id.as_bytes()));
    sender.send(batch(rest.to_vec())).await.unwrap();
    assert_eq!(
        emulator
            .broker()
            .subscription_messages("topic", "one")
            .len(),
        4
    );

    let address = "topic/Subscriptions/one";
    let mut receiver = Receiver::attach(&mut client.session, "one", address)
        .await
        .unwrap();
    let held = [
        next(&mut receiver).await,
        next(&mut receiver).await,
        next(&mut receiver).await,
        next(&mut receiver).await,
    ];
    assert_eq!(
        held.each_ref().map(body),
        [b"a", b"b", b"c", b"d"].map(|id| id.to_vec())
    );
    receiver.accept(&held[0]).await.unwrap();
    let error = Error::new(
        ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter")),
        "desc".to_owned(),
        None,
    );
    receiver.reject(&held[1], error).await.unwrap();
    receiver.release(&held[2]).await.unwrap();
    let failed = Modified {
        delivery_failed: Some(true),
        undeliverable_here: None,
        message_annotations: None,
    };
    receiver.modify(&held[3], failed).await.unwrap();
    let again = [next(&mut receiver).await, next(&mut receiver).await];
    let counts = again.each_ref().map(|one| {
        let header = one.message().header.as_ref().unwrap();
        (body(one), header.delivery_count)
    });
    assert_eq!(counts, [(b"c".to_vec(), 0), (b"d".to_vec(), 1)]);
    for one in &again {
        receiver.accept(one).await.unwrap();
    }
    // Closing is answered after everything before it was handled.
    receiver.close().await.unwrap();
    assert!(
        emulator
            .broker()
            .subscription_messages("topic", "one")
            .is_empty()
    );
    let dead = emulator.broker().dead_letters("topic", "one");
    assert_eq!(dead[0].message_id.as_deref(), Some("b"));
    assert_eq!(
        dead[0].application_properties["DeadLetterErrorDescription"],
        "desc"
    );
    assert_eq!(
        emulator
            .broker()
            .subscription_messages("topic", "two")
            .len(),
        4
    );
}

#[tokio::test]
async fn receive_and_delete_takes_settled_messages_off() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("queue").await;
    sender.send(message("a", b"a")).await.unwrap();
    let mut receiver = Receiver::builder()
        .name("delete")
        .source("queue")
        .sender_settle_mode(SenderSettleMode::Settled)
        .attach(&mut client.session)
        .await
        .unwrap();
    assert_eq!(body(&next(&mut receiver).await), b"a");
    assert!(emulator.broker().queue_messages("queue").is_empty());
}
