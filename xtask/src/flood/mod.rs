//! `cargo xtask flood`: producers that send as fast as they are answered, a router on one core, and endpoints
//! that take everything. Nothing may be dead-lettered, fall behind or pile up in memory.

mod load;
mod sinks;

use crate::process::pause;
use crate::router::{MeasuredRouter, RouterSetup, StatusSample, event_grid_topic};
use crate::{cores, programs};
use anyhow::Context as _;
use clap::{Args, value_parser};
use load::ProducerLoad;
use serde_json::json;
use sinks::CountingSink;
use std::path::Path;
use std::time::{Duration, Instant};

const SECONDS: u64 = 20;
const ENDPOINTS: usize = 3;
/// How often the router is asked how it does.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How long what is left may take to be delivered after the load has ended.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// The most that the oldest delivery may be old, in nine of ten samples: others may use the machine too.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How much memory a flood may take beyond that of the idle router.
const MEMORY_MAX: u64 = 64 << 20;

/// What a flood is to be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FloodOptions {
    /// For how many seconds, with each kind of journal
    #[arg(long, value_name = "N", default_value_t = SECONDS, value_parser = value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Floods a router with its journal in memory, and one with it on disk; true when both kept what they promise.
pub(super) fn run(options: &FloodOptions) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    programs::build(&programs, &[])?;
    let alone = programs::alone(&programs, "flood")?;
    let time = Duration::from_secs(options.seconds);
    let mut kept = true;
    for (journal, durable) in [("memory", false), ("disk", true)] {
        let folder = alone.folder.join(journal);
        let flood = flood(&programs.join("twinroute"), &folder, durable, time)?;
        println!("journal in {journal}: {flood}");
        for broken in flood.broken() {
            println!("  BROKEN: {broken}");
            kept = false;
        }
    }
    Ok(kept)
}

fn flood(
    program: &Path,
    folder: &Path,
    durable: bool,
    time: Duration,
) -> anyhow::Result<FloodReport> {
    let sinks = (0..ENDPOINTS).map(|_| CountingSink::start());
    let sinks: Vec<CountingSink> = sinks.collect::<anyhow::Result<_>>()?;
    let ports: Vec<u16> = sinks.iter().map(CountingSink::port).collect();
    let router = start(program, folder, durable, &ports)?;
    let memory = |name| cores::memory(router.process().id(), name);
    let memory_idle = memory("VmRSS")?;
    let load = ProducerLoad::start(router.ingress(), Instant::now() + time);
    let mut ages = Vec::new();
    while !load.has_ended() {
        ages.push(router.sample()?.oldest_age);
        pause(SAMPLE_EVERY);
    }
    let sent = load.join()?;
    let deadline = Instant::now() + DRAIN_MAX;
    let mut last = router.sample()?;
    while last.open > 0 && Instant::now() < deadline {
        pause(SAMPLE_EVERY);
        last = router.sample()?;
    }
    ages.sort_unstable();
    Ok(FloodReport {
        acknowledged: sent.acknowledged,
        refused: sent.refused,
        arrived: sinks.iter().map(CountingSink::distinct).collect(),
        age_most: ages.get(ages.len() * 9 / 10).copied().unwrap_or_default(),
        age_max: ages.last().copied().unwrap_or_default(),
        memory_idle,
        memory_most: memory("VmHWM")?,
        last,
        time,
    })
}

/// A router on the first core, with default settings: every event matches the route of each port.
fn start(
    program: &Path,
    folder: &Path,
    durable: bool,
    ports: &[u16],
) -> anyhow::Result<MeasuredRouter> {
    let core = *cores::allowed()?.first().context("no core")?;
    let name = |index| format!("grid-{index}");
    let route = |index| json!({"endpointName": name(index), "filter": "type = 'Microsoft.DigitalTwins.Twin.Update'"});
    let topics = ports.iter().map(|port| event_grid_topic(*port));
    MeasuredRouter::start(&RouterSetup {
        program,
        folder,
        cores: &core.to_string(),
        config: if durable {
            "[journal]\npath = \"journal\"\n"
        } else {
            ""
        },
        endpoints: topics
            .enumerate()
            .map(|(index, topic)| (name(index), topic))
            .collect(),
        routes: (0..ports.len())
            .map(|index| (name(index), route(index)))
            .collect(),
    })
}

