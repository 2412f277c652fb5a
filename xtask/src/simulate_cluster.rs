//! `cargo xtask simulate-cluster`: many seeds of the simulated cluster, or how many each planted fault takes to be found.

use anyhow::{Context as _, bail};
use clap::Args;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use twinroute_cluster::simulation::{SimulationOutcome, run};
use twinroute_cluster::{PlantedFault, PlantedFaults};

/// Which seeds, and which faults.
#[derive(Args, Clone, Debug)]
pub(super) struct SimulateOptions {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Prints what happens, for the seeds that break a promise; of one seed alone in any case
    #[arg(long)]
    trace: bool,
    /// Plants each fault in turn, or the one that is NAMEd, and counts the seeds until it is found
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "all")]
    planted: Option<String>,
}

/// Runs the seeds; true when all promises were kept, or all planted faults found that do harm.
pub(super) fn run_seeds(options: &SimulateOptions) -> anyhow::Result<bool> {
    match &options.planted {
        None => run_all(options),
        Some(name) => find_planted(options, name),
    }
}

fn run_all(options: &SimulateOptions) -> anyhow::Result<bool> {
    let started = Instant::now();
    let seeds = options.from..options.from + options.seeds;
    let failed = AtomicU64::new(0);
    let sums = Mutex::new((0, 0));
    each_seed(seeds.clone(), |seed| {
        let outcome = run(seed, PlantedFaults::default());
        let mut sums = sums.lock().expect("no run panics while it holds it");
        *sums = (sums.0 + outcome.acknowledged, sums.1 + outcome.sends);
        if !outcome.violations.is_empty() {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        if !outcome.violations.is_empty() || seeds.end - seeds.start == 1 {
            show(&outcome, options.trace || seeds.end - seeds.start == 1);
        }
        true
    });
    let (acknowledged, sends) = *sums.lock().expect("all runs have ended");
    let failed = failed.into_inner();
    println!(
        "{} seeds from {} in {:.1} s: {acknowledged} events acknowledged, {sends} sends, {failed} seeds broke a promise",
        options.seeds,
        options.from,
        started.elapsed().as_secs_f32(),
    );
    Ok(failed == 0)
}

fn show(outcome: &SimulationOutcome, with_trace: bool) {
    if with_trace {
        for line in &outcome.trace {
            println!("{line}");
        }
    }
    for violation in outcome.violations.iter().take(3) {
        println!("seed {}: {violation}", outcome.seed);
    }
}

fn find_planted(options: &SimulateOptions, name: &str) -> anyhow::Result<bool> {
    let all = PlantedFault::ALL.into_iter();
    let chosen: Vec<_> = all
        .filter(|fault| name == "all" || format!("{fault:?}") == name)
        .collect();
    if chosen.is_empty() {
        bail!(
            "no planted fault is called {name}; there are {:?}",
            PlantedFault::ALL
        );
    }
    let mut all_found = true;
    for fault in chosen {
        let found = Mutex::new(None::<SimulationOutcome>);
        each_seed(options.from..options.from + options.seeds, |seed| {
            let outcome = run(seed, PlantedFaults::of(fault));
            if outcome.violations.is_empty() {
                return true;
            }
            let mut found = found.lock().expect("no run panics while it holds it");
            if found.as_ref().is_none_or(|first| seed < first.seed) {
                *found = Some(outcome);
            }
            false
        });
        let found = found.into_inner().ok().context("all runs have ended")?;
        let (is_right, what) = match (found, fault.harmless()) {
            (Some(outcome), reason) => {
                let seeds = outcome.seed - options.from + 1;
                let what = format!("{seeds:>4} seeds  {}", outcome.violations[0]);
                (reason.is_none(), what)
            }
            (None, Some(reason)) => (true, format!("harmless    {reason}")),
            (None, None) => (false, format!("not found in {} seeds", options.seeds)),
        };
        all_found &= is_right;
        println!("{:<22} {what}", format!("{fault:?}"));
    }
    Ok(all_found)
}

/// Runs seeds in order on all cores, until one says that it is enough; those under way are ended.
fn each_seed(seeds: std::ops::Range<u64>, one: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if !one(seed) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
