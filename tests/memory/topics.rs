//! Event Grid topics and AMQP brokers.

use super::hostile::{ANSWERS, Endless, HostileServer};
use super::{COST_BYTES_MAX, cost, outgoing, together};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::SystemClock;
use twinroute_model::cloudevents::json;
use twinroute_model::endpoint;
use twinroute_model::event::EventLimits;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::{Connect as _, Delivery, Sink};
use twinroute_sinks::connect::AzureConnector;

/// AMQP without end: protocol headers, then frames.
const FRAMES: [Endless; 5] = [
    Endless {
        name: "empty frames",
        begin: b"AMQP\x00\x01\x00\x00",
        again: &[0, 0, 0, 8, 2, 0, 0, 0],
    },
    Endless {
        name: "a frame of 4 GiB",
        begin: b"AMQP\x00\x01\x00\x00\xff\xff\xff\xff\x02\x00\x00\x00",
        again: &[0; 32 << 10],
    },
    Endless {
        name: "an open frame with an array of 4 billion nulls",
        begin: b"AMQP\x00\x01\x00\x00",
        again: b"\x00\x00\x00\x1d\x02\x00\x00\x00\x00\x53\x10\xc0\x10\x01\xf0\x00\x00\x00\x0a\xff\xff\xff\xff\x40\x40\x40\x40\x40\x40",
    },
    Endless {
        name: "SASL mechanisms",
        begin: b"AMQP\x03\x01\x00\x00",
        again: b"\x00\x00\x00\x1a\x02\x01\x00\x00\x00\x53\x40\xc0\x0d\x01\xf0\x00\x00\x00\x09\x00\x00\x00\x01\xa3\x01x",
    },
    Endless {
        name: "protocol headers",
        begin: b"",
        again: b"AMQP\x03\x01\x00\x00",
    },
];

pub(crate) async fn attack() {
    for answer in ANSWERS {
        let server = HostileServer::start(answer).await;
        let properties = format!(
            r#""endpointType":"EventGrid","TopicEndpoint":"{}/api/events","accessKey1":"a-key-that-is-secret""#,
            server.url()
        );
        let name = format!("topic: {} without end", answer.name);
        send(&name, &properties).await;
    }
    for frames in FRAMES {
        let server = HostileServer::start(frames).await;
        let properties = format!(
            r#""endpointType":"EventHub","connectionStringPrimaryKey":"Endpoint=sb://localhost:{};SharedAccessKeyName=n;SharedAccessKey=a2V5;EntityPath=hub;UseDevelopmentEmulator=true""#,
            server.address.port()
        );
        let name = format!("broker: {} without end", frames.name);
        send(&name, &properties).await;
    }
}

async fn send(name: &str, properties: &str) {
    let body = format!("{{\"properties\":{{{properties}}}}}");
    let endpoint = endpoint::parse(&EndpointName::new("endpoint").unwrap(), &body).unwrap();
    let settings =
        EndpointSettings::default().with(|own| own.attempt_timeout = Duration::from_millis(800));
    let connector = AzureConnector::new(Arc::new(SystemClock), outgoing());
    let sink = connector.connect(&endpoint, &settings).unwrap();
    cost(
        name,
        COST_BYTES_MAX,
        together(|number| send_one(Arc::clone(&sink), number)),
    )
    .await;
}

async fn send_one(sink: Arc<dyn Sink>, number: usize) {
    let text = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1}"#;
    let event = json::parse(text.into(), &EventLimits::default()).unwrap();
    let mut delivery = Delivery::new(number as u64, event);
    delivery.twin = number as u64;
    // What it is told does not matter here.
    drop(sink.send(&[delivery]).await);
}
