//! One measurement: a program is started, warmed up, loaded, and looked at when all events have arrived.

use super::cases::{BenchCase, CaseLoad, LoadPace};
use super::stage::{BenchStage, EventReceivers, MeasuredProcess, MeasuredProgram};
use crate::cores;
use crate::process::pause;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::fmt;
use std::time::{Duration, Instant};

const GLANCE: Duration = Duration::from_millis(20);
/// How long nothing new may arrive before the rest counts as missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one measurement found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CaseFigures {
    /// Seconds of processor time of the program a million events that were acknowledged.
    pub(super) cpu_s_per_m: f64,
    /// Events a second, from the first that was sent to the last that arrived.
    pub(super) events_per_s: f64,
    /// What was acknowledged of what the load before got through in a second; only when that sets the rate.
    pub(super) of_capacity: f64,
    pub(super) rss_mib_max: f64,
    pub(super) rss_mib_idle: f64,
    pub(super) rss_mib_end: f64,
    /// Of events when they arrive, the worst endpoint's.
    pub(super) age_p50_ms: f64,
    pub(super) age_p99_ms: f64,
    pub(super) ack_p50_ms: f64,
    pub(super) ack_p99_ms: f64,
    /// Requests that were refused.
    pub(super) refusals: u64,
    /// Events that were acknowledged and did not arrive.
    pub(super) missing: u64,
    pub(super) repeated: u64,
}

/// Measures one program in one case.
///
/// # Errors
/// A program does not start, or the load gets no answers.
pub(super) fn measure(
    stage: &BenchStage,
    case: &BenchCase,
    program: &MeasuredProgram,
) -> anyhow::Result<CaseFigures> {
    let receivers = stage.receivers(&case.setup)?;
    let process = stage.measured(program, &case.setup, &receivers)?;
    let mut figures = CaseFigures {
        rss_mib_idle: memory(&process, "VmRSS")?,
        ..CaseFigures::default()
    };
    let (mut first, mut expected) = (0, 0);
    for load in &case.loads {
        let (before, pace) = (figures.events_per_s, load.pace);
        let (rate, load) = paced(load, before);
        let used = cores::seconds_used(process.id())?;
        for socket in &receivers.sockets {
            receivers.ask(*socket, true)?;
        }
        let posted = stage.post(&process, &case.setup, &load, first, rate)?;
        first += load.events;
        let acknowledged = posted["acknowledged"].as_u64().context("no count")?;
        expected += acknowledged;
        let reaches_endpoints = case.setup.routes != Some(0);
        let arrived = ArrivedEvents::await_all(
            &process,
            &receivers,
            if reaches_endpoints { expected } else { 0 },
        )?;
        let used = cores::seconds_used(process.id())? - used;
        figures.add(&posted, &arrived, used)?;
        if matches!(pace, LoadPace::Twice(_)) {
            let seconds = posted["seconds"].as_f64().context("no time")?;
            figures.of_capacity = acknowledged as f64 / seconds / before;
        }
    }
    figures.rss_mib_max = memory(&process, "VmHWM")?;
    if case.rest_seconds > 0 {
        pause(Duration::from_secs(case.rest_seconds));
        figures.rss_mib_end = memory(&process, "VmRSS")?;
    }
    Ok(figures)
}

/// The rate of a load, 0 for none, and how long it is.
fn paced(load: &CaseLoad, before: f64) -> (u64, CaseLoad) {
    match load.pace {
        LoadPace::Answered => (0, *load),
        LoadPace::Rate(rate) => (rate, *load),
        LoadPace::Twice(seconds) => {
            let rate = (before * 2.0) as u64;
            let events = rate * seconds / load.batch * load.batch;
            (rate, CaseLoad { events, ..*load })
        }
    }
}

fn memory(process: &MeasuredProcess, name: &str) -> anyhow::Result<f64> {
    Ok(cores::memory(process.id(), name)? as f64 / f64::from(1 << 20))
}

/// What the endpoints have.
struct ArrivedEvents {
    missing: u64,
    repeated: u64,
    last_ns: u64,
    p50_us: u64,
    p99_us: u64,
}

