//! The faults of fe2o3-amqp and of networks that the sink is built around, each provoked.

use super::testing::broker::{TestBroker, TransferAction};
use super::testing::{TestWire, deliveries, delivery, manner, short, sink};
use super::{AmqpSink, SendSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_router::sink::{DeliveryOutcome, Sink};

/// Sends in a task of its own and waits until the broker holds the transfers.
async fn held(
    broker: &Arc<TestBroker>,
    sink: &Arc<AmqpSink>,
    events: usize,
) -> tokio::task::JoinHandle<Vec<DeliveryOutcome>> {
    broker.script(|_| TransferAction::Hold);
    let seen = broker.ids().len();
    let sending = Arc::clone(sink);
    let task = tokio::spawn(async move { sending.send(&deliveries(0..events)).await });
    while broker.ids().len() < seen + events {
        tokio::task::yield_now().await;
    }
    task
}

/// Fault 1: pending deliveries of fe2o3-amqp hang while the sender lives.
#[tokio::test(start_paused = true)]
async fn a_cut_connection_answers_everything_in_flight_at_once() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let batched = false;
    let sink = Arc::new(sink(
        &wire,
        SendSettings {
            batched,
            ..manner()
        },
    ));
    let task = held(&broker, &sink, 20).await;
    let cut = Instant::now();
    wire.cut().await;
    let outcomes = short(&task.await.unwrap());
    assert_eq!(outcomes.len(), 20);
    for outcome in &outcomes {
        assert!(outcome.starts_with("unreachable"), "{outcome}");
    }
    assert!(
        cut.elapsed() < Duration::from_secs(1),
        "{:?}",
        cut.elapsed()
    );
    broker.script(|_| TransferAction::Accept);
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    assert_eq!(broker.connections(), 2);
}

/// Fault 2: a connection that swallows everything looks alive.
#[tokio::test(start_paused = true)]
async fn a_black_hole_ends_with_the_attempt_timeout() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = Arc::new(sink(&wire, manner()));
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    wire.swallow();
    let start = Instant::now();
    let outcomes = short(&sink.send(&deliveries(1..4)).await);
    assert_eq!(outcomes, ["unreachable timeout"; 3]);
    assert_eq!(start.elapsed().as_secs(), 30);
    // Connecting into the hole is bounded likewise.
    let outcomes = short(&sink.send(&deliveries(1..2)).await);
    assert_eq!(outcomes, ["unreachable timeout"]);
    assert_eq!(start.elapsed().as_secs(), 60);
    wire.heal();
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
}

/// Fault 2, without anything in flight: our own idle time-out finds it, and nobody is told of a
/// fault.
#[tokio::test(start_paused = true)]
async fn an_idle_black_hole_is_left_within_the_idle_time_out() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = sink(&wire, manner());
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    wire.swallow();
    tokio::time::sleep(Duration::from_secs(130)).await;
    wire.heal();
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    assert_eq!(broker.connections(), 2);
}

/// A broker that takes a transfer and says nothing more, on a connection that lives.
#[tokio::test(start_paused = true)]
async fn a_missing_outcome_ends_at_the_deadline() {
    let broker = Arc::new(TestBroker::default());
    let sink = Arc::new(sink(&TestWire::to(&broker), manner()));
    let start = Instant::now();
    let task = held(&broker, &sink, 3).await;
    assert_eq!(short(&task.await.unwrap()), ["unreachable timeout"; 3]);
    assert_eq!(start.elapsed().as_secs(), 30);
    broker.script(|_| TransferAction::Accept);
    assert_eq!(short(&sink.send(&deliveries(3..4)).await), ["delivered"]);
}

/// Fault 3: without credit a send waits for ever. The broker gives 200 credits and holds on to
/// them.
#[tokio::test(start_paused = true)]
async fn waiting_for_credit_is_bounded() {
    let broker = Arc::new(TestBroker::default());
    broker.script(|_| TransferAction::Hold);
    let batched = false;
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            batched,
            ..manner()
        },
    );
    let start = Instant::now();
    let outcomes = short(&sink.send(&deliveries(0..400)).await);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome == "unreachable timeout")
    );
    assert!(broker.ids().len() < 400);
    assert!(start.elapsed().as_secs() <= 32, "{:?}", start.elapsed());
}

/// Fault 4: an idle link or connection that the broker ends is opened again without a word.
#[tokio::test(start_paused = true)]
async fn a_connection_ended_while_idle_is_no_fault() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = sink(&wire, manner());
    for round in 1..4 {
        assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
        assert_eq!(broker.connections(), round);
        wire.cut().await;
    }
}

