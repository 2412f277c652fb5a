//! The three destinations and the containers of two of them: the emulator's, with what they hold reported as
//! deliveries and dead letters.

use super::content::{Attribute, MESSAGE_BYTES_MAX, Read, fingerprint, hash};
use super::history::{Delivery, Endpoint, Letter, Place};
use super::plan::What;
use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use twinroute_emulator::{
    AmqpValue, BlobAccount, BlobSettings, BrokerLimits, BrokerSettings, EventGridLimits,
    EventGridService, EventGridSettings, EventGridTopicSettings, GridEvent, HubSettings,
    MessageBroker, ReceivedMessage, RunningEmulator, ScriptedFaults, SendAnswer, Settings,
    StoppedEmulator, StoredBlob, TopicSettings,
};
use twinroute_model::clock::{SystemClock, Timestamp};

/// The prefix of application properties (CloudEvents AMQP binding 1.0.2 §3.1).
const PREFIX: &str = "cloudEvents:";

const HUB: &str = "hub";
const TOPIC: &str = "topic";
const SUBSCRIPTION: &str = "sub";
const GRID: &str = "grid";

/// The containers, with what their signatures allow: the hub's may be written to and nothing else, the
/// topic's may also be read, of which a router makes no use here.
const CONTAINERS: [(Endpoint, &str, &str); 2] = [
    (Endpoint::Hub, "hub-letters", "w"),
    (Endpoint::Topic, "topic-letters", "rwl"),
];

/// The end of the signatures: later than any run.
const SIGNATURES_END: Timestamp = Timestamp::from_unix_millis(4_070_908_800_000);

/// Served or not.
enum Servers {
    Up(RunningEmulator),
    Down(StoppedEmulator),
}

pub(super) struct Destinations {
    servers: Option<Servers>,
    broker: Arc<MessageBroker>,
    event_grid: Arc<EventGridService>,
    blobs: Arc<BlobAccount>,
    faults: Arc<ScriptedFaults>,
    definitions: [(Endpoint, String); 3],
}

impl Destinations {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let settings = Settings {
            broker: BrokerSettings {
                hubs: vec![HubSettings::new(HUB)],
                topics: vec![TopicSettings::new(TOPIC, &[SUBSCRIPTION])],
                limits: BrokerLimits {
                    message_bytes_max: MESSAGE_BYTES_MAX as u64,
                    bytes_per_partition_max: usize::MAX,
                    bytes_per_queue_max: usize::MAX,
                    ..BrokerLimits::default()
                },
                ..BrokerSettings::default()
            },
            event_grid: EventGridSettings {
                topics: vec![EventGridTopicSettings::new(GRID)],
                limits: EventGridLimits {
                    bytes_per_topic_max: usize::MAX,
                    ..EventGridLimits::default()
                },
            },
            blob: BlobSettings {
                containers: CONTAINERS.map(|(_, container, _)| container.into()).into(),
                ..BlobSettings::default()
            },
            ..Settings::default()
        };
        let emulator = RunningEmulator::start(settings, Arc::new(SystemClock)).await?;
        let (topic, key) = (emulator.topic_endpoint(GRID), emulator.topic_key1(GRID));
        let [hub_letters, topic_letters] = CONTAINERS
            .map(|(_, container, may)| emulator.container_sas_url(container, may, SIGNATURES_END));
        let bus = |kind: &str, property: &str, connection: String, letters: String| {
            format!(
                r#"{{"properties":{{"endpointType":"{kind}","authenticationType":"KeyBased","{property}":"{connection}","deadLetterSecret":"{letters}"}}}}"#
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
                bus("EventHub", "connectionStringPrimaryKey", hub, hub_letters),
            ),
            (
                Endpoint::Topic,
                bus(
                    "ServiceBus",
                    "primaryConnectionString",
                    queue,
                    topic_letters,
                ),
            ),
        ];
        Ok(Self {
            broker: Arc::clone(emulator.broker()),
            event_grid: Arc::clone(emulator.event_grid()),
            blobs: Arc::clone(emulator.blob_account()),
            faults: Arc::clone(emulator.faults()),
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
        let faults = &self.faults;
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
            What::Store(endpoint, answer, count) => {
                let of = CONTAINERS.iter().find(|(of, ..)| of == endpoint);
                if let Some((_, container, _)) = of {
                    faults.blobs(container, answer.clone(), *count);
                }
            }
        }
    }

    /// Forgets the faults that have not happened.
    pub(super) fn calm(&self) {
        self.faults.clear();
    }

    /// All that arrived, in order.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        let grid = self.event_grid.events(GRID);
        let mut deliveries: Vec<Delivery> = grid.iter().map(of_grid).collect();
        for (endpoint, mut messages) in [
            (Endpoint::Hub, self.broker.hub_events(HUB)),
            (
                Endpoint::Topic,
                self.broker.subscription_messages(TOPIC, SUBSCRIPTION),
            ),
        ] {
            messages.sort_by_key(|message| message.arrival);
            deliveries.extend(messages.iter().map(|message| of_amqp(endpoint, message)));
        }
        deliveries
    }

    /// All dead letters that stand in the containers.
    pub(super) fn letters(&self) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (endpoint, container, _) in CONTAINERS {
            let blobs = self.blobs.blobs(container).unwrap_or_default();
            letters.extend(blobs.into_iter().map(|blob| of_blob(endpoint, blob)));
        }
        letters
    }
}

/// A blob as a dead letter.
fn of_blob(endpoint: Endpoint, blob: StoredBlob) -> Letter {
    let text = String::from_utf8_lossy(&blob.content);
    let read = Read::json(&text);
    let mut seal = Sha256::new();
    for part in [
        read.source.as_bytes(),
        &[0],
        read.id.as_bytes(),
        &[0],
        &blob.content,
    ] {
        seal.update(part);
    }
    let seal = seal
        .finalize()
        .iter()
        .fold(String::new(), |mut seal, byte| {
            let written = write!(seal, "{byte:02x}");
            written.expect("a String takes everything");
            seal
        });
    Letter {
        endpoint,
        place: Place::Container {
            name: blob.name,
            seal,
        },
        id: read.id,
        content: read.content,
        json: hash(&blob.content),
        at: blob.created_at,
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
    let read = Read::json(event.text());
    Delivery {
        endpoint: Endpoint::Grid,
        id: read.id,
        content: read.content,
        at: event.received_at,
    }
}

fn of_amqp(endpoint: Endpoint, message: &ReceivedMessage) -> Delivery {
    let attributes = message.application_properties.iter();
    let attributes = attributes.map(|(name, value)| {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        let value = match value {
            AmqpValue::String(text) => Attribute::Text(text.clone()),
            AmqpValue::Bool(truth) => Attribute::Truth(*truth),
            other => Attribute::Integer(other.as_i64().unwrap_or(i64::MIN)),
        };
        (name, value)
    });
    let kind = message.content_type.clone();
    let kind = kind.map(|kind| ("datacontenttype", Attribute::Text(kind)));
    let id = message.application_properties.get("cloudEvents:id");
    let id = id.and_then(AmqpValue::as_str);
    Delivery {
        endpoint,
        id: id.unwrap_or_default().to_owned(),
        content: fingerprint(attributes.chain(kind), &message.body),
        at: message.enqueued_at,
    }
}
