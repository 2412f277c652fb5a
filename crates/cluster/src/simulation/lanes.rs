//! Simulated lanes: they send a twin's deliveries one after the other, as long as they may, and report what became of them.

use super::log::SimulatedLog;
use super::world::{
    DeliveryKey, ENDPOINTS, RecordedLetter, RecordedOpening, RecordedSend, SimulatedAnswer,
    SimulatedClock, SimulatedWorld,
};
use crate::lease_keeper::SendPermit;
use crate::owner::{OpenedPartition, OutcomeReport, PartitionNews};
use crate::planted::{PlantedFault, PlantedFaults};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use twinroute_journal::ledger::DeliverySettlement;
use twinroute_journal::partition::{EventPlace, FailedDelivery, LaneRegister, events_of};
use twinroute_journal::{LaneId, PartitionNumber};
use twinroute_model::clock::Clock as _;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::name::{EndpointName, InstanceName};

/// Attempts of an event that fails alone.
const ATTEMPTS_MAX: u32 = 2;

/// The lanes of one router.
pub(super) struct SimulatedLanes {
    pub(super) world: SimulatedWorld,
    pub(super) log: SimulatedLog,
    pub(super) clock: SimulatedClock,
    pub(super) router: String,
    pub(super) lanes: [LaneId; ENDPOINTS.len()],
    pub(super) planted: PlantedFaults,
    pub(super) rng: fastrand::Rng,
}

/// What of a partition waits, and for whom.
struct OpenLanes {
    sender: Arc<DeliverySender>,
    queues: BTreeMap<(usize, u64), Arc<Mutex<VecDeque<QueuedDelivery>>>>,
    busy: BTreeSet<(usize, u64)>,
}

#[derive(Clone)]
struct QueuedDelivery {
    key: DeliveryKey,
    attempts: u32,
    is_dead: bool,
}

/// Where a loop over one twin's deliveries ended: its partition, epoch, endpoint and twin.
type EndedTwin = (PartitionNumber, u64, (usize, u64));

impl SimulatedLanes {
    /// The numbers of the simulated endpoints' lanes.
    pub(super) fn bind(register: &LaneRegister) -> [LaneId; ENDPOINTS.len()] {
        ENDPOINTS.map(|endpoint| {
            let instance = InstanceName::new("plant").expect("a right name");
            let endpoint = EndpointName::new(endpoint).expect("a right name");
            register.bind(&(instance, endpoint))
        })
    }

