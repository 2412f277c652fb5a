//! The journal on disk: the handle that producers and lanes share.

use super::append_error::{AppendError, JournalHealth, NotDurable};
use super::appended::{
    AppendedBatch, DurableTicket, HEAD_BYTES, NewEvent, encode_batch, too_large,
};
use super::full_disk::DiskRoom;
use super::group::{BatchOrigin, EncodedBatch, FailedAttempt};
use super::inbox::{WriterInbox, WriterQueue};
use super::index::SharedIndex;
use super::keys::{DataKeys, EventSealer, EventSealing};
use super::read::{EventReader, UnreadableEvent};
use super::record::{LaneId, LaneState, encode};
use super::recover::read_to_write;
use super::recovered::RecoveredJournal;
use super::settings::{AdmissionLimit, JournalSettings};
use super::storage::Storage;
use super::time::JournalTime;
use super::totals::{HeldSize, UsageGauge, UsageTotals};
use super::watch::{self, DiskWatch, SyncTimes, WatchThread};
use super::window::CommitWindow;
use super::writer::GroupWriter;
use super::{JournalEntry, JournalOpenError, start};
use crate::ledger::DeliverySettlement;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// A journal on disk. Clones share it; the last one that goes closes it, which blocks.
#[derive(Clone, Debug)]
pub struct DiskJournal(pub(super) Arc<DiskJournalParts>);

pub(super) struct DiskJournalParts {
    pub(super) shared: Arc<WriterQueue>,
    pub(super) totals: Arc<UsageTotals>,
    pub(super) index: SharedIndex,
    pub(super) reader: EventReader,
    /// Seals new events, if they are to be.
    stamper: Option<EventSealer>,
    clock: Arc<dyn Clock>,
    time: Arc<JournalTime>,
    pub(super) settings: JournalSettings,
    lanes: Mutex<LaneIds>,
    thread: Mutex<Option<JoinHandle<Result<(), NotDurable>>>>,
    watch: Arc<DiskWatch>,
    _watching: WatchThread,
}

/// Events on their way to the writer.
struct EncodedEvents {
    frames: Vec<u8>,
    count: usize,
    origin: BatchOrigin,
}

#[derive(Default)]
struct LaneIds {
    numbers: HashMap<(InstanceName, EndpointName), u32>,
    last: u32,
}

impl DiskJournal {
    /// Opens the journal in `storage`, made if it is not there, and reads back what is not settled.
    ///
    /// A disk without room is no error: see [`DiskJournal::health`]. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// When another process has it, the system refuses, or a newer program wrote it.
    pub fn open(
        settings: JournalSettings,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, RecoveredJournal), JournalOpenError> {
        Self::open_sealed(settings, storage, clock, &EventSealing::Off)
    }

