//! Two credentials: which one opens links, and what its loss costs.

use super::AmqpSink;
use super::entity::AmqpEntity;
use super::testing::broker::{TestBroker, TransferAction};
use super::testing::{
    PRIMARY_KEY, SECONDARY_KEY, TestWire, deliveries, manner, short, target, target_of,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::endpoint::ConnectionString;
use twinroute_model::sas::{ServiceBusToken, service_bus_token};
use twinroute_model::secret::Secret;
use twinroute_model::settings::AmqpAuth;
use twinroute_router::sink::{CredentialSlot, Sink};

const START: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

/// Tells the time that tokio has.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        START.after(self.0.elapsed())
    }
}

/// The keys that a broker takes; it is asked again for each token.
#[derive(Clone, Default)]
struct BrokerKeys(Arc<Mutex<Vec<&'static str>>>);

impl BrokerKeys {
    fn of(broker: &TestBroker, keys: &[&'static str]) -> Self {
        let taken = Self::default();
        taken.set(keys);
        let gate = taken.clone();
        broker.gate(move |token| {
            let token = ServiceBusToken::parse(token).unwrap();
            let keys = gate.0.lock().unwrap();
            let known = keys.iter().any(|key| token.verify(key, START).is_ok());
            Some(if known { 202 } else { 401 })
        });
        taken
    }

    fn set(&self, keys: &[&'static str]) {
        *self.0.lock().unwrap() = keys.to_vec();
    }
}

fn two_keys(wire: &Arc<TestWire>) -> AmqpSink {
    let targets = [PRIMARY_KEY, SECONDARY_KEY].map(|key| target(wire, key, AmqpAuth::Cbs));
    AmqpSink::new(targets.to_vec(), manner())
}

fn active(sink: &AmqpSink) -> Vec<CredentialSlot> {
    let credentials = sink.credentials().into_iter();
    let active = credentials.filter(|credential| credential.active);
    active.map(|credential| credential.slot).collect()
}

fn tokens(broker: &TestBroker) -> usize {
    broker.tokens.lock().unwrap().len()
}

/// The loss of the first key made the endpoint unauthorized although the second one was good.
#[tokio::test(start_paused = true)]
async fn a_link_that_ends_over_its_key_is_opened_again_with_the_other_at_once() {
    for ends in [
        TransferAction::Detach("amqp:unauthorized-access"),
        TransferAction::Close("amqp:unauthorized-access"),
        TransferAction::Reject("amqp:unauthorized-access", "the key is gone"),
    ] {
        let broker = Arc::new(TestBroker::default());
        let keys = BrokerKeys::of(&broker, &[PRIMARY_KEY, SECONDARY_KEY]);
        let sink = two_keys(&TestWire::to(&broker));
        assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
        assert_eq!(
            (active(&sink), tokens(&broker)),
            (vec![CredentialSlot::Primary], 1)
        );
        keys.set(&[SECONDARY_KEY]);
        let mut ends = Some(ends);
        broker.script(move |_| ends.take().unwrap_or(TransferAction::Accept));
        let outcomes = short(&sink.send(&deliveries(1..3)).await);
        assert_eq!(outcomes, ["unreachable unauthorized-access"; 2]);
        assert_eq!(short(&sink.send(&deliveries(1..3)).await), ["delivered"; 2]);
        assert_eq!(active(&sink), [CredentialSlot::Secondary]);
        assert_eq!(tokens(&broker), 2, "the first key is not tried once more");
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_other_key_the_endpoint_is_unauthorized() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let sink = AmqpSink::new(vec![target(&wire, PRIMARY_KEY, AmqpAuth::Cbs)], manner());
    broker.script(|_| TransferAction::Detach("amqp:unauthorized-access"));
    let outcomes = short(&sink.send(&deliveries(0..2)).await);
    assert_eq!(outcomes, ["unauthorized unauthorized-access"; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_first_key_is_tried_again_when_the_second_fails_and_both_tell_why() {
    let broker = Arc::new(TestBroker::default());
    let keys = BrokerKeys::of(&broker, &[SECONDARY_KEY]);
    let wire = TestWire::to(&broker);
    let sink = two_keys(&wire);
    let send = async || short(&sink.send(&deliveries(0..1)).await);
    assert_eq!(send().await, ["delivered"]);
    assert_eq!(
        (active(&sink), tokens(&broker)),
        (vec![CredentialSlot::Secondary], 2)
    );
    // A connection that is lost for another reason is opened with the key that worked last.
    wire.cut().await;
    assert_eq!(
        (send().await, tokens(&broker)),
        (vec!["delivered".to_owned()], 3)
    );
    keys.set(&[PRIMARY_KEY]);
    wire.cut().await;
    assert_eq!(
        (send().await, tokens(&broker)),
        (vec!["delivered".to_owned()], 5)
    );
    assert_eq!(active(&sink), [CredentialSlot::Primary]);
    keys.set(&[]);
    wire.cut().await;
    let outcomes = sink.send(&deliveries(0..1)).await;
    assert_eq!(short(&outcomes), ["unauthorized cbs-401"]);
    let debug_text = format!("{outcomes:?}");
    assert!(debug_text.contains("primary: cbs-401"), "{debug_text}");
    assert!(debug_text.contains("secondary: cbs-401"), "{debug_text}");
    assert!(!debug_text.contains(PRIMARY_KEY), "{debug_text}");
}

/// A target whose connection string has a ready-made signature.
fn signed(wire: &Arc<TestWire>, end: Timestamp) -> super::target::AmqpTarget {
    let token = service_bus_token("sb://ns.example/hub", "send", PRIMARY_KEY, end);
    let text = format!("Endpoint=sb://ns.example;SharedAccessSignature={token};EntityPath=hub");
    let parsed = ConnectionString::parse(&Secret::new(text)).unwrap();
    let clock = Arc::new(PausedClock(Instant::now()));
    target_of(wire, AmqpEntity::Keys(parsed), AmqpAuth::Cbs, clock)
}

#[tokio::test(start_paused = true)]
async fn a_ready_made_signature_that_ends_gives_way_before_the_broker_says_so() {
    let broker = Arc::new(TestBroker::default());
    let wire = TestWire::to(&broker);
    let end = START.after(Duration::from_secs(100));
    let targets = vec![
        signed(&wire, end),
        target(&wire, SECONDARY_KEY, AmqpAuth::Cbs),
    ];
    let sink = AmqpSink::new(targets, manner());
    assert_eq!(short(&sink.send(&deliveries(0..1)).await), ["delivered"]);
    let first = sink.credentials()[0];
    assert_eq!((first.slot, first.active), (CredentialSlot::Primary, true));
    assert_eq!(first.expires_at, Some(end));
    tokio::time::sleep(Duration::from_secs(101)).await;
    assert_eq!(short(&sink.send(&deliveries(1..2)).await), ["delivered"]);
    assert_eq!(active(&sink), [CredentialSlot::Secondary]);
    assert_eq!((broker.connections(), tokens(&broker)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_is_over_makes_no_connection() {
    let broker = Arc::new(TestBroker::default());
    let sink = AmqpSink::new(vec![signed(&TestWire::to(&broker), START)], manner());
    let outcomes = sink.send(&deliveries(0..2)).await;
    assert_eq!(short(&outcomes), ["unauthorized sas-expired"; 2]);
    let debug_text = format!("{outcomes:?}");
    assert!(debug_text.contains("2023-11-14T22:13:20Z"), "{debug_text}");
    let probed = sink.probe().await.unwrap_err();
    assert_eq!(probed.reason.code, "sas-expired");
    assert_eq!(broker.connections(), 0);
}
