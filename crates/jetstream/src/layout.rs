//! What the streams of a cluster are made with, and how those that are found differ from it.

use crate::names::ClusterName;
use crate::settings::PartitionLimits;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use twinroute_journal::{ClusterKeyKind, PARTITIONS_MAX, PartitionNumber, RecordSubject};

/// A message id is known for so long: longer than any router goes on trying.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// The layout of streams, subjects and entries.
const FORMAT: u32 = 1;

/// Servers set this much aside. Leases and members are a few hundred bytes each; a checkpoint is one entry of at most 1 MiB.
const LEASE_BYTES_MAX: i64 = 16 << 20;
const CHECKPOINT_BYTES_MAX: i64 = 64 << 20;

/// Labels of a stream, which the tools of NATS show.
const CLUSTER_LABEL: &str = "twinroute-cluster";
const FORMAT_LABEL: &str = "twinroute-format";
const PARTITIONS_LABEL: &str = "twinroute-partitions";

/// What a cluster was made with: an entry, written when all its streams are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterCharter {
    pub(crate) format: u32,
    pub(crate) cluster: String,
    pub(crate) partitions: u8,
}

impl ClusterCharter {
    pub(crate) fn new(cluster: &ClusterName, limits: PartitionLimits) -> Self {
        Self {
            format: FORMAT,
            cluster: cluster.to_string(),
            partitions: limits.partitions,
        }
    }

    /// Why a router must not use a cluster with this charter.
    pub(crate) fn difference(&self, wanted: &Self) -> Option<String> {
        let cluster = &wanted.cluster;
        if self.format != wanted.format {
            return Some(format!(
                "cluster {cluster} was made in format {}, and this router knows {}; use routers of one version",
                self.format, wanted.format
            ));
        }
        if self.cluster != wanted.cluster {
            return Some(format!(
                "bucket TR_{cluster}_LEASE belongs to another cluster; choose another `name`"
            ));
        }
        (self.partitions != wanted.partitions).then(|| {
            format!(
                "cluster {cluster} was made with {} partitions, which stay; the configuration says {}",
                self.partitions, wanted.partitions
            )
        })
    }
}

/// Everything that a cluster has, as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct ClusterLayout {
    /// By the number of its partition.
    pub(crate) partitions: Vec<Config>,
    pub(crate) leases: Config,
    pub(crate) checkpoints: Config,
    pub(crate) charter: ClusterCharter,
    /// Streams that must not be there: of partitions that the cluster does not have.
    pub(crate) surplus: Vec<String>,
}

impl ClusterLayout {
    pub(crate) fn new(cluster: &ClusterName, limits: PartitionLimits) -> Self {
        let charter = ClusterCharter::new(cluster, limits);
        let partition = |number| partition_config(cluster, number, limits, &charter);
        let surplus = PartitionNumber::all(PARTITIONS_MAX)
            .skip(usize::from(limits.partitions))
            .map(|number| cluster.partition_stream(number));
        Self {
            partitions: PartitionNumber::all(limits.partitions)
                .map(partition)
                .collect(),
            leases: bucket_config(
                cluster,
                ClusterKeyKind::Lease,
                LEASE_BYTES_MAX,
                limits,
                &charter,
            ),
            checkpoints: bucket_config(
                cluster,
                ClusterKeyKind::Checkpoint,
                CHECKPOINT_BYTES_MAX,
                limits,
                &charter,
            ),
            surplus: surplus.collect(),
            charter,
        }
    }

    /// All streams, the buckets last.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Config> {
        let buckets = [&self.checkpoints, &self.leases];
        self.partitions.iter().chain(buckets)
    }
}

fn partition_config(
    cluster: &ClusterName,
    number: PartitionNumber,
    limits: PartitionLimits,
    charter: &ClusterCharter,
) -> Config {
    Config {
        name: cluster.partition_stream(number),
        description: Some(format!("twinroute cluster {cluster}, partition {number}")),
        subjects: [RecordSubject::Events, RecordSubject::Settlements]
            .map(|subject| cluster.record_subject(number, subject))
            .into(),
        max_bytes: i64::try_from(limits.partition_bytes_max).unwrap_or(i64::MAX),
        duplicate_window: DUPLICATE_WINDOW,
        ..common(limits, charter)
    }
}

