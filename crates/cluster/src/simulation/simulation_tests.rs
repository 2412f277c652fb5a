use super::*;
use crate::planted::PlantedFault;

#[test]
fn two_runs_of_a_seed_do_the_same() {
    for seed in [1, 15] {
        let first = run(seed, PlantedFaults::default());
        let second = run(seed, PlantedFaults::default());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        let events = first.acknowledged;
        assert!(events > 20, "seed {seed}: {events} events");
    }
}

/// More seeds: `cargo xtask simulate-cluster`.
#[test]
fn a_cluster_keeps_its_promises_under_faults() {
    for seed in 0..10 {
        let outcome = run(seed, PlantedFaults::default());
        let broken: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        let trace = outcome.trace.join("\n");
        assert!(
            broken.is_empty(),
            "{trace}\nseed {seed}: {}",
            broken.join("\n")
        );
    }
}

/// All of them, and the seeds that each takes: `cargo xtask simulate-cluster --planted`.
#[test]
fn faults_that_are_planted_are_found() {
    for (fault, seed) in [
        (PlantedFault::TrimPastOpen, 0),
        (PlantedFault::TrimBeforeCheckpoint, 0),
        (PlantedFault::UnfencedSettlements, 4),
        (PlantedFault::EarlyAnswer, 4),
        (PlantedFault::TwoInFlight, 4),
        (PlantedFault::GroupDropped, 4),
        (PlantedFault::SendPastLease, 7),
        (PlantedFault::ClaimWithoutWait, 17),
    ] {
        let outcome = run(seed, PlantedFaults::of(fault));
        assert!(!outcome.violations.is_empty(), "{fault:?} in seed {seed}");
    }
}
