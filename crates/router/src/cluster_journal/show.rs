//! What a journal over a shared log shows of itself and its cluster.

use super::{ClusterJournal, lock};
use crate::status::{ClusterMemberStatus, ClusterStatus, PartitionBacklog, PartitionStatus};
use twinroute_cluster::PartitionView;

impl ClusterJournal {
    /// What this router sees of its cluster.
    pub(crate) fn status(&self) -> ClusterStatus {
        let view = self.view();
        let owns = |name: &str| {
            let partitions = view.partitions.iter();
            let owned =
                partitions.filter(|one| one.owner.as_ref().is_some_and(|own| own.as_str() == name));
            owned.count()
        };
        let member = |name: &str| ClusterMemberStatus {
            name: name.to_owned(),
            is_this: name == self.router().as_str(),
            partitions: owns(name),
        };
        let silent = self.0.context.health.silent_for();
        ClusterStatus {
            router: self.router().to_string(),
            durable: self.durable().is_ok(),
            fault: self.fault().unwrap_or_default(),
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
            members: view
                .members
                .iter()
                .map(|one| member(one.as_str()))
                .collect(),
            partitions: view
                .partitions
                .iter()
                .map(|one| self.partition(one))
                .collect(),
        }
    }

    fn partition(&self, view: &PartitionView) -> PartitionStatus {
        let held = self.owned().held_of(view.partition);
        let damage = lock(&self.0.quarantined)
            .get(&view.partition)
            .map(ToString::to_string);
        PartitionStatus {
            partition: view.partition.get(),
            owner: view
                .owner
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            epoch: view.epoch,
            backlog: held.map(|held| PartitionBacklog {
                events: held.events,
                bytes: held.bytes,
            }),
            damage: damage.unwrap_or_default(),
        }
    }
}