/// The layout of a key-value bucket with one value a key, but for `deny_delete`: an entry is removed as the message that it
/// is, so nothing of it stays behind.
fn bucket_config(
    cluster: &ClusterName,
    kind: ClusterKeyKind,
    bytes_max: i64,
    limits: PartitionLimits,
    charter: &ClusterCharter,
) -> Config {
    Config {
        name: cluster.bucket_stream(kind),
        description: Some(format!("twinroute cluster {cluster}")),
        subjects: vec![format!("$KV.{}.>", cluster.bucket(kind))],
        max_bytes: bytes_max,
        max_messages_per_subject: 1,
        // Not longer than the default of the servers, which limits entries that vanish.
        duplicate_window: Duration::from_secs(120),
        allow_rollup: true,
        allow_message_ttl: true,
        ..common(limits, charter)
    }
}

fn common(limits: PartitionLimits, charter: &ClusterCharter) -> Config {
    let labels = [
        (CLUSTER_LABEL, charter.cluster.clone()),
        (FORMAT_LABEL, charter.format.to_string()),
        (PARTITIONS_LABEL, charter.partitions.to_string()),
    ];
    Config {
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: usize::from(limits.replicas),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        metadata: labels
            .map(|(label, value)| (label.to_owned(), value))
            .into(),
        ..Config::default()
    }
}

/// How a stream that is there differs from the one that is wanted, in what a cluster depends on; the first difference.
///
/// More replicas than asked for do no harm, nor does what only concerns space or tools.
pub(crate) fn stream_difference(found: &Config, wanted: &Config) -> Option<String> {
    let name = &wanted.name;
    let label = |config: &Config, label: &str| {
        config
            .metadata
            .get(label)
            .cloned()
            .unwrap_or_else(|| "none".to_owned())
    };
    if label(found, CLUSTER_LABEL) != label(wanted, CLUSTER_LABEL) {
        return Some(format!(
            "stream {name} is not of this cluster: its label {CLUSTER_LABEL} is {:?}; choose another `name`, or another account",
            label(found, CLUSTER_LABEL)
        ));
    }
    let found_values = compared_values(found);
    let wanted_values = compared_values(wanted);
    let differs = wanted_values
        .iter()
        .zip(&found_values)
        .find(|(wanted, found)| wanted != found);
    if let Some(((setting, wanted), (_, found))) = differs {
        return Some(format!(
            "stream {name} has {setting} {found}, and {wanted} is asked for; change the one or the other (`nats stream edit {name}`)"
        ));
    }
    (found.num_replicas < wanted.num_replicas).then(|| {
        format!(
            "stream {name} has replicas {}, and {} are asked for; `nats stream edit {name} --replicas {}`",
            found.num_replicas, wanted.num_replicas, wanted.num_replicas
        )
    })
}

