//! Opens the log that several routers share, where one is configured.

use crate::cli::exit;
use crate::config::LoadedConfig;
use anyhow::{Context as _, anyhow};
use std::path::PathBuf;
use std::sync::Arc;
use twinroute_files::text_file::read_secret;
use twinroute_jetstream::{
    ClusterName, JetStreamLog, JetStreamSettings, LogAddress, LogCredentials, PartitionLimits,
};
use twinroute_journal::RouterName;
use twinroute_model::secret::Secret;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::accept::AckLevel;
use twinroute_router::cluster_journal::{ClusterJournal, ClusterSettings};

/// A file of credentials has some kilobytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What the seed of a user's nkey begins with.
const USER_SEED: &str = "SU";

/// Opens the log, and refuses what does not fit. None where the journal is shared with nobody.
///
/// # Errors
/// What keeps it from being used, with what to do about it.
pub(crate) async fn open(
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
) -> anyhow::Result<Option<ClusterJournal>> {
    let config = &loaded.config.cluster;
    if !config.is_shared() {
        return Ok(None);
    }
    let settings = log_settings(loaded, outgoing)?;
    let log = JetStreamLog::open(&settings).await;
    let log = log.context("[cluster]: the log cannot be used")?;
    let mut own = ClusterSettings::new(settings.router);
    own.lease = config.lease;
    own.memory_bytes_max = loaded.config.journal.memory_bytes_max.as_u64();
    let limits = settings.limits;
    own.bytes_max = limits.partition_bytes_max * u64::from(limits.partitions);
    let journal = ClusterJournal::open(Arc::new(log), own).await;
    let journal = journal.context("[cluster]: the log cannot be used")?;
    match journal.durable() {
        Err(reason) if loaded.config.ingress.ack == Some(AckLevel::Durable) => {
            return Err(anyhow!(
                "[ingress]: ack = \"durable\" is not available: {reason}"
            ));
        }
        Err(reason) => tracing::warn!(
            reason,
            "events of the shared log are replicated, not durable"
        ),
        Ok(()) => {}
    }
    tracing::info!(
        cluster = config.name,
        router = config.router,
        "the shared log is open"
    );
    Ok(Some(journal))
}

fn log_settings(
    loaded: &LoadedConfig,
    outgoing: &OutgoingConnections,
) -> anyhow::Result<JetStreamSettings> {
    let config = &loaded.config.cluster;
    let urls = config.urls.iter().map(|url| LogAddress::new(url));
    let urls = urls.collect::<Result<Vec<_>, _>>();
    let name = ClusterName::new(&config.name).context("[cluster]: name cannot be used")?;
    let router = RouterName::new(&config.router).context("[cluster]: router")?;
    let mut settings = JetStreamSettings::new(urls.context("[cluster]: urls")?, name, router);
    settings.credentials = credentials(loaded)?;
    let is_encrypted = config
        .urls
        .iter()
        .any(|url| url.trim().starts_with("tls://"));
    settings.tls = is_encrypted.then(|| rustls::ClientConfig::clone(outgoing.tls()));
    settings.limits = PartitionLimits {
        partitions: config.partitions,
        replicas: config.replicas,
        partition_bytes_max: config.partition_bytes_max.as_u64(),
    };
    Ok(settings)
}

fn credentials(loaded: &LoadedConfig) -> anyhow::Result<LogCredentials> {
    let config = &loaded.config.cluster;
    let read = |what: &'static str, path: &PathBuf| -> anyhow::Result<Secret> {
        let path = loaded.path(path);
        let secret = read_secret(what, &path, SECRET_BYTES_MAX);
        secret.map_err(|error| exit::about_files(format!("[cluster]: {error}"), [&*path]))
    };
    if !config.user.is_empty() {
        return Ok(LogCredentials::Password {
            user: config.user.clone(),
            password: read("password_file", &config.password_file)?,
        });
    }
    if config.credentials_file.as_os_str().is_empty() {
        return Ok(LogCredentials::Anonymous);
    }
    let text = read("credentials_file", &config.credentials_file)?;
    Ok(match text.expose().starts_with(USER_SEED) {
        true => LogCredentials::NkeySeed(text),
        false => LogCredentials::CredentialsFile(text),
    })
}
