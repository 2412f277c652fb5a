//! How long something took, in buckets that a scraper can add up: counts only grow.

use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds.
const BOUNDS_MS: [u64; 10] = [
    1, 5, 25, 100, 500, 2_500, 10_000, 60_000, 600_000, 3_600_000,
];

/// Counts durations from a millisecond to an hour since the start. Small until the first.
#[derive(Clone, Debug, Default)]
pub struct DurationHistogram(Option<Box<DurationBuckets>>);

#[derive(Clone, Debug, Default)]
struct DurationBuckets {
    /// The last is for what took longer than every bound.
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: Duration,
}

impl DurationHistogram {
    /// Counts a duration so many times.
    pub(crate) fn record(&mut self, duration: Duration, times: u32) {
        if times == 0 {
            return;
        }
        let known = self.0.get_or_insert_default();
        let bucket = BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < duration);
        known.counts[bucket] += u64::from(times);
        known.sum = known.sum.saturating_add(duration.saturating_mul(times));
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        let Some(other) = &other.0 else {
            return;
        };
        let known = self.0.get_or_insert_default();
        for (own, further) in known.counts.iter_mut().zip(&other.counts) {
            *own += further;
        }
        known.sum = known.sum.saturating_add(other.sum);
    }

    /// Upper bounds in seconds, growing, with how many took no longer than that.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        BOUNDS_MS.iter().enumerate().map(move |(bucket, bound)| {
            sum += self.0.as_ref().map_or(0, |known| known.counts[bucket]);
            (*bound as f64 / 1_000.0, sum)
        })
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        let known = self.0.as_ref();
        known.map_or(0, |known| known.counts.iter().sum())
    }

    /// Seconds that all of them took.
    #[must_use]
    pub fn sum_s(&self) -> f64 {
        let known = self.0.as_ref();
        known.map_or(0.0, |known| known.sum.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_took_no_longer_and_add_up() {
        let mut histogram = DurationHistogram::default();
        assert_eq!(histogram.count(), 0);
        for millis in [0, 1, 2, 100, 101, 7_200_000] {
            histogram.record(Duration::from_millis(millis), 2);
        }
        let of = |bound: f64| histogram.buckets().find(|bucket| bucket.0 == bound);
        assert_eq!(of(0.001), Some((0.001, 4)));
        assert_eq!(of(0.005), Some((0.005, 6)));
        assert_eq!(of(0.1), Some((0.1, 8)));
        assert_eq!(of(3_600.0), Some((3_600.0, 10)));
        assert_eq!(histogram.count(), 12);
        assert!((histogram.sum_s() - 2.0 * 7_200.204).abs() < 1e-9);
        let mut both = histogram.clone();
        both.merge(&DurationHistogram::default());
        both.merge(&histogram);
        assert_eq!(both.count(), 24);
        histogram.record(Duration::MAX, 2);
        assert_eq!(histogram.count(), 14);
    }
}
