//! Endpoints that refuse their credential: whoever owns the sources of secrets and definitions hears of it.
//!
//! Lanes tell, and [`Looks`] says when somebody is to look at the sources again. It is bounded: ten thousand
//! endpoints that are refused over and over make a few looks a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Between two looks, at least.
const GAP_MIN: Duration = Duration::from_secs(5);

/// Between two looks, at most, while endpoints go on to be refused. They are probed about as often.
const GAP_MAX: Duration = Duration::from_secs(60);

/// Where lanes tell. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    word: Notify,
    /// Whether one of them is new.
    anew: AtomicBool,
}

/// Whether a refusal is the first in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    First,
    Again,
}

impl Refusals {
    /// An endpoint or a dead-letter container refuses its credential.
    pub(crate) fn tell(&self, refusal: Refusal) {
        if refusal == Refusal::First {
            self.0.anew.store(true, Ordering::Relaxed);
        }
        self.0.word.notify_one();
    }

    pub(crate) fn looks(&self) -> Looks {
        Looks {
            told: self.clone(),
            pending: false,
            last: None,
            gap: Duration::ZERO,
        }
    }
}

/// Says when the sources of secrets and definitions are to be looked at again, because an endpoint refuses
/// its credential.
#[derive(Debug)]
pub struct Looks {
    told: Refusals,
    /// Somebody told, and no look came of it yet.
    pending: bool,
    last: Option<Instant>,
    /// From the last look to the next one, if nothing new happens.
    gap: Duration,
}

impl Looks {
    /// Resolves when a look is due: at once for an endpoint that is refused for the first time, though no
    /// sooner than 5 s after the look before; then ever more seldom while refusals go on, down to one a
    /// minute. Never, while no endpoint is refused.
    ///
    /// Dropping the future loses nothing.
    pub async fn due(&mut self) {
        let told = Arc::clone(&self.told.0);
        if !self.pending {
            told.word.notified().await;
            self.pending = true;
        }
        loop {
            if told.anew.swap(false, Ordering::Relaxed) {
                self.gap = self.gap.min(GAP_MIN);
            }
            let at = self.last.map_or_else(Instant::now, |last| last + self.gap);
            tokio::select! {
                biased;
                () = sleep_until(at) => break,
                () = told.word.notified() => {}
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

    /// Seconds until the next look, with a refusal each second; none within two minutes without one.
    async fn next(looks: &mut Looks, refusals: &Refusals, refusal: Option<Refusal>) -> Option<u64> {
        let start = Instant::now();
        let telling = async {
            loop {
                if let Some(refusal) = refusal {
                    refusals.tell(refusal);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = telling => unreachable!("it never ends"),
            looked = timeout(2 * GAP_MAX, looks.due()) => looked.ok()?,
        }
        Some(start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn looks_are_made_at_once_and_then_ever_more_seldom() {
        let refusals = Refusals::default();
        let mut looks = refusals.looks();
        assert_eq!(next(&mut looks, &refusals, None).await, None);
        assert_eq!(
            next(&mut looks, &refusals, Some(Refusal::First)).await,
            Some(0)
        );
        for seconds in [5, 10, 20, 40, 60, 60] {
            let again = next(&mut looks, &refusals, Some(Refusal::Again)).await;
            assert_eq!(again, Some(seconds));
        }
        // One that is new need not wait for the old ones.
        advance(Duration::from_secs(2)).await;
        assert_eq!(
            next(&mut looks, &refusals, Some(Refusal::First)).await,
            Some(3)
        );
        for _ in 0..5 {
            assert_eq!(
                next(&mut looks, &refusals, Some(Refusal::First)).await,
                Some(5)
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_refusals_make_one_look_which_a_caller_may_miss() {
        let refusals = Refusals::default();
        let mut looks = refusals.looks();
        (0..10_000).for_each(|_| refusals.tell(Refusal::First));
        assert_eq!(next(&mut looks, &refusals, None).await, Some(0));
        assert_eq!(next(&mut looks, &refusals, None).await, None);
        refusals.tell(Refusal::First);
        looks.last = Some(Instant::now());
        let left = timeout(Duration::from_secs(1), looks.due()).await;
        assert!(left.is_err());
        assert_eq!(next(&mut looks, &refusals, None).await, Some(4));
    }
}
