//! Records as bytes.

use super::{
    AcceptedEvent, GroupHead, JournalRecord, LaneState, OpenDelivery, SealStamp, SegmentHead, kind,
};
use crate::frame;
use crate::keys::EventSealer;
use crate::ledger::{DeliverySettlement, DiscardReason, Ledger};
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::event::{Event, EventLimits};

impl SegmentHead {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.id);
        put_u64(out, self.first_sequence);
        put_time(out, self.created);
        put_u64(out, self.previous_segment);
        put_u64(out, self.previous_end);
    }
}

impl GroupHead {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.synced_segment);
        put_u64(out, self.synced_offset);
        put_u64(out, self.bytes);
        put_u64(out, self.first_sequence);
        put_u32(out, self.events);
    }
}

impl JournalRecord<'_> {
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
            Self::Counts { lane, ledger } => put_counts(out, *lane, ledger),
            Self::State { lane, state } => put_state(out, *lane, state),
            Self::Checkpoint {
                oldest_segment,
                next_sequence,
            } => put_numbers(out, [*oldest_segment, *next_sequence]),
            Self::Event { event, .. }
            | Self::Copy { event, .. }
            | Self::Replay { event, .. }
            | Self::Unmatched { event } => {
                put_accepted(out, event);
                self.encode_lanes(out);
                if let Some(stamp) = event.stamp {
                    put_stamp(out, stamp);
                }
                out.extend_from_slice(event.content);
            }
            Self::Settle { lane, settlements } => {
                put_u32(out, *lane);
                put_count(out, settlements.len());
                for (sequence, settlement) in settlements {
                    put_u64(out, *sequence);
                    out.push(settlement_code(*settlement));
                }
            }
            Self::Attempt {
                sequence,
                lane,
                attempts,
                due,
            } => {
                put_u64(out, *sequence);
                put_attempts(out, *lane, *attempts, *due);
            }
            Self::Dead {
                lane,
                letter,
                sequences,
            } => {
                put_u32(out, *lane);
                put_letter(out, letter);
                put_count(out, sequences.len());
                sequences.iter().for_each(|one| put_u64(out, *one));
            }
            Self::Extent { length, listed } => {
                put_u64(out, *length);
                out.push(u8::from(*listed));
            }
            Self::Lost { deliveries } => put_u64(out, *deliveries),
            Self::Time(time) => put_numbers(out, [time.now, time.boot, time.since_boot]),
            Self::AcceptedIn { time } => put_u64(out, *time),
            Self::ReportedCut(cut) => put_numbers(out, [cut.segment, cut.from, cut.to]),
            Self::Closed { next_sequence } => put_u64(out, *next_sequence),
            other => other.encode_history(out),
        }
        frame::end(out, start);
    }

    /// What stands between an event and its JSON.
    fn encode_lanes(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event { lanes, .. } => put_lanes(out, lanes.iter()),
            Self::Copy { event, lanes } => {
                put_count(out, lanes.len());
                for open in lanes {
                    put_open(out, open, event.twin.is_some());
                }
            }
            Self::Replay {
                lane, replay_of, ..
            } => {
                put_u32(out, *lane);
                put_u64(out, *replay_of);
            }
            _ => {}
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Segment(_) => kind::SEGMENT,
            Self::Group(_) => kind::GROUP,
            Self::Binding { .. } => kind::BINDING,
            Self::Counts { .. } => kind::COUNTS,
            Self::State { .. } => kind::STATE,
            Self::Checkpoint { .. } => kind::CHECKPOINT,
            Self::Event { event, .. } if event.twin.is_none() => kind::EVENT_1,
            Self::Event { event, .. } if event.stamp.is_some() => kind::EVENT_SEALED,
            Self::Event { .. } => kind::EVENT,
            Self::Copy { event, .. } if event.twin.is_none() => kind::COPY_1,
            Self::Copy { event, .. } if event.stamp.is_some() => kind::COPY_SEALED,
            Self::Copy { .. } => kind::COPY,
            Self::Replay { event, .. } if event.stamp.is_some() => kind::REPLAY_SEALED,
            Self::Replay { .. } => kind::REPLAY,
            Self::Settle { .. } => kind::SETTLE,
            Self::Attempt { .. } => kind::ATTEMPT,
            Self::Dead { .. } => kind::DEAD,
            Self::Extent { .. } => kind::EXTENT,
            Self::Lost { .. } => kind::LOST,
            Self::Time(_) => kind::TIME,
            Self::AcceptedIn { .. } => kind::ACCEPTED_IN,
            Self::Clock { .. } => kind::CLOCK,
            Self::Origin { .. } => kind::ORIGIN,
            Self::Table { .. } => kind::TABLE,
            Self::Failed { .. } => kind::FAILED,
            Self::Unmatched { event } if event.stamp.is_some() => kind::UNMATCHED_SEALED,
            Self::Unmatched { .. } => kind::UNMATCHED,
            Self::ReportedCut(_) => kind::REPORTED_CUT,
            Self::Closed { .. } => kind::CLOSED,
        }
    }
}

