//! What is done to the process and its destinations, and when: a pure function of the seed.
//!
//! When is counted in acknowledged posts of the present life of the process, so that two runs of one
//! plan do the same things in about the same places, however fast the machine is.

use super::history::{Endpoint, Endpoints};
use fastrand::Rng;
use std::fmt;
use std::time::Duration;
use twinroute_emulator::{BlobAnswer, PostAnswer, SendAnswer};

/// A whole run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// One for each kill.
    pub(super) rounds: Vec<Round>,
}

/// One life of the process, from its start to its kill.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    pub(super) servers: Servers,
    pub(super) faults: Vec<Fault>,
    pub(super) replay: Option<Replay>,
    pub(super) end: End,
}

/// A replay of the dead letters that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// The count at which it begins.
    pub(super) acknowledged: u32,
    /// How fast it is: slow ones are killed on their way.
    pub(super) per_second: u32,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Killed when this many posts of the life were acknowledged; others are under way.
    Posting { acknowledged: u32 },
    /// Killed this long after the process was made: before, in or just after its recovery.
    Starting { after: Duration },
    /// Asked to stop at that count, and killed this long after.
    Stopping { acknowledged: u32, after: Duration },
}

impl End {
    /// A word for the log.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Posting { .. } => "posting",
            Self::Starting { .. } => "starting",
            Self::Stopping { .. } => "stopping",
        }
    }

    /// Posts that are acknowledged before it.
    pub(super) const fn acknowledged(self) -> u32 {
        match self {
            Self::Posting { acknowledged } | Self::Stopping { acknowledged, .. } => acknowledged,
            Self::Starting { .. } => 0,
        }
    }
}

/// Whether the destinations can be reached at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// As before.
    Stay,
    /// They go away at this count.
    Leave { acknowledged: u32 },
    /// They come back at this count.
    Return { acknowledged: u32 },
}

/// Something a destination does wrong, until the life ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The count at which it begins.
    pub(super) acknowledged: u32,
    pub(super) what: What,
}

/// A kind of fault and how often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The Event Grid topic answers so.
    Post(PostAnswer, usize),
    /// The hub or the topic answers so.
    Send(Endpoint, SendAnswer, usize),
    /// Links to the hub or the topic are refused with this condition.
    Attach(Endpoint, &'static str, usize),
    /// AMQP connections are refused.
    Connection(usize),
    /// The container of the hub or the topic answers so.
    Store(Endpoint, BlobAnswer, usize),
}

impl What {
    pub(super) fn endpoints(&self) -> Endpoints {
        let touched: &[Endpoint] = match self {
            Self::Post(..) => &[Endpoint::Grid],
            Self::Send(endpoint, ..) | Self::Attach(endpoint, ..) | Self::Store(endpoint, ..) => {
                std::slice::from_ref(endpoint)
            }
            Self::Connection(_) => &[Endpoint::Hub, Endpoint::Topic],
        };
        touched.iter().copied().collect()
    }

    /// Events that may be refused for good: a refused request is halved until one stands alone.
    pub(super) fn refusals(&self) -> u32 {
        let count = match self {
            Self::Post(PostAnswer::Status(400, _), count) => *count,
            Self::Send(_, SendAnswer::Reject(condition), count)
                if condition == "amqp:not-allowed" =>
            {
                *count
            }
            _ => 0,
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether events may have to wait alone.
    pub(super) const fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::Send(_, SendAnswer::Release | SendAnswer::Modify, _)
        )
    }
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Post(answer, count) => write!(formatter, "grid-1: {count} x {answer:?}"),
            Self::Send(endpoint, answer, count) => {
                write!(formatter, "{}: {count} x {answer:?}", endpoint.name())
            }
            Self::Attach(endpoint, condition, count) => {
                write!(formatter, "{}: {count} x {condition}", endpoint.name())
            }
            Self::Connection(count) => write!(formatter, "{count} AMQP connections refused"),
            Self::Store(endpoint, answer, count) => {
                write!(
                    formatter,
                    "{}: letters: {count} x {answer:?}",
                    endpoint.name()
                )
            }
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(seed: u64, kills: u32) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut away = false;
        let mut rounds: Vec<Round> = Vec::new();
        for _ in 0..kills {
            let end = end(&mut rng, rounds.last().map(|round| round.end));
            let length = end.acknowledged();
            let servers = match (away, length) {
                (_, 0) => Servers::Stay,
                (false, _) if rng.u32(0..10) == 0 => Servers::Leave {
                    acknowledged: rng.u32(0..length),
                },
                (true, _) if rng.u32(0..3) == 0 => Servers::Return {
                    acknowledged: rng.u32(0..length),
                },
                _ => Servers::Stay,
            };
            away = match servers {
                Servers::Stay => away,
                Servers::Leave { .. } => true,
                Servers::Return { .. } => false,
            };
            // Half of the lives are calm, so that a duplicate in one of them has no excuse.
            let count = if length == 0 || rng.bool() {
                0
            } else {
                rng.usize(1..=3)
            };
            let fault = || Fault {
                acknowledged: rng.u32(0..length),
                what: what(&mut rng),
            };
            let mut faults: Vec<Fault> = std::iter::repeat_with(fault).take(count).collect();
            faults.sort_by_key(|fault| fault.acknowledged);
            let replay = (length > 0 && rng.u32(0..4) == 0).then(|| Replay {
                acknowledged: rng.u32(0..length),
                per_second: *rng.choice(&[20, 200, 2_000]).unwrap_or(&20),
            });
            rounds.push(Round {
                servers,
                faults,
                replay,
                end,
            });
        }
        Self { seed, rounds }
    }
}

