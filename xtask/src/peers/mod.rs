//! `cargo xtask peers`: installs real peers and runs every check against them.
//!
//! A check puts on a scene of real processes and lets a script with a real client judge it. A peer
//! that cannot be installed is a failure with its reason, never a check left out.

mod az;
mod checks;
mod daemon_dead_letters;
mod dead_letters;
mod flow;
mod identities;
pub(crate) mod install;
mod managed;
mod management;
mod management_kill;
mod prometheus;
mod scene;
mod sessions;
mod traces;

use crate::process::{self, ChildProgram};
use crate::programs;
use anyhow::{bail, ensure};
use install::{PeerPlaces, PeerProgram};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// One named check.
struct PeerCheck {
    name: &'static str,
    /// Peers without which it cannot run.
    needs: &'static [PeerProgram],
    time_max: Duration,
    run: fn(&PeerStage<'_>) -> anyhow::Result<()>,
}

/// What a check may use.
struct PeerStage<'a> {
    places: &'a PeerPlaces,
    /// The folder of built programs.
    programs: &'a Path,
    /// An empty folder for its files and logs.
    folder: PathBuf,
    deadline: Instant,
}

impl PeerStage<'_> {
    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A script of `xtask/peers` with its scene in the variable `TWINROUTE_EMULATOR`.
    fn script(&self, file: &str, scene: &Value) -> Command {
        let mut command = if file.ends_with(".py") {
            let mut command = Command::new(self.places.python());
            command.arg(self.places.scripts.join(file));
            command
        } else {
            let mut command = Command::new("node");
            command.arg(self.places.node().join(file));
            command
        };
        command
            .env("TWINROUTE_EMULATOR", scene.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        command
    }

    /// Runs a script to its good end.
    fn play(&self, file: &str, scene: &Value) -> anyhow::Result<()> {
        let mut process = ChildProgram::start(file, &self.script(file, scene), &self.folder)?;
        process.succeed(self.deadline)
    }
}

/// Prints the names of all checks.
pub(super) fn list() {
    for check in checks::ALL {
        println!("{}", check.name);
    }
}

/// Runs the checks whose name contains `only`; true when all passed.
pub(super) fn run(only: &str) -> anyhow::Result<bool> {
    let wanted: Vec<&PeerCheck> = checks::ALL
        .iter()
        .filter(|check| check.name.contains(only))
        .collect();
    ensure!(!wanted.is_empty(), "no check's name contains {only:?}");
    let programs = programs::folder()?;
    let programs = programs.as_path();
    let places = PeerPlaces {
        home: programs.with_file_name("peers"),
        scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"),
    };
    std::fs::create_dir_all(&places.home)?;
    let mut tally = CheckTally::default();
    tally.step("build", || programs::build(programs, &["serve"]));
    let mut missing = Vec::new();
    for peer in PeerProgram::ALL {
        let needed = wanted.iter().any(|check| check.needs.contains(&peer));
        if needed && !tally.step(peer.name(), || peer.install(&places)) {
            missing.push(peer);
        }
    }
    for check in wanted {
        let folder = places.home.join("runs").join(check.name);
        let passed = tally.step(check.name, || {
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            if let Some(peer) = check.needs.iter().find(|peer| missing.contains(peer)) {
                bail!("{} failed", peer.name());
            }
            std::fs::create_dir_all(&folder)?;
            let stage = PeerStage {
                places: &places,
                programs,
                folder: folder.clone(),
                deadline: Instant::now() + check.time_max,
            };
            (check.run)(&stage)
        });
        if !passed {
            show_logs(&folder);
        }
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

#[derive(Default)]
struct CheckTally {
    passed: u32,
    failed: u32,
}

impl CheckTally {
    /// Runs one step, tells how it went; a panic is a failure.
    fn step(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> bool {
        let started = Instant::now();
        let reason = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {
                println!("ok {name} ({:.1} s)", started.elapsed().as_secs_f64());
                self.passed += 1;
                return true;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it panicked".to_owned(),
        };
        println!(
            "FAILED {name}: {reason} ({:.1} s)",
            started.elapsed().as_secs_f64()
        );
        self.failed += 1;
        false
    }
}

fn show_logs(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let log = entry.path();
        if log.extension().is_some_and(|extension| extension == "log") {
            let text = std::fs::read(&log).unwrap_or_default();
            println!("  {}:", entry.file_name().display());
            println!("{}", process::tail(&String::from_utf8_lossy(&text)));
        }
    }
}
