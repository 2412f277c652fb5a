//! What sinks are measured with: an emulator that takes everything, sinks of every kind to it, and a lane's batches.

use crate::{TWINS, events};
use std::sync::Arc;
use twinroute_emulator::{
    BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings, QueueSettings,
    RunningEmulator, Settings,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::{EndpointSettings, PartitionKey, SessionKey};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::{Connect, Delivery, Sink};
use twinroute_sinks::connect::AzureConnector;

const ENTITY: &str = "bench";
const QUEUE: &str = "bench-queue";
/// Events of a lane's batch here, each of another twin.
pub const LANE_BATCH: usize = 1_000;

/// A kind of sink that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasuredSink {
    /// Event Grid: JSON over HTTP.
    EventGrid,
    /// Event Hubs, one key for each bucket of twins.
    HubByBucket,
    /// Event Hubs, one key for each twin: here a transfer for each event.
    HubByTwin,
    /// Service Bus without sessions: any events share a transfer.
    ServiceBus,
}

impl MeasuredSink {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::EventGrid,
        Self::HubByBucket,
        Self::HubByTwin,
        Self::ServiceBus,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventGrid => "send-event-grid",
            Self::HubByBucket => "send-hub-bucket",
            Self::HubByTwin => "send-hub-twin",
            Self::ServiceBus => "send-service-bus",
        }
    }

    /// The endpoint in `emulator`, as the management API writes it.
    #[must_use]
    pub fn endpoint(self, emulator: &RunningEmulator) -> String {
        let quoted = |text: String| serde_json::Value::from(text).to_string();
        let properties = match self {
            Self::EventGrid => format!(
                r#""endpointType":"EventGrid","TopicEndpoint":{},"accessKey1":{}"#,
                quoted(emulator.topic_endpoint(ENTITY)),
                quoted(emulator.topic_key1(ENTITY)),
            ),
            Self::HubByBucket | Self::HubByTwin => format!(
                r#""endpointType":"EventHub","connectionStringPrimaryKey":{}"#,
                quoted(emulator.event_hubs_connection_string(ENTITY)),
            ),
            Self::ServiceBus => format!(
                r#""endpointType":"ServiceBus","primaryConnectionString":{}"#,
                quoted(emulator.service_bus_connection_string(QUEUE)),
            ),
        };
        format!(r#"{{"properties":{{{properties}}}}}"#)
    }

    /// A sink to `endpoint`.
    ///
    /// # Panics
    /// When `endpoint` is none.
    #[must_use]
    pub fn connect(self, endpoint: &str) -> Arc<dyn Sink> {
        let name = EndpointName::new(ENTITY).expect("a legal name");
        let endpoint = endpoint::parse(&name, endpoint).expect("a legal endpoint");
        let settings = EndpointSettings::default().with(|own| {
            own.partition_key = match self {
                Self::HubByTwin => PartitionKey::Twin,
                _ => PartitionKey::Bucket,
            };
            own.session = SessionKey::None;
        });
        let outgoing = OutgoingConnections::of_environment().expect("the trust store");
        AzureConnector::new(Arc::new(SystemClock), outgoing)
            .connect(&endpoint, &settings)
            .expect("a sink")
    }
}

/// Starts an emulator with an entity for every sink.
///
/// # Panics
/// When it does not start.
pub async fn start_emulator() -> RunningEmulator {
    let settings = Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new(ENTITY)],
            queues: vec![QueueSettings::new(QUEUE)],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new(ENTITY)],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    };
    let started = RunningEmulator::start(settings, Arc::new(SystemClock)).await;
    started.expect("an emulator on free ports")
}

/// A delivery of every twin, in a lane's batches.
///
/// # Panics
/// Never: the events are valid.
#[must_use]
pub fn lane_batches() -> Vec<Vec<Delivery>> {
    let events = events(|number| format!("twin-{:05}", number % TWINS));
    let deliveries = events
        .into_iter()
        .enumerate()
        .map(|(number, event)| Delivery::new(number as u64, event));
    let deliveries: Vec<Delivery> = deliveries.collect();
    deliveries
        .chunks_exact(LANE_BATCH)
        .map(<[Delivery]>::to_vec)
        .collect()
}
