//! Endpoints that refuse their credential: whoever owns the sources of secrets and definitions hears of it.
//!
//! Lanes trigger it, and [`CredentialRefresh`] says when the sources are to be read again. It is bounded: ten thousand
//! endpoints that are refused over and over make a few refreshes a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Between two refreshes, at least.
const GAP_MIN: Duration = Duration::from_secs(5);

/// Between two refreshes, at most, while endpoints go on to be refused. They are probed about as often.
const GAP_MAX: Duration = Duration::from_secs(60);

/// Where lanes report refused credentials. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefreshTrigger(Arc<TriggerState>);

#[derive(Debug, Default)]
struct TriggerState {
    refused: Notify,
    /// Whether one that was refused is new.
    is_new: AtomicBool,
}

/// Whether a refusal is the first in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedCredential {
    First,
    Again,
}

impl RefreshTrigger {
    /// An endpoint or a dead-letter container refuses its credential.
    pub(crate) fn refused(&self, refusal: RefusedCredential) {
        if refusal == RefusedCredential::First {
            self.0.is_new.store(true, Ordering::Relaxed);
        }
        self.0.refused.notify_one();
    }

    pub(crate) fn credential_refresh(&self) -> CredentialRefresh {
        CredentialRefresh {
            trigger: self.clone(),
            pending: false,
            last: None,
            gap: Duration::ZERO,
        }
    }
}

/// Says when the sources of secrets and definitions are to be read again, because an endpoint refuses
/// its credential.
#[derive(Debug)]
pub struct CredentialRefresh {
    trigger: RefreshTrigger,
    /// A credential was refused, and no refresh came of it yet.
    pending: bool,
    last: Option<Instant>,
    /// From the last refresh to the next one, if nothing new happens.
    gap: Duration,
}

impl CredentialRefresh {
    /// Resolves when a refresh is due: at once for an endpoint that is refused for the first time, though no
    /// sooner than 5 s after the refresh before; then ever more seldom while refusals go on, down to one a
    /// minute. Never, while no endpoint is refused.
    ///
    /// Dropping the future loses nothing.
    pub async fn due(&mut self) {
        let trigger = Arc::clone(&self.trigger.0);
        if !self.pending {
            trigger.refused.notified().await;
            self.pending = true;
        }
        loop {
            if trigger.is_new.swap(false, Ordering::Relaxed) {
                self.gap = self.gap.min(GAP_MIN);
            }
            let at = self.last.map_or_else(Instant::now, |last| last + self.gap);
            // Woken by each refusal: one that is new may bring the time forward.
            tokio::select! {
                biased;
                () = sleep_until(at) => break,
                () = trigger.refused.notified() => {}
            }
        }
        self.pending = false;
        self.last = Some(Instant::now());
        self.gap = match self.gap {
            Duration::ZERO => GAP_MIN,
            gap => (gap * 2).min(GAP_MAX),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    /// Seconds until the next refresh, with a refusal each second; none within two minutes without one.
    async fn next(
        refresh: &mut CredentialRefresh,
        trigger: &RefreshTrigger,
        refusal: Option<RefusedCredential>,
    ) -> Option<u64> {
        let start = Instant::now();
        let telling = async {
            loop {
                if let Some(refusal) = refusal {
                    trigger.refused(refusal);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = telling => unreachable!("it never ends"),
            due = timeout(2 * GAP_MAX, refresh.due()) => due.ok()?,
        }
        Some(start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn refreshes_are_due_at_once_and_then_ever_more_seldom() {
        let trigger = RefreshTrigger::default();
        let mut refresh = trigger.credential_refresh();
        assert_eq!(next(&mut refresh, &trigger, None).await, None);
        assert_eq!(
            next(&mut refresh, &trigger, Some(RefusedCredential::First)).await,
            Some(0)
        );
        for seconds in [5, 10, 20, 40, 60, 60] {
            let again = next(&mut refresh, &trigger, Some(RefusedCredential::Again)).await;
            assert_eq!(again, Some(seconds));
        }
        // One that is new need not wait for the old ones.
        advance(Duration::from_secs(2)).await;
        assert_eq!(
            next(&mut refresh, &trigger, Some(RefusedCredential::First)).await,
            Some(3)
        );
        for _ in 0..5 {
            assert_eq!(
                next(&mut refresh, &trigger, Some(RefusedCredential::First)).await,
                Some(5)
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_refusals_make_one_refresh_which_a_caller_may_miss() {
        let trigger = RefreshTrigger::default();
        let mut refresh = trigger.credential_refresh();
        (0..10_000).for_each(|_| trigger.refused(RefusedCredential::First));
        assert_eq!(next(&mut refresh, &trigger, None).await, Some(0));
        assert_eq!(next(&mut refresh, &trigger, None).await, None);
        trigger.refused(RefusedCredential::First);
        refresh.last = Some(Instant::now());
        let left = timeout(Duration::from_secs(1), refresh.due()).await;
        assert!(left.is_err());
        assert_eq!(next(&mut refresh, &trigger, None).await, Some(4));
    }
}
