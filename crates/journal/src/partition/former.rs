//! Forms groups of events for one partition, one in flight at a time, so that they stand in the log as they came.
//!
//! A group that is in flight stays so until the log has answered that it has it. It is handed over again under the same
//! message id as often as need be: whether it is there is not known before, and what comes behind it must not overtake it.

use super::group::{EventsHead, GroupOrigin, GroupSeed, encode_bindings, seal};
use super::lanes::LaneRegister;
use super::place::GROUP_EVENTS_MAX;
use crate::append_error::AppendError;
use crate::appended::NewEvent;
use crate::cluster_log::{PartitionNumber, RecordAppend, RecordSubject};
use crate::record::{ITEMS_MAX, LaneId, encode};
use crate::totals::JournalFull;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::event::Event;

/// A head and its frame take no more.
const HEAD_BYTES: usize = 128;

/// A binding and its frame take no more: two names of 63 and 49 bytes.
const BINDING_BYTES: usize = 160;

/// How long groups may become, and how much may wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerLimits {
    /// A group is closed before it passes this, unless it is one event: at most what the log takes.
    pub group_bytes: usize,
    /// The longest record that the log takes, in bytes.
    pub record_bytes_max: usize,
    /// Bytes that wait, in flight included.
    pub waiting_bytes_max: usize,
}

impl Default for FormerLimits {
    /// Groups of 256 KiB, records of 1 MiB, 8 MiB that wait.
    fn default() -> Self {
        Self {
            group_bytes: 256 << 10,
            record_bytes_max: 1 << 20,
            waiting_bytes_max: 8 << 20,
        }
    }
}

/// Forms groups. `T` is what each batch gets back once the log has all of it.
#[derive(Debug)]
pub struct GroupFormer<T> {
    partition: PartitionNumber,
    origin: GroupOrigin,
    register: LaneRegister,
    limits: FormerLimits,
    waiting: VecDeque<WaitingBatch<T>>,
    /// Bytes of `waiting` and of the group in flight.
    bytes: usize,
    in_flight: Option<InFlightGroup<T>>,
    /// Groups that were formed.
    counter: u64,
}

/// A batch that was laid out for its partition, and waits nowhere yet.
#[derive(Debug)]
pub struct PreparedBatch {
    frames: Vec<u8>,
    /// Where its events end in `frames`.
    ends: VecDeque<usize>,
    lanes: BTreeSet<LaneId>,
}

#[derive(Debug)]
struct WaitingBatch<T> {
    frames: Vec<u8>,
    /// Where the events that wait end in `frames`.
    ends: VecDeque<usize>,
    /// Where those begin that wait.
    from: usize,
    lanes: BTreeSet<LaneId>,
    ticket: T,
}

#[derive(Debug)]
struct InFlightGroup<T> {
    append: RecordAppend,
    bytes: usize,
    /// Of batches whose last event it holds.
    tickets: Vec<T>,
}

impl<T> GroupFormer<T> {
    /// Of a router's life, which is a new one: it has formed no group in the partition yet.
    #[must_use]
    pub fn new(
        partition: PartitionNumber,
        origin: GroupOrigin,
        register: LaneRegister,
        limits: FormerLimits,
    ) -> Self {
        Self {
            partition,
            origin,
            register,
            limits,
            waiting: VecDeque::new(),
            bytes: 0,
            in_flight: None,
            counter: 0,
        }
    }

    /// Takes a batch, whole or not at all. Its events must be of this partition, and their lanes of the register.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] and [`AppendError::Backlog`], with the ticket.
    pub fn push(
        &mut self,
        batch: &[NewEvent],
        accepted_at: Timestamp,
        ticket: T,
    ) -> Result<(), (AppendError, T)> {
        let prepared = self.prepare(batch, accepted_at);
        let fits = prepared.and_then(|prepared| self.check_room(&prepared).map(|()| prepared));
        match fits {
            Ok(prepared) => self.push_prepared(prepared, ticket),
            Err(error) => return Err((error, ticket)),
        }
        Ok(())
    }

    /// Whether a batch may wait here.
    ///
    /// # Errors
    /// [`AppendError::Backlog`].
    pub fn check_room(&self, batch: &PreparedBatch) -> Result<(), AppendError> {
        let bytes_new = batch.frames.len();
        // One batch may wait whatever its length is, which its request bounds.
        if self.bytes > 0 && self.bytes + bytes_new > self.limits.waiting_bytes_max {
            return Err(AppendError::Backlog(JournalFull {
                bytes: self.bytes as u64,
                bytes_new: bytes_new as u64,
                bytes_max: self.limits.waiting_bytes_max as u64,
            }));
        }
        Ok(())
    }

    /// Takes a batch that was prepared here, and whose room was checked.
    pub fn push_prepared(&mut self, batch: PreparedBatch, ticket: T) {
        self.bytes += batch.frames.len();
        self.waiting.push_back(WaitingBatch {
            frames: batch.frames,
            ends: batch.ends,
            from: 0,
            lanes: batch.lanes,
            ticket,
        });
    }

