//! Sessions of a queue: who holds which, what is ready in each, and the state kept with it.

use super::queue::Queue;
use crate::amqp::state::Problem;
use crate::amqp::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use twinroute_model::clock::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<String, Session>);

#[derive(Debug, Default)]
struct Session {
    ready: BTreeSet<i64>,
    state: Option<Value>,
    locked_until: Option<Timestamp>,
}

impl Sessions {
    pub(super) fn add_ready(&mut self, session: &str, sequence: i64) {
        self.0
            .entry(session.to_owned())
            .or_default()
            .ready
            .insert(sequence);
    }

    pub(super) fn remove_ready(&mut self, session: &str, sequence: i64) {
        if let Some(known) = self.0.get_mut(session) {
            known.ready.remove(&sequence);
        }
        self.forget_if_empty(session);
    }

    pub(super) fn first_ready(&self, session: &str) -> Option<i64> {
        self.0.get(session)?.ready.first().copied()
    }

    /// Ends locks whose time has come and names their sessions.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Vec<String> {
        let ended = |session: &Session| session.locked_until.is_some_and(|until| until <= now);
        let mut names = Vec::new();
        for (name, session) in self.0.iter_mut().filter(|(_, session)| ended(session)) {
            session.locked_until = None;
            names.push(name.clone());
        }
        names
    }

    fn forget_if_empty(&mut self, session: &str) {
        let empty = |known: &Session| {
            known.ready.is_empty() && known.state.is_none() && known.locked_until.is_none()
        };
        if self.0.get(session).is_some_and(empty) {
            self.0.remove(session);
        }
    }
}

impl Queue {
    /// Locks the named session, or the first free one with a message.
    pub(crate) fn lock_session(
        &self,
        wanted: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, Timestamp), Problem> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        let sessions = &mut self.state().sessions;
        let name = match wanted {
            Some(name) => name.to_owned(),
            None => {
                let free =
                    |session: &Session| session.locked_until.is_none() && !session.ready.is_empty();
                let found = sessions.0.iter().find(|(_, session)| free(session));
                let nothing = || Problem::new("com.microsoft:timeout", "no session is free");
                found.map(|(name, _)| name.clone()).ok_or_else(nothing)?
            }
        };
        let session = sessions.0.entry(name.clone()).or_default();
        if session.locked_until.is_some() {
            let text = format!("the session {name} is held by another receiver");
            return Err(Problem::new("com.microsoft:session-cannot-be-locked", text));
        }
        session.locked_until = Some(until);
        Ok((name, until))
    }

    /// Whether the session is still held.
    pub(crate) fn holds_session(&self, session: &str) -> bool {
        let state = self.state();
        state
            .sessions
            .0
            .get(session)
            .is_some_and(|known| known.locked_until.is_some())
    }

    /// Extends the lock of a session.
    pub(crate) fn renew_session(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Timestamp, Problem> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        let sessions = &mut self.state().sessions;
        let held = sessions
            .0
            .get_mut(session)
            .and_then(|known| known.locked_until.as_mut());
        let lost = || {
            Problem::new(
                "com.microsoft:session-lock-lost",
                "the session is not locked",
            )
        };
        *held.ok_or_else(lost)? = until;
        Ok(until)
    }

    /// Frees a session; what was handed out under it is ready again.
    pub(crate) fn free_session(&self, session: &str) {
        let mut state = self.state();
        state.release_session(session);
        if let Some(known) = state.sessions.0.get_mut(session) {
            known.locked_until = None;
        }
        state.sessions.forget_if_empty(session);
        drop(state);
        self.waiters.wake();
    }

    /// The state kept with a session.
    pub(crate) fn session_state(&self, session: &str) -> Option<Value> {
        self.state().sessions.0.get(session)?.state.clone()
    }

    /// Keeps a state with a session.
    pub(crate) fn set_session_state(&self, session: &str, value: Value) {
        let sessions = &mut self.state().sessions;
        let kept = (value != Value::Null).then_some(value);
        sessions.0.entry(session.to_owned()).or_default().state = kept;
        sessions.forget_if_empty(session);
    }
}
