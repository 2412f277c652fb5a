//! Events on their way in, and what they become.

use super::JournalEntry;
use super::record::{ITEMS_MAX, LaneId, encode};
use super::writer::{AppendError, DurableTicket};
use twinroute_model::event::{Event, Limits};

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
        bytes_max: Limits::EVENT_BYTES_CEILING,
    }
}
