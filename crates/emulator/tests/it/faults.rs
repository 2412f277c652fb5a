//! Scripted faults as a client sees them.

use crate::client::{self, AmqpClient, WAIT, message};
use fe2o3_amqp::types::messaging::Outcome;
use fe2o3_amqp::{Connection, Sender};
use std::time::Duration;
use twinroute_emulator::{ArrivalCounts, SendAnswer};

#[tokio::test]
async fn outcomes_are_answered_in_the_order_of_the_script() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("hub").await;
    let busy = "com.microsoft:server-busy".to_owned();
    let slow = SendAnswer::AcceptAfter(Duration::from_millis(20));
    for answer in [
        SendAnswer::Reject(busy),
        SendAnswer::Release,
        SendAnswer::Modify,
        slow,
    ] {
        emulator.faults().sends("hub", answer, 1);
    }
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(sender.send(message("m", b"x")).await.unwrap());
    }
    let Outcome::Rejected(rejected) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert!(
        format!("{rejected:?}").contains("server-busy"),
        "{rejected:?}"
    );
    assert!(matches!(outcomes[1], Outcome::Released(_)));
    assert!(matches!(outcomes[2], Outcome::Modified(_)));
    assert!(matches!(outcomes[3], Outcome::Accepted(_)));
    assert!(matches!(outcomes[4], Outcome::Accepted(_)));
    assert_eq!(
        emulator.broker().counts("hub"),
        ArrivalCounts {
            requests: 5,
            stored: 2
        }
    );
}

#[tokio::test]
async fn a_stalled_send_gets_no_answer_and_a_later_one_does() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    let mut sender = client.sender("topic").await;
    emulator
        .faults()
        .sends("topic", SendAnswer::StoreAndStall, 1);
    let stalled = sender.send_batchable(message("a", b"x")).await.unwrap();
    sender.send(message("b", b"x")).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(1), stalled).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(emulator.broker().counts("topic").stored, 2);
}

#[tokio::test]
async fn links_and_connections_end_as_told() {
    let emulator = client::emulator().await;
    let faults = emulator.faults();
    let forced = || "amqp:connection:forced".to_owned();
    for (answer, stored) in [
        (SendAnswer::Detach("amqp:link:detach-forced".to_owned()), 0),
        (SendAnswer::Close(forced()), 0),
        (SendAnswer::Drop, 0),
        (SendAnswer::StoreAndDrop, 1),
    ] {
        let mut client = AmqpClient::connect(&emulator).await;
        let mut sender = client.sender("queue").await;
        faults.sends("queue", answer.clone(), 1);
        // The client does not end a send whose connection has gone: it must watch both.
        let ended = async {
            tokio::select! {
                sent = sender.send(message("m", b"x")) => sent.is_err(),
                _ = client.connection.on_close() => true,
            }
        };
        let ended = tokio::time::timeout(WAIT, ended).await;
        assert_eq!(ended, Ok(true), "{answer:?}");
        assert_eq!(
            emulator.broker().counts("queue").stored,
            stored,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn attaches_and_connections_are_refused_as_often_as_told() {
    let emulator = client::emulator().await;
    let mut client = AmqpClient::connect(&emulator).await;
    assert_eq!(client.put_token("hub").await, 200);
    emulator
        .faults()
        .attaches("hub", "com.microsoft:entity-disabled", 1);
    let refused = Sender::attach(&mut client.session, "a", "hub")
        .await
        .unwrap_err();
    assert!(
        format!("{refused:?}").contains("entity-disabled"),
        "{refused:?}"
    );
    client.renew_session().await;
    Sender::attach(&mut client.session, "b", "hub")
        .await
        .unwrap();
    emulator.faults().connections(1);
    let url = format!("amqp://{}", emulator.amqp_address());
    assert!(Connection::open("refused", url.as_str()).await.is_err());
    let mut open = Connection::open("taken", url.as_str()).await.unwrap();
    open.close().await.unwrap();
    client.connection.close().await.unwrap();
}
