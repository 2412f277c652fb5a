//! A router's place in its cluster: says that it is there, sees who else is, claims and hands over partitions.

use crate::acknowledged::{AcknowledgedGroup, AcknowledgedView, RememberedGroups};
use crate::calls::expected_of;
use crate::lease::{LeaseRecord, WatchedRevision};
use crate::member::{MemberRecord, MemberWatch};
use crate::membership_view::{MembershipView, PartitionView};
use crate::owner::{OwnerEnd, PartitionNews, PartitionTask};
use crate::plan::{ClusterView, LeaseView, PartitionStep, partition_step};
use crate::planted::PlantedFault;
use crate::producer::ClusterProducer;
use crate::settings::ClusterContext;
use crate::signal::raised;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use twinroute_journal::{
    ClusterKey, ClusterKeyKind, ClusterLogError, ExpectedRevision, PartitionNumber, RouterName,
};

/// The layout of records that this program writes.
const VERSION: u64 = 1;

/// A router that leaves says so at most so often: what it waits for is its own end.
const LEAVE_TRIES: u32 = 3;

/// Why a router is no member of its cluster any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipEnd {
    /// It was asked to stop, and has handed over all it owned.
    #[error("it has left the cluster")]
    Left,
    /// Another router has started under its name.
    #[error(
        "another router has started under the name {0}; give each router of a cluster a name of its own"
    )]
    NameTaken(RouterName),
}

/// A router as a member of its cluster.
pub struct ClusterMember {
    context: ClusterContext,
    producer: ClusterProducer,
    news: mpsc::UnboundedSender<PartitionNews>,
    view: watch::Sender<MembershipView>,
    members: MemberWatch,
    leases: BTreeMap<PartitionNumber, LeaseView>,
    owned: BTreeMap<PartitionNumber, watch::Sender<bool>>,
    /// Its own entry, once it is written.
    revision: Option<u64>,
    beat: u64,
    /// What this life was acknowledged, as the entry says; and the one before it.
    remembered: Vec<AcknowledgedGroup>,
    remembered_before: Vec<AcknowledgedGroup>,
    /// What all routers were, for owners.
    acknowledged: watch::Sender<RememberedGroups>,
    is_stopping: bool,
}

impl ClusterMember {
    /// A router that is no member yet. Lanes hear of partitions from `news`; what it sees of the cluster goes to `view`.
    #[must_use]
    pub fn new(
        context: ClusterContext,
        producer: ClusterProducer,
        news: mpsc::UnboundedSender<PartitionNews>,
        view: watch::Sender<MembershipView>,
    ) -> Self {
        Self {
            context,
            producer,
            news,
            view,
            members: MemberWatch::default(),
            leases: BTreeMap::new(),
            owned: BTreeMap::new(),
            revision: None,
            beat: 0,
            remembered: Vec::new(),
            remembered_before: Vec::new(),
            acknowledged: watch::Sender::new(RememberedGroups::from([])),
            is_stopping: false,
        }
    }

