//! The three destinations: the emulator's, with what they hold told as deliveries.

use super::content::{Attribute, MESSAGE_BYTES_MAX, base64, fingerprint};
use super::history::{Delivery, Endpoint};
use super::plan::What;
use anyhow::Context as _;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_emulator::{
    Emulator, EventGridSettings, GridEvent, HubSettings, Limits, ReceivedMessage, SendAnswer,
    Settings, Stopped, Store, TopicSettings, Value,
};
use twinroute_model::clock::SystemClock;

/// The prefix of application properties (CloudEvents AMQP binding 1.0.2 §3.1).
const PREFIX: &str = "cloudEvents:";

const HUB: &str = "hub";
const TOPIC: &str = "topic";
const SUBSCRIPTION: &str = "sub";
const GRID: &str = "grid";

/// Served or not.
enum Servers {
    Up(Emulator),
    Down(Stopped),
}

pub(super) struct Destinations {
    servers: Option<Servers>,
    store: Arc<Store>,
    definitions: [(Endpoint, String); 3],
}

impl Destinations {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let settings = Settings {
            hubs: vec![HubSettings::new(HUB)],
            topics: vec![TopicSettings::new(TOPIC, &[SUBSCRIPTION])],
            event_grid_topics: vec![EventGridSettings::new(GRID)],
            limits: Limits {
                message_bytes_max: MESSAGE_BYTES_MAX as u64,
                bytes_per_partition_max: usize::MAX,
                bytes_per_queue_max: usize::MAX,
                bytes_per_topic_max: usize::MAX,
                ..Limits::default()
            },
            ..Settings::default()
        };
        let emulator = Emulator::start(settings, Arc::new(SystemClock)).await?;
        let (topic, key) = (emulator.topic_endpoint(GRID), emulator.topic_key1(GRID));
        let bus = |kind: &str, property: &str, connection: String| {
            format!(
                r#"{{"properties":{{"endpointType":"{kind}","authenticationType":"KeyBased","{property}":"{connection}"}}}}"#
            )
        };
        let hub = emulator.event_hubs_connection_string(HUB);
        let queue = emulator.service_bus_connection_string(TOPIC);
        let definitions = [
            (
                Endpoint::Grid,
                format!(
                    r#"{{"properties":{{"endpointType":"EventGrid","TopicEndpoint":"{topic}","accessKey1":"{key}"}}}}"#
                ),
            ),
            (
                Endpoint::Hub,
                bus("EventHub", "connectionStringPrimaryKey", hub),
            ),
            (
                Endpoint::Topic,
                bus("ServiceBus", "primaryConnectionString", queue),
            ),
        ];
        Ok(Self {
            store: Arc::clone(emulator.store()),
            servers: Some(Servers::Up(emulator)),
            definitions,
        })
    }

    /// The endpoints as files define them.
    pub(super) fn definitions(&self) -> &[(Endpoint, String)] {
        &self.definitions
    }

    /// Drops every connection and refuses new ones.
    pub(super) async fn leave(&mut self) {
        self.servers = match self.servers.take() {
            Some(Servers::Up(emulator)) => Some(Servers::Down(emulator.shutdown().await)),
            others => others,
        };
    }

    /// Serves again, with all it held.
    pub(super) async fn come_back(&mut self) -> anyhow::Result<()> {
        self.servers = match self.servers.take() {
            Some(Servers::Down(stopped)) => {
                let back = stopped.restart().await;
                Some(Servers::Up(back.context("the destinations stay away")?))
            }
            others => others,
        };
        Ok(())
    }

    /// Scripts a fault.
    pub(super) fn fault(&self, what: &What) {
        let faults = self.store.faults();
        // What happens to new connections and links shows only when there are some.
        let part = |endpoint| faults.sends(entity(endpoint), SendAnswer::Drop, 1);
        match what {
            What::Post(answer, count) => faults.posts(GRID, answer.clone(), *count),
            What::Send(endpoint, answer, count) => {
                faults.sends(entity(*endpoint), answer.clone(), *count);
            }
            What::Attach(endpoint, condition, count) => {
                part(*endpoint);
                faults.attaches(entity(*endpoint), condition, *count);
            }
            What::Connection(count) => {
                part(Endpoint::Hub);
                part(Endpoint::Topic);
                faults.connections(*count);
            }
        }
    }

    /// Forgets the faults that have not happened.
    pub(super) fn calm(&self) {
        self.store.faults().clear();
    }

    /// All that arrived, in order.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        let grid = self.store.topic_events(GRID);
        let mut deliveries: Vec<Delivery> = grid.iter().map(of_grid).collect();
        for (endpoint, mut messages) in [
            (Endpoint::Hub, self.store.hub_events(HUB)),
            (
                Endpoint::Topic,
                self.store.subscription_messages(TOPIC, SUBSCRIPTION),
            ),
        ] {
            messages.sort_by_key(|message| message.arrival);
            deliveries.extend(messages.iter().map(|message| of_amqp(endpoint, message)));
        }
        deliveries
    }
}

/// The emulator's name for what an endpoint of type AMQP sends to.
fn entity(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Grid => GRID,
        Endpoint::Hub => HUB,
        Endpoint::Topic => TOPIC,
    }
}

fn of_grid(event: &GridEvent) -> Delivery {
    // The emulator has parsed it before.
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(event.text()).unwrap_or_default();
    let mut data = Vec::new();
    let mut attributes = Vec::new();
    for (name, value) in &fields {
        let parsed = serde_json::from_str(value.get()).unwrap_or_default();
        match (name.as_str(), parsed) {
            ("data", _) => data.extend_from_slice(value.get().as_bytes()),
            ("data_base64", serde_json::Value::String(text)) => data = base64(&text),
            (name, serde_json::Value::String(text)) => {
                attributes.push((name, Attribute::Text(text)));
            }
            (name, serde_json::Value::Bool(truth)) => {
                attributes.push((name, Attribute::Truth(truth)));
            }
            (name, other) => {
                let number = other.as_i64().unwrap_or(i64::MIN);
                attributes.push((name, Attribute::Integer(number)));
            }
        }
    }
    let id = attributes.iter().find_map(|(name, value)| match value {
        Attribute::Text(text) if *name == "id" => Some(text.clone()),
        _ => None,
    });
    Delivery {
        endpoint: Endpoint::Grid,
        id: id.unwrap_or_default(),
        content: fingerprint(attributes.into_iter(), &data),
        at: event.received_at,
    }
}

fn of_amqp(endpoint: Endpoint, message: &ReceivedMessage) -> Delivery {
    let told = message.application_properties.iter();
    let told = told.map(|(name, value)| {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let value = match value {
            Value::String(text) => Attribute::Text(text.clone()),
            Value::Bool(truth) => Attribute::Truth(*truth),
            other => Attribute::Integer(other.as_i64().unwrap_or(i64::MIN)),
        };
        (name, value)
    });
    let kind = message.content_type.clone();
    let kind = kind.map(|kind| ("datacontenttype", Attribute::Text(kind)));
    let id = message.application_properties.get("cloudEvents:id");
    let id = id.and_then(Value::as_str);
    Delivery {
        endpoint,
        id: id.unwrap_or_default().to_owned(),
        content: fingerprint(told.chain(kind), &message.body),
        at: message.enqueued_at,
    }
}
