//! From the journal to the lanes: events go on once they are on disk, in the order of their numbers.
//!
//! One task waits for one batch after the other. Groups reach the disk in order, so when the first batch
//! of a group is there the others are, and nothing waits longer than it has to.

use super::admission::UnsyncedBytes;
use super::matched_batch::LaneDeliveries;
use super::receipt::BatchReceipt;
use crate::delivery::LaneArrival;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use metrics::counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use twinroute_cluster::AppendTicket;
use twinroute_journal::{DurableTicket, NotDurable};

/// What the task is given.
pub(super) enum CommitMessage {
    Batch(Box<DurableBatch>),
    /// Answers once everything before it was handed over.
    Barrier(oneshot::Sender<()>),
}

/// Resolves when a batch is as safe as its journal makes it, or is known not to be.
pub(super) enum BatchTicket {
    /// On this machine's disk.
    Disk(DurableTicket),
    /// In a shared log: one for each partition.
    Cluster(Vec<AppendTicket>),
}

impl BatchTicket {
    async fn wait(self) -> Result<(), NotDurable> {
        match self {
            Self::Disk(ticket) => ticket.await,
            Self::Cluster(tickets) => {
                for ticket in tickets {
                    // Nobody answers any more once the router has ended; it may stand in the log.
                    ticket.await.map_err(|_| NotDurable::Closed)?;
                }
                Ok(())
            }
        }
    }
}

/// A batch that is on its way to the disk.
pub(super) struct DurableBatch {
    pub(super) deliveries: Vec<LaneDeliveries>,
    pub(super) arrival: LaneArrival,
    pub(super) durable: BatchTicket,
    /// What is recorded once it is there.
    pub(super) receipt: BatchReceipt,
    /// Counts its bytes until the lanes have it.
    pub(super) unsynced: UnsyncedBytes,
    /// Who waits for the acknowledgement, if anybody does.
    pub(super) done: oneshot::Sender<Result<(), NotDurable>>,
}

/// Hands batches to their lanes until nobody can send any more.
pub(super) async fn run(mut commits: mpsc::UnboundedReceiver<CommitMessage>, lost: Arc<AtomicU64>) {
    let lost_total = counter!("twinroute_events_lost_total");
    while let Some(commit) = commits.recv().await {
        match commit {
            CommitMessage::Batch(batch) => {
                hand_over(*batch, |events| {
                    lost.fetch_add(events, Ordering::Relaxed);
                    lost_total.increment(events);
                })
                .await;
            }
            CommitMessage::Barrier(done) => drop(done.send(())),
        }
    }
}

/// As [`run`], for a shared log: lanes hear of events from there, and a partition that has no leader just now keeps no
/// batch of another from being acknowledged.
pub(super) async fn run_clustered(mut commits: mpsc::UnboundedReceiver<CommitMessage>) {
    let mut open = FuturesUnordered::new();
    loop {
        let commit = tokio::select! {
            Some(()) = open.next() => continue,
            commit = commits.recv() => commit,
        };
        match commit {
            // Those that were acknowledged in memory may reach the log yet: nobody knows that they are lost.
            Some(CommitMessage::Batch(batch)) => open.push(hand_over(*batch, |_| {})),
            Some(CommitMessage::Barrier(done)) => {
                while open.next().await.is_some() {}
                // Whoever waited may have gone.
                let _gone = done.send(());
            }
            None => return,
        }
    }
}

/// Hands a batch to its lanes once it is on disk. One that does not get there is dropped whole: it was not
/// acknowledged, or only in memory, and then its events are `lost`.
async fn hand_over(mut batch: DurableBatch, lost: impl FnOnce(u64)) {
    let result = batch.durable.wait().await;
    let answered = batch.receipt.answered_early();
    match &result {
        Ok(()) => {
            batch.receipt.accepted();
            for LaneDeliveries { lane, entries } in std::mem::take(&mut batch.deliveries) {
                lane.push(entries, &batch.arrival);
            }
        }
        Err(error) if answered > 0 => {
            lost(answered);
            tracing::error!(events = answered, %error,
                "events that were acknowledged in memory did not reach the disk and are lost");
        }
        Err(_) => {}
    }
    drop(batch.unsynced);
    // A producer that went away does not undo what it sent.
    drop(batch.done.send(result));
}
