//! The journals that a router may have, for tests of what holds for each of them.

use super::Router;
use crate::builder::RouterBuilder;
use crate::cluster_journal::{ClusterJournal, ClusterSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use twinroute_cluster::simulation::{LogLink, SimulatedLog};
use twinroute_journal::sim::SimulatedDisk;
use twinroute_journal::{DiskJournal, JournalSettings, RouterName};
use twinroute_model::clock::SystemClock;

/// A journal to build a router with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalBody {
    Memory,
    /// Its disk has a thread of its own, so time must not be paused.
    Disk,
    Cluster,
}

impl JournalBody {
    /// Those that go with paused time.
    pub(crate) const PAUSED: [Self; 2] = [Self::Memory, Self::Cluster];

    /// A builder with an empty one.
    pub(crate) async fn builder(self) -> RouterBuilder {
        let builder = Router::builder();
        match self {
            Self::Memory => builder,
            Self::Disk => {
                let settings = JournalSettings {
                    commit_window: Duration::ZERO,
                    ..JournalSettings::default()
                };
                let disk = Arc::new(SimulatedDisk::default());
                let (disk, found) =
                    DiskJournal::open(settings, disk, Arc::new(SystemClock)).unwrap();
                builder.journal_on_disk(disk, found)
            }
            Self::Cluster => {
                // One partition has one order.
                let log = LogLink::new(&SimulatedLog::new(1, 7));
                let settings = ClusterSettings::new(RouterName::new("west").unwrap());
                let journal = ClusterJournal::open(Arc::new(log), settings).await;
                builder.journal_in_cluster(journal.unwrap())
            }
        }
    }

    /// Resolves when lanes have what was accepted.
    pub(crate) async fn arrived(self, router: &Router) {
        let latest = Instant::now() + Duration::from_secs(20);
        router.parts.acceptor.appender.handed_over(latest).await;
        router.heard_of().await;
    }

    /// Resolves when outcomes are recorded: in a shared log that takes a moment.
    pub(crate) async fn recorded(self) {
        if self == Self::Cluster {
            sleep(Duration::from_secs(1)).await;
        }
    }
}
