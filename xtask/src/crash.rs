//! `cargo xtask crash`: builds the router and the crash oracle, and lets the one judge the other.

use crate::programs;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const KILLS: u64 = 200;
const SECONDS_MAX: u64 = 300;

/// What a run is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    kills: u64,
    /// Another one each time when it is not given.
    seed: Option<u64>,
    seconds_max: u64,
}

impl Options {
    /// Reads `--kills N`, `--seed N` and `--seconds-max N`, in any order.
    ///
    /// # Errors
    /// An option is unknown, or its value is missing or no number.
    pub(super) fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            kills: KILLS,
            seed: None,
            seconds_max: SECONDS_MAX,
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                bail!("{} lacks its value", pair.join(" "));
            };
            let value = value.parse();
            let value = value.with_context(|| format!("{name} must be a whole number"));
            match *name {
                "--kills" => options.kills = value?,
                "--seed" => options.seed = Some(value?),
                "--seconds-max" => options.seconds_max = value?,
                _ => bail!("there is no option {name}"),
            }
        }
        Ok(options)
    }
}

/// Makes a run; true when no promise was broken. After a broken one what the router left stays in
/// `crash/SEED` in the target folder.
pub(super) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    programs::build(&programs, &["crash"])?;
    let seed = options.seed.unwrap_or_else(any_seed);
    let alone = programs::alone(&programs, &format!("crash/{seed}"))?;
    let status = oracle(&programs.join("examples/crash"))
        .arg(programs.join("twinroute"))
        .arg(&alone.folder)
        .args([seed, options.kills, options.seconds_max].map(|number| number.to_string()))
        .status()
        .context("cannot run the crash oracle")?;
    if !status.success() {
        println!(
            "again with: cargo xtask crash --seed {seed} --kills {}",
            options.kills
        );
    }
    Ok(status.success())
}

/// The crash oracle, where possible with mounts of its own: one trial has a disk of a few megabytes.
fn oracle(program: &Path) -> Command {
    let unshare = ["-Urm", "true"];
    let probe = Command::new("unshare").args(unshare).status();
    if probe.is_ok_and(|status| status.success()) {
        let mut command = Command::new("unshare");
        command.arg("-Urm").arg(program);
        command.env("TWINROUTE_CRASH_PRIVATE_MOUNTS", "1");
        return command;
    }
    Command::new(program)
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is stored; any number will do"
)]
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_any_order_and_unknown_ones_are_refused() {
        let expect = |kills, seed, seconds_max| Options {
            kills,
            seed,
            seconds_max,
        };
        let read = |arguments: &[&str]| Options::parse(arguments).ok();
        assert_eq!(read(&[]), Some(expect(200, None, 300)));
        let some = read(&["--seed", "7", "--kills", "3"]);
        assert_eq!(some, Some(expect(3, Some(7), 300)));
        let all = read(&["--seconds-max", "9", "--seed", "0", "--kills", "1"]);
        assert_eq!(all, Some(expect(1, Some(0), 9)));
        for wrong in [["--kill", "3"], ["--kills", "many"], ["--kills", "-1"]] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
        assert_eq!(read(&["--kills"]), None);
    }
}
