//! `cargo xtask instructions`: how many processor instructions and allocations each step of the hot path takes,
//! held against what is on record in `benches/instructions.toml`.
//!
//! Instructions are counted by valgrind's callgrind. Unlike times, they hardly change with what else a machine
//! does.

use crate::programs;
use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much more than on record a step may take, in percent.
const TOLERANCE_PERCENT: f64 = 3.0;
/// The same for steps that wait for others in between: how events fall into batches is not the same each time.
const WAITING_TOLERANCE_PERCENT: f64 = 10.0;
/// So many allocations an event are no difference: how events fall into batches varies a little.
const ALLOCATIONS_SLACK: f64 = 0.05;
/// Times are taken over so many times more than instructions, which need few.
const TIMES_MORE: u64 = 20;

/// Each step, how often it runs to be counted and how many events it has.
const STEPS: [(&str, u64, u64); 19] = [
    ("parse-one", 2_000, 1),
    ("parse-batch", 30, 100),
    ("filter", 10_000, 1),
    ("match-1000-routes", 5_000, 1),
    ("accept-one", 5_000, 1),
    ("accept-batch", 100, 100),
    ("encode-cloudevents", 100, 100),
    ("encode-event-grid", 100, 100),
    ("encode-amqp", 100, 100),
    ("send-event-grid", 10, 1_000),
    ("send-hub-bucket", 10, 1_000),
    ("send-hub-twin", 10, 1_000),
    ("send-service-bus", 10, 1_000),
    ("path-single-memory", 40, 100),
    ("path-batch-memory", 40, 100),
    ("path-single-journal", 40, 100),
    ("path-batch-journal", 40, 100),
    ("path-single-history", 40, 100),
    ("path-batch-history", 40, 100),
];

/// What is to be done with the counts.
#[derive(Args, Clone, Debug)]
pub(super) struct InstructionsOptions {
    /// Records the counts instead of holding them against those on record
    #[arg(long)]
    update: bool,
    /// Takes times too, by the clock of the processor
    #[arg(long)]
    times: bool,
    /// Takes the program that lies in DIR/examples instead of building it
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What a step takes for each event.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct StepCost {
    instructions: u64,
    allocations: f64,
    bytes: u64,
}

/// What is on record.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct RecordedCosts {
    /// What compiled the code that was counted.
    rustc: String,
    steps: BTreeMap<String, StepCost>,
}

/// Counts every step with optimised code; each runs twice, so that its set-up does not count. True when
/// nothing takes more than is on record.
pub(super) fn run(options: &InstructionsOptions) -> anyhow::Result<bool> {
    let found = Command::new("valgrind").arg("--version").output();
    found.context("valgrind is needed: install it")?;
    let release = match &options.programs {
        Some(folder) => folder.clone(),
        None => {
            let release = programs::folder()?.with_file_name("release");
            programs::build_example(&release, "twinroute-benches", "instructions")?;
            release
        }
    };
    let program = release.join("examples/instructions");
    let mut counted = RecordedCosts {
        rustc: rustc()?,
        ..RecordedCosts::default()
    };
    println!(
        "{:<20} {:>12} {:>12} {:>9}   an event",
        "", "instructions", "allocations", "bytes"
    );
    for (step, times, events) in STEPS {
        let cost = cost(&program, step, times, events)?;
        print!(
            "{step:<20} {:>12} {:>12.2} {:>9}",
            cost.instructions, cost.allocations, cost.bytes
        );
        if options.times && is_alone(step) {
            let (once, twice) = (times * TIMES_MORE, times * TIMES_MORE * 2);
            let nanos =
                own_figures(&program, step, twice)?[2] - own_figures(&program, step, once)?[2];
            print!(" {:>9.0} ns", nanos / (once * events) as f64);
        }
        println!();
        counted.steps.insert(step.to_owned(), cost);
    }
    let file = record_file();
    if options.update {
        std::fs::write(&file, counted.text()?).with_context(|| file.display().to_string())?;
        println!("recorded in {}", file.display());
        return Ok(true);
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let recorded = toml::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(judge(&recorded, &counted))
}

/// Whether a step waits for nobody in between, which would blur its counts and its time; the time of the others is the
/// matter of `cargo xtask bench`.
fn is_alone(step: &str) -> bool {
    !step.starts_with("path-") && !step.starts_with("send-")
}

/// Prints what takes more than is on record; true when nothing does, or when the two cannot be compared.
fn judge(recorded: &RecordedCosts, counted: &RecordedCosts) -> bool {
    let more = more_than_recorded(recorded, counted);
    if more.is_empty() {
        return true;
    }
    println!("{more}");
    if recorded.rustc != counted.rustc {
        println!(
            "not judged: the record is of {}, this is {}; record again with --update",
            recorded.rustc, counted.rustc
        );
        return true;
    }
    println!("if that is worth its price, record it: cargo xtask instructions --update");
    false
}

fn more_than_recorded(recorded: &RecordedCosts, counted: &RecordedCosts) -> String {
    let mut more = String::new();
    for (step, now) in &counted.steps {
        let tolerance = match is_alone(step) && !step.starts_with("accept-") {
            true => TOLERANCE_PERCENT,
            false => WAITING_TOLERANCE_PERCENT,
        };
        let most = |recorded: f64| recorded * (1.0 + tolerance / 100.0);
        let Some(before) = recorded.steps.get(step) else {
            writeln!(more, "{step} is not on record").expect("a String takes all");
            continue;
        };
        let (is, was) = (now.instructions as f64, before.instructions as f64);
        if is > most(was) {
            let percent = (is / was - 1.0) * 100.0;
            writeln!(
                more,
                "{step}: {is} instructions an event, {percent:.1} % more than {was}"
            )
            .expect("a String takes all");
        }
        let (is, was) = (now.allocations, before.allocations);
        if is > most(was) + ALLOCATIONS_SLACK {
            writeln!(more, "{step}: {is} allocations an event, more than {was}")
                .expect("a String takes all");
        }
    }
    more
}

impl RecordedCosts {
    fn text(&self) -> anyhow::Result<String> {
        let costs = toml::to_string(self)?;
        Ok(format!(
            "# What each step of the hot path takes for an event: `cargo xtask instructions --update` writes this.\n\
             {costs}"
        ))
    }
}

fn record_file() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("benches");
    root.join("instructions.toml")
}

