//! The router with its real sinks against the emulator: what arrives, and what failures cost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use twinroute_emulator::{
    BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings, PostAnswer,
    RunningEmulator, SendAnswer, Settings as EmulatorSettings, TopicSettings,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::cloudevents::json;
use twinroute_model::endpoint;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::Router;
use twinroute_router::accept::AckLevel;
use twinroute_router::source::Definitions;
use twinroute_router::status::EndpointStatus;
use twinroute_sinks::connect::AzureConnector;

const PATIENCE: Duration = Duration::from_secs(30);

async fn emulator() -> RunningEmulator {
    let settings = EmulatorSettings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            topics: vec![TopicSettings::new("topic", &["sub"])],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..EmulatorSettings::default()
    };
    RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap()
}

fn definitions(emulator: &RunningEmulator) -> Definitions {
    let hub = emulator.event_hubs_connection_string("hub");
    let topic = emulator.service_bus_connection_string("topic");
    let grid = emulator.topic_endpoint("grid");
    let (key1, key2) = (emulator.topic_key1("grid"), emulator.topic_key2("grid"));
    let bodies = [
        (
            "hub-1",
            format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{hub}""#),
        ),
        (
            "topic-1",
            format!(r#""endpointType":"ServiceBus","primaryConnectionString":"{topic}""#),
        ),
        (
            "grid-1",
            format!(
                r#""endpointType":"EventGrid","TopicEndpoint":"{grid}",
                   "accessKey1":"{key1}","accessKey2":"{key2}""#
            ),
        ),
    ];
    let endpoint = |(name, body): &(&str, String)| {
        let name = EndpointName::new(name).unwrap();
        endpoint::parse(&name, &format!(r#"{{"properties":{{{body}}}}}"#)).unwrap()
    };
    let route = |(name, _): &(&str, String)| Route {
        id: RouteId::new(name).unwrap(),
        endpoint_name: EndpointName::new(name).unwrap(),
        filter: "true".to_owned(),
    };
    let instance = Instance {
        name: InstanceName::new("default").unwrap(),
        endpoints: bodies.iter().map(endpoint).collect(),
        routes: bodies.iter().map(route).collect(),
        network: twinroute_model::network::NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

fn router(emulator: &RunningEmulator) -> Router {
    let connector = AzureConnector::new(
        Arc::new(SystemClock),
        OutgoingConnections::of_environment().unwrap(),
    );
    Router::builder()
        .connect(connector)
        .definitions(definitions(emulator))
        .build()
        .unwrap()
}

fn event(number: usize) -> Event {
    let json = format!(
        r#"{{"specversion":"1.0","id":"{number}","source":"h.example.net","traceparent":"00-1-2-01",
        "type":"Microsoft.DigitalTwins.Twin.Update","subject":"room{}","time":"2026-01-31T08:00:00Z",
        "datacontenttype":"application/json","data":{{ "z":1.10,"n":{number},"a":90071992547409931 }}}}"#,
        number % 20
    );
    json::parse(json.into(), &EventLimits::default()).unwrap()
}

async fn post(router: &Router, numbers: std::ops::Range<usize>) {
    for number in numbers {
        router
            .accept(None, vec![event(number)], AckLevel::Memory)
            .await
            .unwrap();
    }
}

async fn settled(router: &Router) {
    let settled = timeout(PATIENCE, router.settled()).await;
    settled.unwrap_or_else(|_| panic!("not settled in time: {:#?}", router.status().instances));
}

fn endpoints(router: &Router) -> Vec<EndpointStatus> {
    let endpoints = router.status().instances[0].endpoints.clone();
    endpoints
        .iter()
        .for_each(|endpoint| assert_eq!(endpoint.unaccounted(), 0, "{endpoint:?}"));
    endpoints
}

fn endpoint(router: &Router, name: &str) -> EndpointStatus {
    endpoints(router)
        .into_iter()
        .find(|endpoint| endpoint.name == name)
        .unwrap()
}

/// The ids that arrived, each once, and how many arrived in all.
fn arrived(emulator: &RunningEmulator) -> [(BTreeSet<String>, usize); 3] {
    let amqp = |messages: Vec<twinroute_emulator::ReceivedMessage>| {
        let id = |message: &twinroute_emulator::ReceivedMessage| {
            let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
            body["n"].to_string()
        };
        (messages.iter().map(id).collect(), messages.len())
    };
    let grid = emulator.event_grid().events("grid");
    let ids = grid
        .iter()
        .map(|event| event.json()["id"].as_str().unwrap().to_owned());
    [
        amqp(emulator.broker().hub_events("hub")),
        amqp(emulator.broker().subscription_messages("topic", "sub")),
        (ids.collect(), grid.len()),
    ]
}

fn numbers(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn each_destination_gets_the_event_in_its_form() {
    let emulator = emulator().await;
    let router = router(&emulator);
    post(&router, 0..1).await;
    settled(&router).await;
    let payload = r#"{ "z":1.10,"n":0,"a":90071992547409931 }"#;
    for message in [
        emulator.broker().hub_events("hub").remove(0),
        emulator
            .broker()
            .subscription_messages("topic", "sub")
            .remove(0),
    ] {
        assert_eq!(
            message.body,
            payload.as_bytes(),
            "the payload is not touched"
        );
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        for (name, value) in [
            ("cloudEvents:id", "0"),
            ("cloudEvents:source", "h.example.net"),
            ("cloudEvents:specversion", "1.0"),
            ("cloudEvents:type", "Microsoft.DigitalTwins.Twin.Update"),
            ("cloudEvents:time", "2026-01-31T08:00:00Z"),
            ("cloudEvents:subject", "room0"),
            ("cloudEvents:traceparent", "00-1-2-01"),
        ] {
            assert!(
                message.application_properties[name] == value,
                "{name}: {message:?}"
            );
        }
    }
    let grid = emulator.event_grid().events("grid").remove(0);
    assert_eq!(
        grid.text(),
        event(0).structured().unwrap(),
        "sent on as it came"
    );
}

#[tokio::test]
async fn a_killed_and_restarted_broker_costs_no_event() {
    let emulator = emulator().await;
    let router = router(&emulator);
    post(&router, 0..200).await;
    let posting = tokio::spawn({
        let router = router.clone();
        async move {
            for number in 200..600 {
                router
                    .accept(None, vec![event(number)], AckLevel::Memory)
                    .await
                    .unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    // Drops every connection in the middle of it.
    let stopped = emulator.shutdown().await;
    posting.await.unwrap();
    let down = endpoints(&router);
    assert!(
        down.iter().all(|endpoint| endpoint.discarded == 0),
        "{down:?}"
    );
    let emulator = stopped.restart().await.unwrap();
    settled(&router).await;
    for (ids, _) in arrived(&emulator) {
        assert_eq!(ids, numbers(0..600));
    }
    assert!(
        endpoints(&router)
            .iter()
            .all(|endpoint| endpoint.delivered == 600)
    );
}

#[tokio::test]
async fn one_bad_endpoint_never_slows_the_others() {
    let emulator = emulator().await;
    let router = router(&emulator);
    emulator.faults().sends("hub", SendAnswer::Stall, 1_000);
    emulator
        .faults()
        .posts("grid", PostAnswer::Status(503, Some(30)), 1_000);
    let started = Instant::now();
    post(&router, 0..300).await;
    emulator
        .broker()
        .wait_for("topic", 300, PATIENCE)
        .await
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(endpoint(&router, "topic-1").state, "healthy");
    let grid = endpoint(&router, "grid-1");
    assert_eq!((grid.state.as_str(), grid.delivered), ("throttled", 0));
    assert!(
        grid.backing_off_ms > 25_000,
        "Retry-After is honoured: {grid:?}"
    );
    assert_eq!(endpoint(&router, "hub-1").delivered, 0);
}

#[tokio::test]
async fn rotated_keys_fail_over_to_the_second() {
    let emulator = emulator().await;
    let router = router(&emulator);
    let second = emulator.topic_key2("grid");
    emulator
        .event_grid()
        .set_keys("grid", "bmV3LWZpcnN0LWtleQ==", &second);
    post(&router, 0..10).await;
    settled(&router).await;
    assert_eq!(endpoint(&router, "grid-1").state, "healthy");
    assert_eq!(arrived(&emulator)[2].0, numbers(0..10));
}

#[tokio::test]
async fn refused_credentials_are_the_endpoints_fault_and_lose_nothing() {
    let emulator = emulator().await;
    let router = router(&emulator);
    emulator
        .event_grid()
        .set_keys("grid", "bmV3LWZpcnN0LWtleQ==", "bmV3LXNlY29uZC1rZXk=");
    emulator.broker().set_shared_access_keys("bmV3", "bmV3Mg==");
    post(&router, 0..10).await;
    let refused = async {
        while endpoints(&router)
            .iter()
            .any(|endpoint| endpoint.state != "unauthorized")
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused)
        .await
        .expect("all three endpoints say unauthorized");
    for endpoint in endpoints(&router) {
        assert_eq!(
            (endpoint.queued + endpoint.in_flight, endpoint.discarded),
            (10, 0)
        );
        assert!(
            !endpoint.last_error.contains("bmV3"),
            "{}",
            endpoint.last_error
        );
    }
    let mut fixed = definitions(&emulator);
    let fresh = emulator.topic_key1("grid");
    assert_eq!(fresh, "bmV3LWZpcnN0LWtleQ==");
    router.apply(&fixed).unwrap();
    settled(&router).await;
    fixed.instances[0].routes.clear();
    assert_eq!(router.apply(&fixed).unwrap(), 3);
    for (ids, _) in arrived(&emulator) {
        assert_eq!(ids, numbers(0..10));
    }
}

#[tokio::test]
async fn a_busy_broker_is_waited_for_and_a_poison_event_stands_alone() {
    let emulator = emulator().await;
    let router = router(&emulator);
    let busy = SendAnswer::Reject("com.microsoft:server-busy".to_owned());
    emulator.faults().sends("hub", busy, 1);
    emulator.faults().sends(
        "topic",
        SendAnswer::Reject("amqp:not-allowed".to_owned()),
        1,
    );
    post(&router, 0..1).await;
    let topic_settled = async {
        while endpoint(&router, "topic-1").dead_letters.local == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, topic_settled)
        .await
        .expect("the refused event is a dead letter");
    assert!(
        endpoint(&router, "topic-1")
            .last_error
            .contains("not-allowed")
    );
    post(&router, 1..5).await;
    settled(&router).await;
    assert_eq!(endpoint(&router, "hub-1").delivered, 5);
    assert_eq!(endpoint(&router, "topic-1").delivered, 4);
    assert_eq!(arrived(&emulator)[0].0, numbers(0..5));
}
