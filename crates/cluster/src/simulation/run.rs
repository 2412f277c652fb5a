//! One run: a plan from the seed, its faults, then calm until all is settled, then the oracle.

use super::faults::{ACTIVE, FaultPlan, SimulatedFault};
use super::lanes::SimulatedLanes;
use super::log::SimulatedLog;
use super::oracle::{ClusterJudge, SimulationViolation};
use super::producers::{RouterSlots, SimulatedProducer};
use super::routers::{RouterMaker, SimulatedRouter};
use super::world::{FaultCost, SimulatedWorld};
use crate::planted::PlantedFaults;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use twinroute_journal::PartitionNumber;
use twinroute_journal::partition::{LaneRegister, PartitionFold, events_of};

/// Names of routers.
const NAMES: [&str; 3] = ["east", "north", "west"];

/// Everything must be settled so long after the last fault.
const CALM_MAX: Duration = Duration::from_secs(120);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct SimulationOutcome {
    /// Its seed.
    pub seed: u64,
    /// Promises that were not kept.
    pub violations: Vec<SimulationViolation>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// Events that were acknowledged, and sends of deliveries that arrived.
    pub acknowledged: usize,
    /// Sends of deliveries.
    pub sends: usize,
}

/// Runs a seed, on a thread that runs nothing else meanwhile.
///
/// # Panics
/// When the system has no room for a runtime.
#[must_use]
pub fn run(seed: u64, planted: PlantedFaults) -> SimulationOutcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs no more than memory");
    runtime.block_on(run_within(seed, planted))
}

async fn run_within(seed: u64, planted: PlantedFaults) -> SimulationOutcome {
    let plan = FaultPlan::of(seed);
    let world = SimulatedWorld::new();
    for (at, fault) in &plan.faults {
        world.trace(format_args!("planned at {} ms: {fault:?}", at.as_millis()));
    }
    let log = SimulatedLog::new(plan.partitions, seed);
    let maker = RouterMaker {
        world: world.clone(),
        log: log.clone(),
        partitions: plan.partitions,
        planted,
        seed,
    };
    let run = SimulationRun {
        routers: RouterSlots::default(),
        plan,
        maker,
    };
    run.active().await;
    let is_calm = run.calm().await;
    run.routers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    let record = std::mem::take(&mut *world.record());
    let register = LaneRegister::default();
    let lanes = SimulatedLanes::bind(&register);
    let judge = ClusterJudge::new(&run.plan, &log, &record, lanes, &register);
    SimulationOutcome {
        seed,
        violations: judge.judge(is_calm),
        acknowledged: record.acknowledged.len(),
        sends: record.sends.len(),
        trace: record.trace,
    }
}

struct SimulationRun {
    plan: FaultPlan,
    maker: RouterMaker,
    routers: RouterSlots,
}

impl SimulationRun {
    async fn active(&self) {
        let start = Instant::now();
        let slots = (0..self.plan.routers).map(|router| Some(self.maker.start(NAMES[router], 1)));
        let slots: Vec<_> = slots.collect();
        *self.routers.lock().unwrap_or_else(PoisonError::into_inner) = slots;
        let mut rng = fastrand::Rng::with_seed(self.maker.seed ^ 0x5eed);
        for number in 0..3 {
            let producer = SimulatedProducer {
                world: self.maker.world.clone(),
                routers: RouterSlots::clone(&self.routers),
                partitions: self.plan.partitions,
                number,
                rng: rng.fork(),
            };
            drop(tokio::spawn(producer.run(start + ACTIVE)));
        }
        for (at, fault) in self.plan.faults.clone() {
            sleep_until(start + at).await;
            self.maker.world.trace(format_args!("* {fault:?}"));
            self.inject(fault);
        }
        // The longest fault, a producer's last wait, and a router's way back.
        sleep_until(start + ACTIVE + Duration::from_secs(31)).await;
    }

