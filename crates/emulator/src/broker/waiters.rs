//! Who waits for something new in a hub or queue.

use crate::lock::lock;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;

/// Connections to wake when there is something new.
#[derive(Debug, Default)]
pub(crate) struct MessageWaiters(Mutex<Vec<Weak<Notify>>>);

impl MessageWaiters {
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
