//! The real sinks against the emulator over WebSockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    BrokerSettings, HubSettings, RunningEmulator, Settings as EmulatorSettings, TlsPorts,
    TopicSettings,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::name::EndpointName;
use twinroute_model::settings::{AmqpTransport, EndpointSettings};
use twinroute_outgoing::{OutgoingConnections, Settings};
use twinroute_router::sink::{Connect, Delivery, DeliveryOutcome, Sink};
use twinroute_sinks::connect::AzureConnector;

const EVENTS: usize = 500;

fn sink(outgoing: &OutgoingConnections, properties: &str) -> Arc<dyn Sink> {
    let connector = AzureConnector::new(Arc::new(SystemClock), outgoing.clone());
    let body = format!(r#"{{"properties":{{{properties}}}}}"#);
    let endpoint = endpoint::parse(&EndpointName::new("over-443").unwrap(), &body).unwrap();
    let settings =
        EndpointSettings::default().with(|own| own.amqp_transport = AmqpTransport::Websocket);
    connector.connect(&endpoint, &settings).unwrap()
}

fn delivery(number: usize) -> Delivery {
    let event = EventParts::new(&number.to_string(), "h", "t")
        .json(&format!(
            "{{\"n\":{number},\"text\":\"{}\"}}",
            "x".repeat(number)
        ))
        .build(&EventLimits::default())
        .unwrap();
    Delivery::new(number as u64, event)
}

#[tokio::test]
async fn hubs_and_topics_take_events_over_websockets() {
    let outgoing = OutgoingConnections::of_environment().unwrap();
    let settings = EmulatorSettings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            topics: vec![TopicSettings::new("topic", &["sub"])],
            ..BrokerSettings::default()
        },
        ..EmulatorSettings::default()
    };
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap();
    let hub = emulator.event_hubs_connection_string("hub");
    let topic = emulator.service_bus_connection_string("topic");
    let batch: Vec<_> = (0..EVENTS).map(delivery).collect();
    for properties in [
        format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{hub}""#),
        format!(r#""endpointType":"ServiceBus","primaryConnectionString":"{topic}""#),
    ] {
        let outcomes = sink(&outgoing, &properties).send(&batch).await;
        assert_eq!(outcomes, vec![DeliveryOutcome::Delivered; EVENTS]);
    }
    let wait = Duration::from_secs(10);
    for entity in ["hub", "topic"] {
        let arrived = emulator
            .broker()
            .wait_for(entity, EVENTS as u64, wait)
            .await;
        arrived.unwrap();
    }
    // A wrong key is refused within the WebSocket, as on its own port.
    let wrong = hub.replace("SharedAccessKey=", "SharedAccessKey=x");
    let properties = format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{wrong}""#);
    let fault = sink(&outgoing, &properties).probe().await.unwrap_err();
    assert_eq!(fault.kind.as_str(), "unauthorized");
}

#[tokio::test]
async fn a_private_authority_is_trusted_once_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmulatorSettings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            ..BrokerSettings::default()
        },
        tls: Some(TlsPorts::new(folder.path())),
        ..EmulatorSettings::default()
    };
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock))
        .await
        .unwrap();
    let hub = emulator.event_hubs_connection_string("hub");
    let plain = emulator.amqp_address().to_string();
    let secure = format!("localhost:{}", emulator.amqp_tls_port().unwrap());
    let hub = hub.replace(&plain, &secure);
    let hub = hub.replace("UseDevelopmentEmulator=true;", "");
    let properties = format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{hub}""#);
    let ca_file = emulator.ca_file().unwrap();
    let outgoing = |ca_files: &[&Path], ca_only| {
        let mut settings = Settings::default();
        settings.ca_files = ca_files.iter().map(|path| path.to_path_buf()).collect();
        settings.ca_only = ca_only;
        OutgoingConnections::new(&settings).unwrap()
    };
    for ca_only in [false, true] {
        let sink = sink(&outgoing(&[ca_file], ca_only), &properties);
        let outcomes = sink.send(&[delivery(1)]).await;
        assert_eq!(outcomes, [DeliveryOutcome::Delivered]);
    }
    let stranger = sink(&outgoing(&[], false), &properties);
    let fault = stranger.probe().await.unwrap_err();
    assert_eq!(
        (fault.kind.as_str(), &*fault.reason.code),
        ("unreachable", "tls")
    );
}