/// An event that is longer than any that could be parsed again, and its bytes.
pub(crate) struct TooLong(pub(crate) usize);

/// What new events get.
#[derive(Clone, Copy)]
pub(crate) struct NewEventContext<'a> {
    pub(crate) accepted_at: Timestamp,
    /// Seals them, if they are to be.
    pub(crate) stamper: Option<&'a EventSealer>,
}

/// Appends an event as a frame whose sequence is yet to be set.
pub(crate) fn event(
    out: &mut Vec<u8>,
    new: NewEventContext<'_>,
    twin: u64,
    lanes: impl ExactSizeIterator<Item = u32>,
    event: &Event,
) -> Result<(), TooLong> {
    let kind = match new.stamper {
        None => kind::EVENT,
        Some(_) => kind::EVENT_SEALED,
    };
    let start = frame::begin(out, kind);
    put_accepted(out, &unnumbered(new.accepted_at, twin));
    put_lanes(out, lanes);
    put_content(out, start, new, twin, event)
}

/// Appends a replay as a frame whose sequence is yet to be set.
pub(crate) fn replay(
    out: &mut Vec<u8>,
    new: NewEventContext<'_>,
    twin: u64,
    lane: u32,
    replay_of: u64,
    event: &Event,
) -> Result<(), TooLong> {
    let kind = match new.stamper {
        None => kind::REPLAY,
        Some(_) => kind::REPLAY_SEALED,
    };
    let start = frame::begin(out, kind);
    put_accepted(out, &unnumbered(new.accepted_at, twin));
    put_u32(out, lane);
    put_u64(out, replay_of);
    put_content(out, start, new, twin, event)
}

/// Appends an event that no route matched.
pub(crate) fn unmatched(
    out: &mut Vec<u8>,
    new: NewEventContext<'_>,
    twin: u64,
    event: &Event,
) -> Result<(), TooLong> {
    let kind = match new.stamper {
        None => kind::UNMATCHED,
        Some(_) => kind::UNMATCHED_SEALED,
    };
    let start = frame::begin(out, kind);
    put_accepted(out, &unnumbered(new.accepted_at, twin));
    put_content(out, start, new, twin, event)
}

/// Sets the sequence of an event's or a replay's frame.
pub(crate) fn set_sequence(frame: &mut [u8], sequence: u64) {
    frame[frame::HEADER_BYTES..][..8].copy_from_slice(&sequence.to_le_bytes());
}

const fn unnumbered(accepted_at: Timestamp, twin: u64) -> AcceptedEvent<'static> {
    AcceptedEvent {
        sequence: 0,
        accepted_at,
        twin: Some(twin),
        content: &[],
        stamp: None,
    }
}

fn put_content(
    out: &mut Vec<u8>,
    start: usize,
    new: NewEventContext<'_>,
    twin: u64,
    event: &Event,
) -> Result<(), TooLong> {
    let Some(stamper) = new.stamper else {
        put_json(out, event)?;
        frame::end(out, start);
        return Ok(());
    };
    let (stamp, seal) = stamper.stamp(new.accepted_at, twin);
    put_stamp(out, stamp);
    let head = out.len();
    put_json(out, event)?;
    seal(out, head);
    frame::end(out, start);
    Ok(())
}

fn put_json(out: &mut Vec<u8>, event: &Event) -> Result<(), TooLong> {
    let head = out.len();
    json::write(event, out);
    let bytes = out.len() - head;
    if bytes > EventLimits::EVENT_BYTES_CEILING {
        return Err(TooLong(bytes));
    }
    Ok(())
}

/// All but the JSON, which stands last.
fn put_accepted(out: &mut Vec<u8>, event: &AcceptedEvent<'_>) {
    put_u64(out, event.sequence);
    put_time(out, event.accepted_at);
    if let Some(twin) = event.twin {
        put_u64(out, twin);
    }
}

