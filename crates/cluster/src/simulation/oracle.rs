//! Judges a run: what was promised, held against the log and all that arrived. Pure code over what was recorded.

use super::faults::FaultPlan;
use super::log::SimulatedLog;
use super::reading::{PartitionReading, refold};
use super::recorded_times::LeaseHistory;
use super::world::{
    DeliveryKey, FaultCost, RecordedAcknowledgement, RecordedSend, SimulatedAnswer, WorldRecord,
};
use crate::lease::LeaseTimes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_journal::PartitionNumber;
use twinroute_journal::partition::{
    LaneRegister, OwnerStatement, PartitionCheckpoint, checkpoint_of, events_of,
};

/// A router to which nothing happens remembers within so long what it was acknowledged.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(2);

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulationViolation {
    /// Which, in a word or two.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for SimulationViolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.promise, self.what)
    }
}

/// What is there to judge.
pub(super) struct ClusterJudge<'a> {
    pub(super) plan: &'a FaultPlan,
    pub(super) log: &'a SimulatedLog,
    pub(super) world: &'a WorldRecord,
    pub(super) lanes: [twinroute_journal::LaneId; 2],
    pub(super) register: &'a LaneRegister,
    found: Vec<SimulationViolation>,
}

impl<'a> ClusterJudge<'a> {
    pub(super) fn new(
        plan: &'a FaultPlan,
        log: &'a SimulatedLog,
        world: &'a WorldRecord,
        lanes: [twinroute_journal::LaneId; 2],
        register: &'a LaneRegister,
    ) -> Self {
        Self {
            plan,
            log,
            world,
            lanes,
            register,
            found: Vec::new(),
        }
    }

    fn violation(&mut self, promise: &'static str, what: impl fmt::Display) {
        let what = what.to_string();
        self.found.push(SimulationViolation { promise, what });
    }

    /// All that is wrong; `is_calm` says whether everything was settled in the end.
    pub(super) fn judge(mut self, is_calm: bool) -> Vec<SimulationViolation> {
        let damaged = self.world.damaged;
        if !is_calm {
            self.violation("pending", "not all was settled in time");
        }
        for damage in &self.world.quarantined {
            if Some(damage.partition) != damaged {
                self.violation("false alarm", damage);
            }
        }
        self.stale_sends();
        self.sends_past_lease();
        for partition in PartitionNumber::all(self.plan.partitions) {
            if Some(partition) == damaged {
                let mut named = self.world.quarantined.iter();
                let is_named = named.any(|damage| damage.partition == partition);
                if !is_named && self.log.is_rewritten_read(partition) {
                    self.violation("unnoticed damage", partition);
                }
                if let Some(id) = self.remembered_loss(partition).filter(|_| !is_named) {
                    self.violation(
                        "unnoticed damage",
                        format_args!("{partition}: {id} is lost"),
                    );
                }
                continue;
            }
            match PartitionReading::of(self.log, partition, &self.lanes, self.register) {
                Ok(mut reading) => self.judge_partition(&mut reading),
                Err(damage) => {
                    self.violation("log", damage);
                    return self.found;
                }
            }
        }
        self.found
    }

