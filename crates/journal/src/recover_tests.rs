use super::super::disk::tests::{SETTINGS, new, open, open_sealed, repaired, twin};
use super::super::keys::EventSealing;
use super::super::keys::tests::{SeenStamps, seal};
use super::super::settings::JournalSettings;
use super::super::sim::{PowerLossRemains, SimulatedDisk};
use super::super::{
    AppendError, DiskJournal, JournalHealth, LaneId, LaneState, RecoveredJournal, UnreadableEvent,
};
use super::*;
use crate::ledger::{DeliverySettlement, DiscardReason};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::name::{EndpointName, InstanceName};

#[path = "recover_steps_tests.rs"]
mod steps;
#[path = "recover_tamper_tests.rs"]
mod tampered;

use steps::{FileTamper, RunStep, step, tamper, tampering, waiting};

fn letter(attempts: u32) -> Arc<DeadLetter> {
    Arc::new(DeadLetter {
        reason: DeadLetterReason::Exhausted,
        attempts,
        died_at: Timestamp::from_unix_millis(5),
        last_attempt_at: None,
        outcome: "x".into(),
    })
}

const SETTLEMENTS: [DeliverySettlement; 3] = [
    DeliverySettlement::Delivered,
    DeliverySettlement::DeadLettered,
    DeliverySettlement::Discarded(DiscardReason::Expired),
];

/// What must be true of the journal, told from its answers alone.
#[derive(Default)]
struct JournalModel {
    /// Deliveries of events that were acknowledged as durable.
    promised: BTreeSet<(u32, u64)>,
    /// Deliveries of events that were neither acknowledged nor abandoned.
    uncertain: BTreeSet<(u32, u64)>,
    /// Settled by us; the journal may forget it.
    settled: BTreeSet<(u32, u64)>,
    /// Settled and flushed; it may not.
    settled_for_good: BTreeSet<(u32, u64)>,
    /// Dead letters, and those of them that were flushed.
    dead: BTreeSet<(u32, u64)>,
    dead_for_good: BTreeSet<(u32, u64)>,
    /// The state of each lane that was flushed last, and those noted since.
    states: BTreeMap<u32, Vec<bool>>,
    /// The id of each event that was appended.
    ids: BTreeMap<u64, String>,
    /// Deliveries and what replays them: one of the two is open.
    either: Vec<((u32, u64), (u32, u64))>,
    last_sequence: u64,
    /// What was reported as lost so far.
    lost: u64,
    /// Something was done to the files.
    tampered: bool,
}

impl JournalModel {
    /// All that was noted so far is on disk.
    fn flushed(&mut self) {
        let uncertain: BTreeSet<_> = self.either.iter().map(|(before, _)| *before).collect();
        self.settled_for_good = &self.settled - &uncertain;
        self.dead_for_good = self.dead.clone();
        for states in self.states.values_mut() {
            states.drain(..states.len() - 1);
        }
    }
}

struct ModelRun {
    sim: SimulatedDisk,
    disk: Option<DiskJournal>,
    lanes: Vec<LaneId>,
    model: JournalModel,
    sealing: EventSealing,
    /// With a history or without.
    settings: JournalSettings,
    stamps: SeenStamps,
    /// Settlements so far, replays included.
    ends: u64,
}

impl ModelRun {
    /// Does these steps on a journal in the clear, and then something to its files.
    fn tampered(steps: &[RunStep], n: usize, last: FileTamper) -> Self {
        let mut run = Self::new(
            EventSealing::Off,
            if n.is_multiple_of(2) { 64 << 10 } else { 0 },
        );
        for step in steps {
            run.step(step);
        }
        run.step(&RunStep::Tamper(n, last));
        run
    }

    fn new(sealing: EventSealing, keep_bytes: u64) -> Self {
        let mut run = Self {
            sim: SimulatedDisk::default(),
            disk: None,
            lanes: Vec::new(),
            model: JournalModel::default(),
            sealing,
            settings: JournalSettings {
                keep_bytes,
                ..SETTINGS
            },
            stamps: SeenStamps::default(),
            ends: 0,
        };
        run.reopen();
        run
    }

    fn disk(&self) -> &DiskJournal {
        self.disk.as_ref().unwrap()
    }

    fn open_deliveries(&self) -> Vec<(u32, u64)> {
        let settled = &self.model.settled;
        self.model.promised.difference(settled).copied().collect()
    }

