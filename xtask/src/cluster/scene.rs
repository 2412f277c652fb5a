//! Three nodes, a runtime for their clients, and ways to open a log on them.

use super::nodes::{self, NatsNode, PASSWORD};
use anyhow::{Context as _, bail};
use async_nats::jetstream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};
use twinroute_jetstream::{
    ClusterName, JetStreamLog, JetStreamSettings, LogAddress, LogCredentials, PartitionLimits,
};
use twinroute_journal::{ClusterLogError, RouterName};
use twinroute_model::secret::Secret;

/// Enough for several appenders, and quickly made.
pub(super) const PARTITIONS: u8 = 4;

/// The smallest that there is, so that one can be filled.
const PARTITION_BYTES_MAX: u64 = 16 << 20;

/// Nodes find each other, elect, and place what is asked for.
const READY_MAX: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

pub(super) struct ClusterScene {
    // Before the nodes: clients end first.
    pub(super) runtime: Runtime,
    pub(super) nodes: Vec<NatsNode>,
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
}

impl ClusterScene {
    pub(super) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            nodes: nodes::cluster(program, folder)?,
            program: program.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Those of a cluster of that name, as the user who may all.
    pub(super) fn settings(&self, cluster: &str) -> JetStreamSettings {
        let urls = self
            .nodes
            .iter()
            .map(|node| format!("nats://{}", node.address));
        let urls = urls.map(|url| LogAddress::new(&url).expect("an address of loopback"));
        let mut settings = JetStreamSettings::new(
            urls.collect(),
            ClusterName::new(cluster).expect("names of clusters here are right"),
            RouterName::new("check").expect("a right name"),
        );
        settings.credentials = password("router", PASSWORD);
        settings.limits = PartitionLimits {
            partitions: PARTITIONS,
            replicas: 3,
            partition_bytes_max: PARTITION_BYTES_MAX,
        };
        settings
    }

    /// The same as another user.
    pub(super) fn as_user(&self, user: &str, cluster: &str) -> JetStreamSettings {
        JetStreamSettings {
            credentials: password(user, PASSWORD),
            ..self.settings(cluster)
        }
    }

    /// Opens a log, as a router does: again while the servers are not ready.
    pub(super) fn open(&self, settings: &JetStreamSettings) -> anyhow::Result<JetStreamLog> {
        Ok(self.runtime.block_on(opened(settings))?)
    }

    /// Why a log is refused; that it is not is a failure.
    pub(super) fn refused(&self, settings: &JetStreamSettings) -> anyhow::Result<String> {
        match self.runtime.block_on(opened(settings)) {
            Err(ClusterLogError::Refused(reason)) => Ok(reason.to_string()),
            Err(other) => bail!("not refused, but {other}"),
            Ok(_) => bail!("not refused"),
        }
    }

    /// JetStream itself, for what no router does.
    pub(super) async fn jetstream(&self, user: &str) -> anyhow::Result<jetstream::Context> {
        let urls = self
            .nodes
            .iter()
            .map(|node| format!("nats://{}", node.address).parse());
        let urls: Vec<async_nats::ServerAddr> = urls.collect::<Result<_, _>>()?;
        let options = async_nats::ConnectOptions::with_user_and_password(
            user.to_owned(),
            PASSWORD.to_owned(),
        );
        Ok(jetstream::new(options.connect(urls).await?))
    }

    /// The index of the node that leads a stream, once every node of it is up to date.
    pub(super) fn leader(&self, stream: &str) -> anyhow::Result<usize> {
        let name = self.runtime.block_on(async {
            let jetstream = self.jetstream("router").await?;
            let deadline = Instant::now() + READY_MAX;
            loop {
                let info = jetstream.get_stream(stream).await;
                let cluster = info
                    .ok()
                    .and_then(|stream| stream.cached_info().cluster.clone());
                if let Some(cluster) = cluster
                    && let Some(leader) = cluster.leader
                    && cluster.replicas.len() + 1 == self.nodes.len()
                    && cluster
                        .replicas
                        .iter()
                        .all(|peer| peer.current && !peer.offline)
                {
                    return Ok(leader);
                }
                if Instant::now() > deadline {
                    bail!("the nodes of stream {stream} are not all up to date");
                }
                sleep(AGAIN).await;
            }
        })?;
        let place = self.nodes.iter().position(|node| node.name == name);
        place.with_context(|| format!("{name} is none of our nodes"))
    }

    pub(super) fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].start(&self.program)
    }

    pub(super) fn show_logs(&self) {
        for node in &self.nodes {
            println!("  {}:\n{}", node.name, node.log());
        }
    }
}

pub(super) fn password(user: &str, password: &str) -> LogCredentials {
    LogCredentials::Password {
        user: user.to_owned(),
        password: Secret::new(password),
    }
}

async fn opened(settings: &JetStreamSettings) -> Result<JetStreamLog, ClusterLogError> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        match JetStreamLog::open(settings).await {
            Err(ClusterLogError::Unavailable(_)) if Instant::now() < deadline => sleep(AGAIN).await,
            opened => return opened,
        }
    }
}
