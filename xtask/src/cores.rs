//! Cores of the machine, and what a program used of them.

use anyhow::Context as _;
use std::path::Path;
use std::process::Command;

/// `/proc/PID/stat` counts in hundredths of a second on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// The cores that we may use.
///
/// # Errors
/// The system does not tell.
pub(crate) fn allowed() -> anyhow::Result<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cores(list.context("no list of cores")?.trim())
}

/// A command that has the given cores and no other; `cores` are as `taskset -c` takes them.
pub(crate) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Seconds of processor time that a process has used, the system's on its behalf included.
///
/// # Errors
/// The process is gone.
pub(crate) fn seconds_used(process: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).context(path)?;
    let (_, fields) = stat.rsplit_once(')').context("no process")?;
    // proc(5): utime and stime are the 14th and 15th field, and the name is the second.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse::<f64>).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS_A_SECOND)
}

/// Bytes of memory by their name in `/proc/PID/status`, as `VmRSS` and `VmHWM`.
///
/// # Errors
/// The process is gone.
pub(crate) fn memory(process: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path).context(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).context("no memory")?;
    Ok(kib << 10)
}

fn cores(list: &str) -> anyhow::Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_in_ranges() {
        assert_eq!(cores("0-1").expect("a list"), [0, 1]);
        assert_eq!(cores("3,8-10").expect("a list"), [3, 8, 9, 10]);
        assert!(cores("").is_err());
    }
}