    /// Delivers for as long as anybody tells of partitions.
    pub(super) async fn run(mut self, mut news: mpsc::UnboundedReceiver<PartitionNews>) {
        let mut open: BTreeMap<PartitionNumber, OpenLanes> = BTreeMap::new();
        let mut running: FuturesUnordered<BoxFuture<'static, EndedTwin>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                heard = news.recv() => match heard {
                    None => return,
                    Some(heard) => self.hear(heard, &mut open),
                },
                Some((partition, epoch, twin)) = running.next(), if !running.is_empty() => {
                    if let Some(lanes) = open.get_mut(&partition) && lanes.sender.epoch == epoch {
                        lanes.busy.remove(&twin);
                    }
                }
            }
            for (partition, lanes) in &mut open {
                self.start(*partition, lanes, &running);
            }
        }
    }

    fn hear(&mut self, heard: PartitionNews, open: &mut BTreeMap<PartitionNumber, OpenLanes>) {
        match heard {
            PartitionNews::Opened(opened) => {
                let lanes = self.open(opened);
                open.insert(lanes.sender.partition, lanes);
            }
            PartitionNews::Arrived {
                partition, events, ..
            } => {
                let Some(lanes) = open.get(&partition).map(|_| self.lanes) else {
                    return;
                };
                let of = open.get_mut(&partition).expect("it was just there");
                for event in events {
                    for lane in event.lanes {
                        let endpoint = lanes.iter().position(|one| *one == lane);
                        let endpoint = endpoint.expect("no other lanes are there");
                        of.push(
                            event.twin,
                            QueuedDelivery {
                                key: (event.sequence, endpoint),
                                attempts: 0,
                                is_dead: false,
                            },
                        );
                    }
                }
            }
            PartitionNews::Draining(partition) => {
                self.world
                    .trace(format_args!("{} drains {partition}", self.router));
                if let Some(lanes) = open.get(&partition) {
                    lanes.sender.is_draining.store(true, Ordering::Relaxed);
                }
            }
            PartitionNews::Closed(partition) => {
                self.world
                    .trace(format_args!("{} closed {partition}", self.router));
                open.remove(&partition);
            }
            PartitionNews::Quarantined(damage) => {
                self.world
                    .trace(format_args!("{} quarantines: {damage}", self.router));
                self.world.record().quarantined.push(damage);
            }
        }
    }

    fn open(&mut self, opened: OpenedPartition) -> OpenLanes {
        let OpenedPartition {
            partition,
            epoch,
            pending,
            permit,
            outcomes,
            ..
        } = opened;
        let count = pending.len();
        self.world.trace(format_args!(
            "{} opens {partition} in epoch {epoch} with {count}",
            self.router
        ));
        self.world.record().openings.push(RecordedOpening {
            partition,
            epoch,
            at: Instant::now(),
        });
        let mut lanes = OpenLanes {
            sender: Arc::new(DeliverySender {
                world: self.world.clone(),
                log: self.log.clone(),
                clock: self.clock.clone(),
                router: self.router.clone(),
                lanes: self.lanes,
                planted: self.planted,
                partition,
                epoch,
                permit,
                outcomes,
                is_draining: AtomicBool::new(false),
                is_drained: AtomicBool::new(false),
                rng: Mutex::new(self.rng.fork()),
            }),
            queues: BTreeMap::new(),
            busy: BTreeSet::new(),
        };
        for one in pending {
            let endpoint = self.lanes.iter().position(|lane| *lane == one.lane);
            lanes.push(
                one.twin,
                QueuedDelivery {
                    key: (one.sequence, endpoint.expect("no other lanes are there")),
                    attempts: one.attempts,
                    is_dead: one.dead.is_some(),
                },
            );
        }
        lanes
    }

    /// Starts loops over twins that have something to send and none yet.
    fn start(
        &self,
        partition: PartitionNumber,
        lanes: &mut OpenLanes,
        running: &FuturesUnordered<BoxFuture<'static, EndedTwin>>,
    ) {
        let sender = &lanes.sender;
        if sender.is_draining.load(Ordering::Relaxed) {
            if lanes.busy.is_empty() && !sender.is_drained.swap(true, Ordering::Relaxed) {
                drop(sender.outcomes.send(OutcomeReport::Drained));
            }
            return;
        }
        for (twin, queue) in &lanes.queues {
            let is_empty = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty();
            if is_empty || !sender.permit.may_send() || !lanes.busy.insert(*twin) {
                continue;
            }
            let (sender, queue, twin) = (Arc::clone(sender), Arc::clone(queue), *twin);
            let epoch = sender.epoch;
            running.push(Box::pin(async move {
                sender.deliver_all(&queue).await;
                (partition, epoch, twin)
            }));
        }
    }
}

impl OpenLanes {
    fn push(&mut self, twin: u64, delivery: QueuedDelivery) {
        let queue = self.queues.entry((delivery.key.1, twin)).or_default();
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(delivery);
    }
}

/// Sends deliveries of one partition in one epoch.
struct DeliverySender {
    world: SimulatedWorld,
    log: SimulatedLog,
    clock: SimulatedClock,
    router: String,
    lanes: [LaneId; ENDPOINTS.len()],
    planted: PlantedFaults,
    partition: PartitionNumber,
    epoch: u64,
    permit: SendPermit,
    outcomes: mpsc::UnboundedSender<OutcomeReport>,
    is_draining: AtomicBool,
    is_drained: AtomicBool,
    rng: Mutex<fastrand::Rng>,
}

impl DeliverySender {
    /// Delivers what is in a twin's queue, in order, until it may no longer.
    async fn deliver_all(&self, queue: &Mutex<VecDeque<QueuedDelivery>>) {
        loop {
            let next = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .front()
                .cloned();
            let Some(next) = next else {
                return;
            };
            if !self.deliver(next).await {
                return;
            }
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
        }
    }

    fn may_send(&self) -> bool {
        self.permit.may_send() && !self.is_draining.load(Ordering::Relaxed)
    }

