//! What a receiver of sessions does with a queue: locks one, keeps its state, frees it.

use super::queue::MessageQueue;
use super::session::{QueueSession, SessionHold, SessionLock, SessionState, state_bytes};
use crate::amqp::state::AmqpError;
use crate::amqp::value::AmqpValue;
use twinroute_model::clock::Timestamp;

/// Sessions that one answer of `get-message-sessions` names.
const SESSIONS_MAX: usize = 1_000;

impl MessageQueue {
    /// Locks the named session, or the first free one with a message: `None` when there is none.
    ///
    /// # Errors
    /// `com.microsoft:session-cannot-be-locked` when another receiver holds the named one.
    pub(crate) fn lock_session(
        &self,
        wanted: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<(SessionHold, Timestamp)>, AmqpError> {
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        let sessions = &mut self.state().sessions;
        let Some(name) = wanted.or_else(|| sessions.first_free()) else {
            return Ok(None);
        };
        let name = name.to_owned();
        sessions.locks += 1;
        let number = sessions.locks;
        let session = sessions.all.entry(name.clone()).or_default();
        if session.lock.is_some() {
            let text = format!("the session {name} is locked by another receiver");
            return Err(AmqpError::new(
                "com.microsoft:session-cannot-be-locked",
                text,
            ));
        }
        session.lock = Some(SessionLock { number, until });
        let hold = SessionHold { name, lock: number };
        Ok(Some((hold, until)))
    }

    /// Whether the session is still held by that lock.
    pub(crate) fn holds_session(&self, hold: &SessionHold) -> bool {
        let lock = self.state().sessions.lock_of(&hold.name).map(|lock| *lock);
        lock.is_ok_and(|lock| lock.number == hold.lock)
    }

    /// Extends the lock of a session.
    pub(crate) fn renew_session(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Timestamp, AmqpError> {
        self.needs_sessions()?;
        self.sweep(now);
        let until = now.after(self.settings.lock_duration);
        self.state().sessions.lock_of(session)?.until = until;
        Ok(until)
    }

    /// Frees a session; what was handed out under it is ready again, its deliveries uncounted.
    ///
    /// Source: "Message sessions", the table of delivery counts: closing a session does not count, the
    /// end of its lock does.
    pub(crate) fn free_session(&self, hold: &SessionHold) {
        if !self.holds_session(hold) {
            return;
        }
        let mut state = self.state();
        for stored in state.take_locked_of(&hold.name) {
            state.put_ready(stored);
        }
        if let Some(known) = state.sessions.all.get_mut(&hold.name) {
            known.lock = None;
        }
        state.sessions.forget_if_empty(&hold.name);
        drop(state);
        self.waiters.wake();
    }

    /// The state kept with a session that is locked.
    pub(crate) fn session_state(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Option<AmqpValue>, AmqpError> {
        self.needs_sessions()?;
        self.sweep(now);
        let sessions = &mut self.state().sessions;
        sessions.lock_of(session)?;
        let known = sessions.all.get(session);
        let state = known.and_then(|known| known.state.as_ref());
        Ok(state.map(|state| state.value.clone()))
    }

    /// Keeps a state with a session that is locked; null takes it away.
    pub(crate) fn set_session_state(
        &self,
        session: &str,
        value: AmqpValue,
        now: Timestamp,
    ) -> Result<(), AmqpError> {
        self.needs_sessions()?;
        self.sweep(now);
        let mut state = self.state();
        state.sessions.lock_of(session)?;
        let kept = (value != AmqpValue::Null).then_some(value);
        let bytes = kept.as_ref().map_or(0, state_bytes);
        let before = state.sessions.state_bytes_of(session);
        if !self.has_room_for(&state, bytes.saturating_sub(before)) {
            return Err(self.full());
        }
        state.bytes = state.bytes - before + bytes;
        let known = state.sessions.all.entry(session.to_owned()).or_default();
        known.state = kept.map(|value| SessionState {
            value,
            changed_at: now,
        });
        Ok(())
    }

    /// Names of sessions with messages; with `changed_after`, of those whose state changed later.
    pub(crate) fn session_names(
        &self,
        changed_after: Option<Timestamp>,
        skip: usize,
        top: usize,
    ) -> Result<Vec<String>, AmqpError> {
        self.needs_sessions()?;
        let state = self.state();
        let wanted = |session: &QueueSession| match changed_after {
            None => !session.ready.is_empty() || session.lock.is_some(),
            Some(after) => {
                let state = session.state.as_ref();
                state.is_some_and(|state| state.changed_at > after)
            }
        };
        let all = state.sessions.all.iter();
        let names = all.filter(|(_, session)| wanted(session));
        let names = names.skip(skip).take(top.min(SESSIONS_MAX));
        Ok(names.map(|(name, _)| name.clone()).collect())
    }

    fn needs_sessions(&self) -> Result<(), AmqpError> {
        if self.settings.requires_session {
            return Ok(());
        }
        let text = format!("{} has no sessions", self.path);
        Err(AmqpError::new("amqp:not-allowed", text))
    }
}
