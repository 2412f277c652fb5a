//! The keys that events are sealed with: a file beside the segments, sealed itself.
//!
//! Constraints: whoever opens a journal to seal makes a new key, durable before the first event is sealed, and
//! never seals with one that was read; a number is not given to another key while a record names it; a key that a
//! record names is never dropped; the file is replaced whole.
//!
//! The plaintext of the file: layout (1), the number that the next key gets (4), then for each key its number (4)
//! and its bytes (32). All numbers are little endian.

use super::JournalOpenError;
use super::file_names::{KEYS, KEYS_UNFINISHED};
use super::record::{AcceptedEvent, SealStamp, parse_content};
use super::storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use twinroute_model::clock::Timestamp;
use twinroute_model::data_key::{DataKey, PieceSealer};
use twinroute_model::event::Event;
use twinroute_model::seal::{KEY_BYTES, SealKey};
use zeroize::Zeroizing;

/// It is sealed for this place.
const CONTEXT: &[u8] = b"twinroute journal keys";

/// What sealed events are bound to, before their own.
const LABEL: &[u8; 16] = b"twinroute event\0";

/// Keys that are kept for the history alone: one is made at each opening, and this is a quarter of what a file holds.
const HISTORY_KEYS_MAX: usize = 4_096;

const LAYOUT: u8 = 1;
const HEAD_BYTES: usize = 5;
const ITEM_BYTES: usize = 4 + KEY_BYTES;

/// A file of keys is no longer: some 29,000 keys. One is made at each opening, and goes with its last record.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of zeros that makes room for the next one on a disk that is full.
const SPARE: &str = "keys.spare";

/// Its bytes: the most that there is room for.
const SPARE_BYTES: [u64; 3] = [8 << 10, 4 << 10, 1 << 10];

/// Whether events are sealed at rest, and what opens those that are.
#[derive(Clone, Debug, Default)]
pub enum EventSealing {
    /// They are not, and a journal that holds sealed ones is refused.
    #[default]
    Off,
    /// New ones are not; those that are sealed are opened with what this key opens.
    Open(Box<SealKey>),
    /// New ones are.
    Seal(Box<SealKey>),
}

impl EventSealing {
    fn key(&self) -> Option<&SealKey> {
        match self {
            Self::Off => None,
            Self::Open(key) | Self::Seal(key) => Some(key),
        }
    }
}

/// The keys of a journal, by number.
#[derive(Debug, Default)]
pub(crate) struct DataKeys {
    keys: BTreeMap<u32, DataKey>,
    next: u32,
}

/// Seals new events.
#[derive(Debug)]
pub(crate) struct EventSealer {
    number: u32,
    sealer: PieceSealer,
}

/// What an event is bound to. Its sequence, its lanes and its place are not among it: it keeps its ciphertext
/// when it is carried forward.
fn context(key: u32, accepted_at: Timestamp, twin: u64) -> [u8; 36] {
    let mut context = [0; 36];
    context[..16].copy_from_slice(LABEL);
    context[16..20].copy_from_slice(&key.to_le_bytes());
    context[20..28].copy_from_slice(&accepted_at.unix_millis().to_le_bytes());
    context[28..].copy_from_slice(&twin.to_le_bytes());
    context
}

impl EventSealer {
    /// What is kept beside the next event, and what seals its JSON, which stands in the buffer from an offset on.
    pub(crate) fn stamp(
        &self,
        accepted_at: Timestamp,
        twin: u64,
    ) -> (SealStamp, impl FnOnce(&mut Vec<u8>, usize)) {
        let count = self.sealer.count();
        let key = self.number;
        let stamp = SealStamp {
            key,
            count: count.number(),
        };
        let seal = move |out: &mut Vec<u8>, from: usize| {
            count.seal(&context(key, accepted_at, twin), out, from);
        };
        (stamp, seal)
    }
}

