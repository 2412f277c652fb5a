//! What goes wrong in a run, and when: all of it follows from the seed.

use std::time::Duration;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimulatedFault {
    /// A router ends at once, and starts again.
    Crash { router: usize, away: Duration },
    /// Nothing of a router runs for so long.
    Pause { router: usize, lasts: Duration },
    /// A router does not reach the log.
    Cut { router: usize, lasts: Duration },
    /// Answers of the log to a router are lost.
    LostAnswers {
        router: usize,
        percent: u32,
        lasts: Duration,
    },
    /// Requests of a router to the log come late, when the router may have let go long ago.
    LateRequests {
        router: usize,
        percent: u32,
        lasts: Duration,
    },
    /// A destination refuses everything for a while, and takes it later.
    EndpointRefuses { endpoint: usize, lasts: Duration },
    /// A partition elects a leader.
    Election { partition: u8, lasts: Duration },
    /// The entries elect a leader.
    EntriesElection { lasts: Duration },
    /// All nodes are down.
    AllDown { lasts: Duration },
    /// A checkpoint is lost.
    CheckpointLost { partition: u8 },
    /// A router leaves in order, and comes back.
    Leave { router: usize, away: Duration },
    /// A destination does not answer.
    EndpointDown { endpoint: usize, lasts: Duration },
    /// The log loses acknowledged records.
    Forget { partition: u8, records: u64 },
    /// The log holds other bytes than it was given.
    Rewrite { partition: u8, pick: u64 },
}

/// A run's faults.
#[derive(Clone, Debug)]
pub(super) struct FaultPlan {
    pub(super) partitions: u8,
    pub(super) routers: usize,
    /// In order, each so long after the start.
    pub(super) faults: Vec<(Duration, SimulatedFault)>,
}

/// Producers post for so long.
pub(super) const ACTIVE: Duration = Duration::from_secs(40);

impl FaultPlan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let partitions = rng.u8(1..=3);
        let routers = rng.usize(2..=3);
        let count = rng.usize(0..=8);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let at = Duration::from_millis(rng.u64(4_000..38_000));
                (at, fault(&mut rng, routers, partitions))
            })
            .collect();
        if rng.u8(0..8) == 0 {
            let partition = rng.u8(0..partitions);
            let at = Duration::from_millis(rng.u64(15_000..30_000));
            let damage = match rng.bool() {
                true => SimulatedFault::Forget {
                    partition,
                    records: rng.u64(1..=4),
                },
                false => SimulatedFault::Rewrite {
                    partition,
                    pick: rng.u64(..),
                },
            };
            faults.push((at, damage));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            partitions,
            routers,
            faults,
        }
    }
}

fn fault(rng: &mut fastrand::Rng, routers: usize, partitions: u8) -> SimulatedFault {
    let router = rng.usize(0..routers);
    let partition = rng.u8(0..partitions);
    let lasts = Duration::from_millis(rng.u64(500..30_000));
    let short = Duration::from_millis(rng.u64(500..9_000));
    match rng.u8(0..18) {
        0 | 1 => SimulatedFault::Crash {
            router,
            away: lasts,
        },
        2 | 3 => SimulatedFault::Pause { router, lasts },
        4 => SimulatedFault::Cut { router, lasts },
        5 | 6 => SimulatedFault::LostAnswers {
            router,
            percent: rng.u32(10..90),
            lasts: short,
        },
        7 => SimulatedFault::Election {
            partition,
            lasts: short,
        },
        8 => SimulatedFault::EntriesElection { lasts: short },
        9 => SimulatedFault::AllDown { lasts: short },
        10 => SimulatedFault::CheckpointLost { partition },
        11 => SimulatedFault::EndpointDown {
            endpoint: rng.usize(0..2),
            lasts: short,
        },
        12 | 13 => SimulatedFault::LateRequests {
            router,
            percent: rng.u32(20..80),
            lasts: short,
        },
        14 => SimulatedFault::EndpointRefuses {
            endpoint: rng.usize(0..2),
            lasts: short,
        },
        _ => SimulatedFault::Leave {
            router,
            away: lasts,
        },
    }
}
