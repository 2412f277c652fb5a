//! Probes of the real sinks against the emulator.

use std::sync::Arc;
use twinroute_emulator::{
    BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings, RunningEmulator,
    Settings as EmulatorSettings, TopicSettings,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::Connect;
use twinroute_sinks::connect::AzureConnector;

async fn probe(body: &str) -> &'static str {
    let connector = AzureConnector::new(
        Arc::new(SystemClock),
        OutgoingConnections::of_environment().unwrap(),
    );
    let name = EndpointName::new("probed").unwrap();
    let body = format!(r#"{{"properties":{{{body}}}}}"#);
    let endpoint = endpoint::parse(&name, &body).unwrap();
    let sink = connector.connect(&endpoint, &EndpointSettings::default());
    match sink.unwrap().probe().await {
        Ok(()) => "ok",
        Err(fault) => fault.kind.as_str(),
    }
}

#[tokio::test]
async fn a_probe_tells_what_a_destination_and_a_credential_are_worth() {
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
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap();
    let hub =
        |text: &str| format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{text}""#);
    let topic =
        |text: &str| format!(r#""endpointType":"ServiceBus","primaryConnectionString":"{text}""#);
    let grid = |url: &str, key: &str| {
        format!(r#""endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"{key}""#)
    };
    let hub_string = emulator.event_hubs_connection_string("hub");
    let topic_string = emulator.service_bus_connection_string("topic");
    let url = emulator.topic_endpoint("grid");
    let key = emulator.topic_key1("grid");
    let wrong = |text: &str| text.replace("SharedAccessKey=", "SharedAccessKey=x");
    let elsewhere = |text: &str, entity: &str| {
        text.replace(
            &format!("EntityPath={entity}"),
            &format!("EntityPath=no-{entity}"),
        )
    };
    let cases = [
        (hub(&hub_string), "ok"),
        (hub(&wrong(&hub_string)), "unauthorized"),
        (hub(&elsewhere(&hub_string, "hub")), "gone"),
        (topic(&topic_string), "ok"),
        (topic(&wrong(&topic_string)), "unauthorized"),
        (topic(&elsewhere(&topic_string, "topic")), "gone"),
        (grid(&url, &key), "ok"),
        (grid(&url, "wrong"), "unauthorized"),
        (grid(&url.replace("/api/events", "/none"), &key), "gone"),
    ];
    for (body, expected) in &cases {
        assert_eq!(probe(body).await, *expected, "{body}");
    }
    assert!(emulator.event_grid().events("grid").is_empty());
    drop(emulator.shutdown().await);
    for (body, _) in cases {
        assert_eq!(probe(&body).await, "unreachable", "{body}");
    }
}