/// What must be as it is wanted, with the names that NATS gives it.
fn compared_values(config: &Config) -> Vec<(&'static str, String)> {
    let none = |limit: i64| {
        if limit <= 0 {
            "none".to_owned()
        } else {
            limit.to_string()
        }
    };
    let label = |label: &str| config.metadata.get(label).cloned().unwrap_or_default();
    let is_present = |present: bool| if present { "set" } else { "none" }.to_owned();
    let word = |word: &str| word.to_owned();
    let retention = match config.retention {
        RetentionPolicy::Limits => "limits",
        RetentionPolicy::Interest => "interest",
        RetentionPolicy::WorkQueue => "workqueue",
    };
    let discard = match config.discard {
        DiscardPolicy::New => "new",
        DiscardPolicy::Old => "old",
    };
    let storage = match config.storage {
        StorageType::File => "file",
        StorageType::Memory => "memory",
    };
    let persistence = match config.persist_mode {
        None | Some(PersistenceMode::Default) => "default",
        Some(PersistenceMode::Async) => "async",
    };
    let has_sources = config
        .sources
        .as_ref()
        .is_some_and(|sources| !sources.is_empty());
    vec![
        (FORMAT_LABEL, label(FORMAT_LABEL)),
        (PARTITIONS_LABEL, label(PARTITIONS_LABEL)),
        ("subjects", config.subjects.join(", ")),
        ("retention", word(retention)),
        ("discard", word(discard)),
        ("storage", word(storage)),
        ("persist_mode", word(persistence)),
        ("max_bytes", none(config.max_bytes)),
        ("max_msgs", none(config.max_messages)),
        (
            "max_msgs_per_subject",
            none(config.max_messages_per_subject),
        ),
        ("max_msg_size", none(config.max_message_size.into())),
        ("max_age", format!("{} s", config.max_age.as_secs())),
        (
            "duplicate_window",
            format!("{} s", config.duplicate_window.as_secs()),
        ),
        (
            "discard_new_per_subject",
            config.discard_new_per_subject.to_string(),
        ),
        ("no_ack", config.no_ack.to_string()),
        ("sealed", config.sealed.to_string()),
        ("deny_delete", config.deny_delete.to_string()),
        ("deny_purge", config.deny_purge.to_string()),
        ("allow_msg_ttl", config.allow_message_ttl.to_string()),
        ("mirror", is_present(config.mirror.is_some())),
        ("sources", is_present(has_sources)),
        (
            "subject_transform",
            is_present(config.subject_transform.is_some()),
        ),
    ]
}

/// What of a cluster is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundStreams {
    /// By name: how it is made and the sequence of its last record.
    pub(crate) streams: HashMap<String, (Config, u64)>,
    pub(crate) charter: Option<ClusterCharter>,
}

/// Which streams are to be made, in this order, so that the cluster is as it is wanted.
///
/// # Errors
/// Why it must not be used: the first reason, with the stream's name and what to do. Then nothing is to be made.
pub(crate) fn missing_streams<'a>(
    found: &FoundStreams,
    wanted: &'a ClusterLayout,
) -> Result<Vec<&'a Config>, String> {
    let cluster = &wanted.charter.cluster;
    if let Some(difference) = found
        .charter
        .as_ref()
        .and_then(|charter| charter.difference(&wanted.charter))
    {
        return Err(difference);
    }
    for config in wanted.streams() {
        let stream = found.streams.get(&config.name);
        if let Some(difference) = stream.and_then(|(found, _)| stream_difference(found, config)) {
            return Err(difference);
        }
    }
    if let Some(surplus) = wanted
        .surplus
        .iter()
        .find(|name| found.streams.contains_key(*name))
    {
        return Err(format!(
            "stream {surplus} is there, and cluster {cluster} has only {} partitions by the configuration; set `partitions` to what it was made with",
            wanted.charter.partitions
        ));
    }
    let missing: Vec<_> = wanted
        .streams()
        .filter(|config| !found.streams.contains_key(&config.name))
        .collect();
    // Checkpoints can be folded again from records; records and epochs cannot.
    let is_lost = |config: &&&Config| config.name != wanted.checkpoints.name;
    let has_records = wanted.partitions.iter().find(|config| {
        found
            .streams
            .get(&config.name)
            .is_some_and(|(_, last)| *last > 0)
    });
    match (missing.iter().find(is_lost), &found.charter, has_records) {
        (Some(lost), Some(_), _) => Err(format!(
            "stream {} of cluster {cluster} is not there, though the cluster was made with it; restore it from a backup",
            lost.name
        )),
        (Some(lost), None, Some(records)) => Err(format!(
            "stream {} of cluster {cluster} is not there, though {} holds records; restore it from a backup",
            lost.name, records.name
        )),
        _ => Ok(missing),
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
