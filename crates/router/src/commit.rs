//! From the journal to the lanes: events go on once they are on disk, in the order of their numbers.
//!
//! One task waits for one batch after the other. Groups reach the disk in order, so when the first batch
//! of a group is there the others are, and nothing waits longer than it has to.

use crate::lane::Lane;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use twinroute_retry::journal::{DurableTicket, Entry, NotDurable};

/// Deliveries by lane: each event with its twin.
pub(crate) type ByLane = Vec<(Arc<Lane>, Vec<(Entry, u64)>)>;

/// What the task is given.
pub(crate) enum Commit {
    /// A batch that is on its way to the disk.
    Batch {
        deliveries: ByLane,
        accepted: Instant,
        durable: DurableTicket,
        /// Who waits for the acknowledgement, if anybody does.
        done: oneshot::Sender<Result<(), NotDurable>>,
    },
    /// Answers once everything before it was handed over.
    Barrier(oneshot::Sender<()>),
}

/// Hands batches to their lanes until nobody can send any more.
///
/// A batch that did not reach the disk is dropped whole: it was not acknowledged.
pub(crate) async fn run(mut commits: mpsc::UnboundedReceiver<Commit>) {
    while let Some(commit) = commits.recv().await {
        match commit {
            Commit::Batch {
                deliveries,
                accepted,
                durable,
                done,
            } => {
                let result = durable.await;
                if result.is_ok() {
                    for (lane, deliveries) in &deliveries {
                        lane.push(deliveries, accepted);
                    }
                }
                // A producer that went away does not undo what it sent.
                drop(done.send(result));
            }
            Commit::Barrier(done) => drop(done.send(())),
        }
    }
}