/// What became of a flood.
struct FloodReport {
    /// Events whose producers were told that they are accepted.
    acknowledged: u64,
    /// Requests that were answered 503.
    refused: u64,
    /// Of each endpoint, how many different events it has.
    arrived: Vec<u64>,
    /// The age of the oldest delivery, in nine of ten samples at most.
    age_most: Duration,
    age_max: Duration,
    /// Bytes.
    memory_idle: u64,
    memory_most: u64,
    last: StatusSample,
    time: Duration,
}

impl FloodReport {
    /// The promises that were not kept.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |kept: bool, what: String| {
            if !kept {
                broken.push(what);
            }
        };
        let (accepted, last) = (self.last.accepted, &self.last);
        check(accepted > 0, "nothing was accepted".to_owned());
        check(
            accepted >= self.acknowledged,
            format!(
                "{} events were acknowledged, and {accepted} accepted",
                self.acknowledged
            ),
        );
        check(
            last.dead_letters == 0,
            format!("{} deliveries became dead letters", last.dead_letters),
        );
        check(
            last.discarded == 0,
            format!("{} deliveries were discarded", last.discarded),
        );
        check(
            self.arrived.iter().all(|arrived| *arrived == accepted),
            format!("of {accepted} events the endpoints have {:?}", self.arrived),
        );
        check(
            self.age_most < AGE_MAX,
            format!("deliveries were up to {} ms old", self.age_most.as_millis()),
        );
        let memory = self.memory_most.saturating_sub(self.memory_idle);
        check(
            memory <= MEMORY_MAX,
            format!("it took {} MiB of memory", memory >> 20),
        );
        broken
    }
}

impl std::fmt::Display for FloodReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = &self.last;
        write!(
            formatter,
            "{} s; {} events accepted, {} 503s; delivered {:?}, {} dead letters, {} discarded; \
             oldest delivery {} ms (nine in ten samples), {} ms (all); \
             memory {} MiB idle, {} MiB at most; producers slowed {}, refused {}",
            self.time.as_secs(),
            last.accepted,
            self.refused,
            self.arrived,
            last.dead_letters,
            last.discarded,
            self.age_most.as_millis(),
            self.age_max.as_millis(),
            self.memory_idle >> 20,
            self.memory_most >> 20,
            last.slowed,
            last.refused,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_that_is_broken_is_named() {
        let report = |change: fn(&mut FloodReport)| {
            let mut report = FloodReport {
                acknowledged: 10,
                refused: 3,
                arrived: vec![10; ENDPOINTS],
                age_most: Duration::from_millis(999),
                age_max: Duration::from_secs(2),
                memory_idle: 20 << 20,
                memory_most: 84 << 20,
                last: StatusSample {
                    accepted: 10,
                    ..StatusSample::default()
                },
                time: Duration::from_secs(1),
            };
            change(&mut report);
            report.broken().join("; ")
        };
        assert_eq!(report(|_| {}), "");
        let lost = "of 10 events the endpoints have [10, 9, 10]";
        assert_eq!(report(|report| report.arrived[1] = 9), lost);
        let dead = "7 deliveries became dead letters";
        assert_eq!(report(|report| report.last.dead_letters = 7), dead);
        let discarded = "1 deliveries were discarded";
        assert_eq!(report(|report| report.last.discarded = 1), discarded);
        let old = "deliveries were up to 1000 ms old";
        assert_eq!(report(|report| report.age_most = AGE_MAX), old);
        let memory = "it took 65 MiB of memory";
        assert_eq!(report(|report| report.memory_most = 85 << 20), memory);
        let more = "11 events were acknowledged, and 10 accepted";
        assert_eq!(report(|report| report.acknowledged = 11), more);
    }
}
