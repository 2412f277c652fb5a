//! The demo's scene: its emulated endpoints, its definitions, its building of twins.

mod identities;

pub(crate) use identities::{identity_settings, user_assigned, variables, write_token};

use serde_json::json;
use std::fmt::Write as _;
use twinroute_emulator::{
    AccessRuleSettings, BlobSettings, BrokerSettings, EventGridSettings, EventGridTopicSettings,
    HubSettings, QueueSettings, RunningEmulator, Settings as EmulatorSettings, TopicSettings,
};
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::{self, Endpoint};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::network::NetworkAccess;
use twinroute_model::route;
use twinroute_router::source::Definitions;

/// The hub, the topic with its subscription, the Event Grid topic and the blob container of the demo.
pub(crate) const HUB: &str = "telemetry";
pub(crate) const TOPIC: &str = "alerts";
pub(crate) const SUBSCRIPTION: &str = "demo";
pub(crate) const GRID: &str = "lifecycle";
pub(crate) const CONTAINER: &str = "dead-letters";

/// What the signatures that are printed allow: everything in a container.
const SAS_PERMISSIONS: &str = "racwdl";
/// When signatures of the emulator end: 2099-01-01. A fixed time keeps them the same after a restart.
const SAS_END: Timestamp = Timestamp::from_unix_millis(4_070_908_800_000);

const INSTANCE: &str = "demo";

/// The files of `config/demo`, so that the demo needs none.
const ENDPOINTS: [(&str, &str); 3] = [
    (
        "telemetry-hub",
        include_str!("../../../config/demo/endpoints/telemetry-hub.json"),
    ),
    (
        "alerts-topic",
        include_str!("../../../config/demo/endpoints/alerts-topic.json"),
    ),
    (
        "lifecycle-grid",
        include_str!("../../../config/demo/endpoints/lifecycle-grid.json"),
    ),
];

const ROUTES: [(&str, &str); 6] = [
    (
        "hot-rooms",
        include_str!("../../../config/demo/routes/hot-rooms.json"),
    ),
    (
        "relationships",
        include_str!("../../../config/demo/routes/relationships.json"),
    ),
    (
        "room-changes",
        include_str!("../../../config/demo/routes/room-changes.json"),
    ),
    (
        "server-room",
        include_str!("../../../config/demo/routes/server-room.json"),
    ),
    (
        "telemetry",
        include_str!("../../../config/demo/routes/telemetry.json"),
    ),
    (
        "twins",
        include_str!("../../../config/demo/routes/twins.json"),
    ),
];

/// The emulator that `config/demo` expects, but for its ports.
pub(crate) fn emulator_settings() -> EmulatorSettings {
    EmulatorSettings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new(HUB)],
            topics: vec![TopicSettings::new(TOPIC, &[SUBSCRIPTION])],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new(GRID)],
            ..EventGridSettings::default()
        },
        blob: BlobSettings {
            containers: vec![CONTAINER.to_owned()],
            ..BlobSettings::default()
        },
        ..EmulatorSettings::default()
    }
}

/// The definitions of `config/demo`, at the emulator's addresses.
pub(crate) fn definitions(emulator: &RunningEmulator) -> Definitions {
    let endpoint = |(name, body): &(&str, &str)| -> Endpoint {
        let body = body
            .replace("127.0.0.1:5672", &emulator.amqp_address().to_string())
            .replace("127.0.0.1:8082", &emulator.http_address().to_string())
            .replace("127.0.0.1:10000", &emulator.blob_address().to_string());
        let name = EndpointName::new(name).expect("the demo's names are legal");
        endpoint::parse(&name, &body).expect("the demo's endpoints are valid")
    };
    let route = |(id, body): &(&str, &str)| {
        let id = RouteId::new(id).expect("the demo's ids are legal");
        route::parse(&id, body).expect("the demo's routes are valid")
    };
    let instance = Instance {
        name: InstanceName::new(INSTANCE).expect("the demo's instance has a legal name"),
        endpoints: ENDPOINTS.iter().map(endpoint).collect(),
        routes: ROUTES.iter().map(route).collect(),
        network: NetworkAccess::default(),
    };
    Definitions {
        instances: vec![instance],
        ..Definitions::default()
    }
}

/// The names of the endpoints.
pub(crate) fn endpoints() -> impl Iterator<Item = &'static str> {
    ENDPOINTS.iter().map(|(name, _)| *name)
}

pub(crate) const fn instance() -> &'static str {
    INSTANCE
}

