//! The owner of a partition: folds its log, feeds lanes, records what became of deliveries, hands over.

mod end;
mod feed;
mod opening;
mod recorder;
mod upkeep;

pub(crate) use end::OwnerEnd;
pub use feed::{OpenedPartition, OutcomeReport, PartitionHolding, PartitionNews, RecordedOutcome};

use crate::acknowledged::{AcknowledgedView, check_acknowledged};
use crate::lease_keeper::{LeaseKeeper, LeaseLoss, SendPermit};
use crate::planted::PlantedFault;
use crate::settings::ClusterContext;
use crate::signal::raised;
use opening::{FoldedPartition, open};
use recorder::SettlementRecorder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use twinroute_journal::partition::{
    DamagedHistory, FoldedRecord, GroupOwner, HistoryDamage, SettlementGroup,
};
use twinroute_journal::{ClusterLogError, ClusterRecord, ExpectedRevision, PartitionNumber};
use upkeep::{CheckedBounds, PartitionUpkeep, UpkeepDone};

/// A partition to own.
pub(crate) struct PartitionTask {
    pub(crate) context: ClusterContext,
    pub(crate) partition: PartitionNumber,
    /// The lease as it was last seen.
    pub(crate) lease: ExpectedRevision,
    /// What routers were acknowledged.
    pub(crate) acknowledged: AcknowledgedView,
    /// Where lanes listen. Without a bound of its own: it holds what the log has, without the events' contents.
    pub(crate) news: mpsc::UnboundedSender<PartitionNews>,
    /// Turns true when it is to be handed over.
    pub(crate) hand_over: watch::Receiver<bool>,
}

impl PartitionTask {
    /// Claims the partition and owns it until something ends that. Dropping it ends it as a crash would.
    pub(crate) async fn run(mut self) -> OwnerEnd {
        let claimed = LeaseKeeper::claim(&self.context, self.partition, self.lease).await;
        let mut lease = match claimed {
            Ok(Some(lease)) => lease,
            Ok(None) => return OwnerEnd::Lost,
            Err(error) => return OwnerEnd::Log(error),
        };
        let owner = GroupOwner {
            router: self.context.origin.router.clone(),
            epoch: lease.epoch(),
        };
        let (permit, epoch) = (lease.permit(), lease.epoch());
        let end = tokio::select! {
            biased;
            loss = lease.keep() => {
                tracing::warn!(partition = %self.partition, epoch, ended = loss == LeaseLoss::Ended,
                    "a partition is another's to deliver from: its lease was not renewed in time");
                OwnerEnd::Lost
            }
            end = self.own(owner, permit) => end,
        };
        lease.stop_sending();
        drop(self.news.send(PartitionNews::Closed(self.partition)));
        if end == OwnerEnd::HandedOver {
            if let Err(error) = lease.release().await {
                tracing::warn!(%error, "a lease could not be given back; it ends by itself");
            }
            return end;
        }
        if let OwnerEnd::Damaged(damage) = &end {
            tracing::error!(%damage, "nothing is delivered from a partition: its log is not believed; action required");
            drop(self.news.send(PartitionNews::Quarantined(damage.clone())));
            // It keeps the lease, so that the next router does not find the same only to lose it again.
            tokio::select! {
                biased;
                _ = lease.keep() => {}
                () = raised(&mut self.hand_over) => {
                    drop(lease.release().await);
                }
            }
        }
        end
    }

    async fn own(&mut self, owner: GroupOwner, permit: SendPermit) -> OwnerEnd {
        let context = self.context.clone();
        let epoch = owner.epoch;
        let mut recorder = SettlementRecorder::new(context.clone(), self.partition, owner);
        let opened = tokio::select! {
            biased;
            opened = open(&context, self.partition, &mut recorder, &self.acknowledged) => opened,
            // Nothing was sent yet.
            () = raised(&mut self.hand_over) => return OwnerEnd::HandedOver,
        };
        let folded = match opened {
            Ok(folded) => folded,
            Err(end) => return end,
        };
        let (outcomes, reports) = mpsc::unbounded_channel();
        let held = watch::Sender::new(held_by(&folded));
        let opened = PartitionNews::Opened(OpenedPartition {
            partition: self.partition,
            epoch,
            folded_to: folded.fold.folded_to(),
            held: held.subscribe(),
            ledgers: folded.fold.ledgers().collect(),
            pending: folded.fold.pending().collect(),
            permit,
            outcomes,
        });
        drop(self.news.send(opened));
        let upkeep = PartitionUpkeep::new(context.clone(), self.partition, folded.checkpoint);
        let mut owner = PartitionOwner {
            recorder,
            context,
            partition: self.partition,
            folded,
            upkeep,
            acknowledged: self.acknowledged.clone(),
            outcomes: SettlementGroup::default(),
            waiters: Vec::new(),
            flush_at: None,
            news: self.news.clone(),
            held,
            hand_over: HandOverState::None,
        };
        owner.run(reports, &mut self.hand_over).await
    }
}

