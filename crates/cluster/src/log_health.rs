//! Whether the log answers this router.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// When the log answered last, whatever it said. Clones share it.
///
/// Members are looked at twice a second, so a log that can be reached is never silent for long.
#[derive(Clone, Debug)]
pub struct LogHealth(Arc<Mutex<Instant>>);

impl Default for LogHealth {
    /// It counts as having answered now.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl LogHealth {
    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answered(&self) {
        *self.lock() = Instant::now();
    }

    /// For how long it has not answered.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.lock().elapsed()
    }
}
