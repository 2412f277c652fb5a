//! From the journal to the lanes: events go on once they are on disk, in the order of their numbers.
//!
//! One task waits for one batch after the other. Groups reach the disk in order, so when the first batch
//! of a group is there the others are, and nothing waits longer than it has to.

use super::admission::UnsyncedBytes;
use super::matched_batch::LaneDeliveries;
use super::receipt::BatchReceipt;
use crate::delivery::LaneArrival;
use metrics::counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use twinroute_journal::{DurableTicket, NotDurable};

/// What the task is given.
pub(super) enum CommitMessage {
    Batch(Box<DurableBatch>),
    /// Answers once everything before it was handed over.
    Barrier(oneshot::Sender<()>),
}

/// A batch that is on its way to the disk.
pub(super) struct DurableBatch {
    pub(super) deliveries: Vec<LaneDeliveries>,
    pub(super) arrival: LaneArrival,
    pub(super) durable: DurableTicket,
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

/// Hands a batch to its lanes once it is on disk. One that does not get there is dropped whole: it was not
/// acknowledged, or only in memory, and then its events are `lost`.
async fn hand_over(mut batch: DurableBatch, lost: impl FnOnce(u64)) {
    let result = batch.durable.await;
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