    /// As [`DiskJournal::open`], of a journal whose events are, or may be, sealed at rest.
    ///
    /// # Errors
    /// Those of [`DiskJournal::open`]; [`JournalOpenError::Sealed`], [`JournalOpenError::OtherKey`] or [`JournalOpenError::KeyGone`] when
    /// sealed events cannot be opened, before anything is written.
    pub fn open_sealed(
        settings: JournalSettings,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        sealing: &EventSealing,
    ) -> Result<(Self, RecoveredJournal), JournalOpenError> {
        let watch = DiskWatch::new(settings.disk_overdue_after);
        let storage = watch.watched(&storage);
        let lock = storage.lock();
        let lock = lock.map_err(|error| JournalOpenError::locking(&*storage, error))?;
        // In this order: nothing is written before it is certain that nobody else has the journal, that
        // all was read, and that sealed events can be opened. Left-overs go before the first new file;
        // the end of what was found is synced before it counts as durable.
        let mut found = read_to_write(&*storage)?;
        let mut keys = DataKeys::of(&*storage, sealing, &found.keys)?;
        start::remove_left_overs(&*storage)?;
        start::trim_history(&mut found, settings.segment_bytes, &*storage);
        let used = match found.has_history() {
            true => keys.with_history(&found.keys),
            false => found.keys.clone(),
        };
        let stamper = keys.renew(&*storage, sealing, &used)?;
        start::sync_end(&*storage, &found)?;
        let mut inbox = WriterInbox {
            next_sequence: found.next_sequence,
            durable_sequence: found.next_sequence,
            ..WriterInbox::default()
        };
        let (log, recovered) = start::start(found, settings, &storage, &clock, &mut inbox)?;
        let totals = Arc::clone(&log.totals);
        let index = log.index.clone();
        let reader = EventReader::new(Arc::clone(&storage), index.clone(), keys);
        let time = Arc::clone(&log.time);
        let mut lanes = LaneIds::default();
        for lane in &recovered.lanes {
            lanes.last = lanes.last.max(lane.number.0);
            if let Some(name) = &lane.name {
                lanes.numbers.insert(name.clone(), lane.number.0);
            }
        }
        let found_no_room = inbox.room.follow(&log);
        let shared = Arc::new(WriterQueue::new(inbox));
        if found_no_room {
            shared.no_room.notify_one();
        }
        let writer = GroupWriter {
            shared: Arc::clone(&shared),
            log,
            window: CommitWindow::new(settings.commit_window),
            settle_delay: settings.settle_delay,
            retry_delay: settings.retry_delay,
            trimmed_at: Instant::now(),
            _lock: lock,
        };
        // A thread of its own, since writes and syncs block.
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let thread = thread.spawn(move || writer.run());
        let thread = thread
            .map_err(|error| JournalOpenError::io(&*storage, "starting the writer", error))?;
        let watching = WatchThread::start(Arc::clone(&watch));
        let watching = watching
            .map_err(|error| JournalOpenError::io(&*storage, "starting the watch", error))?;
        let inner = DiskJournalParts {
            watch,
            _watching: watching,
            shared,
            totals,
            index,
            reader,
            stamper,
            clock,
            time,
            settings,
            lanes: Mutex::new(lanes),
            thread: Mutex::new(Some(thread)),
        };
        Ok((Self(Arc::new(inner)), recovered))
    }

    /// The number of an endpoint's lane; a new one when it has none. Names compare without case.
    ///
    /// It is durable no later than the first event that is appended for it.
    #[must_use]
    pub fn bind(&self, instance: &InstanceName, endpoint: &EndpointName) -> LaneId {
        let inner = &self.0;
        let mut lanes = inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (instance.clone(), endpoint.clone());
        if let Some(number) = lanes.numbers.get(&key) {
            return LaneId(*number);
        }
        lanes.last += 1;
        let number = lanes.last;
        lanes.numbers.insert(key, number);
        let mut inbox = inner.shared.lock();
        let binding = (number, instance.clone(), endpoint.clone());
        inbox.work.updates.bindings.push(binding);
        inner.shared.wake(&mut inbox);
        LaneId(number)
    }

