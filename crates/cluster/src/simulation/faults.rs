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
    /// Answers of the log to a router come late.
    LateAnswers {
        router: usize,
        percent: u32,
        lasts: Duration,
    },
    /// The clock of a router is set.
    ClockJump { router: usize, millis: i64 },
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
            let forget = |records| SimulatedFault::Forget { partition, records };
            let damage = match rng.u8(0..4) {
                0 => forget(rng.u64(1..=4)),
                1 => {
                    // Nobody is there who knows better, and what was forgotten goes back some seconds.
                    let crash = |router| SimulatedFault::Crash {
                        router,
                        away: Duration::from_secs(2),
                    };
                    let crashes_at = at - Duration::from_millis(500);
                    faults.extend((0..routers).map(|router| (crashes_at, crash(router))));
                    forget(rng.u64(10..=60))
                }
                _ => SimulatedFault::Rewrite {
                    partition,
                    pick: rng.u64(..),
                },
            };
            faults.push((at, damage));
        }
        match rng.u8(0..16) {
            0 | 1 => faults.extend(late_settlements(&mut rng, routers)),
            2 => faults.extend(cut_behind_a_jump(&mut rng, routers)),
            3 => faults.extend(cut_behind_late_answers(&mut rng, routers)),
            _ => {}
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            partitions,
            routers,
            faults,
        }
    }
}

/// An owner dies whose last settlements are on their way for long, and the next one has nothing to settle meanwhile.
fn late_settlements(rng: &mut fastrand::Rng, routers: usize) -> [(Duration, SimulatedFault); 4] {
    let router = rng.usize(0..routers);
    let at = Duration::from_millis(rng.u64(5_000..12_000));
    let after = |millis| at + Duration::from_millis(millis);
    let lasts = Duration::from_secs(1);
    let down = |endpoint| SimulatedFault::EndpointDown {
        endpoint,
        lasts: Duration::from_secs(24),
    };
    let late = SimulatedFault::LateRequests {
        router,
        percent: 90,
        lasts,
    };
    let crash = SimulatedFault::Crash {
        router,
        away: Duration::from_secs(30),
    };
    [
        (at, late),
        (after(600), down(0)),
        (after(600), down(1)),
        (after(900), crash),
    ]
}

/// The clock of an owner is set forward, and then it does not reach the log while its lease ends.
fn cut_behind_a_jump(rng: &mut fastrand::Rng, routers: usize) -> [(Duration, SimulatedFault); 2] {
    let router = rng.usize(0..routers);
    let at = Duration::from_millis(rng.u64(5_000..20_000));
    let millis = rng.i64(5_000..60_000);
    let cut = SimulatedFault::Cut {
        router,
        lasts: Duration::from_secs(14),
    };
    // It has renewed its lease once meanwhile.
    let cut_at = at + Duration::from_millis(rng.u64(2_600..4_000));
    [
        (at, SimulatedFault::ClockJump { router, millis }),
        (cut_at, cut),
    ]
}

/// An owner hears late that it has renewed its lease, and then does not reach the log while that ends.
fn cut_behind_late_answers(
    rng: &mut fastrand::Rng,
    routers: usize,
) -> [(Duration, SimulatedFault); 2] {
    let router = rng.usize(0..routers);
    let at = Duration::from_millis(rng.u64(5_000..20_000));
    let late = SimulatedFault::LateAnswers {
        router,
        percent: 100,
        lasts: Duration::from_secs(3),
    };
    let cut = SimulatedFault::Cut {
        router,
        lasts: Duration::from_secs(14),
    };
    [(at, late), (at + Duration::from_secs(8), cut)]
}

fn fault(rng: &mut fastrand::Rng, routers: usize, partitions: u8) -> SimulatedFault {
    let router = rng.usize(0..routers);
    let partition = rng.u8(0..partitions);
    let lasts = Duration::from_millis(rng.u64(500..30_000));
    let short = Duration::from_millis(rng.u64(500..9_000));
    match rng.u8(0..21) {
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
        18 | 19 => SimulatedFault::LateAnswers {
            router,
            percent: rng.u32(20..80),
            lasts: short,
        },
        20 => SimulatedFault::ClockJump {
            router,
            millis: rng.i64(-60_000..60_000),
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
