//! Names of streams, subjects and keys of a cluster.

use std::fmt;
use std::sync::Arc;
use twinroute_journal::{ClusterKey, ClusterKeyKind, PartitionNumber, RecordSubject, RouterName};

/// The name of a cluster: 1 to 32 lower-case letters, digits and hyphens, neither first nor last a hyphen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// Checks a name; none when it is not one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        // What can stand in a router's name can stand in a subject and in a stream's name.
        RouterName::new(name).ok()?;
        Some(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The stream of a partition.
    pub(crate) fn partition_stream(&self, partition: PartitionNumber) -> String {
        format!("TR_{self}_P{partition}")
    }

    /// The subject of records of a partition.
    pub(crate) fn record_subject(
        &self,
        partition: PartitionNumber,
        subject: RecordSubject,
    ) -> String {
        format!("tr.{self}.p{partition}.{}", subject.as_str())
    }

    /// The bucket of entries of a kind, as people name it.
    pub(crate) fn bucket(&self, kind: ClusterKeyKind) -> String {
        match kind {
            ClusterKeyKind::Member | ClusterKeyKind::Lease => format!("TR_{self}_LEASE"),
            ClusterKeyKind::Checkpoint => format!("TR_{self}_CKPT"),
        }
    }

    /// The stream under that bucket.
    pub(crate) fn bucket_stream(&self, kind: ClusterKeyKind) -> String {
        format!("KV_{}", self.bucket(kind))
    }

    /// The subject of an entry.
    pub(crate) fn entry_subject(&self, key: &ClusterKey) -> String {
        format!("$KV.{}.{key}", self.bucket(key.kind()))
    }

    /// The subject of the entry that says what the cluster was made with: beside members and leases.
    pub(crate) fn charter_subject(&self) -> String {
        format!("$KV.{}.cluster", self.bucket(ClusterKeyKind::Lease))
    }

    /// A filter for the subjects of all entries of a kind.
    pub(crate) fn entries_filter(&self, kind: ClusterKeyKind) -> String {
        let keys = match kind {
            ClusterKeyKind::Member => "member.*",
            ClusterKeyKind::Lease => "part.*",
            ClusterKeyKind::Checkpoint => "*",
        };
        format!("$KV.{}.{keys}", self.bucket(kind))
    }

    /// The key of an entry by its subject; none where another wrote something there.
    pub(crate) fn entry_key(&self, kind: ClusterKeyKind, subject: &str) -> Option<ClusterKey> {
        let bucket = format!("$KV.{}.", self.bucket(kind));
        let key = subject.strip_prefix(&bucket)?;
        match kind {
            ClusterKeyKind::Member => {
                let router = RouterName::new(key.strip_prefix("member.")?).ok()?;
                Some(ClusterKey::Member(router))
            }
            ClusterKeyKind::Lease => {
                Some(ClusterKey::Lease(partition(key.strip_prefix("part.")?)?))
            }
            ClusterKeyKind::Checkpoint => {
                Some(ClusterKey::Checkpoint(partition(key.strip_prefix('p')?)?))
            }
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn partition(digits: &str) -> Option<PartitionNumber> {
    let partition = PartitionNumber::new(digits.parse().ok()?)?;
    (partition.to_string() == digits).then_some(partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_stands_in_the_log() {
        let cluster = ClusterName::new("west-1").unwrap();
        let partition = PartitionNumber::new(7).unwrap();
        assert_eq!(cluster.partition_stream(partition), "TR_west-1_P07");
        let subject = cluster.record_subject(partition, RecordSubject::Settlements);
        assert_eq!(subject, "tr.west-1.p07.s");
        let member = ClusterKey::Member(RouterName::new("a").unwrap());
        for key in [
            member,
            ClusterKey::Lease(partition),
            ClusterKey::Checkpoint(partition),
        ] {
            let subject = cluster.entry_subject(&key);
            assert_eq!(cluster.entry_key(key.kind(), &subject), Some(key));
        }
        assert_eq!(
            cluster.bucket_stream(ClusterKeyKind::Lease),
            "KV_TR_west-1_LEASE"
        );
    }

    #[test]
    fn what_another_wrote_into_a_bucket_is_no_entry() {
        let cluster = ClusterName::new("c").unwrap();
        for subject in [
            "$KV.TR_c_LEASE.part.7",
            "$KV.TR_c_LEASE.part.16",
            "$KV.TR_d_LEASE.part.07",
            "$KV.TR_c_LEASE.cluster",
        ] {
            assert_eq!(
                cluster.entry_key(ClusterKeyKind::Lease, subject),
                None,
                "{subject}"
            );
        }
        for wrong in ["", "C", "a.b", "a*", "-a", "a b"] {
            assert_eq!(ClusterName::new(wrong), None, "{wrong}");
        }
    }
}
