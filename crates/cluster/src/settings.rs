//! What a router of a cluster is made with.

use crate::lease::LeaseTimes;
use crate::log_health::LogHealth;
use crate::planted::{PlantedFault, PlantedFaults};
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use twinroute_journal::partition::{FormerLimits, GroupOrigin, LaneRegister};
use twinroute_journal::{ClusterLog, ClusterLogFacts};
use twinroute_model::clock::Clock;

/// Times and limits of a router in a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterTimes {
    /// Of leases; a member that says nothing for as long as a lease is taken for gone.
    pub lease: LeaseTimes,
    /// How often members and leases are looked at.
    pub poll: Duration,
    /// One call of the log may take so long; then it is made again.
    pub call_max: Duration,
    /// How long to wait before a call is made again.
    pub again: Duration,
    /// Outcomes wait so long for others to be recorded with.
    pub settle_delay: Duration,
    /// A checkpoint is made as often as this,
    pub checkpoint_every: Duration,
    /// and after so many bytes of records.
    pub checkpoint_bytes: u64,
    /// A planned hand-over waits at most so long for sends in flight.
    pub drain_max: Duration,
    /// Of groups.
    pub former: FormerLimits,
    /// Faults that are planted.
    pub planted: PlantedFaults,
}

impl Default for ClusterTimes {
    fn default() -> Self {
        Self {
            lease: LeaseTimes::default(),
            poll: Duration::from_millis(500),
            call_max: Duration::from_secs(5),
            again: Duration::from_millis(200),
            settle_delay: Duration::from_millis(5),
            checkpoint_every: Duration::from_secs(30),
            checkpoint_bytes: 64 << 20,
            drain_max: Duration::from_secs(5),
            former: FormerLimits::default(),
            planted: PlantedFaults::default(),
        }
    }
}

impl ClusterTimes {
    /// Those that decide when a partition may be claimed.
    pub(crate) fn claim_times(&self) -> LeaseTimes {
        match self.planted.has(PlantedFault::ClaimWithoutWait) {
            true => LeaseTimes {
                lease: self.lease.lease / 2,
                margin: Duration::ZERO,
            },
            false => self.lease,
        }
    }
}

/// Runs tasks of a router: all that it spawns, so that whoever made it decides where, and can end them together.
#[derive(Clone)]
pub struct TaskSpawner(Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>);

impl TaskSpawner {
    /// Has `spawn` run them.
    pub fn new(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    /// Has the runtime run them that the caller is in.
    #[must_use]
    pub fn of_runtime() -> Self {
        Self::new(|task| drop(tokio::spawn(task)))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(task));
    }
}

impl fmt::Debug for TaskSpawner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TaskSpawner")
    }
}

/// What all parts of a router in a cluster share.
#[derive(Clone)]
pub struct ClusterContext {
    /// The log.
    pub log: Arc<dyn ClusterLog>,
    /// What it said of itself.
    pub facts: ClusterLogFacts,
    /// Which life of which router this is.
    pub origin: GroupOrigin,
    /// Lanes of this process.
    pub register: LaneRegister,
    /// Wall time, for what is recorded.
    pub clock: Arc<dyn Clock>,
    /// Whether the log answers.
    pub health: LogHealth,
    /// Runs tasks.
    pub spawner: TaskSpawner,
    /// Times and limits.
    pub times: ClusterTimes,
}

impl fmt::Debug for ClusterContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ClusterContext");
        debug.field("origin", &self.origin).finish_non_exhaustive()
    }
}
