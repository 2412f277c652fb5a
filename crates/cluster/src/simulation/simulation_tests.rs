use super::*;

#[test]
fn two_runs_of_a_seed_do_the_same() {
    for seed in [1, 2, 3] {
        let first = run(seed, PlantedFaults::default());
        let second = run(seed, PlantedFaults::default());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(
            first.acknowledged > 20,
            "seed {seed}: {} events",
            first.acknowledged
        );
    }
}

#[test]
fn a_cluster_keeps_its_promises_under_faults() {
    let from: u64 = std::env::var("FROM").map_or(0, |from| from.parse().unwrap());
    for seed in from..from + std::env::var("N").map_or(30, |n| n.parse().unwrap()) {
        let outcome = run(seed, PlantedFaults::default());
        println!(
            "{seed}: {} acknowledged, {} sends, {} lines, {:?}",
            outcome.acknowledged,
            outcome.sends,
            outcome.trace.len(),
            outcome
                .violations
                .iter()
                .map(ToString::to_string)
                .take(5)
                .collect::<Vec<_>>()
        );
        if std::env::var("TRACE").is_ok() {
            for line in &outcome.trace {
                println!("{line}");
            }
        }
    }
}
