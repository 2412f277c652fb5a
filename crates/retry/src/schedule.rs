//! When something is tried again: pure arithmetic, with time and chance as parameters.

use std::time::Duration;

/// Event Grid's published schedule, then every 12 hours.
/// Source: Azure Event Grid, "Delivery and retry", 2026-02-09.
const EVENT_GRID: [u64; 10] = [10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200];

/// The longest that a destination's `Retry-After` is honoured.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// The longest between two looks at an endpoint that takes nothing.
pub const PROBE_MAX: Duration = Duration::from_secs(60);

/// The first pause after an endpoint fault.
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// How long an event that failed alone waits after its `attempts`-th attempt.
///
/// Spread by +-10 % with `chance`, 0 to 1; what the destination asked for is a lower bound.
#[must_use]
pub fn event_delay(attempts: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let step = (attempts.max(1) as usize - 1).min(EVENT_GRID.len() - 1);
    let delay = spread(Duration::from_secs(EVENT_GRID[step]), chance);
    delay.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// How long a lane leaves its endpoint alone after the `faults`-th fault in a row.
///
/// Doubles from half a second to [`PROBE_MAX`]; spread and bounded below as [`event_delay`].
#[must_use]
pub fn endpoint_delay(faults: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = PROBE_FIRST.saturating_mul(1 << faults.clamp(1, 8).saturating_sub(1));
    // Spread below the cap only, so that probes are never further apart than it says.
    let delay = spread(doubled.min(PROBE_MAX.mul_f64(0.9)), chance);
    delay.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
}

fn spread(delay: Duration, chance: f64) -> Duration {
    delay.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_steps() {
        let seconds = |attempts| event_delay(attempts, None, 0.5).as_secs();
        let steps: Vec<u64> = (1..=12).map(seconds).collect();
        let expect = [
            10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 43_200, 43_200,
        ];
        assert_eq!(steps, expect);
        assert_eq!(
            event_delay(1, Some(Duration::from_secs(42)), 0.5),
            Duration::from_secs(42)
        );
        assert_eq!(
            event_delay(1, Some(Duration::from_secs(9_999)), 0.5),
            RETRY_AFTER_MAX
        );
    }

    proptest! {
        #[test]
        fn an_endpoint_is_probed_at_least_once_a_minute(faults: u32, chance in 0.0..=1.0) {
            let delay = endpoint_delay(faults, None, chance);
            prop_assert!(delay <= PROBE_MAX);
            prop_assert!(delay >= PROBE_FIRST.mul_f64(0.89));
            prop_assert!(endpoint_delay(faults.saturating_add(1), None, 1.0) >= endpoint_delay(faults, None, 0.0));
        }

        #[test]
        fn an_event_waits_within_a_tenth_of_its_step(attempts: u32, chance in 0.0..=1.0) {
            let (middle, delay) = (event_delay(attempts, None, 0.5), event_delay(attempts, None, chance));
            prop_assert!(delay >= middle.mul_f64(0.899) && delay <= middle.mul_f64(1.101));
        }
    }
}