    fn reopen(&mut self) {
        self.sim.heal();
        self.sim.set_room(None);
        self.disk = None;
        self.stamps.check(&self.sim);
        let (disk, recovered) = open_sealed(&self.sim, self.settings, &self.sealing);
        self.check(&recovered);
        let instance = InstanceName::new("default").unwrap();
        let bind = |name| disk.bind(&instance, &EndpointName::new(name).unwrap());
        let lanes: Vec<_> = ["one", "two", "three"].into_iter().map(bind).collect();
        assert!(
            self.lanes.is_empty() || self.lanes == lanes,
            "lanes keep their numbers"
        );
        disk.flush().wait().unwrap();
        self.lanes = lanes;
        self.disk = Some(disk);
    }

    /// Holds what came back against what was said, then goes on from there.
    fn check(&mut self, recovered: &RecoveredJournal) {
        let report = &recovered.report;
        assert!(report.is_whole(), "{report}");
        let model = &mut self.model;
        assert!(
            recovered.next_sequence > model.last_sequence,
            "a sequence is used twice"
        );
        let mut found = BTreeSet::new();
        for lane in &recovered.lanes {
            let settled = lane.ledger.settled();
            assert_eq!(lane.ledger.made(), settled + lane.pending.len() as u64);
            // What was done to the files may have taken its name.
            assert!(lane.name.is_some() || model.tampered);
            if lane.name.is_none() {
                continue;
            }
            let recorded = model.states.get(&lane.number.0);
            let paused = lane.state.paused;
            assert!(
                recorded.map_or(!paused, |recorded| recorded.contains(&paused)),
                "{recorded:?}"
            );
            for one in &lane.pending {
                assert_eq!(one.twin, twin(&model.ids[&one.sequence]));
                let delivery = (lane.number.0, one.sequence);
                let dead = one.dead.is_some();
                assert!(!dead || model.dead.contains(&delivery), "{delivery:?} died");
                assert!(
                    dead || !model.dead_for_good.contains(&delivery),
                    "{delivery:?} rose"
                );
                assert!(found.insert((lane.number.0, one.sequence)));
            }
        }
        for delivery in &model.promised {
            let there = found.contains(delivery);
            assert!(
                there || model.settled.contains(delivery),
                "{delivery:?} is lost"
            );
            assert!(
                !there || !model.settled_for_good.contains(delivery),
                "{delivery:?} came back"
            );
        }
        for delivery in &found {
            let known = model.promised.contains(delivery) || model.uncertain.contains(delivery);
            assert!(known, "{delivery:?} was invented");
        }
        for (before, replayed_as) in model.either.drain(..) {
            let kept = found.contains(&before) && found.contains(&replayed_as);
            assert!(
                !kept,
                "{before:?} is there beside its replay {replayed_as:?}"
            );
        }
        // What came back is durable now, whatever was said of it before.
        model.promised = found;
        model.uncertain.clear();
        model.settled.clear();
        model.settled_for_good.clear();
        let lanes = recovered.lanes.iter();
        let dead = lanes.clone().flat_map(|lane| {
            let dead = lane.pending.iter().filter(|one| one.dead.is_some());
            dead.map(|one| (lane.number.0, one.sequence))
        });
        model.dead = dead.collect();
        model.dead_for_good = model.dead.clone();
        let states = lanes.map(|lane| (lane.number.0, vec![lane.state.paused]));
        model.states = states.collect();
    }

    /// The n-th of what is open.
    fn nth(&self, n: usize) -> Option<(u32, u64)> {
        let open = self.open_deliveries();
        open.get(n % open.len().max(1)).copied()
    }