/// Fault 5: links are not resumed. What was unanswered is not sent by itself: the lane does that.
#[tokio::test(start_paused = true)]
async fn after_a_forced_detach_a_new_link_is_made_and_nothing_is_resent_by_itself() {
    let broker = Arc::new(TestBroker::default());
    let mut first = true;
    broker.script(move |_| {
        if std::mem::take(&mut first) {
            return TransferAction::Detach("amqp:link:detach-forced");
        }
        TransferAction::Accept
    });
    let sink = sink(&TestWire::to(&broker), manner());
    let outcomes = short(&sink.send(&deliveries(0..2)).await);
    assert_eq!(outcomes, ["unreachable detach-forced"; 2]);
    assert_eq!(broker.transfers().len(), 1);
    assert_eq!(short(&sink.send(&deliveries(0..2)).await), ["delivered"; 2]);
    assert_eq!(broker.transfers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_killed_and_started_again_gets_its_events() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = Arc::new(sink(&wire, manner()));
    let task = held(&broker, &sink, 5).await;
    wire.refuse();
    wire.cut().await;
    for outcome in short(&task.await.unwrap()) {
        assert!(outcome.starts_with("unreachable"), "{outcome}");
    }
    let down = short(&sink.send(&deliveries(0..5)).await);
    assert_eq!(down, ["unreachable connect"; 5]);
    let second = Arc::new(TestBroker::default());
    wire.restart(&second);
    assert_eq!(short(&sink.send(&deliveries(0..5)).await), ["delivered"; 5]);
    assert_eq!(second.ids(), ["0", "1", "2", "3", "4"]);
}

/// Fault 8: a `$cbs` that does not answer is abandoned after 20 s together with its connection.
#[tokio::test(start_paused = true)]
async fn a_put_token_without_an_answer_is_bounded() {
    let broker = Arc::new(TestBroker::default());
    broker.gate(|_| None);
    let sink = sink(&TestWire::to(&broker), manner());
    let start = Instant::now();
    let outcomes = short(&sink.send(&deliveries(0..1)).await);
    assert_eq!(outcomes, ["unreachable cbs-timeout"]);
    assert_eq!(start.elapsed().as_secs(), 20);
    broker.gate(|_| Some(200));
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    assert_eq!(broker.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_at_80_percent_of_its_life() {
    let broker = Arc::new(TestBroker::default());
    let sink = sink(&TestWire::to(&broker), manner());
    sink.send(&deliveries(0..1)).await;
    let tokens = || broker.tokens.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(47 * 60)).await;
    assert_eq!(tokens(), 1);
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!((tokens(), broker.connections()), (2, 1));
    // Failed tries are 30 s apart, and the link goes on meanwhile.
    broker.gate(|_| Some(500));
    tokio::time::sleep(Duration::from_secs(47 * 60 + 55)).await;
    let tries = tokens();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tokens() - tries, 2);
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    // Before the token ends the connection is left, and the next batch asks for a new one.
    tokio::time::sleep(Duration::from_secs(13 * 60)).await;
    let refused = short(&sink.send(&deliveries(2..3)).await);
    assert_eq!(refused, ["unreachable cbs-500"]);
    broker.gate(|_| Some(202));
    assert_eq!(short(&sink.send(&deliveries(2..3)).await), ["delivered"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_and_a_dropped_sink_leave_nothing_hanging() {
    let broker = Arc::new(TestBroker::default());
    let sink = Arc::new(sink(&TestWire::to(&broker), manner()));
    let task = held(&broker, &sink, 2).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    broker.script(|_| TransferAction::Accept);
    assert_eq!(short(&sink.send(&deliveries(2..3)).await), ["delivered"]);
    drop(sink);
    // The task closes its connection; the broker sees it and its own tasks end.
    while Arc::strong_count(&broker) > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What came behind a lost transfer was sent over the next connection, and arrived before it.
#[tokio::test(start_paused = true)]
async fn a_batch_does_not_go_on_over_the_next_connection() {
    let broker = Arc::new(TestBroker::default());
    let batched = false;
    let sink = sink(
        &TestWire::to(&broker),
        SendSettings {
            batched,
            ..manner()
        },
    );
    broker.script(|transfer| match transfer.connection {
        1 => TransferAction::Close("amqp:connection:forced"),
        _ => TransferAction::Accept,
    });
    // More than may wait for the connection's task, so that some are handed over after the fault.
    let outcomes = short(&sink.send(&deliveries(0..500)).await);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome == "unreachable forced"),
        "{outcomes:?}"
    );
    let beyond = broker.transfers();
    let beyond = beyond.iter().filter(|transfer| transfer.connection > 1);
    assert_eq!(beyond.count(), 0);
    let outcomes = short(&sink.send(&deliveries(0..500)).await);
    assert!(outcomes.iter().all(|outcome| outcome == "delivered"));
}

/// Before the first link tells its limit a batch is cut as if it were larger: its first transfer came
/// back and was halved, when its last one had arrived.
#[tokio::test(start_paused = true)]
async fn what_is_halved_goes_before_what_comes_behind_it() {
    let broker = Arc::new(TestBroker {
        max_message_size: 300_000,
        ..TestBroker::default()
    });
    let sink = sink(&TestWire::to(&broker), manner());
    // Ten of them fill a transfer of 1 MiB; the last one goes alone and is small enough.
    let batch: Vec<_> = (0..11).map(|id| delivery(id, 100_000)).collect();
    let outcomes = short(&sink.send(&batch).await);
    assert!(outcomes.iter().all(|outcome| outcome == "delivered"));
    let ids: Vec<String> = (0..11).map(|id| id.to_string()).collect();
    assert_eq!(broker.ids(), ids);
}

/// A fault in one half keeps the other from being sent.
#[tokio::test(start_paused = true)]
async fn what_is_halved_stops_at_a_fault() {
    let broker = Arc::new(TestBroker {
        max_message_size: 10_000,
        ..TestBroker::default()
    });
    let sink = sink(&TestWire::to(&broker), manner());
    broker.script(|transfer| match transfer.connection {
        1 => TransferAction::Detach("amqp:link:detach-forced"),
        _ => TransferAction::Accept,
    });
    let batch: Vec<_> = (0..100).map(|id| delivery(id, 1_000)).collect();
    let outcomes = short(&sink.send(&batch).await);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome == "unreachable detach-forced"),
        "{outcomes:?}"
    );
    let transfers = broker.transfers();
    assert_eq!(
        transfers.iter().map(|transfer| transfer.connection).max(),
        Some(1)
    );
}
