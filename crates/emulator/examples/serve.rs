//! Serves a hub, a topic, a queue, two Event Grid topics and a blob container, prints their addresses as
//! one line of JSON, and runs until it is interrupted.
//!
//! The scripts in `xtask/peers` take that line in the variable `TWINROUTE_EMULATOR`.

use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    Emulator, EventGridSchema, EventGridSettings, HubSettings, QueueSettings, Settings,
    TopicSettings,
};
use twinroute_model::clock::{Clock as _, SystemClock};

/// How long the container's signature is valid.
const SAS_TIME: Duration = Duration::from_secs(60 * 60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut by_session = QueueSettings::new("by-session");
    by_session.requires_session = true;
    let mut hurried = QueueSettings::new("hurried");
    hurried.lock_duration = Duration::from_secs(2);
    hurried.deliveries_max = 2;
    let mut by_path = EventGridSettings::new("default");
    by_path.path = "/api/events".to_owned();
    let mut classic = EventGridSettings::new("classic");
    classic.schema = EventGridSchema::EventGrid;
    let settings = Settings {
        hubs: vec![HubSettings::new("twin-events")],
        topics: vec![TopicSettings::new("twin-topic", &["first", "second"])],
        queues: vec![QueueSettings::new("twin-queue"), by_session, hurried],
        event_grid_topics: vec![by_path, classic],
        blob_containers: vec!["dead-letters".to_owned()],
        ..Settings::default()
    };
    let emulator = Emulator::start(settings, Arc::new(SystemClock)).await?;
    let expiry = SystemClock.now().after(SAS_TIME);
    let addresses = serde_json::json!({
        "amqp": emulator.amqp_address().to_string(),
        "http": format!("http://{}", emulator.http_address()),
        "hub": { "name": "twin-events",
            "connectionString": emulator.event_hubs_connection_string("twin-events") },
        "topic": { "name": "twin-topic", "subscriptions": ["first", "second"],
            "connectionString": emulator.service_bus_connection_string("twin-topic") },
        "queue": { "name": "twin-queue",
            "connectionString": emulator.service_bus_connection_string("twin-queue") },
        "sessionQueue": { "name": "by-session",
            "connectionString": emulator.service_bus_connection_string("by-session") },
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