/// What a client needs to read what an emulator holds.
pub(crate) fn addresses(emulator: &RunningEmulator, settings: &EmulatorSettings) -> String {
    let mut text = String::new();
    let http = emulator.http_address();
    let held = |what: &str| format!("what it holds: http://{http}/events?{what}");
    let mut line = |what: &str, name: &str, addresses: &[String]| {
        let addresses = addresses.join("\n    ");
        writeln!(text, "{what} {name}\n    {addresses}").expect("a String takes everything");
    };
    for hub in &settings.broker.hubs {
        let groups = hub.consumer_groups.join(", ");
        let address = emulator.event_hubs_connection_string(&hub.name);
        let name = match hub.consumer_groups.len() {
            1 => hub.name.clone(),
            _ => format!("{} (consumer groups {groups})", hub.name),
        };
        let held = held(&format!("hub={}", hub.name));
        line("event hub", &name, &[address, held]);
    }
    for topic in &settings.broker.topics {
        let subscriptions = topic.subscriptions.iter();
        let names: Vec<String> = subscriptions.clone().map(with_sessions).collect();
        let what = format!("{} (subscription {})", topic.name, names.join(", "));
        let mut addresses = vec![emulator.service_bus_connection_string(&topic.name)];
        let held =
            subscriptions.map(|one| held(&format!("subscription={}/{}", topic.name, one.name)));
        addresses.extend(held);
        line("Service Bus topic", &what, &addresses);
    }
    for queue in &settings.broker.queues {
        let address = emulator.service_bus_connection_string(&queue.name);
        let held = held(&format!("queue={}", queue.name));
        line("Service Bus queue", &with_sessions(queue), &[address, held]);
    }
    for topic in &settings.event_grid.topics {
        let endpoint = emulator.topic_endpoint(&topic.name);
        let key = format!("aeg-sas-key: {}", emulator.topic_key1(&topic.name));
        let held = held(&format!("topic={}", topic.name));
        line("Event Grid topic", &topic.name, &[endpoint, key, held]);
    }
    for container in &settings.blob.containers {
        let url = emulator.container_sas_url(container, SAS_PERMISSIONS, SAS_END);
        let held = format!("what it holds: {url}&restype=container&comp=list");
        line("blob container", container, &[url, held]);
    }
    for rule in &settings.broker.access_rules {
        let rights = rights(rule).join(", ");
        let address = emulator.namespace_connection_string(&rule.name);
        line(
            "access rule",
            &format!("{} ({rights})", rule.name),
            &[address],
        );
    }
    text
}

fn with_sessions(queue: &QueueSettings) -> String {
    let sessions = if queue.requires_session {
        " with sessions"
    } else {
        ""
    };
    format!("{}{sessions}", queue.name)
}

fn rights(rule: &AccessRuleSettings) -> Vec<&'static str> {
    let all = [(rule.rights.send, "send"), (rule.rights.listen, "listen")];
    let allowed = all.into_iter().filter(|(allowed, _)| *allowed);
    allowed.map(|(_, right)| right).collect()
}

/// The same for programs.
pub(crate) fn addresses_json(
    emulator: &RunningEmulator,
    settings: &EmulatorSettings,
) -> serde_json::Value {
    let hubs = settings.broker.hubs.iter().map(|hub| {
        let address = emulator.event_hubs_connection_string(&hub.name);
        json!({
            "name": hub.name,
            "partitions": hub.partitions,
            "consumerGroups": hub.consumer_groups,
            "connectionString": address,
        })
    });
    let topics = settings.broker.topics.iter().map(|topic| {
        let names = topic
            .subscriptions
            .iter()
            .map(|subscription| &subscription.name);
        let by_session = topic.subscriptions.iter();
        let by_session = by_session.filter(|subscription| subscription.requires_session);
        let by_session = by_session.map(|subscription| &subscription.name);
        json!({
            "name": topic.name,
            "subscriptions": names.collect::<Vec<_>>(),
            "sessionSubscriptions": by_session.collect::<Vec<_>>(),
            "connectionString": emulator.service_bus_connection_string(&topic.name),
        })
    });
    let queues = settings.broker.queues.iter().map(|queue| {
        let address = emulator.service_bus_connection_string(&queue.name);
        json!({
            "name": queue.name,
            "sessions": queue.requires_session,
            "connectionString": address,
        })
    });
    let http = format!("http://{}", emulator.http_address());
    let grid_topics = settings.event_grid.topics.iter().map(|topic| {
        json!({
            "name": topic.name,
            "endpoint": emulator.topic_endpoint(&topic.name),
            "key": emulator.topic_key1(&topic.name),
            "events": format!("{http}/events?topic={}", topic.name),
        })
    });
    let containers = settings.blob.containers.iter().map(|container| {
        json!({
            "name": container,
            "url": emulator.container_url(container),
            "sasUrl": emulator.container_sas_url(container, SAS_PERMISSIONS, SAS_END),
        })
    });
    let rules = settings.broker.access_rules.iter().map(|rule| {
        json!({
            "name": rule.name,
            "rights": rights(rule),
            "connectionString": emulator.namespace_connection_string(&rule.name),
        })
    });
    json!({
        "accessRules": rules.collect::<Vec<_>>(),
        "amqp": emulator.amqp_address().to_string(),
        "identity": identities::addresses_json(emulator, settings),
        "http": http,
        "hubs": hubs.collect::<Vec<_>>(),
        "topics": topics.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "eventGridTopics": grid_topics.collect::<Vec<_>>(),
        "blob": format!("http://{}", emulator.blob_address()),
        "containers": containers.collect::<Vec<_>>(),
        "storageConnectionString": emulator.storage_connection_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use twinroute_model::clock::SystemClock;
    use twinroute_model::endpoint::DeadLetterDestination;

    /// The signature in `config/demo` is made with the key that the emulator has by default.
    #[tokio::test]
    async fn the_definitions_name_the_emulators_container() {
        let emulator = RunningEmulator::start(emulator_settings(), Arc::new(SystemClock)).await;
        let emulator = emulator.unwrap();
        let expect = emulator.container_sas_url(CONTAINER, "rwl", SAS_END);
        let definitions = definitions(&emulator);
        for endpoint in &definitions.instances[0].endpoints {
            let Some(DeadLetterDestination::Sas(url)) = &endpoint.dead_letter else {
                panic!("{:?} has no deadLetterSecret", endpoint.name)
            };
            assert_eq!(url.expose(), expect, "{:?}", endpoint.name);
        }
    }
}
