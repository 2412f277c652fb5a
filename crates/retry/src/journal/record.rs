//! Records: what the journal notes, as bytes. The layout stands in `docs/journal-format.md`.
//!
//! Decoding bounds every count by the bytes that are there and never panics.

use super::body::Body;
use super::frame;
use crate::ledger::{Discard, Fate, Ledger};
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::event::{Event, Limits};

/// Lanes of one event, and settlements in one record, are at most this many.
pub(crate) const ITEMS_MAX: usize = 65_536;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<'a> {
    /// Opens a segment file.
    Segment(Segment),
    /// Opens a group: what one write and one sync brought to disk.
    Group(Group),
    /// A lane's number stands for this endpoint.
    Binding {
        lane: u32,
        instance: &'a str,
        endpoint: &'a str,
    },
    /// A lane's counts as of here, everything before included.
    Counts { lane: u32, ledger: Ledger },
    /// Bindings and counts of all lanes stand before this in the same group.
    Checkpoint {
        /// Older segments hold nothing that is needed.
        oldest_segment: u64,
        next_sequence: u64,
    },
    /// An accepted event and the lanes it is for.
    Event {
        sequence: u64,
        accepted_at: Timestamp,
        lanes: Vec<u32>,
        json: &'a [u8],
    },
    /// An event of an older segment, carried forward with what is left to do.
    Copy {
        sequence: u64,
        accepted_at: Timestamp,
        lanes: Vec<Open>,
        json: &'a [u8],
    },
    /// Deliveries of one lane that came to their end.
    Settle { lane: u32, fates: Vec<(u64, Fate)> },
    /// A delivery failed alone and is parked.
    Attempt { sequence: u64, open: Open },
    /// A cut that was told when the journal was opened; it is not told again.
    Hole(Hole),
    /// The journal was closed in order; no sequence beyond was given out.
    Closed { next_sequence: u64 },
}

/// The head of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) first_sequence: u64,
    pub(crate) created: Timestamp,
    /// The last segment before this one that holds anything, and where that ends. What stands
    /// beyond, and in segments between, was never acknowledged.
    pub(crate) previous_segment: u64,
    pub(crate) previous_end: u64,
}

/// The head of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Counts groups since the journal was opened.
    pub(crate) number: u64,
    /// The log was on disk up to here when the group was written.
    pub(crate) synced_segment: u64,
    pub(crate) synced_offset: u64,
    /// Bytes of the group, this record included.
    pub(crate) bytes: u64,
    pub(crate) first_sequence: u64,
    /// Events in it that are new.
    pub(crate) events: u32,
}

/// Bytes of a group that was never whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) segment: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A delivery that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) lane: u32,
    pub(crate) attempts: u32,
    pub(crate) due: Option<Timestamp>,
}

impl Segment {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.id);
        put_u64(out, self.first_sequence);
        put_time(out, self.created);
        put_u64(out, self.previous_segment);
        put_u64(out, self.previous_end);
    }
}

impl Group {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.synced_segment);
        put_u64(out, self.synced_offset);
        put_u64(out, self.bytes);
        put_u64(out, self.first_sequence);
        put_u32(out, self.events);
    }
}

const SEGMENT: u8 = 1;
const GROUP: u8 = 2;
const BINDING: u8 = 3;
const COUNTS: u8 = 4;
const CHECKPOINT: u8 = 5;
const EVENT: u8 = 6;
const COPY: u8 = 7;
const SETTLE: u8 = 8;
const ATTEMPT: u8 = 9;
const CLOSED: u8 = 10;
const HOLE: u8 = 11;

/// Why a valid frame is no record that this program knows: it was written by a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) version: u8,
    pub(crate) kind: u8,
}