fn put_stamp(out: &mut Vec<u8>, stamp: SealStamp) {
    put_u32(out, stamp.key);
    put_u64(out, stamp.count);
}

fn put_lanes(out: &mut Vec<u8>, lanes: impl ExactSizeIterator<Item = u32>) {
    put_count(out, lanes.len());
    lanes.for_each(|lane| put_u32(out, lane));
}

fn put_counts(out: &mut Vec<u8>, lane: u32, ledger: &Ledger) {
    put_u32(out, lane);
    put_u64(out, ledger.matched);
    put_u64(out, ledger.replayed);
    put_u64(out, ledger.delivered);
    put_u64(out, ledger.dead_lettered);
    put_u64(out, ledger.dead_replayed);
    let reasons = DiscardReason::ALL.map(|reason| (reason_code(reason), ledger.discarded(reason)));
    let counted = reasons.iter().filter(|(_, count)| *count > 0);
    put_count(out, counted.clone().count());
    for (code, count) in counted {
        out.push(*code);
        put_u64(out, *count);
    }
}

fn put_state(out: &mut Vec<u8>, lane: u32, state: &LaneState) {
    put_u32(out, lane);
    out.push(u8::from(state.paused));
    put_u64(
        out,
        u64::try_from(state.still.as_millis()).unwrap_or(u64::MAX),
    );
    put_time(out, state.still_since.unwrap_or(NO_TIME));
}

fn put_letter(out: &mut Vec<u8>, letter: &DeadLetter) {
    out.push(letter.reason.number());
    put_u32(out, letter.attempts);
    put_time(out, letter.died_at);
    put_time(out, letter.last_attempt_at.unwrap_or(NO_TIME));
    put_text(out, &letter.outcome);
}

/// A short text, cut where it is longer.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = DeadLetter::outcome(text);
    let length = u16::try_from(text.len()).expect("cut to far less");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_open(out: &mut Vec<u8>, open: &OpenDelivery, with_letter: bool) {
    put_attempts(out, open.lane, open.attempts, open.due);
    if with_letter {
        out.push(u8::from(open.dead.is_some()));
        if let Some(letter) = &open.dead {
            put_letter(out, letter);
        }
    }
}

fn put_attempts(out: &mut Vec<u8>, lane: u32, attempts: u32, due: Option<Timestamp>) {
    put_u32(out, lane);
    put_u32(out, attempts);
    put_time(out, due.unwrap_or(NO_TIME));
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_numbers<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    numbers.into_iter().for_each(|number| put_u64(out, number));
}

pub(super) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.unix_millis().to_le_bytes());
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("counts are bounded"));
}

pub(super) fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).expect("names have at most 63 bytes"));
    out.extend_from_slice(name.as_bytes());
}

/// Stands for a time that is not there.
pub(super) const NO_TIME: Timestamp = Timestamp::from_unix_millis(i64::MIN);

const DISCARDED: u8 = 16;

fn settlement_code(settlement: DeliverySettlement) -> u8 {
    match settlement {
        DeliverySettlement::Delivered => 0,
        DeliverySettlement::DeadLettered => 1,
        DeliverySettlement::Replayed => 2,
        DeliverySettlement::Discarded(reason) => DISCARDED + reason_code(reason),
    }
}

pub(super) fn settlement_of(code: u8) -> Option<DeliverySettlement> {
    match code {
        0 => Some(DeliverySettlement::Delivered),
        1 => Some(DeliverySettlement::DeadLettered),
        2 => Some(DeliverySettlement::Replayed),
        _ => reason_of(code.checked_sub(DISCARDED)?).map(DeliverySettlement::Discarded),
    }
}

/// Numbers on disk: never reused for another reason.
fn reason_code(reason: DiscardReason) -> u8 {
    match reason {
        DiscardReason::Overflow => 0,
        DiscardReason::Rejected => 1,
        DiscardReason::Exhausted => 2,
        DiscardReason::Expired => 3,
        DiscardReason::Removed => 4,
        DiscardReason::Stopped => 5,
        DiscardReason::Lost => 6,
        DiscardReason::Purged => 7,
        DiscardReason::DeadLetterOverflow => 8,
    }
}

pub(super) fn reason_of(code: u8) -> Option<DiscardReason> {
    DiscardReason::ALL
        .into_iter()
        .find(|reason| reason_code(*reason) == code)
}

pub(super) fn letter_of(code: u8) -> Option<DeadLetterReason> {
    DeadLetterReason::ALL
        .into_iter()
        .find(|reason| reason.number() == code)
}
