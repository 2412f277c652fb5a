//! `cargo xtask instructions`: how many processor instructions each step of the hot path takes, counted by
//! valgrind's callgrind. Unlike times, they hardly change with what else a machine does.

use crate::programs;
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::Command;

/// Each step, how often it runs and how many events it has.
const STEPS: [(&str, u64, u64); 13] = [
    ("parse-one", 2_000, 1),
    ("parse-batch", 30, 100),
    ("encode-cloudevents", 100, 100),
    ("encode-event-grid", 100, 100),
    ("encode-amqp", 100, 100),
    ("filter", 10_000, 1),
    ("match-1000-routes", 5_000, 1),
    ("accept-one", 5_000, 1),
    ("accept-batch", 100, 100),
    ("send-event-grid", 10, 1_000),
    ("send-hub-bucket", 10, 1_000),
    ("send-hub-twin", 10, 1_000),
    ("send-service-bus", 10, 1_000),
];

/// Counts every step with optimised code; each runs twice, so that its set-up does not count.
pub(super) fn run() -> anyhow::Result<bool> {
    let found = Command::new("valgrind").arg("--version").output();
    found.context("valgrind is needed: install it")?;
    let release = programs::folder()?.with_file_name("release");
    programs::build(&release, &["instructions"])?;
    let program = release.join("examples/instructions");
    for (step, times, events) in STEPS {
        let once = count(&program, step, times)?;
        let twice = count(&program, step, times * 2)?;
        let each = twice.saturating_sub(once) / (times * events);
        println!("{step:<20} {each:>8} instructions an event");
    }
    Ok(true)
}

fn count(program: &Path, step: &str, times: u64) -> anyhow::Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = valgrind
        .arg(program)
        .arg(step)
        .arg(times.to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{step} failed: {text}");
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.context("valgrind says no count")?;
    count
        .trim()
        .parse()
        .context("valgrind's count is no number")
}
