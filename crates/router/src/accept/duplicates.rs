//! The duplicate window: which events were accepted a short while ago, so that a repeat is known as one.
//!
//! An event is known by its instance, `source` and `id` (CloudEvents 1.0.2, 3.1.1: producers ensure that
//! `source` and `id` together are unique for each distinct event). What is remembered is a keyed hash of
//! 128 bits, so that nobody can send events that are taken for others, and no text of an event is held.
//!
//! A key is *on its way* from the moment a batch claims it until the batch is accepted; then it is
//! remembered for the window's length. A batch that is not accepted leaves nothing behind. [`SeenEvents`] is
//! pure; [`SharedDuplicateWindow`] shares one, and lets repeats wait for what is on its way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use twinroute_model::event::Event;
use twinroute_model::name::InstanceName;

/// How long and how many accepted events are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DuplicateWindow {
    /// How long after an event was accepted its repeats are known.
    pub length: Duration,
    /// Accepted events that are remembered at most; the oldest is forgotten first. One takes up to
    /// 96 bytes. Those on their way come on top; the journal bounds them.
    pub events_max: usize,
}

impl DuplicateWindow {
    /// That long, with so many events at most.
    #[must_use]
    pub const fn new(length: Duration, events_max: usize) -> Self {
        Self { length, events_max }
    }
}

/// What an event is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventKey([u64; 2]);

impl Hash for EventKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It is a hash already; half of it tells places apart.
        state.write_u64(self.0[0]);
    }
}

/// Counts batches that claimed keys.
type BatchNumber = u64;

/// Where a key stands. One word, since there are many: the batch it is on its way with, marked by the
/// highest bit, or the milliseconds from the window's start to when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyStanding(u64);

const ON_ITS_WAY: u64 = 1 << 63;

/// What claiming the keys of a batch came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WindowClaim {
    /// Those that are new are on their way now.
    Taken {
        batch: BatchNumber,
        /// Of each event, in order, whether it is a repeat.
        repeats: Vec<bool>,
    },
    /// One is on its way with this batch. Nothing was claimed.
    Wait(BatchNumber),
}

/// Remembers keys; bounded, and pure: the time comes with each call and never goes back.
#[derive(Debug)]
pub(crate) struct SeenEvents {
    settings: DuplicateWindow,
    begun: Instant,
    keys: HashMap<EventKey, KeyStanding, BuildHasherDefault<AsHashed>>,
    /// Accepted keys, in the order of their times.
    accepted: VecDeque<EventKey>,
    batches: BatchNumber,
}

impl SeenEvents {
    pub(crate) fn new(settings: DuplicateWindow, now: Instant) -> Self {
        Self {
            settings,
            begun: now,
            keys: HashMap::default(),
            accepted: VecDeque::new(),
            batches: 0,
        }
    }

    /// Claims the keys of a batch, all or none.
    pub(crate) fn claim(&mut self, keys: &[EventKey], now: Instant) -> WindowClaim {
        self.expire(now);
        let standing = |key| self.keys.get(key).copied().map(KeyStanding::batch);
        if let Some(batch) = keys.iter().filter_map(standing).flatten().next() {
            return WindowClaim::Wait(batch);
        }
        self.batches += 1;
        let batch = self.batches;
        // Once it is in, a second one of the same batch is a repeat too.
        let mut is_repeat = |key: &EventKey| match self.keys.contains_key(key) {
            true => true,
            false => {
                self.keys.insert(*key, KeyStanding(ON_ITS_WAY | batch));
                false
            }
        };
        let repeats = keys.iter().map(&mut is_repeat).collect();
        WindowClaim::Taken { batch, repeats }
    }

    /// The keys that a batch claimed were accepted, all of them.
    pub(crate) fn accept(&mut self, keys: &[EventKey], now: Instant) {
        let at = KeyStanding(self.millis(now));
        for key in keys {
            self.keys.insert(*key, at);
            self.accepted.push_back(*key);
        }
        while self.accepted.len() > self.settings.events_max {
            self.forget_oldest();
        }
        self.expire(now);
    }

    /// The batch that claimed keys was not accepted.
    pub(crate) fn forget(&mut self, keys: &[EventKey]) {
        for key in keys {
            self.keys.remove(key);
        }
    }

    /// Accepted keys that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.accepted.len()
    }

    fn expire(&mut self, now: Instant) {
        let length = u64::try_from(self.settings.length.as_millis()).unwrap_or(u64::MAX);
        let now = self.millis(now);
        while let Some(oldest) = self.accepted.front() {
            let Some(KeyStanding(at)) = self.keys.get(oldest) else {
                unreachable!("an accepted key has a time");
            };
            if at.saturating_add(length) > now {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(key) = self.accepted.pop_front() {
            self.keys.remove(&key);
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begun).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX) & !ON_ITS_WAY
    }
}

impl KeyStanding {
    /// The batch it is on its way with.
    fn batch(self) -> Option<BatchNumber> {
        (self.0 & ON_ITS_WAY != 0).then_some(self.0 & !ON_ITS_WAY)
    }
}

