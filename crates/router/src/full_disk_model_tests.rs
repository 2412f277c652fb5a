//! Random endpoints and events on a small disk, with kills in between: every accepted event is in exactly one state,
//! and nothing that was queued is discarded for the disk.

use super::*;
use proptest::prelude::*;
use twinroute_journal::ledger::DiscardReason;

#[derive(Clone, Debug)]
enum DiskAct {
    /// So many events of so many bytes, for one endpoint or for all.
    Post(usize, usize, Option<usize>),
    Kill(PowerLossRemains),
    /// Something else takes so many segments of the disk from now on.
    Others(u64),
}

/// Endpoints, of which the last is healthy.
const ENDPOINTS: usize = 4;

/// The queue of an endpoint that is [`EndpointKind::Down`].
const QUEUED_MAX: u64 = 10;

fn kind() -> impl Strategy<Value = EndpointKind> {
    prop_oneof![
        4 => Just(EndpointKind::Down),
        1 => Just(EndpointKind::Queues),
        1 => Just(EndpointKind::KeepsAll),
        1 => Just(EndpointKind::Stored),
        1 => Just(EndpointKind::Healthy),
    ]
}

fn act() -> impl Strategy<Value = DiskAct> {
    let leaves = prop_oneof![
        Just(PowerLossRemains::All),
        Just(PowerLossRemains::Nothing),
        any::<u64>().prop_map(PowerLossRemains::Some),
    ];
    prop_oneof![
        12 => (1..40_usize, 100..3_000_usize, proptest::option::of(0..ENDPOINTS))
            .prop_map(|(count, bytes, only)| DiskAct::Post(count, bytes, only)),
        2 => leaves.prop_map(DiskAct::Kill),
        1 => (0..3_u64).prop_map(DiskAct::Others),
    ]
}

struct DiskModel {
    scene: DiskScene,
    sim: SimulatedDisk,
    kinds: Vec<EndpointKind>,
    segments: u64,
    keep_bytes: u64,
    id: usize,
    /// The ids that were accepted, by endpoint.
    accepted: Vec<BTreeSet<String>>,
    /// What arrived before the latest kill, by endpoint.
    arrived: Vec<BTreeSet<String>>,
}

impl DiskModel {
    fn new(segments: u64, keep_bytes: u64, mut kinds: Vec<EndpointKind>) -> Self {
        kinds.push(EndpointKind::Healthy);
        let sim = disk_of(segments);
        Self {
            scene: DiskScene::keeping(keep_bytes, &sim, &kinds),
            sim,
            segments,
            keep_bytes,
            id: 0,
            accepted: vec![BTreeSet::new(); kinds.len()],
            arrived: vec![BTreeSet::new(); kinds.len()],
            kinds,
        }
    }

    async fn run(&mut self, act: DiskAct) {
        match act {
            DiskAct::Post(count, bytes, only) => {
                for _ in 0..count {
                    self.post(bytes, only).await;
                }
            }
            DiskAct::Kill(leaves) => {
                self.note_arrived();
                self.sim = after_crash(&self.sim, leaves);
                self.scene = DiskScene::keeping(self.keep_bytes, &self.sim, &self.kinds);
            }
            DiskAct::Others(segments) => {
                let room = self.segments.saturating_sub(segments) * SEGMENT_BYTES + BESIDE_BYTES;
                self.sim.set_room(Some(room));
            }
        }
        self.check();
    }

    async fn post(&mut self, bytes: usize, only: Option<usize>) {
        let event_type = only.map_or("t".to_owned(), |number| format!("end{number}"));
        if self.scene.accept(bytes, self.id, &event_type).await.is_ok() {
            for (number, accepted) in self.accepted.iter_mut().enumerate() {
                if only.is_none_or(|only| only == number) {
                    accepted.insert(self.id.to_string());
                }
            }
        }
        self.id += 1;
    }

    fn note_arrived(&mut self) {
        for (arrived, sink) in self.arrived.iter_mut().zip(&self.scene.sinks) {
            arrived.extend(sink.ids());
        }
    }

    fn check(&self) {
        for (number, kind) in self.kinds.iter().enumerate() {
            let status = self.scene.status(number);
            let open = status.queued + status.in_flight + status.retrying;
            let ended = status.delivered + status.dead_letters.all() + status.discarded;
            assert_eq!(
                status.matched,
                self.accepted[number].len() as u64,
                "{status:?}"
            );
            assert_eq!(status.matched, open + ended, "{status:?}");
            match kind {
                // What is queued stays so, whatever the disk does.
                EndpointKind::Queues => assert_eq!(open, status.matched, "{status:?}"),
                EndpointKind::Stored => assert_eq!(status.discarded, 0, "{status:?}"),
                EndpointKind::Down => assert!(open >= status.matched.min(QUEUED_MAX), "{status:?}"),
                EndpointKind::KeepsAll | EndpointKind::Healthy => {
                    assert_eq!(status.discarded, 0, "{status:?}")
                }
            }
            let overflow = status
                .discarded_by
                .get(&DiscardReason::DeadLetterOverflow)
                .copied();
            assert_eq!(overflow.unwrap_or_default(), status.discarded, "{status:?}");
        }
    }

    /// There is room again, and everybody is there: what was queued arrives.
    async fn finish(&mut self) {
        self.sim.set_room(None);
        self.scene.post_of(LARGE, "t", self.id..self.id + 1).await;
        for accepted in &mut self.accepted {
            accepted.insert(self.id.to_string());
        }
        self.check();
        for number in 0..self.kinds.len() {
            self.scene.sinks[number].set_down(false);
            let name = format!("end{number}");
            self.scene.router.endpoint(None, &name).unwrap().retry_now();
            self.scene.delivered(number, 0..0).await;
        }
        self.note_arrived();
        for (number, kind) in self.kinds.iter().enumerate() {
            let status = self.scene.status(number);
            let missing: Vec<_> = self.accepted[number]
                .difference(&self.arrived[number])
                .collect();
            let gone = status.dead_letters.all() + status.discarded;
            assert_eq!(missing.len() as u64, gone, "{missing:?}: {status:?}");
            if matches!(kind, EndpointKind::Queues | EndpointKind::Healthy) {
                assert_eq!(gone, 0, "{status:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_full_disk_discards_nothing_but_dead_letters_that_are_kept(
        segments in 3..7_u64,
        keep_bytes in prop_oneof![Just(0), Just(KEEP_BYTES)],
        kinds in proptest::collection::vec(kind(), ENDPOINTS - 1),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = DiskModel::new(segments, keep_bytes, kinds);
            for act in acts {
                model.run(act).await;
            }
            model.finish().await;
        });
    }
}