    fn append(&mut self, events: &[u8]) {
        let next = self.disk().next_sequence();
        let lanes_of = |mask: u8| {
            let lanes = self.lanes.iter().enumerate();
            let chosen = lanes.filter(|(bit, _)| mask & (1 << bit) != 0);
            chosen.map(|(_, lane)| *lane).collect::<Vec<_>>()
        };
        let numbered = (next..).zip(events);
        let batch: Vec<_> = numbered
            .map(|(sequence, mask)| new(&(sequence % 7).to_string(), &lanes_of(*mask)))
            .collect();
        let mut deliveries = Vec::new();
        for (sequence, new) in (next..).zip(&batch) {
            let id = new.event.id().to_owned();
            self.model.ids.insert(sequence, id);
            deliveries.extend(new.lanes.iter().map(|lane| (lane.0, sequence)));
        }
        match self.disk().append(batch) {
            Ok(appended) => {
                let first = appended.entries[0].sequence;
                assert_eq!(first, next, "numbered at once, without a gap");
                self.model.last_sequence = next + events.len() as u64 - 1;
                match appended.durable.wait() {
                    Ok(()) => self.model.promised.extend(deliveries),
                    Err(_) => self.model.uncertain.extend(deliveries),
                }
            }
            Err(AppendError::Poisoned(_)) => {
                assert!(matches!(self.disk().health(), JournalHealth::Poisoned(_)));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn replay(&mut self, n: usize) {
        let Some((lane, sequence)) = self.nth(n) else {
            return;
        };
        let next = self.disk().next_sequence();
        let id = self.model.ids[&sequence].clone();
        let new = new(&id, &[LaneId(lane)]);
        self.model.ids.insert(next, id);
        let replayed = self
            .disk()
            .replay(LaneId(lane), Some(sequence), new.event, new.twin);
        let Ok(replayed) = replayed else {
            assert!(matches!(self.disk().health(), JournalHealth::Poisoned(_)));
            return;
        };
        self.model.last_sequence = next;
        if replayed.durable.wait().is_ok() {
            self.model.promised.insert((lane, next));
            self.model.settled.insert((lane, sequence));
            self.model.settled_for_good.insert((lane, sequence));
        } else {
            // Both or none of them: which, the next open tells.
            self.model.uncertain.insert((lane, next));
            self.model.settled.insert((lane, sequence));
            self.model.either.push(((lane, sequence), (lane, next)));
        }
    }

    /// What is durable and open can be read while the power is on; what is settled for good is gone.
    fn read(&self) {
        let open: Vec<u64> = self.open_deliveries().iter().map(|one| one.1).collect();
        for (read, sequence) in self.disk().read(&open).into_iter().zip(&open) {
            match read {
                Ok(event) => assert_eq!(event.id(), self.model.ids[sequence]),
                Err(unreadable) => assert!(
                    unreadable == UnreadableEvent::Damaged && self.sim.list().is_err(),
                    "{sequence}: {unreadable}"
                ),
            }
        }
        if self.model.tampered {
            // Lanes whose names are lost may still wait for them.
            return;
        }
        let gone = self.model.settled_for_good.iter();
        let gone = gone.filter(|(_, sequence)| !open.contains(sequence));
        let gone: Vec<u64> = gone.map(|one| one.1).collect();
        let others: BTreeSet<u64> = self.model.promised.iter().map(|one| one.1).collect();
        let settled: BTreeSet<u64> = self.model.settled.iter().map(|one| one.1).collect();
        for (read, sequence) in self.disk().read(&gone).into_iter().zip(&gone) {
            let fully = others.contains(sequence) && settled.contains(sequence);
            assert!(
                !fully || read.is_err() || self.has_unsettled(*sequence),
                "{sequence}"
            );
        }
    }

    /// Whether a delivery of the event is not settled for good.
    fn has_unsettled(&self, sequence: u64) -> bool {
        let model = &self.model;
        let mut of_it = model.promised.iter().filter(|one| one.1 == sequence);
        of_it.any(|one| !model.settled_for_good.contains(one))
    }

    fn roll(&mut self) {
        for id in 0..40 {
            self.append(&[1 + id % 7]);
        }
        while let Some((lane, sequence)) = self.nth(1) {
            let delivered = [(sequence, DeliverySettlement::Delivered)];
            self.disk().settle(LaneId(lane), &delivered);
            self.model.settled.insert((lane, sequence));
            if self.open_deliveries().len() < 3 {
                break;
            }
        }
        for _ in 0..3 {
            self.step(&RunStep::Flush);
        }
    }

    fn step(&mut self, step: &RunStep) {
        let settled = self.model.settled.len();
        self.play(step);
        self.ends += self.model.settled.len().saturating_sub(settled) as u64;
    }

    fn play(&mut self, step: &RunStep) {
        match step {
            RunStep::Append(events) => self.append(events),
            RunStep::Settle(n, settlement) => {
                if let Some((lane, sequence)) = self.nth(*n) {
                    let settlement = SETTLEMENTS[usize::from(*settlement)];
                    self.disk().settle(LaneId(lane), &[(sequence, settlement)]);
                    self.model.settled.insert((lane, sequence));
                }
            }
            RunStep::Attempt(n, attempts) => {
                if let Some((lane, sequence)) = self.nth(*n) {
                    let due = Some(Timestamp::from_unix_millis(7));
                    self.disk().attempt(LaneId(lane), sequence, *attempts, due);
                }
            }
            RunStep::Flush => {
                if self.disk().flush().wait().is_ok() {
                    self.model.flushed();
                }
            }
            RunStep::Die(n) => {
                if let Some((lane, sequence)) = self.nth(*n) {
                    let letter = letter(*n as u32 % 3);
                    self.disk().dead_letter(LaneId(lane), sequence, letter);
                    self.model.dead.insert((lane, sequence));
                }
            }
            RunStep::Replay(n) => self.replay(*n),
            RunStep::State(n, paused) => {
                let lane = self.lanes[*n];
                let state = LaneState {
                    paused: *paused,
                    ..LaneState::default()
                };
                self.disk().set_lane_state(lane, state);
                let recorded = self.model.states.entry(lane.0);
                recorded.or_insert_with(|| vec![false]).push(*paused);
            }
            RunStep::Read => self.read(),
            RunStep::Roll => self.roll(),
            RunStep::Fail(calls, fault) => self.sim.fail_after(*calls, *fault),
            RunStep::Room(bytes) => self.sim.set_room(bytes.map(u64::from)),
            RunStep::Crash(leaves) => {
                self.sim.power_off();
                self.disk = None;
                self.sim.power_on(*leaves);
                self.reopen();
            }
            RunStep::Tamper(n, what) => self.tamper(*n, what),
            RunStep::Close => {
                if self.disk().close().is_ok() {
                    self.model.flushed();
                }
                // A failed close leaves what a process that ends leaves.
                self.disk = None;
                self.sim.power_on(PowerLossRemains::All);
                self.reopen();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_promised_is_lost_and_nothing_is_invented(
        sealed: bool,
        kept: bool,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let sealing = if sealed { seal(1) } else { EventSealing::Off };
        let mut run = ModelRun::new(sealing, if kept { 64 << 10 } else { 0 });
        for step in &steps {
            run.step(step);
            run.stamps.check(&run.sim);
        }
        run.step(&RunStep::Crash(PowerLossRemains::Nothing));
        prop_assert!(sealed || run.stamps.len() == 0);
    }

    /// Whatever is done to the files: what is reported as lost is what is lost.
    #[test]
    fn what_is_reported_lost_is_what_is_lost(
        steps in prop::collection::vec(tampering(), 1..60),
        last in tamper(),
        n: usize,
    ) {
        ModelRun::tampered(&steps, n, last);
    }

    /// With no settlement among what is gone, it is exact.
    #[test]
    fn what_is_reported_lost_is_exact_where_nothing_was_settled(
        steps in prop::collection::vec(waiting(), 1..40),
        last in tamper(),
        n: usize,
    ) {
        let run = ModelRun::tampered(&steps, n, last);
        prop_assert_eq!(run.ends, 0);
    }

    #[test]
    fn random_files_never_panic(
        bytes: Vec<u8>,
        places in prop::collection::vec((0_usize..8_000, any::<u8>()), 0..20),
        seed: u64,
    ) {
        let sim = SimulatedDisk::default();
        let (disk, _) = open(&sim, SETTINGS);
        let lane = disk.bind(
            &InstanceName::new("default").unwrap(),
            &EndpointName::new("hub").unwrap(),
        );
        for id in 0..20 {
            let batch = vec![new(&id.to_string(), &[lane])];
            disk.append(batch).unwrap().durable.wait().unwrap();
        }
        drop(disk);
        let names = sim.list().unwrap();
        for (at, byte) in places {
            let name = &names[at % names.len()];
            sim.overwrite(name, at, &[byte]);
        }
        sim.overwrite(&names[seed as usize % names.len()], seed as usize % 4_000, &bytes);
        for _ in 0..2 {
            let (_, recovered) = open(&sim, SETTINGS);
            for lane in &recovered.lanes {
                prop_assert_eq!(
                    lane.ledger.made(),
                    lane.ledger.settled() + lane.pending.len() as u64
                );
            }
        }
    }
}
