//! What a queue holds: messages that are ready, handed out or deferred, and what it has seen.

use super::session::QueueSessions;
use super::stored::{LockToken, StoredMessage};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// Message-ids that duplicate detection remembers; the oldest are forgotten first.
const IDS_MAX: usize = 1_000_000;

/// All of a queue that changes.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) next_sequence: i64,
    pub(super) ready: BTreeMap<i64, StoredMessage>,
    pub(super) locked: HashMap<LockToken, LockedMessage>,
    pub(super) expiries: BTreeSet<(Timestamp, LockToken)>,
    pub(super) deferred: BTreeMap<i64, StoredMessage>,
    pub(super) bytes: usize,
    pub(super) seen: HashSet<String>,
    pub(super) seen_in_order: VecDeque<(Timestamp, String)>,
    pub(super) sessions: QueueSessions,
}

/// A message that was handed out and is not settled.
#[derive(Debug)]
pub(super) struct LockedMessage {
    pub(super) stored: StoredMessage,
    /// `None` under a session: the session's lock holds.
    pub(super) until: Option<Timestamp>,
}

impl QueueState {
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.locked.len() + self.deferred.len()
    }

    pub(super) fn put_ready(&mut self, stored: StoredMessage) {
        if let Some(session) = &stored.session {
            self.sessions.add_ready(session, stored.sequence);
        }
        self.ready.insert(stored.sequence, stored);
    }

    pub(super) fn take_ready(&mut self, sequence: i64) -> Option<StoredMessage> {
        let stored = self.ready.remove(&sequence)?;
        if let Some(session) = &stored.session {
            self.sessions.remove_ready(session, sequence);
        }
        Some(stored)
    }

    pub(super) fn unlock(&mut self, token: LockToken) -> Option<LockedMessage> {
        let locked = self.locked.remove(&token)?;
        if let Some(until) = locked.until {
            self.expiries.remove(&(until, token));
        }
        Some(locked)
    }

    /// Takes what was handed out under a session and is not settled, in order.
    pub(super) fn take_locked_of(&mut self, session: &str) -> Vec<StoredMessage> {
        let held = |locked: &LockedMessage| locked.stored.session.as_deref() == Some(session);
        let all = self.locked.iter();
        let tokens: Vec<LockToken> = all
            .filter(|(_, one)| held(one))
            .map(|(token, _)| *token)
            .collect();
        let locked = tokens.into_iter().filter_map(|token| self.unlock(token));
        let mut taken: Vec<StoredMessage> = locked.map(|locked| locked.stored).collect();
        taken.sort_by_key(|stored| stored.sequence);
        taken
    }

    /// Forgets message-ids that were seen before the window, and the oldest beyond [`IDS_MAX`].
    pub(super) fn forget_ids_before(&mut self, now: Timestamp, window: Duration) {
        let old = |(seen, _): &(Timestamp, String)| now.since(*seen) > window;
        while self.seen_in_order.len() > IDS_MAX || self.seen_in_order.front().is_some_and(old) {
            if let Some((_, id)) = self.seen_in_order.pop_front() {
                self.seen.remove(&id);
            }
        }
    }
}