impl DataKeys {
    /// Those of the journal in `storage`, none where there is no file, once they are all that its records name.
    /// Writes nothing.
    pub(super) fn of(
        storage: &dyn Storage,
        sealing: &EventSealing,
        used: &BTreeSet<u32>,
    ) -> Result<Self, JournalOpenError> {
        let path = || storage.describe();
        let keys = match (sealing.key(), sealed_file(storage)?) {
            (None, _) if used.is_empty() => return Ok(Self::default()),
            (None, _) => return Err(JournalOpenError::Sealed { path: path() }),
            (Some(_), None) => Self::default(),
            (Some(key), Some(sealed)) => Self::opened(key, &sealed)
                .ok_or_else(|| JournalOpenError::OtherKey { path: path() })?,
        };
        match used.iter().find(|number| !keys.keys.contains_key(number)) {
            None => Ok(keys),
            Some(number) => Err(JournalOpenError::KeyGone {
                path: path(),
                number: *number,
            }),
        }
    }

    /// Those that records name, and as many more of the newest as a file should have at most: segments that are kept
    /// as history were not read, and name any of them.
    pub(super) fn with_history(&self, used: &BTreeSet<u32>) -> BTreeSet<u32> {
        let newest = self.keys.keys().rev().take(HISTORY_KEYS_MAX);
        newest.chain(used).copied().collect()
    }

    /// Keeps what records name, adds a new key where events are to be sealed, and brings that to disk.
    pub(super) fn renew(
        &mut self,
        storage: &dyn Storage,
        sealing: &EventSealing,
        used: &BTreeSet<u32>,
    ) -> Result<Option<EventSealer>, JournalOpenError> {
        let Some(key) = sealing.key() else {
            return Ok(None);
        };
        let before = self.keys.len();
        self.keys.retain(|number, _| used.contains(number));
        let mut stamper = None;
        if matches!(sealing, EventSealing::Seal(_)) {
            let failed =
                |error| JournalOpenError::io(storage, "making a key", io::Error::other(error));
            let (sealer, data_key) = PieceSealer::fresh().map_err(failed)?;
            let known = used.last().copied().unwrap_or_default();
            let number = self.next.max(known.saturating_add(1));
            let next = number.checked_add(1);
            self.next = next.ok_or_else(|| failed_numbers(storage))?;
            self.keys.insert(number, data_key);
            stamper = Some(EventSealer { number, sealer });
        } else if self.keys.len() == before {
            return Ok(None);
        }
        let written = self.write(storage, key);
        written.map_err(|error| JournalOpenError::io(storage, "writing its keys", error))?;
        Ok(stamper)
    }

    /// Reads an event with the widest limits; it owns its bytes. A sealed one is opened first.
    pub(crate) fn read_event(&self, event: &AcceptedEvent<'_>) -> Option<Event> {
        match event.stamp {
            None => event.parse_plain(),
            Some(stamp) => parse_content(&self.open(event, stamp)?),
        }
    }

    /// The JSON of a sealed event.
    fn open(&self, event: &AcceptedEvent<'_>, stamp: SealStamp) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.keys.get(&stamp.key)?;
        let context = context(stamp.key, event.accepted_at, event.twin?);
        key.open(stamp.count, &context, event.content)
    }

    fn opened(key: &SealKey, sealed: &[u8]) -> Option<Self> {
        let plain = key.open(CONTEXT, sealed).ok()?;
        let (head, items) = plain.split_at_checked(HEAD_BYTES)?;
        let (layout, next) = head.split_first()?;
        let (items, rest) = items.as_chunks::<ITEM_BYTES>();
        if *layout != LAYOUT || !rest.is_empty() {
            return None;
        }
        let mut keys = BTreeMap::new();
        for item in items {
            let (number, secret) = item.split_first_chunk()?;
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            bytes.copy_from_slice(secret);
            keys.insert(u32::from_le_bytes(*number), DataKey::new(bytes));
        }
        let next = u32::from_le_bytes(next.try_into().ok()?);
        Some(Self { keys, next })
    }

