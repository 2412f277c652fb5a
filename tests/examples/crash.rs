//! One run of the crash oracle, for `cargo xtask crash`.
//!
//! `crash PROGRAM FOLDER SEED KILLS SECONDS_MAX`: the folder must not be there; it stays after a
//! violation and is removed otherwise.

use anyhow::{Context as _, bail};
use std::process::ExitCode;
use std::time::Duration;
use twinroute_tests::crash::{Options, run};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, seed, kills, seconds_max] = arguments.as_slice() else {
        bail!("usage: crash PROGRAM FOLDER SEED KILLS SECONDS_MAX");
    };
    let options = Options {
        // The process works in the folder of the run.
        program: std::path::absolute(program)?,
        folder: folder.into(),
        seed: seed.parse().context("SEED")?,
        kills: kills.parse().context("KILLS")?,
        time_max: Duration::from_secs(seconds_max.parse().context("SECONDS_MAX")?),
        with_trials: true,
    };
    std::fs::create_dir_all(&options.folder)?;
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(&options, |line| println!("{line}")))?;
    print!("{report}");
    if !report.violations.is_empty() {
        println!("what it left lies in {}", options.folder.display());
        return Ok(ExitCode::FAILURE);
    }
    std::fs::remove_dir_all(&options.folder)?;
    Ok(ExitCode::SUCCESS)
}
