//! The fold, over a log that the former and an owner write as they do in a cluster.

use super::*;
use crate::LaneId;
use crate::appended::NewEvent;
use crate::cluster_log::{ClusterRecord, PartitionNumber, RecordSubject, RouterName};
use crate::ledger::{DeliverySettlement, DiscardReason};
use bytes::Bytes;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};

/// A partition of two routers and what its present owner has folded.
struct LogScene {
    partition: PartitionNumber,
    register: LaneRegister,
    records: Vec<ClusterRecord>,
    formers: [GroupFormer<()>; 2],
    fold: PartitionFold,
    owner: GroupOwner,
}

impl LogScene {
    fn new() -> Self {
        let partition = PartitionNumber::new(2).unwrap();
        let register = LaneRegister::default();
        let former = |name: &str| {
            let router = RouterName::new(name).unwrap();
            let origin = GroupOrigin {
                router,
                incarnation: 1,
            };
            GroupFormer::new(partition, origin, register.clone(), FormerLimits::default())
        };
        Self {
            partition,
            records: Vec::new(),
            formers: [former("east"), former("west")],
            fold: PartitionFold::new(partition, register.clone()),
            owner: GroupOwner {
                router: RouterName::new("east").unwrap(),
                epoch: 5,
            },
            register,
        }
    }

    fn lane(&self, endpoint: &str) -> LaneId {
        let instance = InstanceName::new("plant").unwrap();
        let endpoint = EndpointName::new(endpoint).unwrap();
        self.register.bind(&(instance, endpoint))
    }

    fn append(&mut self, subject: RecordSubject, bytes: Bytes) -> FoldedRecord {
        let sequence = self.records.len() as u64 + 1;
        let record = ClusterRecord {
            sequence,
            subject,
            bytes,
        };
        self.records.push(record.clone());
        self.fold.fold(&record).unwrap()
    }