    /// Numbers a batch without a gap, in the order of calls, and hands it to the disk: whole or not
    /// at all. Does not wait; the lanes of an event must not repeat.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    pub fn append(&self, mut batch: Vec<NewEvent>) -> Result<AppendedBatch, AppendError> {
        self.append_from(&mut batch)
    }

    /// As [`DiskJournal::append`]; what is not taken stays in `batch`, which is empty afterwards otherwise.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    pub fn append_from(&self, batch: &mut Vec<NewEvent>) -> Result<AppendedBatch, AppendError> {
        self.append_of(batch, BatchOrigin::default())
    }

    /// As [`DiskJournal::append_from`], of a batch whose origin the history keeps, if there is one.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    pub fn append_of(
        &self,
        batch: &mut Vec<NewEvent>,
        origin: BatchOrigin,
    ) -> Result<AppendedBatch, AppendError> {
        let frames = encode_batch(batch, self.0.beside_new())?;
        let new = EncodedEvents {
            frames,
            count: batch.len(),
            origin,
        };
        self.hand_over(new, AdmissionLimit::Kept, || {
            batch.drain(..).map(|new| (new.event, new.twin))
        })
    }

    /// Hands frames over, and numbers the events that they hold, which are asked for, each with its twin, once
    /// the frames are taken.
    fn hand_over<I: Iterator<Item = (Event, u64)>>(
        &self,
        encoded: EncodedEvents,
        limit: AdmissionLimit,
        events: impl FnOnce() -> I,
    ) -> Result<AppendedBatch, AppendError> {
        let inner = &self.0;
        let new = HeldSize {
            events: encoded.count as u64,
            bytes: encoded.frames.len() as u64,
        };
        let (waiter, ticket) = oneshot::channel();
        let mut inbox = inner.shared.lock();
        inbox.admit(new, inner.settings.queue_bytes_max)?;
        match limit {
            AdmissionLimit::Kept => inner.totals.reserve(new).map_err(AppendError::Full)?,
            AdmissionLimit::Exchanged => inner.totals.take(new),
        }
        let first_sequence = inbox.next_sequence;
        inbox.next_sequence += new.events;
        inbox.bytes += new.bytes;
        inbox.work.batches.push(EncodedBatch {
            frames: encoded.frames,
            first_sequence,
            events: u32::try_from(new.events).expect("bounded by the queue"),
            origin: match self.keeps_history() {
                true => encoded.origin,
                false => BatchOrigin::default(),
            },
            waiter,
        });
        inner.shared.wake(&mut inbox);
        drop(inbox);
        let numbered = (first_sequence..).zip(events());
        let entry =
            |(sequence, (event, twin))| JournalEntry::new(sequence, event, twin, &inner.totals);
        Ok(AppendedBatch {
            entries: numbered.map(entry).collect(),
            durable: DurableTicket(ticket),
        })
    }

    /// Notes that deliveries of a lane came to their end. It rides along with the next group; a
    /// crash before that costs a duplicate.
    pub fn settle(&self, lane: LaneId, settled: &[(u64, DeliverySettlement)]) {
        let settlements = settled.iter();
        let mut inbox = self.0.shared.lock();
        if inbox.ended {
            return;
        }
        let updates = settlements.map(|(sequence, settlement)| (lane.0, *sequence, *settlement));
        inbox.work.updates.settled.extend(updates);
        self.soon(&mut inbox);
    }

    /// Notes that a delivery failed alone: how often, and when it is due again. Rides along too.
    pub fn attempt(&self, lane: LaneId, sequence: u64, attempts: u32, due: Option<Timestamp>) {
        let mut inbox = self.0.shared.lock();
        if inbox.ended {
            return;
        }
        inbox.work.updates.attempts.push(FailedAttempt {
            sequence,
            lane: lane.0,
            attempts,
            due,
        });
        self.soon(&mut inbox);
    }

    /// Appends a dead letter again for the one lane it is for, under a new sequence. If it was kept
    /// here, as `replay_of`, that is settled as replayed by the same record: both happen or none. Then it
    /// takes the room of that, so a full journal does not refuse it.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn replay(
        &self,
        lane: LaneId,
        replay_of: Option<u64>,
        event: Event,
        twin: u64,
    ) -> Result<AppendedBatch, AppendError> {
        let mut frame = Vec::with_capacity(event.size() + HEAD_BYTES);
        let limit = replay_of.map_or(AdmissionLimit::Kept, |_| AdmissionLimit::Exchanged);
        let (new, replay_of) = (self.0.beside_new(), replay_of.unwrap_or_default());
        encode::replay(&mut frame, new, twin, lane.0, replay_of, &event)
            .map_err(|encode::TooLong(bytes)| too_large(0, bytes))?;
        let new = EncodedEvents {
            frames: frame,
            count: 1,
            origin: BatchOrigin::default(),
        };
        self.hand_over(new, limit, || std::iter::once((event, twin)))
    }

    /// Notes that a delivery became a dead letter. It stays in the journal until it is settled. Rides
    /// along too.
    pub fn dead_letter(&self, lane: LaneId, sequence: u64, letter: Arc<DeadLetter>) {
        let mut inbox = self.0.shared.lock();
        if inbox.ended {
            return;
        }
        inbox.work.updates.letters.push((lane.0, sequence, letter));
        self.soon(&mut inbox);
    }

    /// Notes what a lane wants to find again after a restart. Rides along too.
    pub fn set_lane_state(&self, lane: LaneId, state: LaneState) {
        let mut inbox = self.0.shared.lock();
        if inbox.ended {
            return;
        }
        inbox.work.updates.states.push((lane.0, state));
        self.soon(&mut inbox);
    }

    /// Reads events back, in the order asked for: those whose group is on disk. Blocks, on the disk
    /// alone; writing goes on meanwhile.
    ///
    /// What cannot be read is looked for twice before it is said to be damaged.
    #[must_use]
    pub fn read(&self, sequences: &[u64]) -> Vec<Result<Event, UnreadableEvent>> {
        self.0.reader.read(sequences)
    }

    pub(super) fn soon(&self, inbox: &mut WriterInbox) {
        if inbox.lazy_at.is_none() {
            inbox.lazy_at = Some(Instant::now() + self.0.settings.settle_delay);
            self.0.shared.wake(inbox);
        }
    }

    /// Asks for everything handed over so far to be written now.
    pub fn flush(&self) -> DurableTicket {
        let (waiter, ticket) = oneshot::channel();
        let mut inbox = self.0.shared.lock();
        if !inbox.ended {
            inbox.flushes.push(waiter);
            self.0.shared.wake_always();
        }
        DurableTicket(ticket)
    }

    /// The sequence that the next event gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.0.shared.lock().next_sequence
    }

    /// Bytes that live events, and those that wait for the disk, may take.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.0.settings.bytes_max
    }

    /// Looks after the room on its disk.
    #[must_use]
    pub fn room(&self) -> DiskRoom {
        let inner = &self.0;
        DiskRoom::new(&inner.shared, &inner.index, inner.settings.segment_bytes)
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        let health = self.0.shared.lock().health.clone();
        match self.0.watch.overdue() {
            Some(overdue) if health == JournalHealth::Ok => {
                JournalHealth::Stalled(watch::reason(overdue))
            }
            _ => health,
        }
    }

    /// Journal time: how long the journal was there, by a clock that nobody sets. It goes on over restarts;
    /// over a boot of the machine, from where it was recorded last.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.0.time.now()
    }

    /// How long its syncs took.
    #[must_use]
    pub fn sync_times(&self) -> SyncTimes {
        self.0.watch.times()
    }

    /// Writes everything, marks the journal as closed in order and gives the folder free. Blocks.
    ///
    /// # Errors
    /// What could not be written; it is delivered again after the next start.
    pub fn close(&self) -> Result<(), NotDurable> {
        self.0.close()
    }

    /// A handle that reads usage without the journal.
    #[must_use]
    pub fn gauge(&self) -> UsageGauge {
        UsageGauge(Arc::clone(&self.0.totals))
    }
}

impl DiskJournalParts {
    /// What an event gets that comes now.
    pub(super) fn beside_new(&self) -> encode::NewEventContext<'_> {
        encode::NewEventContext {
            accepted_at: self.clock.now(),
            stamper: self.stamper.as_ref(),
        }
    }

    fn close(&self) -> Result<(), NotDurable> {
        self.shared.lock().closing = true;
        self.shared.wake_always();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        match thread.take() {
            None => Ok(()),
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(NotDurable::Poisoned("the writer panicked".into()))),
        }
    }
}

impl Drop for DiskJournalParts {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the journal was not closed in order");
        }
    }
}

impl std::fmt::Debug for DiskJournalParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DiskJournal")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
pub(super) mod tests;

#[cfg(test)]
#[path = "kept_tests.rs"]
mod kept_tests;

#[cfg(test)]
#[path = "full_tests.rs"]
mod full_tests;
