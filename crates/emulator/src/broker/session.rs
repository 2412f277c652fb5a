//! Sessions of a queue: who holds which, what is ready in each, and the state kept with it.

use crate::amqp::state::AmqpError;
use crate::amqp::value::AmqpValue;
use std::collections::{BTreeMap, BTreeSet};
use twinroute_model::clock::Timestamp;

#[derive(Debug, Default)]
pub(super) struct QueueSessions {
    pub(super) all: BTreeMap<String, QueueSession>,
    pub(super) locks: u64,
}

#[derive(Debug, Default)]
pub(super) struct QueueSession {
    pub(super) ready: BTreeSet<i64>,
    pub(super) state: Option<SessionState>,
    pub(super) lock: Option<SessionLock>,
}

#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) value: AmqpValue,
    pub(super) changed_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SessionLock {
    pub(super) number: u64,
    pub(super) until: Timestamp,
}

/// A session as the receiver holds it that locked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionHold {
    pub(crate) name: String,
    /// Tells this lock from later ones of the same session.
    pub(super) lock: u64,
}

impl QueueSessions {
    pub(super) fn add_ready(&mut self, session: &str, sequence: i64) {
        self.all
            .entry(session.to_owned())
            .or_default()
            .ready
            .insert(sequence);
    }

    pub(super) fn remove_ready(&mut self, session: &str, sequence: i64) {
        if let Some(known) = self.all.get_mut(session) {
            known.ready.remove(&sequence);
        }
        self.forget_if_empty(session);
    }

    /// The next message of a session, as long as it is held.
    pub(super) fn first_ready(&self, hold: &SessionHold, now: Timestamp) -> Option<i64> {
        let session = self.all.get(&hold.name)?;
        let lock = session.lock?;
        let held = lock.number == hold.lock && lock.until > now;
        session.ready.first().copied().filter(|_| held)
    }

    /// Ends locks whose time has come and names their sessions.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Vec<String> {
        let ended = |session: &QueueSession| session.lock.is_some_and(|lock| lock.until <= now);
        let mut names = Vec::new();
        for (name, session) in self.all.iter_mut().filter(|(_, session)| ended(session)) {
            session.lock = None;
            names.push(name.clone());
        }
        names
    }

    pub(super) fn forget_if_empty(&mut self, session: &str) {
        let empty = |known: &QueueSession| {
            known.ready.is_empty() && known.state.is_none() && known.lock.is_none()
        };
        if self.all.get(session).is_some_and(empty) {
            self.all.remove(session);
        }
    }

    pub(super) fn state_bytes_of(&self, session: &str) -> usize {
        let known = self.all.get(session);
        let state = known.and_then(|known| known.state.as_ref());
        state.map_or(0, |state| state_bytes(&state.value))
    }

    pub(super) fn lock_of(&mut self, session: &str) -> Result<&mut SessionLock, AmqpError> {
        let lost = || {
            let text = format!("the session {session} is not locked: accept it again");
            AmqpError::new("com.microsoft:session-lock-lost", text)
        };
        let known = self.all.get_mut(session);
        known.and_then(|known| known.lock.as_mut()).ok_or_else(lost)
    }

    /// A session that nobody holds and that has a message.
    pub(super) fn first_free(&self) -> Option<&str> {
        let free = |session: &QueueSession| session.lock.is_none() && !session.ready.is_empty();
        let mut all = self.all.iter();
        all.find(|(_, session)| free(session))
            .map(|(name, _)| name.as_str())
    }
}

/// What a session's state is counted with: clients keep binaries and strings.
pub(super) fn state_bytes(value: &AmqpValue) -> usize {
    match value {
        AmqpValue::Binary(bytes) => bytes.len(),
        AmqpValue::String(text) => text.len(),
        _ => 16,
    }
}