impl ArrivedEvents {
    /// Waits until every endpoint has so many events, or nothing comes any more.
    fn await_all(
        process: &MeasuredProcess,
        receivers: &EventReceivers,
        expected: u64,
    ) -> anyhow::Result<Self> {
        let mut last = (0, Instant::now());
        loop {
            let least = match process {
                MeasuredProcess::Router(router) if receivers.sockets.is_empty() => {
                    router.sample()?.delivered
                }
                _ => least(receivers)?,
            };
            if least != last.0 {
                last = (least, Instant::now());
            }
            if least >= expected || last.1.elapsed() > PATIENCE {
                return Self::of(receivers, expected, least);
            }
            pause(GLANCE);
        }
    }

    fn of(receivers: &EventReceivers, expected: u64, least: u64) -> anyhow::Result<Self> {
        let mut arrived = Self {
            missing: expected.saturating_sub(least),
            repeated: 0,
            last_ns: 0,
            p50_us: 0,
            p99_us: 0,
        };
        for socket in &receivers.sockets {
            let said = receivers.ask(*socket, true)?;
            let number = |name: &str| said[name].as_u64().unwrap_or_default();
            arrived.repeated += number("repeated");
            arrived.last_ns = arrived.last_ns.max(number("last_ns"));
            arrived.p50_us = arrived.p50_us.max(number("p50_us"));
            arrived.p99_us = arrived.p99_us.max(number("p99_us"));
        }
        Ok(arrived)
    }
}

fn least(receivers: &EventReceivers) -> anyhow::Result<u64> {
    let mut least = u64::MAX;
    for socket in &receivers.sockets {
        let said = receivers.ask(*socket, false)?;
        least = least.min(said["unique"].as_u64().context("no count")?);
    }
    Ok(least)
}

impl CaseFigures {
    /// Takes over what the newest load showed; of those before only counts stay.
    fn add(&mut self, posted: &Value, arrived: &ArrivedEvents, used: f64) -> anyhow::Result<()> {
        let number = |name: &str| posted[name].as_f64().with_context(|| name.to_owned());
        let acknowledged = number("acknowledged")?;
        ensure!(acknowledged > 0.0, "nothing was acknowledged: {posted}");
        let mut seconds = number("seconds")?;
        if arrived.last_ns > 0 {
            seconds = seconds.max((arrived.last_ns as f64 - number("began_ns")?) / 1e9);
        }
        self.cpu_s_per_m = used * 1e6 / acknowledged;
        self.events_per_s = acknowledged / seconds;
        self.ack_p50_ms = number("ack_p50_us")? / 1e3;
        self.ack_p99_ms = number("ack_p99_us")? / 1e3;
        self.age_p50_ms = arrived.p50_us as f64 / 1e3;
        self.age_p99_ms = arrived.p99_us as f64 / 1e3;
        self.refusals += number("refusals")? as u64;
        self.missing = arrived.missing;
        self.repeated = arrived.repeated;
        Ok(())
    }
}

impl fmt::Display for CaseFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:7.2} CPU-s/M {:8.0} ev/s  RSS {:5.1} ({:.1}) MiB  age {:.2} / {:.1} ms  \
             ack {:.2} / {:.1} ms",
            self.cpu_s_per_m,
            self.events_per_s,
            self.rss_mib_max,
            self.rss_mib_idle,
            self.age_p50_ms,
            self.age_p99_ms,
            self.ack_p50_ms,
            self.ack_p99_ms,
        )?;
        if self.of_capacity > 0.0 {
            write!(formatter, "  {:.2} of capacity", self.of_capacity)?;
        }
        if self.rss_mib_end > 0.0 {
            write!(formatter, "  later {:.1} MiB", self.rss_mib_end)?;
        }
        for (count, what) in [
            (self.refusals, "refusals"),
            (self.missing, "MISSING"),
            (self.repeated, "REPEATED"),
        ] {
            if count > 0 {
                write!(formatter, "  {count} {what}")?;
            }
        }
        Ok(())
    }
}
