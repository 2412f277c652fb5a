//! How many batches an endpoint is given at a time: more while it keeps up, fewer when it slows down or
//! asks for it (additive increase, multiplicative decrease).

use std::time::Duration;

/// A batch is slow when it takes so many times the quickest.
const SLOW_FACTOR: u32 = 4;

/// Below this nothing is slow.
const SLOW_AT_LEAST: Duration = Duration::from_millis(50);

/// A batch weighs one in so many of what is typical.
const TYPICAL_WEIGHT: u32 = 8;

/// The adaptive limit of one endpoint.
#[derive(Debug)]
pub(crate) struct AdaptiveConcurrency {
    limit: f64,
    /// The quickest batch; forgotten slowly, so that an endpoint may become another one.
    quickest: Option<Duration>,
    /// How long batches take, the newest weighing most.
    typical: Option<Duration>,
}

impl AdaptiveConcurrency {
    /// Begins at the cap: most endpoints keep up.
    pub(crate) fn new() -> Self {
        Self {
            limit: f64::from(u16::MAX),
            quickest: None,
            typical: None,
        }
    }

    /// Batches that may be unanswered, of `cap` at most.
    pub(crate) fn limit(&self, cap: usize) -> usize {
        (self.limit as usize).clamp(1, cap.max(1))
    }

    /// A batch was answered. `in_flight` counts those that were unanswered when it was sent, itself
    /// included.
    pub(crate) fn answered(&mut self, took: Duration, in_flight: usize, cap: usize) {
        self.limit = self.limit.min(cap as f64);
        let quickest = self.quickest.unwrap_or(took).mul_f64(1.01).min(took);
        self.quickest = Some(quickest);
        let typical = self.typical.unwrap_or(took);
        self.typical = Some((typical * (TYPICAL_WEIGHT - 1) + took) / TYPICAL_WEIGHT);
        if took > (quickest * SLOW_FACTOR).max(SLOW_AT_LEAST) {
            self.limit = (self.limit * 0.9).max(1.0);
        } else if in_flight >= self.limit(cap) {
            self.limit = (self.limit + 1.0 / self.limit).min(cap as f64);
        }
    }

    /// How long batches take, once one was answered.
    pub(crate) fn typical(&self) -> Option<Duration> {
        self.typical
    }

    /// The endpoint asked to slow down, or did not answer.
    pub(crate) fn overloaded(&mut self, cap: usize) {
        self.limit = (self.limit.min(cap as f64) / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(5);

    #[test]
    fn halves_when_throttled_and_comes_back_one_by_one() {
        let mut concurrency = AdaptiveConcurrency::new();
        assert_eq!(concurrency.limit(8), 8);
        concurrency.overloaded(8);
        assert_eq!(concurrency.limit(8), 4);
        for _ in 0..10 {
            concurrency.overloaded(8);
        }
        assert_eq!(concurrency.limit(8), 1, "never less than one");
        let mut answers = 0;
        while concurrency.limit(8) < 8 {
            concurrency.answered(QUICK, concurrency.limit(8), 8);
            answers += 1;
        }
        assert!((20..60).contains(&answers), "{answers}");
        concurrency.answered(QUICK, 8, 8);
        assert_eq!(concurrency.limit(8), 8, "never more than the cap");
    }

    #[test]
    fn gives_a_slow_endpoint_less() {
        let mut concurrency = AdaptiveConcurrency::new();
        concurrency.answered(QUICK, 8, 8);
        for _ in 0..30 {
            concurrency.answered(Duration::from_secs(1), 8, 8);
        }
        assert!(concurrency.limit(8) <= 2);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut concurrency = AdaptiveConcurrency::new();
        concurrency.overloaded(8);
        for _ in 0..100 {
            concurrency.answered(QUICK, 1, 8);
        }
        assert_eq!(concurrency.limit(8), 4);
    }
}
