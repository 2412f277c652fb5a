//! Project chores that need more than cargo: `cargo xtask <chore>`.

mod api;
mod bench;
mod cluster;
mod conformance;
mod cores;
mod crash;
mod deny;
mod flood;
mod http;
mod instructions;
mod packages;
mod peers;
mod process;
mod programs;
mod quick;
mod rotate;
mod router;
mod scrape;
mod simulate_cluster;
mod structure;
mod tally;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Chores of the project that need more than cargo
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version = None)]
struct ChoreArguments {
    #[command(subcommand)]
    chore: ProjectChore,
}

#[derive(Subcommand)]
enum ProjectChore {
    /// Runs the quick checks: format, clippy, rules about the source, tests of the crates that changed
    Quick(quick::QuickOptions),
    /// Compares the public API of the library with the list that stands in the repository
    Api(api::ApiOptions),
    /// Repairs what can be repaired by a program: format, and what clippy knows how to fix
    Fix,
    /// Installs the pinned real peers and runs every check against them
    Peers {
        /// Runs only the checks whose name contains NAME
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true
        )]
        only: String,
        /// Names the checks and ends
        #[arg(long)]
        list: bool,
    },
    /// Plays every published example of the management API against twinroute
    Conformance {
        /// The folder with the published definitions and their examples
        #[arg(long, value_name = "DIR", required_unless_present = "faults")]
        specs: Option<PathBuf>,
        /// Plays only the examples whose name contains NAME
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true
        )]
        only: String,
        /// Lists what of the published files is at fault, and what is taken in its place
        #[arg(long)]
        faults: bool,
    },
    /// Kills the router over and over under load and judges what arrived
    Crash(crash::CrashOptions),
    /// Rotates every key over and over under load and judges what arrived
    Rotate(rotate::RotateOptions),
    /// Sends more than a router on one core has time for, and judges what arrived
    Flood(flood::FloodOptions),
    /// Runs the log that several routers share on three nodes of NATS, kills them and judges what is left
    Cluster(cluster::ClusterOptions),
    /// Runs a simulated cluster of routers under faults that follow from seeds, and judges each run
    SimulateCluster(simulate_cluster::SimulateOptions),
    /// Measures the router beside programs that do only what is necessary, on one core each
    Bench(bench::BenchOptions),
    /// Counts the processor instructions of each step of the hot path, and compares them with those on record
    Instructions(instructions::InstructionsOptions),
    /// Measures a scrape of 10,000 endpoints, and holds it against its limits
    Scrape(scrape::ScrapeOptions),
    /// Counts edges between crates, circles of files, lines and names of types
    Structure {
        /// Shows what ties each circle
        #[arg(long)]
        ties: bool,
    },
    /// Packs every library, and builds each from its package, outside the workspace
    Packages,
    /// Holds the dependencies to deny.toml: licences, bans, versions, sources, advisories
    Deny,
}

impl ProjectChore {
    /// Does it; true when nothing was found.
    fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Quick(options) => quick::run(&options),
            Self::Api(options) => api::run(&options),
            Self::Fix => quick::fix(),
            Self::Peers { list: true, .. } => {
                peers::list();
                Ok(true)
            }
            Self::Peers { only, .. } => peers::run(&only),
            Self::Conformance { faults: true, .. } | Self::Conformance { specs: None, .. } => {
                conformance::list_faults();
                Ok(true)
            }
            Self::Conformance {
                specs: Some(specs),
                only,
                ..
            } => conformance::run(&specs, &only),
            Self::Crash(options) => crash::run(&options),
            Self::Rotate(options) => rotate::run(&options),
            Self::Flood(options) => flood::run(&options),
            Self::Cluster(options) => cluster::run(&options),
            Self::SimulateCluster(options) => simulate_cluster::run_seeds(&options),
            Self::Bench(options) => bench::run(&options),
            Self::Instructions(options) => instructions::run(&options),
            Self::Scrape(options) => scrape::run(&options),
            Self::Structure { ties } => structure::run(ties),
            Self::Packages => packages::run(),
            Self::Deny => deny::run(),
        }
    }
}

fn main() -> ExitCode {
    match ChoreArguments::parse().chore.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        ChoreArguments::command().debug_assert();
        let read = |line: &str| {
            let words = ["xtask"].into_iter().chain(line.split(' '));
            ChoreArguments::try_parse_from(words).is_ok()
        };
        for right in [
            "crash",
            "crash --seed 7 --kills 3 --seconds-max 9",
            "rotate --every 2 --seconds 9",
            "flood --seconds 5",
            "cluster --rounds 1 --seconds 5",
            "simulate-cluster --seeds 9 --from 3 --trace",
            "simulate-cluster --planted",
            "simulate-cluster --planted TrimPastOpen --seeds 9",
            "bench --quick --rounds 3 --only one-,three-",
            "conformance --faults",
            "conformance --specs x --only y",
            "peers --only az",
            "structure --ties",
            "scrape --endpoints 100 --scrapes 3",
            "instructions --times --update",
            "quick --base main",
        ] {
            assert!(read(right), "{right}");
        }
        for wrong in [
            "crash --kill 3",
            "crash --kills",
            "crash --kills -1",
            "rotate --every 0",
            "flood --seconds 0",
            "flood --rate 5",
            "cluster --rounds x",
            "simulate-cluster --seeds 0",
            "bench --rounds 0",
            "bench --router x",
            "conformance",
            "structure --tie",
            "scrape --endpoints 0",
        ] {
            assert!(!read(wrong), "{wrong}");
        }
    }
}
