//! `cargo xtask cluster`: the log that several routers share, on three real nodes of NATS on loopback.
//!
//! The contract of the log runs over it, what does not fit is refused, nodes are killed under load and nothing that was
//! acknowledged may be missing. The server is installed pinned like the peers.

mod faults;
mod load;
mod measure;
mod nodes;
mod refusals;
mod scene;

use crate::programs;
use crate::tally::CheckTally;
use anyhow::anyhow;
use clap::Args;
use scene::ClusterScene;
use twinroute_jetstream::JetStreamLog;
use twinroute_journal::PartitionNumber;
use twinroute_journal::cluster_log_contract::{CHECKS, ContractCheck, ContractScene};

/// What a run is to be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClusterOptions {
    /// How often the leader of a partition is killed under load, then a majority, then all nodes
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u32,
    /// Measures appends for so many seconds each, when all checks are done
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seconds: u64,
}

/// Runs all; true when every check passed.
pub(super) fn run(options: &ClusterOptions) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    let mut tally = CheckTally::default();
    let mut program = None;
    tally.step("install-nats", || {
        program = Some(nodes::install(&programs)?);
        Ok(())
    });
    let Some(program) = program else {
        return Ok(false);
    };
    let alone = programs::alone(&programs, "cluster")?;
    std::fs::create_dir_all(&alone.folder)?;
    let mut scene = None;
    tally.step("three-nodes", || {
        scene = Some(ClusterScene::start(&program, &alone.folder)?);
        Ok(())
    });
    let Some(mut scene) = scene else {
        return Ok(false);
    };
    contract(&mut scene, &mut tally);
    refusals::run(&mut scene, &mut tally);
    for round in 1..=options.rounds {
        faults::run(&mut scene, &mut tally, round);
    }
    if options.seconds > 0 {
        tally.step("measured", || measure::run(&scene, options.seconds));
    }
    if tally.failed > 0 {
        scene.show_logs();
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// What every body of the log must do, as who may all and as who may no more than is necessary.
fn contract(scene: &mut ClusterScene, tally: &mut CheckTally) {
    let mut log = None;
    tally.step("cluster-is-made", || {
        log = Some(scene.open(&scene.settings("contract"))?);
        Ok(())
    });
    if let Some(log) = log {
        for (number, check) in CHECKS.iter().enumerate() {
            tally.step(&format!("contract: {}", check.name), || {
                run_check(scene, &log, check, number)
            });
        }
    }
    tally.step("contract, least permissions", || {
        let log = scene.open(&scene.as_user("least", "least"))?;
        let mut checks = CHECKS.iter().enumerate();
        checks.try_for_each(|(number, check)| run_check(scene, &log, check, number))
    });
}

/// Runs one in a partition of its own, as far as there are so many.
fn run_check(
    scene: &ClusterScene,
    log: &JetStreamLog,
    check: &ContractCheck,
    number: usize,
) -> anyhow::Result<()> {
    let run = format!("r{number}");
    let mut partitions = PartitionNumber::all(scene::PARTITIONS).cycle();
    let contract = ContractScene {
        log,
        partition: partitions.nth(number).expect("they go round"),
        run: &run,
    };
    let found = scene.runtime.block_on(check.run(&contract));
    found.map_err(|breach| anyhow!("{}: {breach}", check.name))
}
