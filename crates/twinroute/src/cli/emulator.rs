//! `twinroute emulator`: the endpoints of `config/demo` on fixed ports, or your own names.

use super::StopSignals;
use crate::config::LogFormat;
use crate::{logging, scene};
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;
use twinroute_emulator::{
    Emulator, EventGridSettings, HubSettings, QueueSettings, Settings, TopicSettings,
};
use twinroute_model::clock::SystemClock;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Port of Event Hubs and Service Bus (AMQP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 5672)]
    amqp_port: u16,
    /// Port of the Event Grid topics (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8082)]
    http_port: u16,
    /// Port of the blob containers (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 10000)]
    blob_port: u16,
    /// An event hub, as `name` or `name:partitions`; may be repeated.
    #[arg(long = "hub", value_name = "NAME[:PARTITIONS]")]
    hubs: Vec<String>,
    /// A Service Bus topic, as `name:subscription,subscription`; may be repeated.
    #[arg(long = "topic", value_name = "NAME:SUBSCRIPTIONS")]
    topics: Vec<String>,
    /// A Service Bus queue; may be repeated.
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// An Event Grid topic; may be repeated.
    #[arg(long = "grid", value_name = "NAME")]
    grid_topics: Vec<String>,
    /// A blob container, for dead letters; may be repeated.
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// Prints the addresses as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What was asked for; the demo's entities when nothing was.
    fn settings(&self) -> anyhow::Result<Settings> {
        let asked = !(self.hubs.is_empty()
            && self.topics.is_empty()
            && self.queues.is_empty()
            && self.grid_topics.is_empty()
            && self.containers.is_empty());
        let mut settings = if asked {
            Settings::default()
        } else {
            scene::emulator_settings()
        };
        settings.amqp_port = self.amqp_port;
        settings.http_port = self.http_port;
        settings.blob_port = self.blob_port;
        for hub in &self.hubs {
            let (name, partitions) = hub.split_once(':').unwrap_or((hub, "4"));
            let mut hub = HubSettings::new(name);
            hub.partitions = partitions
                .parse()
                .map_err(|_| anyhow::anyhow!("--hub {name}: {partitions:?} is no number"))?;
            settings.hubs.push(hub);
        }
        for topic in &self.topics {
            let (name, subscriptions) = topic.split_once(':').unwrap_or((topic, "demo"));
            let subscriptions: Vec<&str> = subscriptions.split(',').collect();
            settings
                .topics
                .push(TopicSettings::new(name, &subscriptions));
        }
        settings
            .queues
            .extend(self.queues.iter().map(QueueSettings::new));
        settings
            .event_grid_topics
            .extend(self.grid_topics.iter().map(EventGridSettings::new));
        settings.blob_containers.extend_from_slice(&self.containers);
        Ok(settings)
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    logging::install(LogFormat::Pretty, "warn")?;
    let mut stop = StopSignals::new()?;
    let settings = options.settings()?;
    let emulator = Emulator::start(settings.clone(), Arc::new(SystemClock)).await?;
    if options.json {
        println!("{}", scene::addresses_json(&emulator, &settings));
    } else {
        print!("{}", scene::addresses(&emulator, &settings));
        println!("\nCtrl-C stops it; what it holds is gone then.");
    }
    stop.wait().await;
    emulator.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