    /// Replaces the file, durable when this returns.
    fn write(&self, storage: &dyn Storage, key: &SealKey) -> io::Result<()> {
        let bytes = HEAD_BYTES + self.keys.len() * ITEM_BYTES;
        // All of it at once: a buffer that grows leaves keys behind where it was.
        let mut plain = Zeroizing::new(Vec::with_capacity(bytes));
        plain.push(LAYOUT);
        plain.extend_from_slice(&self.next.to_le_bytes());
        for (number, key) in &self.keys {
            plain.extend_from_slice(&number.to_le_bytes());
            plain.extend_from_slice(key.expose());
        }
        let sealed = key.seal(CONTEXT, &plain).map_err(io::Error::other)?;
        if storage.list()?.iter().any(|name| name == KEYS_UNFINISHED) {
            storage.remove(KEYS_UNFINISHED)?;
        }
        create_with_spare(storage, sealed.len() as u64)?;
        storage.write_at(KEYS_UNFINISHED, &sealed, 0)?;
        storage.sync_data(KEYS_UNFINISHED)?;
        storage.rename(KEYS_UNFINISHED, KEYS)?;
        storage.sync_dir()?;
        keep_spare(storage)
    }
}

/// Makes the next file; on a disk that is full, in the room that was kept for it.
fn create_with_spare(storage: &dyn Storage, bytes: u64) -> io::Result<()> {
    match storage.create(KEYS_UNFINISHED, bytes) {
        Err(error)
            if error.kind() == io::ErrorKind::StorageFull
                && storage.list()?.iter().any(|name| name == SPARE) =>
        {
            storage.remove(SPARE)?;
            storage.create(KEYS_UNFINISHED, bytes)
        }
        made => made,
    }
}

/// Keeps room for the next file, so that a start on a full disk can make it. The old one has just given
/// back its own.
fn keep_spare(storage: &dyn Storage) -> io::Result<()> {
    if storage.list()?.iter().any(|name| name == SPARE) {
        return Ok(());
    }
    for bytes in SPARE_BYTES {
        match storage.create(SPARE, bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            made => return made,
        }
    }
    Ok(())
}

fn failed_numbers(storage: &dyn Storage) -> JournalOpenError {
    let error = io::Error::other("the numbers of keys are used up");
    JournalOpenError::io(storage, "making a key", error)
}

/// What the file holds, where there is one.
fn sealed_file(storage: &dyn Storage) -> Result<Option<Vec<u8>>, JournalOpenError> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        if !storage.list()?.iter().any(|name| name == KEYS) {
            return Ok(None);
        }
        let bytes = storage.len(KEYS)?.min(FILE_BYTES_MAX);
        let mut sealed = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        storage.read_at(KEYS, &mut sealed, 0)?;
        Ok(Some(sealed))
    };
    read().map_err(|error| JournalOpenError::io(storage, "reading its keys", error))
}

/// Seals the keys of the journal in `storage` with `new` in place of `old`; says whether there are any. Asking
/// again, after an interruption, goes on from there. Blocks.
///
/// Events stay as they are: what they are sealed with is in the file. The next opening makes a new key.
///
/// # Errors
/// When another process has the journal, neither key opens the file, or the system refuses; then the file is as it
/// was.
pub fn reseal(
    storage: &dyn Storage,
    old: &SealKey,
    new: &SealKey,
) -> Result<bool, JournalOpenError> {
    let lock = storage.lock();
    let _lock = lock.map_err(|error| JournalOpenError::locking(storage, error))?;
    let Some(sealed) = sealed_file(storage)? else {
        return Ok(false);
    };
    let Some(keys) = DataKeys::opened(old, &sealed) else {
        return match DataKeys::opened(new, &sealed) {
            Some(_) => Ok(true),
            None => Err(JournalOpenError::OtherKey {
                path: storage.describe(),
            }),
        };
    };
    let written = keys.write(storage, new);
    written.map_err(|error| JournalOpenError::io(storage, "writing its keys", error))?;
    Ok(true)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
pub(super) mod tests;
