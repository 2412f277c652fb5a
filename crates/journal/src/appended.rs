//! Events on their way in, and what they become.

use super::JournalEntry;
use super::append_error::{AppendError, NotDurable};
use super::record::{ITEMS_MAX, LaneId, encode};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use twinroute_model::event::{Event, EventLimits};

/// An event on its way in, with what the journal keeps beside it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event, in buffers of its own.
    pub event: Event,
    /// Stable hash of its twin.
    pub twin: u64,
    /// The lanes it is for, in a journal on disk; none twice.
    pub lanes: Vec<LaneId>,
}

/// A batch that was numbered.
#[derive(Debug)]
pub struct AppendedBatch {
    /// Its events, in order.
    pub entries: Vec<JournalEntry>,
    /// Resolves when they are on disk. Until then no lane may send them.
    pub durable: DurableTicket,
}

/// Resolves when what was handed over is on disk, or is known not to be.
///
/// Dropping it undoes nothing.
#[derive(Debug)]
#[must_use = "appended is not durable"]
pub struct DurableTicket(pub(super) oneshot::Receiver<Result<(), NotDurable>>);

impl DurableTicket {
    /// Waits on a thread of its own.
    ///
    /// # Errors
    /// Why it is not on disk.
    ///
    /// # Panics
    /// Within a tokio runtime's worker.
    pub fn wait(self) -> Result<(), NotDurable> {
        self.0.blocking_recv().unwrap_or(Err(NotDurable::Closed))
    }
}

impl Future for DurableTicket {
    type Output = Result<(), NotDurable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(NotDurable::Closed)))
    }
}

/// What a lane has of the journal, as of the last group that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHolding {
    /// The lane.
    pub lane: LaneId,
    /// Bytes of events whose delivery to it is not settled, each whole however many lanes have it.
    pub bytes: u64,
    /// Of those, bytes of dead letters.
    pub dead_letter_bytes: u64,
}

/// A frame of one event takes about so many bytes beside the event.
pub(super) const HEAD_BYTES: usize = 96;

pub(super) fn encode_batch(
    batch: &[NewEvent],
    beside: encode::NewEventContext<'_>,
) -> Result<Vec<u8>, AppendError> {
    let estimate = |new: &NewEvent| new.event.size() + HEAD_BYTES + 4 * new.lanes.len();
    let mut frames = Vec::with_capacity(batch.iter().map(estimate).sum());
    for (index, NewEvent { event, twin, lanes }) in batch.iter().enumerate() {
        if lanes.len() > ITEMS_MAX {
            return Err(too_large(index, event.size()));
        }
        let lanes = lanes.iter().map(|lane| lane.0);
        encode::event(&mut frames, beside, *twin, lanes, event)
            .map_err(|encode::TooLong(bytes)| too_large(index, bytes))?;
    }
    Ok(frames)
}

pub(super) fn too_large(index: usize, bytes: usize) -> AppendError {
    AppendError::TooLarge {
        index,
        bytes,
        bytes_max: EventLimits::EVENT_BYTES_CEILING,
    }
}
