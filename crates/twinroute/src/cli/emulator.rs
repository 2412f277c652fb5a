//! `twinroute emulator`: the endpoints of `config/demo` on fixed ports, or your own names.

use super::StopSignals;
use crate::cli::output;
use crate::config::LogFormat;
use crate::{logging, scene};
use anyhow::Context as _;
use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    Emulator, EventGridSettings, HubSettings, IdentitySettings, QueueSettings, Settings, TlsPorts,
    TopicSettings,
};
use twinroute_model::clock::SystemClock;
use twinroute_model::secret::Secret;

/// The token of the service account is good for an hour; Kubernetes writes a new one early too.
const TOKEN_EVERY: Duration = Duration::from_secs(30 * 60);

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
    /// Serves Entra, the machine's identity service and a key vault too, and TLS before all that identities
    /// open; certificates and tokens are put into this folder.
    #[arg(long, value_name = "FOLDER")]
    identities: Option<PathBuf>,
    /// Port of the identity service (HTTP) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8083, requires = "identities")]
    identity_port: u16,
    /// Port of Entra and the key vault (HTTPS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 8443, requires = "identities")]
    entra_port: u16,
    /// Port of Event Hubs and Service Bus (AMQP with TLS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 5671, requires = "identities")]
    amqp_tls_port: u16,
    /// Port of the blob containers (HTTPS) on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 10443, requires = "identities")]
    blob_tls_port: u16,
    /// A user-assigned identity of the machine, by its ARM id; may be repeated.
    #[arg(long = "user-assigned", value_name = "ID", requires = "identities")]
    user_assigned: Vec<String>,
    /// The PEM file of a certificate that the application may log in with; may be repeated.
    #[arg(long = "certificate", value_name = "FILE", requires = "identities")]
    certificates: Vec<PathBuf>,
    /// A secret of the key vault; may be repeated.
    #[arg(long = "secret", value_name = "NAME=VALUE", requires = "identities")]
    secrets: Vec<String>,
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
        if let Some(folder) = &self.identities {
            settings.identity = Some(self.identity()?);
            settings.tls = Some(TlsPorts {
                folder: folder.clone(),
                amqp_port: self.amqp_tls_port,
                blob_port: self.blob_tls_port,
                identity_port: self.entra_port,
            });
        }
        Ok(settings)
    }

    /// Whom the identity service knows. Blocks on the file system.
    fn identity(&self) -> anyhow::Result<IdentitySettings> {
        let mut identity = scene::identity_settings();
        identity.port = self.identity_port;
        for (index, id) in self.user_assigned.iter().enumerate() {
            identity.managed.push(scene::user_assigned(index, id));
        }
        for file in &self.certificates {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            let read: Vec<_> = read.map_err(|error| {
                anyhow::anyhow!(
                    "--certificate {}: no certificate in PEM: {error}",
                    file.display()
                )
            })?;
            for application in &mut identity.applications {
                let all = read.iter().map(|certificate| certificate.to_vec());
                application.certificates.extend(all);
            }
        }
        for secret in &self.secrets {
            let (name, value) = secret
                .split_once('=')
                .context("--secret: must be a name, =, and a value")?;
            let secret = (name.to_owned(), Secret::from(value));
            identity.vault_secrets.push(secret);
        }
        Ok(identity)
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    logging::install(LogFormat::Pretty, "warn")?;
    let mut stop = StopSignals::new()?;
    let settings = options.settings()?;
    let emulator = Emulator::start(settings.clone(), Arc::new(SystemClock)).await?;
    let token_file = match &options.identities {
        Some(folder) => Some(scene::write_token(&emulator, folder)?),
        None => None,
    };
    if options.json {
        output::line(scene::addresses_json(&emulator, &settings))?;
    } else {
        output::print(scene::addresses(&emulator, &settings))?;
        if let Some(file) = &token_file {
            output::print(scene::variables(&emulator, &settings, file))?;
        }
        output::line("\nCtrl-C stops it; what it holds is gone then.")?;
    }
    tokio::select! {
        () = stop.wait() => {}
        () = keep_token(&emulator, options.identities.as_deref()) => {}
    }
    emulator.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Writes a new token of the service account in turns; never ends.
async fn keep_token(emulator: &Emulator, folder: Option<&Path>) {
    let Some(folder) = folder else {
        return pending().await;
    };
    loop {
        tokio::time::sleep(TOKEN_EVERY).await;
        if let Err(error) = scene::write_token(emulator, folder) {
            tracing::warn!(error = %error, "the token of the service account could not be renewed");
        }
    }
}
