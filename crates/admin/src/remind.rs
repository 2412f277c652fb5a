//! Says once a day what the status warns about.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the status is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How often the same is said.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Logs what `warnings` gives, each once a day. Never ends; dropping the future is harmless.
pub(crate) async fn run(warnings: impl Fn() -> Vec<String>) {
    let mut reminder = LogReminder::default();
    loop {
        for warning in reminder.due(warnings(), Instant::now()) {
            tracing::warn!(warning, "action required soon");
        }
        sleep(CHECK_INTERVAL).await;
    }
}

/// Remembers what was said when.
#[derive(Debug, Default)]
struct LogReminder {
    said: BTreeMap<String, Instant>,
}

impl LogReminder {
    /// What is to be said now; what nobody warns about any more is forgotten.
    fn due(&mut self, warnings: Vec<String>, now: Instant) -> Vec<String> {
        self.said.retain(|said, _| warnings.contains(said));
        let mut due = warnings;
        due.retain(|warning| {
            let said = self.said.get(warning);
            said.is_none_or(|said| now.duration_since(*said) >= AGAIN_AFTER)
        });
        for warning in &due {
            self.said.insert(warning.clone(), now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_is_said_once_a_day_and_again_when_it_comes_back() {
        let mut reminder = LogReminder::default();
        let start = Instant::now();
        let one = || vec!["one".to_owned()];
        let both = || vec!["one".to_owned(), "two".to_owned()];
        for (hours, warnings, expect) in [
            (0, one(), one()),
            (1, one(), vec![]),
            (2, both(), vec!["two".to_owned()]),
            (24, both(), one()),
            (25, vec![], vec![]),
            (26, one(), one()),
        ] {
            let now = start + Duration::from_secs(hours * 60 * 60);
            assert_eq!(reminder.due(warnings, now), expect, "{hours} h");
        }
    }
}
