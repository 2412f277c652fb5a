//! When something is tried again: pure arithmetic, with time and chance as parameters.

use std::time::Duration;
use twinroute_model::settings::EndpointSettings;

/// The first pause after an endpoint fault.
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// How long an event that failed alone waits after its `attempts`-th attempt.
///
/// Spread with `random`, 0 to 1; what the destination asked for is a lower bound.
#[must_use]
pub fn event_delay(
    settings: &EndpointSettings,
    attempts: u32,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let steps = &settings.retry_schedule;
    let step = (attempts.max(1) as usize - 1).min(steps.len().saturating_sub(1));
    let delay = steps.get(step).copied().unwrap_or(PROBE_FIRST);
    let delay = spread(delay, settings, random);
    delay.max(asked.unwrap_or_default().min(settings.retry_after_max))
}

/// The longest that [`event_delay`] is after this attempt, whatever was asked for.
#[must_use]
pub fn event_delay_max(settings: &EndpointSettings, attempts: u32) -> Duration {
    event_delay(settings, attempts, Some(Duration::MAX), 1.0)
}

/// How long a lane leaves its endpoint alone after the `faults`-th fault in a row.
///
/// Doubles from half a second to `probe_interval_max`; spread and bounded below as [`event_delay`].
#[must_use]
pub fn endpoint_delay(
    settings: &EndpointSettings,
    faults: u32,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let doubled = PROBE_FIRST.saturating_mul(1 << faults.clamp(1, 8).saturating_sub(1));
    // Spread below the cap only, so that probes are never further apart than it says.
    let most = settings.probe_interval_max;
    let most = most.div_f64(1.0 + f64::from(settings.retry_jitter_percent) / 100.0);
    let delay = spread(doubled.min(most), settings, random);
    delay.max(asked.unwrap_or_default().min(settings.retry_after_max))
}

fn spread(delay: Duration, settings: &EndpointSettings, random: f64) -> Duration {
    let share = f64::from(settings.retry_jitter_percent) / 100.0;
    delay.mul_f64(1.0 - share + 2.0 * share * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_steps() {
        let settings = EndpointSettings::default();
        let seconds = |attempts| event_delay(&settings, attempts, None, 0.5).as_secs();
        let steps: Vec<u64> = (1..=12).map(seconds).collect();
        let expect = [
            10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 43_200, 43_200,
        ];
        assert_eq!(steps, expect);
        let asked = |seconds| event_delay(&settings, 1, Some(Duration::from_secs(seconds)), 0.5);
        assert_eq!(asked(42), Duration::from_secs(42));
        assert_eq!(asked(9_999), settings.retry_after_max);
    }

    #[test]
    fn an_endpoint_may_have_steps_of_its_own() {
        let settings = EndpointSettings::default().with(|own| {
            own.retry_schedule = [1, 2].map(Duration::from_secs).to_vec();
            own.retry_jitter_percent = 0;
        });
        let seconds = |attempts| event_delay(&settings, attempts, None, 1.0).as_secs();
        assert_eq!([1, 2, 3].map(seconds), [1, 2, 2]);
    }

    proptest! {
        #[test]
        fn an_endpoint_is_probed_as_often_as_asked(
            faults: u32, random in 0.0..=1.0, most in 1_u64..=60, jitter in 0_u8..=50,
        ) {
            let settings = EndpointSettings::default().with(|own| { own.probe_interval_max = Duration::from_secs(most); own.retry_jitter_percent = jitter; });
            let delay = endpoint_delay(&settings, faults, None, random);
            prop_assert!(delay <= Duration::from_secs(most));
            prop_assert!(delay >= PROBE_FIRST.mul_f64(0.49));
        }

        #[test]
        fn an_event_waits_within_a_tenth_of_its_step(attempts: u32, random in 0.0..=1.0) {
            let settings = EndpointSettings::default();
            let middle = event_delay(&settings, attempts, None, 0.5);
            let delay = event_delay(&settings, attempts, None, random);
            prop_assert!(delay >= middle.mul_f64(0.899) && delay <= middle.mul_f64(1.101));
        }
    }
}