impl<'a> Record<'a> {
    /// Appends the record as a frame that is yet to be sealed.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = frame::begin(out, self.kind());
        match self {
            Self::Segment(segment) => segment.encode(out),
            Self::Group(group) => group.encode(out),
            Self::Binding {
                lane,
                instance,
                endpoint,
            } => {
                put_u32(out, *lane);
                put_name(out, instance);
                put_name(out, endpoint);
            }
            Self::Counts { lane, ledger } => encode_counts(out, *lane, ledger),
            Self::Checkpoint {
                oldest_segment,
                next_sequence,
            } => {
                put_u64(out, *oldest_segment);
                put_u64(out, *next_sequence);
            }
            Self::Event {
                sequence,
                accepted_at,
                lanes,
                json,
            } => {
                put_event_head(out, *sequence, *accepted_at, lanes);
                out.extend_from_slice(json);
            }
            Self::Copy {
                sequence,
                accepted_at,
                lanes,
                json,
            } => {
                put_u64(out, *sequence);
                put_time(out, *accepted_at);
                put_count(out, lanes.len());
                lanes.iter().for_each(|open| put_open(out, *open));
                out.extend_from_slice(json);
            }
            Self::Settle { lane, fates } => {
                put_u32(out, *lane);
                put_count(out, fates.len());
                for (sequence, fate) in fates {
                    put_u64(out, *sequence);
                    out.push(fate_code(*fate));
                }
            }
            Self::Attempt { sequence, open } => {
                put_u64(out, *sequence);
                put_open(out, *open);
            }
            Self::Hole(hole) => {
                put_u64(out, hole.segment);
                put_u64(out, hole.from);
                put_u64(out, hole.to);
            }
            Self::Closed { next_sequence } => put_u64(out, *next_sequence),
        }
        frame::end(out, start);
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Segment(_) => SEGMENT,
            Self::Group(_) => GROUP,
            Self::Binding { .. } => BINDING,
            Self::Counts { .. } => COUNTS,
            Self::Checkpoint { .. } => CHECKPOINT,
            Self::Event { .. } => EVENT,
            Self::Copy { .. } => COPY,
            Self::Settle { .. } => SETTLE,
            Self::Attempt { .. } => ATTEMPT,
            Self::Closed { .. } => CLOSED,
            Self::Hole(_) => HOLE,
        }
    }

    /// Reads the record in a frame.
    pub(crate) fn decode(frame: &frame::Frame<'a>) -> Result<Self, Unknown> {
        let unknown = Unknown {
            version: frame.version,
            kind: frame.kind,
        };
        if frame.version != frame::VERSION {
            return Err(unknown);
        }
        let mut body = Body(frame.body);
        let record = match frame.kind {
            SEGMENT => body.segment(),
            GROUP => body.group(),
            BINDING => body.binding(),
            COUNTS => body.counts(),
            CHECKPOINT => body.checkpoint(),
            EVENT => body.event(),
            COPY => body.copy(),
            SETTLE => body.settle(),
            ATTEMPT => body.attempt(),
            HOLE => body.hole(),
            CLOSED => body
                .u64()
                .map(|next_sequence| Self::Closed { next_sequence }),
            _ => None,
        };
        record.ok_or(unknown)
    }
}

/// Appends an event as a frame whose sequence is yet to be set.
///
/// # Errors
/// The bytes of an event that could not be parsed again because it is longer than any may be.
pub(crate) fn encode_event(
    out: &mut Vec<u8>,
    accepted_at: Timestamp,
    lanes: &[u32],
    event: &Event,
) -> Result<(), usize> {
    let start = frame::begin(out, EVENT);
    put_event_head(out, 0, accepted_at, lanes);
    let head = out.len();
    json::write(event, out);
    let bytes = out.len() - head;
    if bytes > Limits::EVENT_BYTES_CEILING {
        return Err(bytes);
    }
    frame::end(out, start);
    Ok(())
}

/// Sets the sequence of an event's frame.
pub(crate) fn set_sequence(frame: &mut [u8], sequence: u64) {
    frame[frame::HEADER_BYTES..][..8].copy_from_slice(&sequence.to_le_bytes());
}

fn put_event_head(out: &mut Vec<u8>, sequence: u64, accepted_at: Timestamp, lanes: &[u32]) {
    put_u64(out, sequence);
    put_time(out, accepted_at);
    put_count(out, lanes.len());
    lanes.iter().for_each(|lane| put_u32(out, *lane));
}

fn encode_counts(out: &mut Vec<u8>, lane: u32, ledger: &Ledger) {
    put_u32(out, lane);
    put_u64(out, ledger.matched);
    put_u64(out, ledger.delivered);
    put_u64(out, ledger.dead_lettered);
    let reasons = Discard::ALL.map(|reason| (reason_code(reason), ledger.discarded(reason)));
    let counted: Vec<_> = reasons
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    put_count(out, counted.len());
    for (code, count) in counted {
        out.push(code);
        put_u64(out, count);
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.unix_millis().to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("counts are bounded"));
}

fn put_open(out: &mut Vec<u8>, open: Open) {
    put_u32(out, open.lane);
    put_u32(out, open.attempts);
    put_time(out, open.due.unwrap_or(NOT_DUE));
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).expect("names have at most 63 bytes"));
    out.extend_from_slice(name.as_bytes());
}

/// Stands for "may go at once".
pub(super) const NOT_DUE: Timestamp = Timestamp::from_unix_millis(i64::MIN);

const DISCARDED: u8 = 16;

fn fate_code(fate: Fate) -> u8 {
    match fate {
        Fate::Delivered => 0,
        Fate::DeadLettered => 1,
        Fate::Replayed => 2,
        Fate::Discarded(reason) => DISCARDED + reason_code(reason),
    }
}

pub(super) fn fate_of(code: u8) -> Option<Fate> {
    match code {
        0 => Some(Fate::Delivered),
        1 => Some(Fate::DeadLettered),
        2 => Some(Fate::Replayed),
        _ => reason_of(code.checked_sub(DISCARDED)?).map(Fate::Discarded),
    }
}

/// Numbers on disk: never reused for another reason.
fn reason_code(reason: Discard) -> u8 {
    match reason {
        Discard::Overflow => 0,
        Discard::Rejected => 1,
        Discard::Exhausted => 2,
        Discard::Expired => 3,
        Discard::Removed => 4,
        Discard::Stopped => 5,
        Discard::Lost => 6,
        Discard::Purged => 7,
    }
}

pub(super) fn reason_of(code: u8) -> Option<Discard> {
    Discard::ALL
        .into_iter()
        .find(|reason| reason_code(*reason) == code)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
