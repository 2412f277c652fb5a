//! A router among others that share its log: joining them, and leaving.

use super::Router;
use crate::accept::Acceptor;
use crate::cluster_journal::{APPEND_WAIT_MAX, ClusterJournal};
use crate::partition_feed::PartitionFeed;
use crate::status::{ClusterStatus, RouterStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

impl Router {
    /// What this router sees of the cluster that it is of; the default where its journal is shared with no other.
    #[must_use]
    pub fn cluster_status(&self) -> ClusterStatus {
        let cluster = self.parts.cluster();
        cluster.map(ClusterJournal::status).unwrap_or_default()
    }

    /// Resolves when lanes have what the log has acknowledged, where there is one.
    pub(super) async fn heard_of(&self) {
        if let Some(cluster) = self.parts.cluster() {
            let latest = Instant::now() + APPEND_WAIT_MAX;
            self.parts.acceptor.appender.handed_over(latest).await;
            cluster.heard_of().await;
        }
    }

    /// Hands over what it owns; what is not settled is the next owner's. Gives the status before that.
    pub(super) async fn leave(&self, cluster: &ClusterJournal, latest: Instant) -> RouterStatus {
        let acceptor = &self.parts.acceptor;
        acceptor.stopped();
        self.parts.replays.note_all().await;
        let status = self.status();
        cluster.leave(latest).await;
        cluster.abandon();
        acceptor.live.stop(Instant::now());
        status
    }

    /// Becomes a member of its cluster, where the journal is a shared log, and has lanes hear of its partitions.
    pub(super) fn feed_lanes(acceptor: &Acceptor) {
        let Some(journal) = acceptor.appender.room.cluster.clone() else {
            return;
        };
        let news = journal.start();
        let feed = PartitionFeed {
            live: Arc::downgrade(&acceptor.live),
            clock: acceptor.live.clock(),
            replays: acceptor.appender.replays.clone(),
            draining: BTreeSet::new(),
            journal: journal.clone(),
        };
        journal.spawn(feed.run(news));
    }
}
