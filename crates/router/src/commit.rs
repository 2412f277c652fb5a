//! From the journal to the lanes: events go on once they are on disk, in the order of their numbers.
//!
//! One task waits for one batch after the other. Groups reach the disk in order, so when the first batch
//! of a group is there the others are, and nothing waits longer than it has to.

use crate::admission::Unsynced;
use crate::lane::Arrival;
use crate::matched::LaneDeliveries;
use crate::receipt::Receipt;
use metrics::counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use twinroute_retry::journal::{DurableTicket, NotDurable};

/// What the task is given.
pub(crate) enum Commit {
    /// A batch that is on its way to the disk.
    Batch {
        deliveries: Vec<LaneDeliveries>,
        arrival: Arrival,
        durable: DurableTicket,
        /// Events whose producer was answered already (level `memory`).
        answered: u64,
        /// What is noted once it is there.
        receipt: Receipt,
        /// Counts its bytes until the lanes have it.
        unsynced: Unsynced,
        /// Who waits for the acknowledgement, if anybody does.
        done: oneshot::Sender<Result<(), NotDurable>>,
    },
    /// Answers once everything before it was handed over.
    Barrier(oneshot::Sender<()>),
}

/// Hands batches to their lanes until nobody can send any more.
///
/// A batch that did not reach the disk is dropped whole: it was not acknowledged, or only in memory, and
/// then it counts as lost.
pub(crate) async fn run(mut commits: mpsc::UnboundedReceiver<Commit>, lost: Arc<AtomicU64>) {
    let lost_total = counter!("twinroute_events_lost_total");
    while let Some(commit) = commits.recv().await {
        match commit {
            Commit::Batch {
                deliveries,
                arrival,
                durable,
                answered,
                receipt,
                unsynced,
                done,
            } => {
                let result = durable.await;
                if result.is_ok() {
                    receipt.accepted();
                    for LaneDeliveries { lane, entries } in &deliveries {
                        lane.push(entries, &arrival);
                    }
                }
                if let Err(error) = &result
                    && answered > 0
                {
                    lost.fetch_add(answered, Ordering::Relaxed);
                    lost_total.increment(answered);
                    tracing::error!(events = answered, %error,
                        "events that were acknowledged in memory did not reach the disk and are lost");
                }
                drop(unsynced);
                // A producer that went away does not undo what it sent.
                drop(done.send(result));
            }
            Commit::Barrier(done) => drop(done.send(())),
        }
    }
}
