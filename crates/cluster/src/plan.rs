//! What a router does about each partition: a function of what it sees, so that all of them come to what fits together.

use crate::lease::{LeaseRecord, LeaseTimes, WatchedRevision};
use crate::member::rendezvous_owner;
use std::collections::BTreeSet;
use tokio::time::Instant;
use twinroute_journal::{PartitionNumber, RouterName};

/// What is seen of a partition's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Its revision, and since when.
    pub watched: WatchedRevision,
    /// What it says; none where it is not there or cannot be read.
    pub record: Option<LeaseRecord>,
}

/// What to do about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionStep {
    /// Nothing, or nothing yet.
    Wait,
    /// Claim it.
    Claim,
    /// Hand it over: another member is to own it.
    HandOver,
}

/// What a router sees of its cluster.
#[derive(Clone, Debug)]
pub struct ClusterView<'a> {
    /// The router.
    pub this: &'a RouterName,
    /// Those that are there; itself only while it takes partitions.
    pub members: &'a BTreeSet<RouterName>,
    /// How long leases are.
    pub times: LeaseTimes,
    /// As of when.
    pub now: Instant,
}

/// What a router does about a partition.
///
/// `is_owned` says whether it owns the partition or is about to. A lease that cannot be read is waited for like any other.
#[must_use]
pub fn partition_step(
    view: &ClusterView<'_>,
    partition: PartitionNumber,
    lease: &LeaseView,
    is_owned: bool,
) -> PartitionStep {
    let (this, times, now) = (view.this, view.times, view.now);
    let wanted = rendezvous_owner(partition, view.members);
    if is_owned {
        return match wanted.is_some_and(|wanted| wanted != this) {
            true => PartitionStep::HandOver,
            false => PartitionStep::Wait,
        };
    }
    if wanted != Some(this) {
        return PartitionStep::Wait;
    }
    let is_free = match &lease.record {
        Some(record) if record.is_released => true,
        // It may have ended just now, or never have been.
        None if lease.watched.revision == 0 => now >= lease.watched.since + times.margin,
        _ => now >= times.claim_from(lease.watched.since),
    };
    match is_free {
        true => PartitionStep::Claim,
        false => PartitionStep::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_partition_is_claimed_when_its_lease_is_over_and_handed_over_when_another_is_to_have_it() {
        let partition = PartitionNumber::new(0).unwrap();
        let names: BTreeSet<_> = ["a", "b", "c"]
            .map(|one| RouterName::new(one).unwrap())
            .into();
        let wanted = rendezvous_owner(partition, &names).unwrap();
        let other = names.iter().find(|name| *name != wanted).unwrap();
        let start = Instant::now();
        let lease = |revision, is_released| LeaseView {
            watched: WatchedRevision {
                revision,
                since: start,
            },
            record: (revision > 0).then(|| LeaseRecord {
                owner: other.clone(),
                incarnation: 1,
                epoch: 1,
                is_released,
            }),
        };
        let step = |this: &RouterName, lease: &LeaseView, is_owned, millis| {
            let now = start + Duration::from_millis(millis);
            let view = ClusterView {
                this,
                members: &names,
                times: LeaseTimes::default(),
                now,
            };
            partition_step(&view, partition, lease, is_owned)
        };
        use PartitionStep::{Claim, HandOver, Wait};
        for (this, revision, is_released, is_owned, millis, expect) in [
            (wanted, 7, false, false, 11_999, Wait),
            (wanted, 7, false, false, 12_000, Claim),
            (wanted, 7, true, false, 0, Claim),
            (wanted, 0, false, false, 1_999, Wait),
            (wanted, 0, false, false, 2_000, Claim),
            (other, 7, false, false, 60_000, Wait),
            (other, 7, true, false, 60_000, Wait),
            (other, 7, false, true, 0, HandOver),
            (wanted, 7, false, true, 60_000, Wait),
        ] {
            let found = step(this, &lease(revision, is_released), is_owned, millis);
            assert_eq!(
                found, expect,
                "{this} {revision} {is_released} {is_owned} {millis}"
            );
        }
        // Alone against nobody that is known: what is owned is kept.
        let nobody = BTreeSet::new();
        let view = ClusterView {
            this: other,
            members: &nobody,
            times: LeaseTimes::default(),
            now: start,
        };
        assert_eq!(
            partition_step(&view, partition, &lease(7, false), true),
            Wait
        );
    }
}