    /// An event that the log forgot though it was acknowledged, by a router that then had the time to remember it where
    /// others find it. What the log took again is not lost: a group that was not answered is appended until it is.
    fn remembered_loss(&self, partition: PartitionNumber) -> Option<&'a str> {
        let world = self.world;
        let mut forgotten: BTreeSet<&str> = world.forgotten.iter().map(String::as_str).collect();
        for (record, _) in self.log.ever(partition).iter().skip(world.forgotten_behind) {
            for (_, event) in events_of(record, partition) {
                forgotten.remove(event.id());
            }
        }
        let mut lost = world
            .acknowledged
            .iter()
            .filter(|one| forgotten.contains(one.id.as_str()));
        let lost = lost.find(|one| {
            let mut faults = world.faults.iter();
            !faults.any(|fault| {
                fault.cost == FaultCost::InFlight
                    && fault
                        .router
                        .as_ref()
                        .is_none_or(|router| *router == one.router)
                    && fault.from <= one.at + REMEMBERED_WITHIN
                    && one.at <= fault.until
            })
        });
        lost.map(|one| one.id.as_str())
    }

    /// Settlements that count are of the owner: none are of a lower epoch than the one that is open.
    fn is_owners(&mut self, partition: PartitionNumber, epoch: u64, appended_at: Instant) {
        let mut openings = self.world.openings.iter();
        let higher = openings.find(|opened| {
            opened.partition == partition && opened.epoch > epoch && opened.at < appended_at
        });
        if let Some(higher) = higher {
            let what = format!(
                "settlements of epoch {epoch} count while {} is open",
                higher.epoch
            );
            self.violation("fence", what);
        }
    }

    fn judge_partition(&mut self, reading: &mut PartitionReading) {
        for (epoch, at) in &reading.statements {
            self.is_owners(reading.partition, *epoch, *at);
        }
        for OwnerStatement { owner, epoch, .. } in &reading.void {
            let what = format!("the log took settlements of {owner} in epoch {epoch}");
            self.violation("fence", what);
        }
        self.acknowledged_is_there(reading);
        self.all_arrived(reading);
        self.in_order(reading);
        self.no_duplicates_without_reason(reading);
        self.outcomes_are_awaited(reading);
        self.counts(reading);
        self.trimmed_log_says_the_same(reading);
        let careless = self.log.careless_trims(reading.partition);
        if careless > 0 {
            let what = format!("{careless} times before a checkpoint stood within");
            self.violation("trimmed", what);
        }
    }

    fn acknowledged_is_there(&mut self, reading: &PartitionReading) {
        let mut sequences: BTreeMap<&str, u64> = BTreeMap::new();
        for (sequence, (id, ..)) in &reading.events {
            if sequences.insert(id, *sequence).is_some() {
                self.violation("accepted twice", format_args!("{id}, with {sequence:x}"));
            }
        }
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        let world = self.world;
        for RecordedAcknowledgement { id, twin, .. } in &world.acknowledged {
            if PartitionNumber::of_twin(*twin, self.plan.partitions) != reading.partition {
                continue;
            }
            let Some(sequence) = sequences.get(id.as_str()) else {
                self.violation("lost", format_args!("{id} was acknowledged"));
                continue;
            };
            // A producer posts a twin's next event after it has the answer to the last.
            let before = last.insert(*twin, *sequence).unwrap_or_default();
            if before > *sequence {
                self.violation(
                    "order of acceptance",
                    format_args!("{id} stands before its twin's earlier"),
                );
            }
        }
    }

    fn sends(
        &self,
        partition: PartitionNumber,
    ) -> impl Iterator<Item = &'a RecordedSend> + use<'a> {
        let world = self.world;
        world
            .sends
            .iter()
            .filter(move |send| send.partition == partition)
    }

    fn all_arrived(&mut self, reading: &PartitionReading) {
        let arrived = self
            .sends(reading.partition)
            .filter(|send| send.arrived.is_some() && send.answer == SimulatedAnswer::Delivered);
        let arrived: BTreeMap<_, _> = arrived.map(|send| (send.delivery, send.epoch)).collect();
        let letters = self.world.letters.iter();
        let letters: BTreeMap<_, _> = letters.map(|one| (one.delivery, one.epoch)).collect();
        for (sequence, (id, _, lanes)) in &reading.events {
            for lane in lanes {
                let key = (*sequence, *lane);
                match (arrived.get(&key), letters.get(&key)) {
                    (None, None) => {
                        self.violation("not delivered", format_args!("{id} {sequence:x} to {lane}"))
                    }
                    // What a router had in flight when it was paused may arrive after another has dead-lettered it.
                    (Some(sent), Some(written)) if sent >= written => {
                        self.violation("both", format_args!("{id} arrived and is a dead letter"))
                    }
                    _ => {}
                }
            }
        }
        for (sequence, _) in arrived.into_keys() {
            if !reading.events.contains_key(&sequence) {
                self.violation("invented", format_args!("{sequence:x}"));
            }
        }
    }

    /// First arrivals of a twin at an endpoint are in the order of the log, and nothing of a twin arrives while an earlier
    /// one has neither arrived nor become a dead letter.
    fn in_order(&mut self, reading: &PartitionReading) {
        let mut first: BTreeMap<DeliveryKey, Instant> = BTreeMap::new();
        for send in self.sends(reading.partition) {
            if let Some(at) = send.arrived {
                let known = first.entry(send.delivery).or_insert(at);
                *known = at.min(*known);
            }
        }
        let mut last: BTreeMap<(u64, usize), (Instant, &str)> = BTreeMap::new();
        let mut late = Vec::new();
        for (sequence, (id, twin, lanes)) in &reading.events {
            for lane in lanes {
                let Some(at) = first.get(&(*sequence, *lane)) else {
                    continue;
                };
                let before = last.insert((*twin, *lane), (*at, id));
                if let Some((before, earlier)) = before.filter(|(before, _)| before > at) {
                    late.push(format!(
                        "{earlier} came {:?} after {id} at {lane}",
                        before - *at
                    ));
                }
            }
        }
        for late in late {
            self.violation("order", late);
        }
    }

    /// Nothing is sent in an epoch once a higher one was opened.
    fn stale_sends(&mut self) {
        let mut found = Vec::new();
        for send in &self.world.sends {
            let opened = self.world.openings.iter().find(|opened| {
                opened.partition == send.partition
                    && opened.epoch > send.epoch
                    && opened.at < send.began
            });
            if let Some(opened) = opened {
                found.push(format!(
                    "{} in epoch {}, {:?} after {} was opened",
                    send.router,
                    send.epoch,
                    send.began - opened.at,
                    opened.epoch
                ));
            }
        }
        if let Some(first) = found.first() {
            self.violation(
                "stale send",
                format_args!("{first} (and {} more)", found.len() - 1),
            );
        }
    }

    /// An owner acts upon its lease as the log has it.
    fn sends_past_lease(&mut self) {
        let leases = LeaseHistory::of(self.log, LeaseTimes::default());
        if let Some(send) = self.world.sends.iter().find(|send| leases.is_past(send)) {
            let what = format!("{} sends in epoch {} after it", send.router, send.epoch);
            self.violation("lease", what);
        }
    }

    /// What follows from a failure or a dead letter waits until that stands in the log.
    fn outcomes_are_awaited(&mut self, reading: &PartitionReading) {
        let events = &reading.events;
        let letters = self.world.letters.iter();
        let letters = letters.filter(|letter| events.contains_key(&letter.delivery.0));
        if let Some(early) = reading.times.early_letter(letters) {
            let (sequence, lane) = early.delivery;
            self.violation(
                "awaited",
                format_args!("the letter of {sequence:x} to {lane}"),
            );
        }
        if let Some(early) = reading.times.early_retry(self.sends(reading.partition)) {
            let (sequence, lane) = early.delivery;
            self.violation(
                "awaited",
                format_args!("the retry of {sequence:x} to {lane}"),
            );
        }
    }

    fn no_duplicates_without_reason(&mut self, reading: &PartitionReading) {
        let mut by_delivery: BTreeMap<DeliveryKey, Vec<&RecordedSend>> = BTreeMap::new();
        for send in self.sends(reading.partition) {
            if send.arrived.is_some() && send.answer == SimulatedAnswer::Delivered {
                by_delivery.entry(send.delivery).or_default().push(send);
            }
        }
        for (key, mut sends) in by_delivery {
            sends.sort_by_key(|send| send.began);
            for pair in sends.windows(2) {
                let [before, again] = [pair[0], pair[1]];
                let name = format!(
                    "{:x} to {}, by {} in {} and {} in {}",
                    key.0, key.1, before.router, before.epoch, again.router, again.epoch
                );
                if before.epoch == again.epoch {
                    self.violation("duplicate", format_args!("{name}: within an epoch"));
                    continue;
                }
                let settled = reading.settled.get(&key).copied().unwrap_or(u64::MAX);
                let claimed = reading
                    .epochs
                    .get(&again.epoch)
                    .copied()
                    .unwrap_or(u64::MAX);
                if settled < claimed {
                    self.violation(
                        "duplicate",
                        format_args!("{name}: it was settled before the claim"),
                    );
                }
                let is_released = self.log.is_released(reading.partition, before.epoch);
                let mut faults = self.world.faults.iter();
                let has_reason = faults.any(|fault| {
                    fault
                        .router
                        .as_ref()
                        .is_none_or(|router| *router == before.router)
                        && fault.from <= again.began
                        && fault.until >= before.began
                        && (fault.cost == FaultCost::InFlight || !is_released)
                });
                if !has_reason {
                    self.violation("duplicate", format_args!("{name}: without a fault"));
                }
            }
        }
    }

    fn counts(&mut self, reading: &PartitionReading) {
        let fold = &reading.fold;
        if !fold.adds_up() {
            self.violation("unaccounted", reading.partition);
        }
        let deliveries: usize = reading
            .events
            .values()
            .map(|(_, _, lanes)| lanes.len())
            .sum();
        let made: u64 = fold.ledgers().map(|(_, ledger)| ledger.made()).sum();
        if made != deliveries as u64 {
            self.violation("counts", format_args!("{made} made of {deliveries}"));
        }
        let dead: u64 = fold.ledgers().map(|(_, ledger)| ledger.dead_lettered).sum();
        let events = &reading.events;
        let letters = self.world.letters.iter().map(|letter| letter.delivery);
        let letters: BTreeSet<_> = letters
            .filter(|(sequence, _)| events.contains_key(sequence))
            .collect();
        if dead > letters.len() as u64 || (fold.open() == 0 && dead != letters.len() as u64) {
            self.violation(
                "counts",
                format_args!("{dead} dead letters of {}", letters.len()),
            );
        }
    }

    /// Whoever claims the partition now comes to the same as the whole log.
    fn trimmed_log_says_the_same(&mut self, reading: &mut PartitionReading) {
        let partition = reading.partition;
        let records = self.log.records(partition);
        let kept = self.log.checkpoint(partition);
        let kept = kept.and_then(|bytes| PartitionCheckpoint::decode(&bytes, partition).ok());
        let is_whole = records.first().is_none_or(|record| record.sequence == 1);
        let kept = match kept {
            None if !is_whole => {
                let mut within = records
                    .iter()
                    .rev()
                    .filter_map(|record| checkpoint_of(record, partition));
                within.next()
            }
            kept => kept,
        };
        if kept.is_none() && !is_whole {
            self.violation(
                "trimmed",
                format_args!("partition {partition} has no checkpoint"),
            );
            return;
        }
        match refold(kept, &records, partition, self.register) {
            Err(damage) => self.violation("trimmed", damage),
            Ok(mut fold) => {
                if fold.checkpoint().encode() != reading.fold.checkpoint().encode() {
                    self.violation(
                        "trimmed",
                        format_args!("partition {partition} comes to another state"),
                    );
                }
            }
        }
    }
}