fn held_by(folded: &FoldedPartition) -> PartitionHolding {
    let (events, bytes) = folded.fold.held();
    PartitionHolding { events, bytes }
}

/// How far a hand-over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOverState {
    None,
    /// Lanes have outcomes in flight, until then at most.
    Draining(Instant),
    /// All outcomes are here; they are to be recorded, then a checkpoint.
    Settling,
    Checkpointing,
}

struct PartitionOwner {
    context: ClusterContext,
    partition: PartitionNumber,
    folded: FoldedPartition,
    recorder: SettlementRecorder,
    upkeep: PartitionUpkeep,
    acknowledged: AcknowledgedView,
    /// Outcomes that are to be recorded, and who waits for that.
    outcomes: SettlementGroup,
    waiters: Vec<oneshot::Sender<()>>,
    /// When they are, if there are any.
    flush_at: Option<Instant>,
    news: mpsc::UnboundedSender<PartitionNews>,
    /// What is not settled, for whoever wants to know.
    held: watch::Sender<PartitionHolding>,
    hand_over: HandOverState,
}

impl PartitionOwner {
    async fn run(
        &mut self,
        mut reports: mpsc::UnboundedReceiver<OutcomeReport>,
        hand_over: &mut watch::Receiver<bool>,
    ) -> OwnerEnd {
        loop {
            match self.step(&mut reports, hand_over).await {
                Ok(()) if self.is_handed_over() => return OwnerEnd::HandedOver,
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Waits for one thing to happen, and deals with it.
    async fn step(
        &mut self,
        reports: &mut mpsc::UnboundedReceiver<OutcomeReport>,
        hand_over: &mut watch::Receiver<bool>,
    ) -> Result<(), OwnerEnd> {
        let timer = self.next_timer();
        let is_asked = self.hand_over != HandOverState::None;
        // Biased, so that a simulation does the same again; each branch is ready seldom enough that none starves.
        tokio::select! {
            biased;
            () = raised(hand_over), if !is_asked => self.drain(),
            done = self.upkeep.run() => self.kept_up(done)?,
            appended = self.recorder.append() => self.appended(appended)?,
            record = self.folded.tail.next() => {
                let record = record?;
                self.upkeep.folded(record.bytes.len());
                match self.folded.fold.fold(&record) {
                    Ok(_) if self.is_succeeded() => return Err(OwnerEnd::Lost),
                    Ok(folded) => self.folded(folded, record),
                    Err(damage) => self.damaged(damage)?,
                }
            }
            Some(report) = reports.recv() => self.report(report),
            () = sleep_until(timer) => {}
        }
        self.write_what_is_due();
        Ok(())
    }

    /// When something is due that can be begun by then: what is in flight wakes the owner by itself.
    fn next_timer(&self) -> Instant {
        let drain = match self.hand_over {
            HandOverState::Draining(until) => Some(until),
            _ => None,
        };
        let is_idle = self.recorder.is_idle();
        let flush = self.flush_at.filter(|_| is_idle);
        let upkeep = self.upkeep.due(is_idle);
        let never = Instant::now() + self.context.times.checkpoint_every;
        [drain, flush, upkeep]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(never)
    }

    fn drain(&mut self) {
        self.hand_over = HandOverState::Draining(Instant::now() + self.context.times.drain_max);
        drop(self.news.send(PartitionNews::Draining(self.partition)));
        if self
            .context
            .times
            .planted
            .has(PlantedFault::HandOverInFlight)
        {
            self.hand_over = HandOverState::Settling;
        }
    }

    /// Whether settlements of a later owner stand in the log, so that none of this one count.
    fn is_succeeded(&self) -> bool {
        self.folded.fold.epoch() > self.recorder.owner().epoch
    }

    fn folded(&mut self, folded: FoldedRecord, record: ClusterRecord) {
        self.held.send_replace(held_by(&self.folded));
        if self.recorder.folded(&folded) {
            self.upkeep.recorded();
        }
        if let FoldedRecord::Events(events) = folded {
            let partition = self.partition;
            drop(self.news.send(PartitionNews::Arrived {
                partition,
                events,
                record,
            }));
        }
    }

    fn report(&mut self, report: OutcomeReport) {
        match report {
            OutcomeReport::Settled {
                lane,
                sequence,
                settlement,
            } => self.outcomes.settle(lane, sequence, settlement),
            OutcomeReport::Failed { failed, recorded } => {
                self.outcomes.failed(failed);
                self.waiters.push(recorded);
            }
            OutcomeReport::Dead {
                lane,
                sequence,
                letter,
                recorded,
            } => {
                self.outcomes.dead(lane, sequence, letter);
                self.waiters.push(recorded);
            }
            OutcomeReport::Flush { recorded } if self.outcomes.is_empty() => {
                self.recorder.when_recorded(recorded);
                return;
            }
            OutcomeReport::Flush { recorded } => self.waiters.push(recorded),
            OutcomeReport::Drained => {
                if matches!(self.hand_over, HandOverState::Draining(_)) {
                    self.hand_over = HandOverState::Settling;
                }
                return;
            }
        }
        let delay = self.context.times.settle_delay;
        self.flush_at.get_or_insert_with(|| Instant::now() + delay);
    }

    fn appended(&mut self, appended: Result<Option<u64>, ClusterLogError>) -> Result<(), OwnerEnd> {
        match appended {
            Ok(sequence) => {
                let planted = self.context.times.planted;
                if sequence.is_some() && planted.has(PlantedFault::CheckpointBeforeFold) {
                    self.upkeep.recorded();
                }
                let behind = sequence.map(|sequence| self.folded.is_ahead_of(sequence));
                let damage = behind.flatten().map(|damage| damage.of(self.partition));
                damage.map_or(Ok(()), |damage| self.damaged(damage))
            }
            Err(ClusterLogError::Conflict { expected, found }) if found < expected => {
                let damage = DamagedHistory::Shrunk {
                    last: found,
                    seen: expected,
                };
                self.damaged(damage.of(self.partition))
            }
            // Another owner's epoch record stands there.
            Err(ClusterLogError::Conflict { .. }) => Err(OwnerEnd::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing more is to be believed.
    fn damaged(&self, damage: HistoryDamage) -> Result<(), OwnerEnd> {
        match self.context.times.planted.has(PlantedFault::DamageIgnored) {
            true => Ok(()),
            false => Err(OwnerEnd::Damaged(damage)),
        }
    }

    fn kept_up(&mut self, done: UpkeepDone) -> Result<(), OwnerEnd> {
        match done {
            // A hand-over is no less one for want of a checkpoint.
            UpkeepDone::Nothing | UpkeepDone::Checkpointed => {
                if self.hand_over == HandOverState::Checkpointing {
                    self.upkeep.finish();
                }
                Ok(())
            }
            UpkeepDone::Bounds(checked) => {
                let CheckedBounds {
                    bounds,
                    seen,
                    acknowledged,
                } = checked;
                if bounds.last < seen {
                    return self.damaged(opening::shrunk(self.partition, bounds, seen));
                }
                let fold = &self.folded.fold;
                let checked = check_acknowledged(fold, self.partition, bounds, &acknowledged);
                checked.or_else(|damage| self.damaged(damage))
            }
            UpkeepDone::Taken => Err(OwnerEnd::Lost),
        }
    }

    /// Begins to write what is due, when nothing is in flight.
    fn write_what_is_due(&mut self) {
        let now = Instant::now();
        if let HandOverState::Draining(until) = self.hand_over
            && now >= until
        {
            self.hand_over = HandOverState::Settling;
        }
        // Also while a record is on its way: in a log that went back it may be on it for ever.
        self.upkeep
            .check_bounds(&self.folded.fold, &self.acknowledged);
        if !self.recorder.is_idle() {
            return;
        }
        let is_last = self.hand_over == HandOverState::Settling;
        let is_full = self.outcomes.len() >= SettlementGroup::ITEMS_MAX;
        let is_due = is_last || is_full || self.flush_at.is_some_and(|at| now >= at);
        if is_due && !self.outcomes.is_empty() {
            if is_last
                && self
                    .context
                    .times
                    .planted
                    .has(PlantedFault::HandOverUnsettled)
            {
                self.outcomes = SettlementGroup::default();
                self.waiters.clear();
                self.flush_at = None;
                return;
            }
            let group = std::mem::take(&mut self.outcomes);
            let waiters = std::mem::take(&mut self.waiters);
            self.flush_at = None;
            self.recorder.settle(&self.folded.fold, &group, waiters);
            return;
        }
        if is_last && !self.upkeep.is_idle() {
            return;
        }
        if is_last {
            self.hand_over = HandOverState::Checkpointing;
        }
        if is_last || self.upkeep.is_checkpoint_due(&self.folded.fold) {
            let checkpoint = self.folded.fold.checkpoint();
            let statement = self.folded.fold.statement(self.recorder.owner(), false);
            let bytes = statement.encode_checkpoint(&checkpoint);
            self.upkeep.begin(checkpoint);
            self.recorder.checkpoint(&self.folded.fold, bytes);
        }
    }

    fn is_handed_over(&self) -> bool {
        self.hand_over == HandOverState::Checkpointing && self.upkeep.is_finished()
    }
}
