//! Serves a hub, topics, queues, with sessions and without, two Event Grid topics and a blob container, prints
//! their addresses as one line of JSON, and runs until it is interrupted.
//!
//! The scripts in `xtask/peers` take that line in the variable `TWINROUTE_EMULATOR`.

use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    AccessRights, AccessRuleSettings, BlobSettings, BrokerSettings, EventGridSchema,
    EventGridSettings, EventGridTopicSettings, HubSettings, KeySlot, QueueSettings,
    RunningEmulator, Settings, TopicSettings,
};
use twinroute_model::clock::{Clock as _, SystemClock};

/// How long the container's signature is valid.
const SAS_TIME: Duration = Duration::from_secs(60 * 60);

/// What is served.
fn settings() -> Settings {
    let mut by_session = QueueSettings::new("by-session");
    by_session.requires_session = true;
    let mut hurried = QueueSettings::new("hurried");
    hurried.lock_duration = Duration::from_secs(2);
    hurried.deliveries_max = 2;
    let mut hurried_sessions = QueueSettings::new("hurried-sessions");
    hurried_sessions.requires_session = true;
    hurried_sessions.lock_duration = Duration::from_secs(2);
    let mut session_topic = TopicSettings::new("session-topic", &["by-session"]);
    session_topic.subscriptions[0].requires_session = true;
    let mut hub = HubSettings::new("twin-events");
    hub.consumer_groups.push("readers".to_owned());
    let rule = |name, send, listen| AccessRuleSettings::new(name, AccessRights { send, listen });
    let mut by_path = EventGridTopicSettings::new("default");
    by_path.path = "/api/events".to_owned();
    let mut classic = EventGridTopicSettings::new("classic");
    classic.schema = EventGridSchema::EventGrid;
    Settings {
        broker: BrokerSettings {
            hubs: vec![hub],
            topics: vec![
                TopicSettings::new("twin-topic", &["first", "second"]),
                session_topic,
            ],
            queues: vec![
                QueueSettings::new("twin-queue"),
                by_session,
                hurried,
                hurried_sessions,
            ],
            access_rules: vec![rule("sends", true, false), rule("listens", false, true)],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![by_path, classic],
            ..EventGridSettings::default()
        },
        blob: BlobSettings {
            containers: vec!["dead-letters".to_owned()],
            ..BlobSettings::default()
        },
        ..Settings::default()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = RunningEmulator::start(settings(), Arc::new(SystemClock)).await?;
    let expiry = SystemClock.now().after(SAS_TIME);
    let with_rule = |rule, entity| emulator.rule_connection_string(rule, entity, KeySlot::Primary);
    let addresses = serde_json::json!({
        "amqp": emulator.amqp_address().to_string(),
        "http": format!("http://{}", emulator.http_address()),
        "hub": { "name": "twin-events",
            "consumerGroup": "readers",
            "connectionString": emulator.event_hubs_connection_string("twin-events"),
            "sends": with_rule("sends", "twin-events"),
            "listens": with_rule("listens", "twin-events") },
        "topic": { "name": "twin-topic", "subscriptions": ["first", "second"],
            "connectionString": emulator.service_bus_connection_string("twin-topic") },
        "queue": { "name": "twin-queue",
            "connectionString": emulator.service_bus_connection_string("twin-queue"),
            "sends": with_rule("sends", "twin-queue"),
            "listens": with_rule("listens", "twin-queue") },
        "sessionQueue": { "name": "by-session",
            "connectionString": emulator.service_bus_connection_string("by-session") },
        "sessionTopic": { "name": "session-topic", "subscription": "by-session",
            "connectionString": emulator.service_bus_connection_string("session-topic") },
        "hurriedSessionQueue": { "name": "hurried-sessions",
            "connectionString": emulator.service_bus_connection_string("hurried-sessions") },
        "hurriedQueue": { "name": "hurried",
            "connectionString": emulator.service_bus_connection_string("hurried") },
        "cloudEventsTopic": { "name": "default", "endpoint": emulator.topic_endpoint("default"),
            "key": emulator.topic_key1("default") },
        "eventGridTopic": { "name": "classic", "endpoint": emulator.topic_endpoint("classic"),
            "key": emulator.topic_key1("classic") },
        "container": { "name": "dead-letters", "url": emulator.container_url("dead-letters"),
            "connectionString": emulator.storage_connection_string(),
            "sasUrl": emulator.container_sas_url("dead-letters", "racwdl", expiry) },
    });
    println!("{addresses}");
    tokio::signal::ctrl_c().await?;
    emulator.shutdown().await;
    Ok(())
}
