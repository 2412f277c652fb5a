//! Sessions of a queue: who holds which, what is ready in each, and the state kept with it.

use crate::amqp::state::Problem;
use crate::amqp::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use twinroute_model::clock::Timestamp;

/// Sessions that one answer of `get-message-sessions` names.
const SESSIONS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: BTreeMap<String, QueueSession>,
    locks: u64,
}

#[derive(Debug, Default)]
struct QueueSession {
    ready: BTreeSet<i64>,
    state: Option<SessionState>,
    lock: Option<SessionLock>,
}

#[derive(Debug)]
struct SessionState {
    value: Value,
    changed_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct SessionLock {
    number: u64,
    until: Timestamp,
}

/// A session as the receiver holds it that locked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionHold {
    pub(crate) name: String,
    /// Tells this lock from later ones of the same session.
    lock: u64,
}

impl Sessions {
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

    fn lock_of(&mut self, session: &str) -> Result<&mut SessionLock, Problem> {
        let lost = || {
            let text = format!("the session {session} is not locked: accept it again");
            Problem::new("com.microsoft:session-lock-lost", text)
        };
        let known = self.all.get_mut(session);
        known.and_then(|known| known.lock.as_mut()).ok_or_else(lost)
    }

    /// A session that nobody holds and that has a message.
    fn first_free(&self) -> Option<&str> {
        let free = |session: &QueueSession| session.lock.is_none() && !session.ready.is_empty();
        let mut all = self.all.iter();
        all.find(|(_, session)| free(session))
            .map(|(name, _)| name.as_str())
    }

    /// Locks the named session, or the first free one with a message.
    pub(super) fn lock(
        &mut self,
        wanted: Option<&str>,
        until: Timestamp,
    ) -> Result<Option<(SessionHold, Timestamp)>, Problem> {
        let Some(name) = wanted.or_else(|| self.first_free()) else {
            return Ok(None);
        };
        let name = name.to_owned();
        self.locks += 1;
        let number = self.locks;
        let session = self.all.entry(name.clone()).or_default();
        if session.lock.is_some() {
            let text = format!("the session {name} is locked by another receiver");
            return Err(Problem::new("com.microsoft:session-cannot-be-locked", text));
        }
        session.lock = Some(SessionLock { number, until });
        let hold = SessionHold { name, lock: number };
        Ok(Some((hold, until)))
    }

    /// Whether the session is still held by that lock.
    pub(super) fn holds(&mut self, hold: &SessionHold) -> bool {
        let lock = self.lock_of(&hold.name);
        lock.is_ok_and(|lock| lock.number == hold.lock)
    }

    /// Extends the lock of a session.
    pub(super) fn renew(&mut self, session: &str, until: Timestamp) -> Result<(), Problem> {
        self.lock_of(session)?.until = until;
        Ok(())
    }

    /// Ends the lock of a session.
    pub(super) fn free(&mut self, session: &str) {
        if let Some(known) = self.all.get_mut(session) {
            known.lock = None;
        }
        self.forget_if_empty(session);
    }

    /// The state kept with a session that is locked.
    pub(super) fn state(&mut self, session: &str) -> Result<Option<&Value>, Problem> {
        self.lock_of(session)?;
        let known = self.all.get(session);
        let state = known.and_then(|known| known.state.as_ref());
        Ok(state.map(|state| &state.value))
    }

    /// Keeps a state with a session; null takes it away.
    pub(super) fn set_state(&mut self, session: &str, value: Value, changed_at: Timestamp) {
        let known = self.all.entry(session.to_owned()).or_default();
        known.state = (value != Value::Null).then_some(SessionState { value, changed_at });
    }

    /// Names of sessions with messages; with `changed_after`, of those whose state changed later.
    pub(super) fn names(
        &self,
        changed_after: Option<Timestamp>,
        skip: usize,
        top: usize,
    ) -> Vec<String> {
        let wanted = |session: &QueueSession| match changed_after {
            None => !session.ready.is_empty() || session.lock.is_some(),
            Some(after) => {
                let state = session.state.as_ref();
                state.is_some_and(|state| state.changed_at > after)
            }
        };
        let names = self.all.iter().filter(|(_, session)| wanted(session));
        let names = names.skip(skip).take(top.min(SESSIONS_MAX));
        names.map(|(name, _)| name.clone()).collect()
    }
}

/// What a session's state is counted with: clients keep binaries and strings; null is none.
pub(super) fn state_bytes(value: &Value) -> usize {
    match value {
        Value::Binary(bytes) => bytes.len(),
        Value::String(text) => text.len(),
        Value::Null => 0,
        _ => 16,
    }
}