    /// Brings a delivery to its end; false when another owner is to do that.
    async fn deliver(&self, mut delivery: QueuedDelivery) -> bool {
        let key = delivery.key;
        let event_id = event_id(&self.log, key.0);
        while !delivery.is_dead {
            if !self.may_send() {
                return false;
            }
            match self.send(key, &event_id).await {
                SimulatedAnswer::Delivered => {
                    self.settle(key, DeliverySettlement::Delivered);
                    return true;
                }
                SimulatedAnswer::Unavailable => sleep(Duration::from_millis(700)).await,
                SimulatedAnswer::Rejected => {
                    delivery.attempts += 1;
                    let failed = match delivery.attempts < ATTEMPTS_MAX {
                        true => self.fail(&delivery).await,
                        false => {
                            delivery.is_dead = true;
                            self.die(&delivery).await
                        }
                    };
                    if !failed {
                        return false;
                    }
                    if !delivery.is_dead {
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
        self.upload(key).await
    }

    async fn send(&self, delivery: DeliveryKey, event_id: &str) -> SimulatedAnswer {
        let number = {
            let mut record = self.world.record();
            record.sends.push(RecordedSend {
                delivery,
                router: self.router.clone(),
                partition: self.partition,
                epoch: self.epoch,
                began: Instant::now(),
                arrived: None,
                answer: SimulatedAnswer::Unavailable,
            });
            record.sends.len() - 1
        };
        self.network().await;
        let answer = self.world.arrive(number, event_id);
        let (sequence, endpoint) = delivery;
        let to = ENDPOINTS[endpoint];
        self.world.trace(format_args!(
            "{} sends {event_id} {sequence:x} to {to} in {}: {answer:?}",
            self.router, self.epoch
        ));
        self.network().await;
        answer
    }

    async fn network(&self) {
        let millis = self
            .rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u64(1..25);
        sleep(Duration::from_millis(millis)).await;
    }

    fn settle(&self, (sequence, endpoint): DeliveryKey, settlement: DeliverySettlement) {
        let lane = self.lanes[endpoint];
        // Nobody hears it when the partition is another's by now.
        drop(self.outcomes.send(OutcomeReport::Settled {
            lane,
            sequence,
            settlement,
        }));
    }

    async fn fail(&self, delivery: &QueuedDelivery) -> bool {
        let (recorded, heard) = oneshot::channel();
        let (sequence, endpoint) = delivery.key;
        let failed = FailedDelivery {
            lane: self.lanes[endpoint],
            sequence,
            attempts: delivery.attempts,
            due: None,
        };
        drop(
            self.outcomes
                .send(OutcomeReport::Failed { failed, recorded }),
        );
        heard.await.is_ok()
    }

    async fn die(&self, delivery: &QueuedDelivery) -> bool {
        let (recorded, heard) = oneshot::channel();
        let (sequence, endpoint) = delivery.key;
        let letter = DeadLetter {
            reason: DeadLetterReason::Rejected,
            attempts: delivery.attempts,
            died_at: self.clock.now(),
            last_attempt_at: Some(self.clock.now()),
            outcome: "400: rejected".into(),
        };
        drop(self.outcomes.send(OutcomeReport::Dead {
            lane: self.lanes[endpoint],
            sequence,
            letter: Arc::new(letter),
            recorded,
        }));
        self.planted.has(PlantedFault::DeadLetterNotAwaited) || heard.await.is_ok()
    }

    async fn upload(&self, key: DeliveryKey) -> bool {
        if !self.may_send() {
            return false;
        }
        let at = Instant::now();
        self.network().await;
        self.world.record().letters.push(RecordedLetter {
            delivery: key,
            epoch: self.epoch,
            at,
        });
        self.settle(key, DeliverySettlement::DeadLettered);
        true
    }
}

/// The id of the event with a sequence.
pub(super) fn event_id(log: &SimulatedLog, sequence: u64) -> String {
    let place = EventPlace::of_sequence(sequence);
    let at = usize::try_from(place.record).unwrap_or(usize::MAX) - 1;
    let record = log.ever_one(place.partition, at);
    let mut events = record
        .iter()
        .flat_map(|record| events_of(record, place.partition));
    let event = events.find(|(of, _)| *of == sequence);
    event.map_or_else(
        || format!("unknown {sequence:x}"),
        |(_, event)| event.id().to_owned(),
    )
}
