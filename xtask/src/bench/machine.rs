//! On what was measured, and where the result goes.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the machine had to do in the last minute: processes that wait for a core.
pub(super) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The lines that stand above the table.
pub(super) fn described(rounds: u32, load_begun: &str) -> anyhow::Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |text| text.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!(
        "{date}, commit {commit}, medians of {rounds} rounds.\n\n\
         {model}, {cores} cores, Linux {}, {}. Load average {load_begun} at the start, {} at the end.\n",
        kernel.trim(),
        said("rustc", &["--version"])?,
        load(),
        date = today()?,
        commit = commit()?,
    ))
}

/// `benches/results/DATE-COMMIT.md`.
pub(super) fn result_file() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("benches");
    Ok(root.join(format!("results/{}-{}.md", today()?, commit()?)))
}

fn today() -> anyhow::Result<String> {
    said("date", &["-u", "+%Y-%m-%d"])
}

fn commit() -> anyhow::Result<String> {
    said("git", &["rev-parse", "--short", "HEAD"])
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