    /// Is a member until `stop` turns true; then hands over what it owns and leaves. Dropping it ends that as a crash
    /// would, once its tasks are ended too.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> MembershipEnd {
        // Without a bound of its own: each partition has one task, which ends once.
        let (ends, mut ended) = mpsc::unbounded_channel();
        let mut poll_at = Instant::now();
        let mut beat_at = Instant::now();
        loop {
            if self.is_stopping && self.owned.is_empty() {
                self.leave().await;
                return MembershipEnd::Left;
            }
            let is_stopping = self.is_stopping;
            tokio::select! {
                biased;
                () = raised(&mut stop), if !is_stopping => {
                    self.is_stopping = true;
                    self.hand_over_all();
                }
                Some((partition, end)) = ended.recv() => self.task_ended(partition, &end),
                () = sleep_until(beat_at.min(poll_at)) => {
                    let now = Instant::now();
                    let is_poll = now < beat_at;
                    if is_poll {
                        poll_at = now + self.context.times.poll;
                        self.look(&ends).await;
                    }
                    if !is_poll || self.has_more_to_remember() {
                        beat_at = now + self.context.times.lease.lease / 4;
                        if let Some(end) = self.say_it_is_there(false).await {
                            return end;
                        }
                    }
                }
            }
        }
    }

    fn task_ended(&mut self, partition: PartitionNumber, end: &OwnerEnd) {
        self.owned.remove(&partition);
        let router = &self.context.origin.router;
        match end {
            OwnerEnd::Log(error) => {
                tracing::error!(%router, %partition, %error, "a partition is not owned: the log refuses");
            }
            OwnerEnd::HandedOver | OwnerEnd::Lost | OwnerEnd::Damaged(_) => {
                tracing::info!(%router, %partition, "a partition is owned no longer");
            }
        }
    }

    /// Whether it was acknowledged what its entry does not say yet.
    fn has_more_to_remember(&self) -> bool {
        let planted = self.context.times.planted;
        !planted.has(PlantedFault::AcknowledgedForgotten)
            && self.producer.acknowledged() != self.remembered
    }

    /// Writes its own entry again. Gives why it is no member any more, if it is not.
    async fn say_it_is_there(&mut self, has_left: bool) -> Option<MembershipEnd> {
        self.beat += 1;
        let origin = &self.context.origin;
        let key = ClusterKey::Member(origin.router.clone());
        let expected = match self.revision {
            Some(revision) => ExpectedRevision::Revision(revision),
            // What is there is of a life before, or of another router of this name, which notices.
            None => match self.context.call(self.context.log.entry(&key)).await {
                Ok(entry) => {
                    let member = entry.as_ref();
                    let member = member.and_then(|entry| MemberRecord::decode(&entry.value));
                    if let Some(member) = member {
                        if member.incarnation > origin.incarnation {
                            return Some(MembershipEnd::NameTaken(origin.router.clone()));
                        }
                        self.remembered_before = member.acknowledged_before(origin.incarnation);
                    }
                    expected_of(entry.as_ref())
                }
                Err(_) => return None,
            },
        };
        let remembered = match self.context.times.planted {
            planted if planted.has(PlantedFault::AcknowledgedForgotten) => Vec::new(),
            _ => self.producer.acknowledged(),
        };
        let record = MemberRecord {
            router: origin.router.clone(),
            incarnation: origin.incarnation,
            version: VERSION,
            beat: self.beat,
            has_left,
            acknowledged: [&self.remembered_before[..], &remembered].concat(),
        };
        let write = self
            .context
            .log
            .write_entry(&key, record.encode(), expected);
        self.revision = self.context.call(write).await.ok();
        self.remembered = match self.revision {
            Some(_) => remembered,
            None => Vec::new(),
        };
        None
    }

    /// Looks at members and leases, and does what follows. A look that is not answered is the next one's to do.
    async fn look(&mut self, ends: &mpsc::UnboundedSender<(PartitionNumber, OwnerEnd)>) {
        let Ok(leases) = self.look_at_entries().await else {
            return;
        };
        let now = Instant::now();
        let times = self.context.times.claim_times();
        let mut members = self.members.live(times.lease, now);
        if self.is_stopping {
            members.remove(&self.context.origin.router);
        }
        for partition in PartitionNumber::all(self.context.facts.partitions) {
            let revision = leases.get(&partition).map_or(0, |(revision, _)| *revision);
            let before = self.leases.get(&partition).map(|view| view.watched);
            let lease = LeaseView {
                watched: WatchedRevision::seen(before, revision, now),
                record: leases
                    .get(&partition)
                    .and_then(|(_, record)| record.clone()),
            };
            let step = self.step(partition, &lease, &members, now);
            self.leases.insert(partition, lease);
            match step {
                PartitionStep::Wait => {}
                PartitionStep::Claim => self.claim(partition, revision, ends.clone()),
                PartitionStep::HandOver => {
                    if let Some(owned) = self.owned.get(&partition) {
                        owned.send_replace(true);
                    }
                }
            }
        }
        self.show(members);
    }

    /// Shows what was seen, if it is not what was seen before.
    fn show(&self, members: BTreeSet<RouterName>) {
        let partitions = self.leases.iter().map(|(partition, lease)| {
            let held = lease.record.as_ref().filter(|record| !record.is_released);
            // A claim says 0: its epoch is its revision.
            let epoch = |record: &LeaseRecord| match record.epoch {
                0 => lease.watched.revision,
                epoch => epoch,
            };
            PartitionView {
                partition: *partition,
                owner: held.map(|record| record.owner.clone()),
                epoch: held.map_or(0, epoch),
            }
        });
        let seen = MembershipView {
            members: members.into_iter().collect(),
            partitions: partitions.collect(),
        };
        self.view.send_if_modified(|view| {
            let is_new = *view != seen;
            *view = seen;
            is_new
        });
    }

    fn step(
        &self,
        partition: PartitionNumber,
        lease: &LeaseView,
        members: &BTreeSet<RouterName>,
        now: Instant,
    ) -> PartitionStep {
        let view = ClusterView {
            this: &self.context.origin.router,
            members,
            times: self.context.times.claim_times(),
            now,
        };
        partition_step(&view, partition, lease, self.owned.contains_key(&partition))
    }

    async fn look_at_entries(
        &mut self,
    ) -> Result<BTreeMap<PartitionNumber, (u64, Option<LeaseRecord>)>, ClusterLogError> {
        let log = &self.context.log;
        let members = self
            .context
            .call(log.entries(ClusterKeyKind::Member))
            .await?;
        let mut acknowledged = Vec::new();
        let mut there = Vec::new();
        for (key, entry) in &members {
            let ClusterKey::Member(router) = key else {
                continue;
            };
            let member = MemberRecord::decode(&entry.value);
            if !member.as_ref().is_some_and(|member| member.has_left) {
                there.push((router, entry));
            }
            let groups = member.into_iter().flat_map(|member| member.acknowledged);
            acknowledged.extend(groups.map(|group| (router.clone(), group)));
        }
        self.members.look(there.into_iter(), Instant::now());
        let router = &self.context.origin.router;
        let own = self.producer.acknowledged().into_iter();
        acknowledged.extend(own.map(|group| (router.clone(), group)));
        self.acknowledged.send_replace(acknowledged.into());
        let leases = self
            .context
            .call(log.entries(ClusterKeyKind::Lease))
            .await?;
        let leases = leases.into_iter().filter_map(|(key, entry)| match key {
            ClusterKey::Lease(partition) => {
                let record = LeaseRecord::decode(&entry.value);
                Some((partition, (entry.revision, record)))
            }
            _ => None,
        });
        Ok(leases.collect())
    }

    fn claim(
        &mut self,
        partition: PartitionNumber,
        revision: u64,
        ends: mpsc::UnboundedSender<(PartitionNumber, OwnerEnd)>,
    ) {
        let (sender, hand_over) = watch::channel(false);
        self.owned.insert(partition, sender);
        let task = PartitionTask {
            context: self.context.clone(),
            partition,
            lease: match revision {
                0 => ExpectedRevision::Absent,
                revision => ExpectedRevision::Revision(revision),
            },
            acknowledged: AcknowledgedView(self.acknowledged.subscribe()),
            news: self.news.clone(),
            hand_over,
        };
        self.context.spawner.spawn(async move {
            let end = task.run().await;
            // The member may have ended before.
            drop(ends.send((partition, end)));
        });
    }

    fn hand_over_all(&self) {
        for owned in self.owned.values() {
            owned.send_replace(true);
        }
    }

    /// Says that it has left: at once to the others, and what it was acknowledged stays.
    async fn leave(&mut self) {
        for _ in 0..LEAVE_TRIES {
            self.say_it_is_there(true).await;
            if self.revision.is_some() {
                return;
            }
        }
        tracing::debug!("that this router has left is seen when its entry is old");
    }
}
