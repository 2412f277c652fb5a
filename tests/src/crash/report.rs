//! What a run came to, for people.

use super::oracle::{Tally, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Violations that are reported in full.
const SHOWN_MAX: usize = 20;

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the plan was made of.
    pub seed: u64,
    /// How often the process was killed.
    pub kills: u32,
    /// How much the run was about.
    pub tally: Tally,
    /// Every broken promise.
    pub violations: Vec<Violation>,
    /// Kills and faults.
    pub disturbances: usize,
    /// Replays that were asked for.
    pub replays: usize,
    /// Looks at `/status`.
    pub snapshots: usize,
    /// Segments that the journal has made.
    pub segments: u64,
    /// From each start to the moment when events were taken.
    pub recoveries: Vec<Duration>,
    /// What the process logged as an ERROR, and how often.
    pub errors: BTreeMap<String, u64>,
    /// How long all of it took.
    pub took: Duration,
}

/// The highest number of a segment in the folder of a journal; 0 when there is none.
pub(super) fn segments(journal: &Path) -> u64 {
    let names = fs::read_dir(journal).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()
    });
    numbers.max().unwrap_or(0)
}

/// Counts the messages of level ERROR in a log of JSON lines, and panics.
pub(super) fn errors(log: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        let message = match serde_json::from_str::<serde_json::Value>(line) {
            Ok(line) if line["level"] == "ERROR" => line["message"].as_str().map(str::to_owned),
            Ok(_) => None,
            // The status that a stop prints, or a panic.
            Err(_) => line.contains("panicked at").then(|| line.to_owned()),
        };
        if let Some(message) = message {
            *counts.entry(message).or_default() += 1;
        }
    }
    counts
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        let millis = |duration: Option<&Duration>| duration.map_or(0, Duration::as_millis);
        let tally = &self.tally;
        for (what, value) in [
            ("seed", u128::from(self.seed)),
            ("kills", self.kills.into()),
            ("kills, faults and absences", self.disturbances as u128),
            ("events posted", tally.posted.into()),
            ("events acknowledged", tally.acknowledged.into()),
            (
                "events unanswered, accepted",
                tally.unanswered_accepted.into(),
            ),
            (
                "events unanswered, not accepted",
                tally.unanswered_lost.into(),
            ),
            ("deliveries", tally.delivered.into()),
            ("duplicates after failures", tally.duplicates.into()),
            ("dead letters uploaded", tally.uploaded.into()),
            ("of them, twice after failures", tally.second_names.into()),
            ("dead letters kept", tally.kept.into()),
            ("dead letters that also arrived", tally.also_arrived.into()),
            ("replays begun", self.replays as u128),
            ("dead letters replayed", tally.replayed.into()),
            ("snapshots that add up", self.snapshots as u128),
            ("segments of 1 MiB made", self.segments.into()),
            (
                "recovery, median (ms)",
                millis(recoveries.get(recoveries.len() / 2)),
            ),
            ("recovery, worst (ms)", millis(recoveries.last())),
            ("seconds in all", self.took.as_secs().into()),
            ("violations", self.violations.len() as u128),
        ] {
            writeln!(formatter, "{what:32} {value:>9}")?;
        }
        for (message, count) in &self.errors {
            writeln!(formatter, "logged as an error {count} times: {message}")?;
        }
        for violation in self.violations.iter().take(SHOWN_MAX) {
            writeln!(formatter, "VIOLATION {violation}")?;
        }
        if let Some(more) = self.violations.len().checked_sub(SHOWN_MAX + 1) {
            writeln!(formatter, "and {} more", more + 1)?;
        }
        Ok(())
    }
}