    /// Events of a router, each for both lanes. Gives their sequences.
    fn events(&mut self, router: usize, ids: &[&str]) -> Vec<u64> {
        let lanes = vec![self.lane("hub"), self.lane("topic")];
        let new = |id: &&str| NewEvent {
            event: EventParts::new(id, "s", "t")
                .build(&EventLimits::default())
                .unwrap(),
            twin: 2,
            lanes: lanes.clone(),
        };
        let batch: Vec<_> = ids.iter().map(new).collect();
        let at = Timestamp::from_unix_millis(1_000);
        self.formers[router].push(&batch, at, ()).unwrap();
        let bytes = self.formers[router].next_append().unwrap().bytes;
        self.formers[router].appended();
        match self.append(RecordSubject::Events, bytes) {
            FoldedRecord::Events(events) => events.iter().map(|event| event.sequence).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn claim(&mut self, epoch: u64) {
        self.owner.epoch = epoch;
        let statement = self.fold.statement(&self.owner, true);
        self.append(
            RecordSubject::Settlements,
            statement.encode_alone(self.partition),
        );
    }

    fn settle(&mut self, endpoint: &str, sequences: &[u64]) -> FoldedRecord {
        let lane = self.lane(endpoint);
        let mut group = SettlementGroup::default();
        for sequence in sequences {
            group.settle(lane, *sequence, DeliverySettlement::Delivered);
        }
        self.write(&group)
    }

    fn write(&mut self, group: &SettlementGroup) -> FoldedRecord {
        let statement = self.fold.statement(&self.owner, false);
        let bytes = group.encode(self.partition, &statement, &self.register);
        self.append(RecordSubject::Settlements, bytes)
    }

    fn refold(&self, from: Option<&PartitionCheckpoint>) -> Result<PartitionFold, HistoryDamage> {
        // Another process numbers its lanes in another order.
        let register = LaneRegister::default();
        let instance = InstanceName::new("plant").unwrap();
        let _topic = register.bind(&(instance, EndpointName::new("topic").unwrap()));
        let mut fold = match from {
            Some(checkpoint) => PartitionFold::from_checkpoint(checkpoint.clone(), register)?,
            None => PartitionFold::new(self.partition, register),
        };
        let begin = from.map_or(1, PartitionCheckpoint::cursor);
        for record in &self.records[usize::try_from(begin).unwrap() - 1..] {
            fold.fold(record)?;
        }
        Ok(fold)
    }
}

/// A log with all that there is: two claims, repeated groups, attempts, dead letters, a checkpoint within.
fn full_log() -> (LogScene, Vec<PartitionCheckpoint>) {
    let mut scene = LogScene::new();
    let mut checkpoints = vec![scene.fold.checkpoint()];
    scene.claim(5);
    let first = scene.events(0, &["a", "b"]);
    let second = scene.events(1, &["c"]);
    checkpoints.push(scene.fold.checkpoint());
    scene.settle("hub", &first);
    scene.settle("topic", &first[..1]);
    checkpoints.push(scene.fold.checkpoint());
    // The answer to the first group was lost, and the log has forgotten its message id.
    let again = scene.records[1].bytes.clone();
    assert_eq!(
        scene.append(RecordSubject::Events, again),
        FoldedRecord::Repeated
    );
    let mut group = SettlementGroup::default();
    let lane = scene.lane("topic");
    group.failed(FailedDelivery {
        lane,
        sequence: first[1],
        attempts: 1,
        due: Some(Timestamp::from_unix_millis(9_000)),
    });
    let letter = DeadLetter {
        reason: DeadLetterReason::Rejected,
        attempts: 1,
        died_at: Timestamp::from_unix_millis(2_000),
        last_attempt_at: None,
        outcome: "400: no".into(),
    };
    group.dead(lane, second[0], Arc::new(letter));
    scene.write(&group);
    checkpoints.push(scene.fold.checkpoint());
    scene.claim(9);
    let third = scene.events(0, &["d", "e"]);
    scene.settle("topic", &first[1..]);
    let mut group = SettlementGroup::default();
    let lost = DeliverySettlement::Discarded(DiscardReason::Purged);
    group.settle(scene.lane("hub"), second[0], lost);
    scene.write(&group);
    let checkpoint = scene.fold.checkpoint();
    let statement = scene.fold.statement(&scene.owner, false);
    scene.append(
        RecordSubject::Settlements,
        statement.encode_checkpoint(&checkpoint),
    );
    checkpoints.push(checkpoint);
    scene.settle("hub", &third);
    checkpoints.push(scene.fold.checkpoint());
    (scene, checkpoints)
}

#[test]
fn a_fold_from_any_checkpoint_comes_to_the_same() {
    let (mut scene, checkpoints) = full_log();
    let expect = scene.fold.checkpoint();
    assert!(scene.fold.adds_up());
    assert_eq!(scene.fold.open(), 3);
    for checkpoint in &checkpoints {
        let bytes = checkpoint.encode();
        let read = PartitionCheckpoint::decode(&bytes, scene.partition).unwrap();
        let mut fold = scene.refold(Some(&read)).unwrap();
        assert!(fold.has_counts() && fold.adds_up());
        assert_eq!(fold.open(), 3);
        assert_eq!(fold.checkpoint().encode(), expect.encode());
        assert_eq!(fold.last_settlement(), scene.fold.last_settlement());
    }
    assert_eq!(
        scene.refold(None).unwrap().checkpoint().encode(),
        expect.encode()
    );
}

#[test]
fn a_trimmed_log_without_its_checkpoint_is_folded_from_the_one_within() {
    let (mut scene, _) = full_log();
    let expect = scene.fold.checkpoint();
    let within = scene.records.iter().rev();
    let mut within = within.filter_map(|record| checkpoint_of(record, scene.partition));
    let checkpoint = within.next().unwrap();
    assert_eq!(within.next(), None);
    // What is before it may be gone.
    assert_eq!(checkpoint.cursor(), 3);
    let mut fold = scene.refold(Some(&checkpoint)).unwrap();
    assert!(fold.has_counts() && fold.adds_up());
    assert_eq!(fold.checkpoint().encode(), expect.encode());
}

#[test]
fn what_an_owner_says_that_is_none_any_more_counts_for_nothing() {
    let mut scene = LogScene::new();
    scene.claim(5);
    let events = scene.events(0, &["a"]);
    let stale = scene.owner.clone();
    scene.claim(6);
    scene.owner = stale;
    assert!(matches!(
        scene.settle("hub", &events),
        FoldedRecord::Void(_)
    ));
    assert_eq!(scene.fold.open(), 2);
    // Nor behind a checkpoint whose cursor is behind the claim.
    scene.owner.epoch = 6;
    scene.settle("hub", &events);
    scene.settle("topic", &events);
    let late = scene.events(0, &["b"]);
    scene.owner.epoch = 5;
    assert!(matches!(scene.settle("hub", &late), FoldedRecord::Void(_)));
    let checkpoint = scene.fold.checkpoint();
    let fold = scene.refold(Some(&checkpoint)).unwrap();
    assert_eq!((fold.open(), fold.epoch()), (2, 6));
}

#[test]
fn a_log_that_lost_or_changed_a_record_is_not_believed() {
    let (mut scene, checkpoints) = full_log();
    let good = scene.records.clone();
    let last = good.len();
    for lost in 0..last - 1 {
        scene.records = good.clone();
        scene.records.remove(lost);
        let damage = scene.refold(None).unwrap_err();
        let missing = lost as u64 + 1;
        let missing = DamagedHistory::Missing {
            from: missing,
            to: missing,
        };
        assert_eq!(damage, missing.of(scene.partition));
    }
    for damaged in 0..last {
        let length = good[damaged].bytes.len();
        for at in (0..length).step_by(7) {
            scene.records = good.clone();
            let mut bytes = good[damaged].bytes.to_vec();
            bytes[at] ^= 1;
            scene.records[damaged].bytes = bytes.into();
            let damage = scene.refold(None).unwrap_err();
            assert_eq!(damage.partition, scene.partition);
            let is_named = matches!(damage.damage, DamagedHistory::Unreadable { sequence, .. } if sequence == damaged as u64 + 1);
            assert!(is_named, "{damage}");
        }
    }
    // Whole records of the right form, but not those that the owner had read.
    let mut other = LogScene::new();
    other.claim(5);
    other.events(0, &["x", "y"]);
    scene.records = good.clone();
    scene.records[1] = other.records[1].clone();
    let damage = scene.refold(None).unwrap_err();
    assert!(
        matches!(damage.damage, DamagedHistory::Rewritten { .. }),
        "{damage}"
    );
    let damage = scene.refold(Some(&checkpoints[1])).unwrap_err();
    assert!(
        matches!(damage.damage, DamagedHistory::Rewritten { .. }),
        "{damage}"
    );
}

#[test]
fn a_log_that_went_back_is_noticed_by_the_next_group_of_any_router() {
    let mut scene = LogScene::new();
    scene.events(0, &["a"]);
    scene.events(1, &["b"]);
    // The second record is gone, and its router goes on: it was acknowledged.
    scene.records.truncate(1);
    scene.fold = scene.refold(None).unwrap();
    let lane = scene.lane("hub");
    let event = EventParts::new("c", "s", "t").build(&EventLimits::default());
    let new = NewEvent {
        event: event.unwrap(),
        twin: 2,
        lanes: vec![lane],
    };
    let at = Timestamp::from_unix_millis(1_000);
    scene.formers[1].push(&[new], at, ()).unwrap();
    let record = ClusterRecord {
        sequence: 2,
        subject: RecordSubject::Events,
        bytes: scene.formers[1].next_append().unwrap().bytes,
    };
    let damage = scene.fold.fold(&record).unwrap_err().to_string();
    assert_eq!(
        damage,
        "partition 02 of the cluster's log lacks 1 groups of router west before record 2"
    );
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_partition_is_none() {
    let (scene, checkpoints) = full_log();
    let bytes = checkpoints[3].encode();
    for at in 0..bytes.len() {
        let mut bad = bytes.to_vec();
        bad[at] ^= 4;
        assert!(
            PartitionCheckpoint::decode(&bad, scene.partition).is_err(),
            "{at}"
        );
        let cut = PartitionCheckpoint::decode(&bytes[..at], scene.partition);
        assert!(cut.is_err(), "{at}");
    }
    let other = PartitionNumber::new(3).unwrap();
    assert!(PartitionCheckpoint::decode(&bytes, other).is_err());
}
