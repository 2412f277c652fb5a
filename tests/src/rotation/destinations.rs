//! The destinations with their keys, and the files that define them.

use super::ENDPOINTS;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinroute_emulator::{
    BrokerLimits, BrokerSettings, EventGridLimits, EventGridSettings, EventGridTopicSettings,
    HubSettings, KeySlot, ReceivedMessage, RunningEmulator, Settings, TopicSettings,
};
use twinroute_model::clock::SystemClock;

const HUB: &str = "hub";
const TOPIC: &str = "topic";
const SUBSCRIPTION: &str = "sub";
const GRID: &str = "grid";

/// While credentials are refused, events pile up as fast as they are posted: no queue is ever full.
const CONFIGURATION: &str = "\
instance = 'rotation'
definitions = 'table'
shutdown_grace = '5s'

[ingress]
listen = ['127.0.0.1:0']
ack = 'durable'

[admin]
listen = ['127.0.0.1:0']

[journal]
path = 'data'
bytes_max = '4GiB'

[log]
format = 'json'
";

const ENDPOINT: &str = "queue_bytes_max = '1GiB'\nqueue_events_max = 1000000\n";

pub(super) struct Destinations {
    emulator: RunningEmulator,
    folder: PathBuf,
    /// Every key there ever was: the log may hold none of them.
    keys: Vec<String>,
}

impl Destinations {
    /// Starts them and writes configuration and definitions into an empty folder.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let settings = Settings {
            broker: BrokerSettings {
                hubs: vec![HubSettings::new(HUB)],
                topics: vec![TopicSettings::new(TOPIC, &[SUBSCRIPTION])],
                limits: BrokerLimits {
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
            ..Settings::default()
        };
        let emulator = RunningEmulator::start(settings, Arc::new(SystemClock)).await?;
        let keys = vec![emulator.topic_key1(GRID), emulator.topic_key2(GRID)];
        let destinations = Self {
            emulator,
            folder: folder.to_owned(),
            keys,
        };
        destinations.define()?;
        let mut configuration = CONFIGURATION.to_owned();
        for name in ENDPOINTS {
            configuration.push_str(&format!("\n[endpoints.\"{name}\"]\n{ENDPOINT}"));
            let route = serde_json::json!({ "endpointName": name, "filter": "true" });
            destinations.put(&format!("table/routes/{name}.json"), &route.to_string())?;
        }
        destinations.put("twinroute.toml", &configuration)?;
        Ok(destinations)
    }

    /// Regenerates a key of each destination; hub and topic share theirs, as a namespace does.
    pub(super) fn regenerate(&mut self, slot: KeySlot) {
        let made = [
            self.emulator.broker().regenerate_shared_access_key(slot),
            self.emulator.event_grid().regenerate_key(GRID, slot),
        ];
        self.keys.extend(made);
    }

    /// Writes the definitions with the keys as they are now.
    pub(super) fn define(&self) -> anyhow::Result<()> {
        let emulator = &self.emulator;
        let both = [KeySlot::Primary, KeySlot::Secondary];
        let [hub, second_hub] = both.map(|slot| emulator.connection_string(HUB, slot));
        let [topic, second_topic] = both.map(|slot| emulator.connection_string(TOPIC, slot));
        let bodies = [
            serde_json::json!({
                "endpointType": "EventGrid", "TopicEndpoint": emulator.topic_endpoint(GRID),
                "accessKey1": emulator.topic_key1(GRID), "accessKey2": emulator.topic_key2(GRID),
            }),
            serde_json::json!({
                "endpointType": "EventHub", "connectionStringPrimaryKey": hub,
                "connectionStringSecondaryKey": second_hub,
            }),
            serde_json::json!({
                "endpointType": "ServiceBus", "primaryConnectionString": topic,
                "secondaryConnectionString": second_topic,
            }),
        ];
        for (name, properties) in ENDPOINTS.iter().zip(bodies) {
            let body = serde_json::json!({ "properties": properties });
            self.put(&format!("table/endpoints/{name}.json"), &body.to_string())?;
        }
        Ok(())
    }

    /// Puts a file in one step, as whoever changes secrets should.
    fn put(&self, file: &str, content: &str) -> anyhow::Result<()> {
        let path = self.folder.join(file);
        let beside = self.folder.join("new-file");
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&beside, content))
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The ids of what arrived at each destination, in order, in the order of [`ENDPOINTS`].
    pub(super) fn arrived(&self) -> [Vec<String>; 3] {
        let grid = self.emulator.event_grid().events(GRID);
        let grid = grid.iter().map(|event| id(&event.json()["id"]));
        let amqp = |mut messages: Vec<ReceivedMessage>| {
            messages.sort_by_key(|message| message.arrival);
            let ids = messages.iter().map(|message| {
                let id = message.application_properties.get("cloudEvents:id");
                let id = id.and_then(|id| id.as_str());
                id.unwrap_or_default().to_owned()
            });
            ids.collect()
        };
        [
            grid.collect(),
            amqp(self.emulator.broker().hub_events(HUB)),
            amqp(
                self.emulator
                    .broker()
                    .subscription_messages(TOPIC, SUBSCRIPTION),
            ),
        ]
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }
}

fn id(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
