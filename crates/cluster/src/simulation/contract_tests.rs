//! The log in memory keeps the contract that the one on servers keeps: `cargo xtask cluster` runs the same checks there.

use super::{LogLink, SimulatedLog};
use twinroute_journal::PartitionNumber;
use twinroute_journal::cluster_log_contract::{CHECKS, ContractScene};

const PARTITIONS: u8 = 4;

#[tokio::test(start_paused = true)]
async fn the_log_in_memory_keeps_the_contract() {
    for seed in 0..20 {
        let log = LogLink::new(&SimulatedLog::new(PARTITIONS, seed));
        let partitions = PartitionNumber::all(PARTITIONS).cycle();
        for (number, (check, partition)) in CHECKS.iter().zip(partitions).enumerate() {
            let run = format!("r{number}");
            let scene = ContractScene {
                log: &log,
                partition,
                run: &run,
            };
            if let Err(breach) = check.run(&scene).await {
                panic!("seed {seed}, {}: {breach}", check.name);
            }
        }
    }
}