fn end(rng: &mut Rng, before: Option<End>) -> End {
    // Long ones fill segments, short ones find the process busy with its recovery.
    let acknowledged = if rng.u32(0..4) == 0 {
        rng.u32(1..8)
    } else {
        rng.u32(40..200)
    };
    match (rng.u32(0..20), before) {
        (0..6, Some(End::Posting { .. } | End::Stopping { .. }))
        | (0..3, Some(End::Starting { .. })) => End::Starting {
            after: Duration::from_micros(rng.u64(0..40_000)),
        },
        (6..9, _) => End::Stopping {
            acknowledged,
            after: Duration::from_micros(rng.u64(0..30_000)),
        },
        _ => End::Posting { acknowledged },
    }
}

fn what(rng: &mut Rng) -> What {
    let endpoint = *rng.choice(&Endpoint::ALL).unwrap_or(&Endpoint::Grid);
    let some = rng.usize(1..4);
    let many = rng.usize(8..64);
    let wait = Duration::from_millis(rng.u64(1..200));
    if endpoint == Endpoint::Grid {
        let (answer, count) = match rng.u32(0..11) {
            0 => (PostAnswer::Status(503, Some(1)), some),
            1 => (PostAnswer::Status(429, Some(1)), some),
            2 => (PostAnswer::Status(500, None), some),
            3 => (PostAnswer::Status(404, None), some),
            4 => (PostAnswer::Stall, some),
            5 => (PostAnswer::AcceptAfter(wait), some),
            6 => (PostAnswer::Drop, some),
            7 => (PostAnswer::StoreAndDrop, some),
            _ => (PostAnswer::Status(400, None), many),
        };
        return What::Post(answer, count);
    }
    if endpoint.has_container() && rng.u32(0..5) < 2 {
        let (answer, count) = store(rng, some, wait);
        return What::Store(endpoint, answer, count);
    }
    let condition = |text: &str| text.to_owned();
    let (answer, count) = match rng.u32(0..14) {
        0 => (
            SendAnswer::Reject(condition("com.microsoft:server-busy")),
            some,
        ),
        1 => (SendAnswer::Reject(condition("amqp:not-allowed")), many),
        2 => (SendAnswer::Release, some),
        3 => (SendAnswer::Modify, some),
        4..6 => (SendAnswer::Stall, some),
        6 => (SendAnswer::StoreAndStall, some),
        7 => (SendAnswer::AcceptAfter(wait), some),
        8 => (
            SendAnswer::Detach(condition("amqp:link:detach-forced")),
            some,
        ),
        9 => (SendAnswer::Close(condition("amqp:connection:forced")), some),
        10 => (SendAnswer::Drop, some),
        11 => (SendAnswer::StoreAndDrop, some),
        12 => return What::Attach(endpoint, "amqp:not-found", some),
        _ => return What::Connection(some),
    };
    What::Send(endpoint, answer, count)
}

/// What a container does wrong. Codes are those of the service's documents.
fn store(rng: &mut Rng, some: usize, wait: Duration) -> (BlobAnswer, usize) {
    let status = |status, code: &str| BlobAnswer::Status(status, code.to_owned(), None);
    match rng.u32(0..10) {
        0 => (BlobAnswer::busy(Some(1)), some),
        1 => (status(403, "AuthorizationFailure"), some),
        2 => (BlobAnswer::ContainerAbsent, some),
        3 => (BlobAnswer::Full, some),
        4 => (BlobAnswer::Stall, some),
        5 => (BlobAnswer::AnswerAfter(wait), some),
        6 => (BlobAnswer::Drop, some),
        // The service will never take it; a life later it does.
        7 => (status(400, "InvalidHeaderValue"), some),
        _ => (BlobAnswer::StoreAndDrop, 3 * some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_follows_from_its_seed() {
        let plan = Plan::new(7, 200);
        assert_eq!(plan, Plan::new(7, 200));
        assert_ne!(plan.rounds, Plan::new(8, 200).rounds);
        assert_eq!(plan.rounds.len(), 200);
    }

    #[test]
    fn a_long_plan_has_everything_in_it() {
        let rounds = Plan::new(1, 200).rounds;
        let words: BTreeSet<&str> = rounds.iter().map(|round| round.end.word()).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        let twice = |pair: &[Round]| {
            let [first, second] = pair else { return false };
            first.end.acknowledged() > 0 && second.end.acknowledged() == 0
        };
        assert!(rounds.windows(2).any(twice));
        let leaves = |round: &Round| matches!(round.servers, Servers::Leave { .. });
        assert!(rounds.iter().any(leaves));
        let kinds: BTreeSet<String> = rounds
            .iter()
            .flat_map(|round| &round.faults)
            .map(|fault| match &fault.what {
                What::Post(answer, _) => format!("{answer:?}"),
                What::Send(_, answer, _) => format!("{answer:?}"),
                What::Attach(..) => "Attach".to_owned(),
                What::Connection(_) => "Connection".to_owned(),
                What::Store(_, answer, _) => format!("Store {answer:?}"),
            })
            .map(|text| text.split("(1").next().unwrap_or_default().to_owned())
            .collect();
        assert!(kinds.len() >= 28, "{kinds:?}");
        let replays = rounds.iter().filter(|round| round.replay.is_some());
        assert!((20..=60).contains(&replays.count()));
        let calm = rounds
            .iter()
            .filter(|round| round.faults.is_empty())
            .count();
        assert!((80..=160).contains(&calm), "{calm}");
    }
}