fn rustc() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.context("cannot run rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cost(program: &Path, step: &str, times: u64, events: u64) -> anyhow::Result<StepCost> {
    let [once, twice] = [times, times * 2].map(|times| count(program, step, times));
    let (once, twice) = (once?, twice?);
    let each = |index: usize| (twice[index] - once[index]) / (times * events) as f64;
    Ok(StepCost {
        instructions: each(0).round() as u64,
        allocations: (each(1) * 100.0).round() / 100.0,
        bytes: each(2).round() as u64,
    })
}

/// Instructions, allocations and bytes allocated of a run.
fn count(program: &Path, step: &str, times: u64) -> anyhow::Result<[f64; 3]> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).arg(step).arg(times.to_string());
    let output = valgrind.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{step} failed: {text}");
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, instructions) = line.context("valgrind says no count")?;
    let instructions = instructions.trim().parse();
    let [allocations, bytes, _] = figures(&output.stdout)?;
    Ok([
        instructions.context("valgrind's count is no number")?,
        allocations,
        bytes,
    ])
}

/// Allocations, bytes allocated and nanoseconds of a run by itself.
fn own_figures(program: &Path, step: &str, times: u64) -> anyhow::Result<[f64; 3]> {
    let mut command = Command::new(program);
    command.arg(step).arg(times.to_string()).arg("timed");
    let output = command.output()?;
    ensure!(output.status.success(), "{step} failed");
    figures(&output.stdout)
}

fn figures(output: &[u8]) -> anyhow::Result<[f64; 3]> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().last().context("the program says nothing")?;
    let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    let numbers = numbers.context("the program says no numbers")?;
    numbers
        .try_into()
        .ok()
        .context("three numbers were expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(rustc: &str, instructions: u64, allocations: f64) -> RecordedCosts {
        let cost = StepCost {
            instructions,
            allocations,
            bytes: 100,
        };
        RecordedCosts {
            rustc: rustc.to_owned(),
            steps: [("step".to_owned(), cost)].into(),
        }
    }

    #[test]
    fn three_percent_more_than_on_record_is_too_much() {
        let recorded = costs("1", 1_000, 2.0);
        for (instructions, allocations, expect) in [
            (1_030, 2.1, ""),
            (500, 0.0, ""),
            (
                1_031,
                2.0,
                "step: 1031 instructions an event, 3.1 % more than 1000\n",
            ),
            (1_000, 3.0, "step: 3 allocations an event, more than 2\n"),
        ] {
            let counted = costs("1", instructions, allocations);
            assert_eq!(more_than_recorded(&recorded, &counted), expect);
            assert_eq!(judge(&recorded, &counted), expect.is_empty());
        }
        assert!(!judge(
            &RecordedCosts {
                rustc: "1".to_owned(),
                ..RecordedCosts::default()
            },
            &recorded
        ));
        assert!(judge(&recorded, &costs("2", 2_000, 2.0)));
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let recorded = costs("1", 1_000, 2.25);
        let text = recorded.text().expect("a text");
        assert_eq!(
            toml::from_str::<RecordedCosts>(&text).expect("a record"),
            recorded
        );
    }
}
