//! One run with rotated keys, for `cargo xtask rotate`.
//!
//! `rotate PROGRAM FOLDER SECONDS EVERY_SECONDS`: the folder must not be there; it stays after a violation
//! and is removed otherwise.

use anyhow::{Context as _, bail};
use std::process::ExitCode;
use std::time::Duration;
use twinroute_tests::rotation::{Options, Until, run};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder, time, every] = arguments.as_slice() else {
        bail!("usage: rotate PROGRAM FOLDER SECONDS EVERY_SECONDS");
    };
    let seconds = |text: &String| text.parse().map(Duration::from_secs);
    let options = Options {
        // The process works in the folder of the run.
        program: std::path::absolute(program)?,
        folder: folder.into(),
        until: Until::Elapsed {
            time: seconds(time).context("SECONDS")?,
            every: seconds(every).context("EVERY_SECONDS")?,
        },
    };
    std::fs::create_dir_all(&options.folder)?;
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
