use super::*;
use crate::planted::PlantedFault;

#[test]
fn two_runs_of_a_seed_do_the_same() {
    for seed in 0..8 {
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
    keeps_its_promises(0..10);
}

fn keeps_its_promises(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
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

/// Two answers in a row are lost, of a renewal and of the look at what became of it: the lease ends, and what was in flight
/// goes out again.
#[test]
fn a_lease_that_lost_answers_end_may_cost_what_was_in_flight() {
    keeps_its_promises([3896, 6334, 8199]);
}

/// The log forgets a group that nobody was answered yet, and then takes it again.
#[test]
fn a_group_that_was_forgotten_before_its_answer_and_appended_again_is_not_lost() {
    keeps_its_promises([2574]);
}

/// The checkpoint beside the log is lost: the search for the one within reads what lies before its cursor, and believes
/// nothing of it.
#[test]
fn what_lies_before_the_cursor_of_the_checkpoint_within_is_not_judged() {
    keeps_its_promises([6229]);
}

/// Each with a seed that finds it. Where the simulation has changed, `cargo xtask simulate-cluster --planted` prints how many
/// seeds each takes.
#[test]
fn faults_that_are_planted_are_found() {
    let found = [
        (PlantedFault::ClaimWithoutWait, 7),
        (PlantedFault::SendPastLease, 5),
        (PlantedFault::LeaseFromAnswer, 112),
        (PlantedFault::LeaseOnWallTime, 33),
        (PlantedFault::NoEpochRecord, 18),
        (PlantedFault::UnfencedSettlements, 7),
        (PlantedFault::GroupRenumbered, 2),
        (PlantedFault::GroupDropped, 3),
        (PlantedFault::TwoInFlight, 7),
        (PlantedFault::EarlyAnswer, 3),
        (PlantedFault::DeadLetterNotAwaited, 0),
        (PlantedFault::SettlementNotAwaited, 0),
        (PlantedFault::TrimPastOpen, 0),
        (PlantedFault::TrimPastFold, 0),
        (PlantedFault::TrimBeforeCheckpoint, 30),
        (PlantedFault::TrimBeforeCursor, 0),
        (PlantedFault::HandOverInFlight, 98),
        (PlantedFault::HandOverUnsettled, 1),
        (PlantedFault::DamageIgnored, 21),
        (PlantedFault::AcknowledgedForgotten, 21),
    ];
    let harmful = PlantedFault::ALL.into_iter();
    let harmful = harmful.filter(|fault| fault.harmless().is_none());
    assert!(
        harmful.eq(found.iter().map(|(fault, _)| *fault)),
        "all are tried"
    );
    for (fault, seed) in found {
        let outcome = run(seed, PlantedFaults::of(fault));
        assert!(!outcome.violations.is_empty(), "{fault:?} in seed {seed}");
    }
}

#[test]
fn faults_that_the_design_makes_harmless_are() {
    let harmless = PlantedFault::ALL.into_iter();
    for fault in harmless.filter(|fault| fault.harmless().is_some()) {
        for seed in 0..8 {
            let outcome = run(seed, PlantedFaults::of(fault));
            assert_eq!(outcome.violations, [], "{fault:?} in seed {seed}");
        }
    }
}

/// All routers were dead while the log forgot what it had acknowledged to them; and the log grew past it again.
#[test]
fn what_the_log_forgets_while_all_routers_are_dead_is_noticed() {
    for seed in [21, 24] {
        let outcome = run(seed, PlantedFaults::default());
        assert_eq!(outcome.violations, [], "seed {seed}");
        let mut trace = outcome.trace.iter();
        let is_noticed = trace.any(|line| line.contains(" quarantines: "));
        assert!(is_noticed, "seed {seed}");
    }
}
