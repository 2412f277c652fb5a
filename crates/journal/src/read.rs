//! Reading events back, beside a writer that appends, carries forward and unlinks.

use super::file_names::segment_name;
use super::frame::{self, FramePlace};
use super::index::SharedIndex;
use super::keys::DataKeys;
use super::record::JournalRecord;
use super::storage::Storage;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use twinroute_model::event::Event;

/// An event that cannot be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEvent {
    /// All its deliveries are settled.
    #[error("it is not in the journal")]
    Settled,
    /// The disk damaged it, or refuses to read.
    #[error("the disk does not give it back")]
    Damaged,
}

/// Events that stand no further apart are read at once.
const GAP_BYTES: u64 = 4 << 10;

/// The most that is read at once, unless one event is longer.
const RUN_BYTES: u64 = 1 << 20;

/// Places that were reported as damaged are kept in mind up to this many.
const REPORTED_MAX: usize = 4_096;

/// The bytes of one frame.
pub(crate) fn read_frame(storage: &dyn Storage, place: FramePlace) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; place.bytes as usize];
    storage.read_at(&segment_name(place.segment), &mut bytes, place.offset)?;
    Ok(bytes)
}

/// Reads events back. Many may at once.
pub(crate) struct EventReader {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) index: SharedIndex,
    pub(crate) keys: Arc<DataKeys>,
    /// Damage that stands in the log of the program.
    reported: Mutex<BTreeSet<FramePlace>>,
}

impl EventReader {
    pub(crate) fn new(storage: Arc<dyn Storage>, index: SharedIndex, keys: DataKeys) -> Self {
        Self {
            storage,
            index,
            keys: Arc::new(keys),
            reported: Mutex::default(),
        }
    }

    /// The events, in the order asked for.
    pub(crate) fn read(&self, sequences: &[u64]) -> Vec<Result<Event, UnreadableEvent>> {
        let mut wanted = self.places(sequences);
        wanted.sort_unstable();
        let mut read: Vec<_> = sequences
            .iter()
            .map(|_| Err(UnreadableEvent::Settled))
            .collect();
        let mut buffer = Vec::new();
        for run in runs(&wanted) {
            let (first, last) = (run[0].0, run[run.len() - 1].0);
            let bytes = last.offset + u64::from(last.bytes) - first.offset;
            buffer.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
            let name = segment_name(first.segment);
            let whole = self.storage.read_at(&name, &mut buffer, first.offset);
            for (place, at) in run {
                let from = usize::try_from(place.offset - first.offset).unwrap_or(usize::MAX);
                let event = match whole {
                    Ok(()) => event_at(&buffer[from..], *place, &self.keys),
                    Err(_) => None,
                };
                let sequence = sequences[*at];
                read[*at] = event.map_or_else(|| self.again(sequence, *place), Ok);
            }
        }
        read
    }

    fn places(&self, sequences: &[u64]) -> Vec<(FramePlace, usize)> {
        let index = self.index.lock();
        let place = |sequence: &u64| index.events.get(*sequence).map(|live| live.place);
        let places = sequences.iter().map(place).enumerate();
        places
            .filter_map(|(at, place)| Some((place?, at)))
            .collect()
    }

    /// Reads an event that was not at `failed`: it may have been carried forward since. Only what
    /// stands at the same place still, and fails twice, is damaged.
    fn again(&self, sequence: u64, mut failed: FramePlace) -> Result<Event, UnreadableEvent> {
        let mut tried_twice = false;
        loop {
            let index = self.index.lock();
            let live = index.events.get(sequence).map(|live| live.place);
            drop(index);
            let place = live.ok_or(UnreadableEvent::Settled)?;
            if place == failed && tried_twice {
                self.tell(sequence, place);
                return Err(UnreadableEvent::Damaged);
            }
            tried_twice = place == failed;
            failed = place;
            if let Ok(event) = self.read_one(place) {
                return Ok(event);
            }
        }
    }

    fn read_one(&self, place: FramePlace) -> io::Result<Event> {
        let bytes = read_frame(&*self.storage, place)?;
        event_at(&bytes, place, &self.keys).ok_or_else(|| io::Error::other("checksum mismatch"))
    }

    fn tell(&self, sequence: u64, place: FramePlace) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < REPORTED_MAX && reported.insert(place) {
            let FramePlace {
                segment, offset, ..
            } = place;
            tracing::error!(
                sequence,
                segment,
                offset,
                "an event of the journal cannot be read back"
            );
        }
    }
}

/// The event in the frame at the start of `bytes`.
fn event_at(bytes: &[u8], place: FramePlace, keys: &DataKeys) -> Option<Event> {
    let frame = frame::read_at(bytes, place.segment, place.offset)?;
    keys.read_event(&JournalRecord::event_in(&frame)?)
}

/// Cuts sorted places into stretches that are worth reading at once.
fn runs(wanted: &[(FramePlace, usize)]) -> impl Iterator<Item = &[(FramePlace, usize)]> {
    let mut rest = wanted;
    std::iter::from_fn(move || {
        let (first, _) = rest.first()?;
        let mut end = first.offset;
        let joins = |(place, _): &&(FramePlace, usize)| {
            if place.segment != first.segment {
                return false;
            }
            let next = place.offset + u64::from(place.bytes);
            let near = place.offset <= end + GAP_BYTES && next - first.offset <= RUN_BYTES;
            end = next;
            near || place == first
        };
        let length = rest.iter().take_while(joins).count();
        let (run, behind) = rest.split_at(length);
        rest = behind;
        Some(run)
    })
}