/// Takes the one word that a key writes for its hash.
#[derive(Debug, Default)]
struct AsHashed(u64);

impl Hasher for AsHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys write one word");
    }
}

/// A window that requests share.
#[derive(Debug)]
pub(crate) struct SharedDuplicateWindow {
    /// The secret that keys are hashed with: drawn for this process, so that collisions cannot be made.
    secret: RandomState,
    shared: Mutex<DuplicatesState>,
}

#[derive(Debug)]
struct DuplicatesState {
    window: SeenEvents,
    /// Who waits for batches that are on their way. `None` until they end.
    waiting: HashMap<BatchNumber, watch::Sender<Option<bool>>>,
}

/// The keys of a batch that is on its way. Dropping it has them forgotten and fails who waits for it.
#[derive(Debug)]
pub(crate) struct BatchClaim {
    duplicates: Arc<SharedDuplicateWindow>,
    batch: BatchNumber,
    /// Those that it put on their way.
    keys: Vec<EventKey>,
}

/// What a batch is found to be.
#[derive(Debug)]
pub(crate) struct ClaimedBatch {
    /// Of each event, in order, whether it is a repeat.
    pub(crate) repeats: Vec<bool>,
    /// Whether one of them repeats an event of an earlier batch.
    pub(crate) earlier: bool,
    pub(crate) claim: BatchClaim,
}

/// The batch whose event is repeated was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirstFailed;

impl SharedDuplicateWindow {
    pub(crate) fn new(settings: DuplicateWindow) -> Arc<Self> {
        Arc::new(Self {
            secret: RandomState::new(),
            shared: Mutex::new(DuplicatesState {
                window: SeenEvents::new(settings, Instant::now()),
                waiting: HashMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, DuplicatesState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of events.
    pub(crate) fn keys(&self, instance: &InstanceName, events: &[Event]) -> Vec<EventKey> {
        let key = |event: &Event| {
            // One secret with two prefixes is as good as two secrets.
            let half = |number: u8| {
                self.secret
                    .hash_one((number, instance, event.source(), event.id()))
            };
            EventKey([half(0), half(1)])
        };
        events.iter().map(key).collect()
    }

    /// Claims the keys of a batch. Where one is on its way with another batch, that is waited for, with
    /// nothing claimed meanwhile; if the other one is not accepted, neither is this.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        keys: &[EventKey],
    ) -> Result<ClaimedBatch, FirstFailed> {
        loop {
            let mut outcome = {
                let shared = &mut *self.lock();
                match shared.window.claim(keys, Instant::now()) {
                    WindowClaim::Taken { batch, repeats } => {
                        return Ok(self.fresh(keys, batch, repeats));
                    }
                    WindowClaim::Wait(batch) => {
                        let entry = shared.waiting.entry(batch);
                        entry
                            .or_insert_with(|| watch::Sender::new(None))
                            .subscribe()
                    }
                }
            };
            // The sender is dropped only after it has sent.
            let accepted = outcome.wait_for(Option::is_some).await;
            if !accepted.is_ok_and(|accepted| *accepted == Some(true)) {
                return Err(FirstFailed);
            }
        }
    }

    fn fresh(
        self: &Arc<Self>,
        keys: &[EventKey],
        batch: BatchNumber,
        repeats: Vec<bool>,
    ) -> ClaimedBatch {
        let of = |repeat: bool| {
            let pairs = keys.iter().zip(&repeats);
            pairs.filter_map(move |(key, is)| (*is == repeat).then_some(*key))
        };
        let own: Vec<EventKey> = of(false).collect();
        let mut repeated = of(true).peekable();
        let earlier = repeated.peek().is_some() && {
            let own: HashSet<EventKey> = own.iter().copied().collect();
            repeated.any(|key| !own.contains(&key))
        };
        drop(repeated);
        let claim = BatchClaim {
            duplicates: Arc::clone(self),
            batch,
            keys: own,
        };
        ClaimedBatch {
            repeats,
            earlier,
            claim,
        }
    }

    /// Accepted events that are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.lock().window.len()
    }
}

impl BatchClaim {
    /// The batch was accepted.
    pub(crate) fn accept(mut self) {
        let keys = std::mem::take(&mut self.keys);
        let shared = &mut *self.duplicates.lock();
        shared.window.accept(&keys, Instant::now());
        shared.tell(self.batch, true);
    }
}

impl Drop for BatchClaim {
    fn drop(&mut self) {
        // What was accepted has answered already, and has no keys left.
        let shared = &mut *self.duplicates.lock();
        shared.window.forget(&self.keys);
        shared.tell(self.batch, false);
    }
}

impl DuplicatesState {
    fn tell(&mut self, batch: BatchNumber, accepted: bool) {
        if let Some(waiting) = self.waiting.remove(&batch) {
            waiting.send_replace(Some(accepted));
        }
    }
}

#[cfg(test)]
#[path = "duplicates_tests.rs"]
mod tests;
