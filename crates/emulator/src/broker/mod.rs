//! What the stand-ins hold: hubs, queues, topics. No network and no time but what is passed in.

pub(crate) mod hub;
mod partition_key;
pub(crate) mod queue;
mod queue_sessions;
mod queue_state;
pub(crate) mod session;
pub(crate) mod stored;
pub(crate) mod topic;

#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, watch};

/// Locks state whose changes leave it whole even when a later one panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections to wake when there is something new.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Weak<Notify>>>);

impl Waiters {
    /// Wakes `waiter` from now on, for as long as it lives.
    pub(crate) fn add(&self, waiter: &Arc<Notify>) {
        let mut all = lock(&self.0);
        all.retain(|known| known.strong_count() > 0);
        if !all
            .iter()
            .any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(waiter)))
        {
            all.push(Arc::downgrade(waiter));
        }
    }

    pub(crate) fn wake(&self) {
        for waiter in lock(&self.0).iter().filter_map(Weak::upgrade) {
            waiter.notify_one();
        }
    }
}

/// A number that only grows and can be waited for.
#[derive(Debug)]
pub(crate) struct Tally(watch::Sender<u64>);

impl Default for Tally {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Tally {
    pub(crate) fn add(&self, count: usize) {
        self.0
            .send_modify(|total| *total += u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn total(&self) -> u64 {
        *self.0.borrow()
    }

    /// Dropping the future stops the waiting and changes nothing.
    pub(crate) async fn reach(&self, count: u64) {
        let reached = self
            .0
            .subscribe()
            .wait_for(|total| *total >= count)
            .await
            .is_ok();
        assert!(reached, "the sender lives as long as the tally");
    }
}