    /// As [`Self::prepare`], for a dead letter that goes through its lane again. `replay_of` is its sequence if it is kept
    /// in this partition: then it is settled as replayed by the same record.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`].
    pub fn prepare_replay(
        &self,
        lane: LaneId,
        replay_of: Option<u64>,
        (event, twin): (&Event, u64),
        accepted_at: Timestamp,
    ) -> Result<PreparedBatch, AppendError> {
        let beside = encode::NewEventContext {
            accepted_at,
            stamper: None,
        };
        let too_large = |bytes| AppendError::TooLarge {
            index: 0,
            bytes,
            bytes_max: self.limits.record_bytes_max,
        };
        let mut frames = Vec::new();
        let of = replay_of.unwrap_or_default();
        encode::replay(&mut frames, beside, twin, lane.0, of, event)
            .map_err(|encode::TooLong(bytes)| too_large(bytes))?;
        let alone = frames.len() + HEAD_BYTES + BINDING_BYTES;
        if alone > self.limits.record_bytes_max {
            return Err(too_large(alone));
        }
        Ok(PreparedBatch {
            ends: VecDeque::from([frames.len()]),
            frames,
            lanes: BTreeSet::from([lane]),
        })
    }

    /// Lays a batch out, which takes nothing in yet.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`].
    pub fn prepare(
        &self,
        batch: &[NewEvent],
        accepted_at: Timestamp,
    ) -> Result<PreparedBatch, AppendError> {
        let beside = encode::NewEventContext {
            accepted_at,
            stamper: None,
        };
        let mut frames = Vec::new();
        let mut ends = VecDeque::with_capacity(batch.len());
        let mut lanes = BTreeSet::new();
        for (index, new) in batch.iter().enumerate() {
            let begin = frames.len();
            let too_large = |bytes| AppendError::TooLarge {
                index,
                bytes,
                bytes_max: self.limits.record_bytes_max,
            };
            if new.lanes.len() > ITEMS_MAX {
                return Err(too_large(new.event.size()));
            }
            let numbers = new.lanes.iter().map(|lane| lane.0);
            encode::event(&mut frames, beside, new.twin, numbers, &new.event)
                .map_err(|encode::TooLong(bytes)| too_large(bytes))?;
            let alone = frames.len() - begin + HEAD_BYTES + BINDING_BYTES * new.lanes.len();
            if alone > self.limits.record_bytes_max {
                return Err(too_large(alone));
            }
            lanes.extend(&new.lanes);
            ends.push_back(frames.len());
        }
        Ok(PreparedBatch {
            frames,
            ends,
            lanes,
        })
    }

    /// The group to append: the one in flight, or a new one of what waits. None when nothing does.
    pub fn next_append(&mut self) -> Option<RecordAppend> {
        if self.in_flight.is_none() {
            self.form();
        }
        self.in_flight.as_ref().map(|group| group.append.clone())
    }

    /// The log has the group in flight: gives the tickets of batches that are all there.
    pub fn appended(&mut self) -> Vec<T> {
        let Some(group) = self.in_flight.take() else {
            return Vec::new();
        };
        self.bytes -= group.bytes;
        group.tickets
    }

    /// Bytes that wait or are in flight.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Groups that were formed.
    #[must_use]
    pub const fn groups(&self) -> u64 {
        self.counter
    }

    fn form(&mut self) {
        let mut frames = Vec::new();
        let mut lanes = BTreeSet::new();
        let mut tickets = Vec::new();
        let mut events = 0;
        while let Some(batch) = self.waiting.front_mut() {
            let lanes_then = lanes.len() + batch.lanes.difference(&lanes).count();
            let head = HEAD_BYTES + BINDING_BYTES * lanes_then;
            let mut end = batch.from;
            while let Some(next) = batch.ends.front() {
                let bytes = head + frames.len() + (next - batch.from);
                if events == GROUP_EVENTS_MAX || (events > 0 && bytes > self.limits.group_bytes) {
                    break;
                }
                end = *next;
                events += 1;
                batch.ends.pop_front();
            }
            if end > batch.from {
                frames.extend_from_slice(&batch.frames[batch.from..end]);
                lanes.extend(&batch.lanes);
                batch.from = end;
            }
            if !batch.ends.is_empty() {
                break;
            }
            let batch = self.waiting.pop_front().expect("it was just there");
            tickets.push(batch.ticket);
        }
        if frames.is_empty() {
            // Batches without events have nothing to wait for, but their turn.
            debug_assert!(tickets.is_empty(), "a batch has an event");
            return;
        }
        self.counter += 1;
        let head = EventsHead {
            origin: self.origin.clone(),
            counter: self.counter,
        };
        let mut group = Vec::with_capacity(HEAD_BYTES + BINDING_BYTES * lanes.len() + frames.len());
        head.encode(&mut group);
        encode_bindings(&mut group, lanes, &self.register);
        group.extend_from_slice(&frames);
        self.in_flight = Some(InFlightGroup {
            append: self.append_of(group),
            bytes: frames.len(),
            tickets,
        });
    }

    fn append_of(&self, group: Vec<u8>) -> RecordAppend {
        let subject = RecordSubject::Events;
        let GroupOrigin {
            router,
            incarnation,
        } = &self.origin;
        let bytes: Bytes = seal(group, GroupSeed::of(self.partition, subject));
        let id = format!("{router}.{incarnation}.{}.{}", self.partition, self.counter);
        RecordAppend {
            partition: self.partition,
            subject,
            message_id: Arc::from(id),
            expected: None,
            bytes,
        }
    }
}

#[cfg(test)]
#[path = "former_tests.rs"]
mod tests;
