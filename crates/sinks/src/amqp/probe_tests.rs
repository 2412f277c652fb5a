//! Probes: what they find out, and what they leave behind.

use super::testing::broker::TestBroker;
use super::testing::{
    PRIMARY_KEY, SECONDARY_KEY, TestWire, deliveries, manner, short, sink, target,
};
use super::{AmqpSink, SendSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::settings::AmqpAuth;
use twinroute_router::sink::{EndpointFault, Sink};

fn render(probed: Result<(), EndpointFault>) -> String {
    match probed {
        Ok(()) => "ok".to_owned(),
        Err(fault) => format!("{} {}", fault.kind.as_str(), fault.reason.code),
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_sends_nothing_and_leaves_its_link_to_later_batches() {
    let broker = Arc::new(TestBroker::default());
    let sink = sink(&TestWire::to(&broker), manner());
    for _ in 0..2 {
        assert_eq!(render(sink.probe().await), "ok");
    }
    assert_eq!((broker.transfers().len(), broker.connections()), (0, 1));
    assert_eq!(broker.tokens.lock().unwrap().len(), 1);
    assert_eq!(short(&sink.send(&deliveries(0..3)).await), ["delivered"; 3]);
    assert_eq!(render(sink.probe().await), "ok");
    assert_eq!(broker.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_and_a_lost_one_are_found_out() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = sink(&wire, manner());
    wire.refuse();
    assert_eq!(render(sink.probe().await), "unreachable connect");
    wire.heal();
    assert_eq!(render(sink.probe().await), "ok");
    wire.refuse();
    wire.cut().await;
    assert_eq!(render(sink.probe().await), "unreachable connect");
    wire.heal();
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_found_out_and_the_other_one_is_taken() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    broker.gate(|_| Some(401));
    let keys = [PRIMARY_KEY, SECONDARY_KEY];
    let both = || {
        let targets = keys.map(|key| target(&wire, key, AmqpAuth::Cbs));
        AmqpSink::new(targets.to_vec(), manner())
    };
    assert_eq!(render(both().probe().await), "unauthorized cbs-401");
    assert_eq!(broker.tokens.lock().unwrap().len(), 2, "both were tried");
    let mut first = true;
    broker.gate(move |_| Some(if std::mem::take(&mut first) { 401 } else { 202 }));
    assert_eq!(render(both().probe().await), "ok");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_probe_at_the_attempt_timeout() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    wire.swallow();
    let attempt_timeout = Duration::from_secs(7);
    let sink = sink(
        &wire,
        SendSettings {
            attempt_timeout,
            ..manner()
        },
    );
    let start = Instant::now();
    assert_eq!(render(sink.probe().await), "unreachable timeout");
    assert_eq!(start.elapsed().as_secs(), 7);
    wire.heal();
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
}
