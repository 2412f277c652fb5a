//! Simulated producers: each posts events of its own twins to any router, one after the other.

use super::routers::SimulatedRouter;
use super::world::{RecordedAcknowledgement, SimulatedWorld};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use twinroute_journal::{NewEvent, PartitionNumber};
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::stable_hash::mix;

/// Routers by number; none while one is unavailable.
pub(super) type RouterSlots = Arc<Mutex<Vec<Option<SimulatedRouter>>>>;

/// A request waits so long for its acknowledgement.
const ACK_MAX: Duration = Duration::from_secs(15);

/// Twins of each producer.
const TWINS: u64 = 4;

pub(super) struct SimulatedProducer {
    pub(super) world: SimulatedWorld,
    pub(super) routers: RouterSlots,
    pub(super) partitions: u8,
    pub(super) number: u64,
    pub(super) rng: fastrand::Rng,
}

impl SimulatedProducer {
    /// Posts until then.
    pub(super) async fn run(mut self, until: Instant) {
        let mut count = 0;
        while Instant::now() < until {
            sleep(Duration::from_millis(self.rng.u64(50..900))).await;
            count += 1;
            self.post(count).await;
        }
    }

    async fn post(&mut self, count: u64) {
        let twin = self.number * TWINS + self.rng.u64(0..TWINS);
        let hash = mix(twin + 1);
        let partition = PartitionNumber::of_twin(hash, self.partitions);
        let events = self.rng.u64(1..=3);
        let ids: Vec<_> = (0..events)
            .map(|event| format!("t{twin}-{count}.{event}"))
            .collect();
        let lanes = self.rng.u8(1..=3);
        let (ticket, router) = {
            let routers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
            let running: Vec<_> = routers
                .iter()
                .flatten()
                .filter(|one| !one.is_paused() && !one.has_ended())
                .collect();
            let Some(router) = self.rng.choice(running) else {
                return;
            };
            let lane = |bit: usize| (lanes >> bit & 1 == 1).then(|| router.lanes[bit]);
            let lanes: Vec<_> = [lane(0), lane(1)].into_iter().flatten().collect();
            let new = |id: &String| NewEvent {
                event: EventParts::new(id, "s", "t")
                    .build(&EventLimits::default())
                    .expect("a right event"),
                twin: hash,
                lanes: lanes.clone(),
            };
            let batch: Vec<_> = ids.iter().map(new).collect();
            self.world
                .record()
                .posted
                .entry(hash)
                .or_default()
                .extend(ids.iter().cloned());
            let ticket = router.producer.append(partition, &batch);
            (ticket, router.name.clone())
        };
        let Ok(ticket) = ticket else {
            return;
        };
        let answered = timeout(ACK_MAX, ticket).await;
        let first = &ids[0];
        match answered {
            Ok(Ok(_)) => {
                self.world.trace(format_args!(
                    "{first} and {} more are accepted in {partition}",
                    events - 1
                ));
                let acknowledged = ids.into_iter().map(|id| RecordedAcknowledgement {
                    id,
                    twin: hash,
                    router: router.clone(),
                    at: Instant::now(),
                });
                self.world.record().acknowledged.extend(acknowledged);
            }
            _ => self
                .world
                .trace(format_args!("{first} is not acknowledged")),
        }
    }
}
