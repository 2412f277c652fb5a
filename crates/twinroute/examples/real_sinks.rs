//! A folder of definitions, as the daemon has it, delivered to by the real sinks: here to the emulator's event hub.
//!
//! ```console
//! $ cargo run -p twinroute --features azure --example real_sinks
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use twinroute::azure::Azure;
use twinroute::clock::SystemClock;
use twinroute::definitions::FolderSource;
use twinroute::prelude::*;
use twinroute_emulator::{BrokerSettings, HubSettings, RunningEmulator, Settings};

/// The definitions as files: an endpoint, and a route to it.
fn define(folder: &Path, connection_string: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("endpoints"))?;
    fs::create_dir_all(folder.join("routes"))?;
    let endpoint = format!(
        r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{connection_string}"}}}}"#
    );
    fs::write(folder.join("endpoints/hub.json"), endpoint)?;
    let route = r#"{"endpointName":"hub","filter":"$body.temperature > 20"}"#;
    fs::write(folder.join("routes/warm.json"), route)
}

/// Delivers the events to an event hub; gives the payloads that arrived there.
pub(crate) async fn route(
    folder: &Path,
    events: Vec<Event>,
) -> Result<Vec<String>, Box<dyn Error>> {
    let broker = BrokerSettings {
        hubs: vec![HubSettings::new("warm")],
        ..BrokerSettings::default()
    };
    let settings = Settings {
        broker,
        ..Settings::default()
    };
    let emulator = RunningEmulator::start(settings, Arc::new(SystemClock)).await?;
    define(folder, &emulator.event_hubs_connection_string("warm"))?;
    let router = Router::builder()
        .connect(Azure::connector()?)
        .start()
        .await?;
    let definitions = FolderSource::new(folder, router.default_instance().clone());
    let _followed = router.follow(definitions).await?;
    router
        .accept_batch(events)
        .ack(AckLevel::Delivered)
        .deadline(Duration::from_secs(20))
        .await?;
    router.stop(Duration::from_secs(5)).await;
    let arrived = emulator.broker().hub_events("warm");
    let payload = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    Ok(arrived
        .iter()
        .map(|message| payload(&message.body))
        .collect())
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("twinroute-real-sinks");
    let event = Event::builder().id("1").source("press-7").event_type("t");
    let event = event.json(r#"{"temperature":21}"#).build()?;
    for payload in route(&folder, vec![event]).await? {
        println!("arrived: {payload}");
    }
    Ok(())
}