    fn with_router(&self, router: usize, act: impl FnOnce(&SimulatedRouter)) {
        let routers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(router)) = routers.get(router) {
            act(router);
        }
    }

    /// Has a fault happen. What it may cost in duplicates is recorded with it.
    fn inject(&self, fault: SimulatedFault) {
        let world = &self.maker.world;
        match fault {
            SimulatedFault::Crash { router, away } => {
                world.fault(Some(NAMES[router]), Duration::ZERO);
                self.routers.lock().unwrap_or_else(PoisonError::into_inner)[router] = None;
                self.start_again(router, away);
            }
            SimulatedFault::Pause { router, lasts } => {
                world.fault(Some(NAMES[router]), lasts);
                self.with_router(router, |router| router.pause(lasts));
            }
            SimulatedFault::Cut { router, lasts } => {
                world.fault(Some(NAMES[router]), lasts);
                self.with_router(router, |router| router.link.cut(lasts));
            }
            SimulatedFault::LostAnswers {
                router,
                percent,
                lasts,
            } => {
                // Renewals are among them: two in a row that nobody hears of end a lease.
                let cost = match percent {
                    0..=50 => FaultCost::LostLease,
                    _ => FaultCost::InFlight,
                };
                world.fault_of_cost(Some(NAMES[router]), lasts, cost);
                self.with_router(router, |router| router.link.lose_answers(percent, lasts));
            }
            SimulatedFault::LateRequests {
                router,
                percent,
                lasts,
            } => {
                // Renewals are among them.
                world.fault(Some(NAMES[router]), lasts);
                self.with_router(router, |router| router.link.delay(percent, lasts));
            }
            SimulatedFault::LateAnswers {
                router,
                percent,
                lasts,
            } => {
                world.fault(Some(NAMES[router]), lasts);
                self.with_router(router, |router| router.link.delay_answers(percent, lasts));
            }
            SimulatedFault::ClockJump { router, millis } => {
                self.with_router(router, |router| router.clock.jump(millis));
            }
            SimulatedFault::EndpointRefuses { endpoint, lasts } => {
                world.endpoint_refuses(endpoint, lasts);
            }
            SimulatedFault::Leave { router, away } => {
                self.with_router(router, SimulatedRouter::stop);
                self.start_again(router, away);
            }
            SimulatedFault::EndpointDown { endpoint, lasts } => {
                world.endpoint_down(endpoint, lasts)
            }
            of_the_log => self.inject_in_log(of_the_log),
        }
    }

    fn inject_in_log(&self, fault: SimulatedFault) {
        let (world, log) = (&self.maker.world, &self.maker.log);
        let partition_of = |number| PartitionNumber::new(number).expect("the plan has it");
        match fault {
            SimulatedFault::Election { partition, lasts } => {
                log.elect(partition_of(partition), lasts)
            }
            SimulatedFault::EntriesElection { lasts } => {
                world.fault(None, lasts);
                log.elect_entries(lasts);
            }
            SimulatedFault::AllDown { lasts } => {
                world.fault(None, lasts);
                log.elect_entries(lasts);
                PartitionNumber::all(self.plan.partitions).for_each(|one| log.elect(one, lasts));
            }
            SimulatedFault::CheckpointLost { partition } => {
                // Its owner takes the lost one for another's, and lets go.
                world.fault(None, Duration::from_secs(8));
                log.lose_checkpoint(partition_of(partition));
            }
            SimulatedFault::Forget { partition, records } => {
                self.forget(partition_of(partition), records);
            }
            SimulatedFault::Rewrite { partition, pick } => {
                self.rewrite(partition_of(partition), pick);
            }
            // Those of routers and endpoints have happened.
            _ => {}
        }
    }

    /// The log loses its last records.
    fn forget(&self, partition: PartitionNumber, records: u64) {
        let (world, log) = (&self.maker.world, &self.maker.log);
        let behind = log.ever(partition).len();
        let gone = log.forget(partition, records);
        world.trace(format_args!("forgotten: {}", gone.len()));
        let mut record = world.record();
        record.damaged = (!gone.is_empty()).then_some(partition);
        // A settlement that is lost costs a duplicate, and nobody was promised that it stays.
        let events = gone.iter().flat_map(|one| events_of(one, partition));
        record.forgotten_behind = behind;
        record.forgotten = events.map(|(_, event)| event.id().to_owned()).collect();
    }

    /// The log holds other bytes than it was given, and all routers read it again.
    fn rewrite(&self, partition: PartitionNumber, pick: u64) {
        let (world, log) = (&self.maker.world, &self.maker.log);
        let record = log.rewrite(partition, pick);
        world.trace(format_args!("rewritten: {record:?}"));
        world.record().damaged = record.map(|_| partition);
        // Whoever owns the partition next reads it again.
        for (router, name) in NAMES.iter().enumerate().take(self.plan.routers) {
            world.fault(Some(name), Duration::ZERO);
            self.routers.lock().unwrap_or_else(PoisonError::into_inner)[router] = None;
            self.start_again(router, Duration::from_secs(1));
        }
    }

    /// Starts a router again after a while; a life that goes on by then has left or ends.
    fn start_again(&self, router: usize, away: Duration) {
        let (maker, routers) = (self.maker.clone(), RouterSlots::clone(&self.routers));
        drop(tokio::spawn(async move {
            sleep(away).await;
            let is_left = {
                let routers = routers.lock().unwrap_or_else(PoisonError::into_inner);
                routers[router]
                    .as_ref()
                    .is_none_or(SimulatedRouter::has_ended)
            };
            if !is_left {
                // It is still handing over; ending it now is a crash.
                maker.world.fault(Some(NAMES[router]), Duration::ZERO);
            }
            let incarnation = u64::try_from(maker.world.elapsed().as_millis()).unwrap_or(u64::MAX);
            let started = maker.start(NAMES[router], incarnation);
            let before =
                routers.lock().unwrap_or_else(PoisonError::into_inner)[router].replace(started);
            drop(before);
        }));
    }

    /// Waits until all that stands in the log is settled, except in a partition whose log is damaged.
    async fn calm(&self) -> bool {
        let until = Instant::now() + CALM_MAX;
        while Instant::now() < until {
            sleep(Duration::from_secs(2)).await;
            if self.is_settled() {
                // The last outcomes' record may have answers under way.
                sleep(Duration::from_secs(10)).await;
                return true;
            }
        }
        false
    }

    fn is_settled(&self) -> bool {
        let damaged = self.maker.world.record().damaged;
        let mut partitions = PartitionNumber::all(self.plan.partitions);
        partitions.all(|partition| {
            if Some(partition) == damaged {
                return true;
            }
            let mut fold = PartitionFold::new(partition, LaneRegister::default());
            let records = self.maker.log.ever(partition);
            let folded = records.iter().all(|(record, _)| fold.fold(record).is_ok());
            !folded || fold.open() == 0
        })
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
