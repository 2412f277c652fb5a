//! `cargo xtask rotate`: builds the router and the run that rotates keys under load, and lets the one judge
//! the other.

use crate::programs;
use anyhow::{Context as _, bail, ensure};
use std::process::Command;

const SECONDS: u64 = 60;
const EVERY_SECONDS: u64 = 5;

/// What a run is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    seconds: u64,
    every_seconds: u64,
}

impl Options {
    /// Reads `--seconds N` and `--every N`, in any order; `5s` means 5.
    ///
    /// # Errors
    /// An option is unknown, or its value is missing or no number of seconds above 0.
    pub(super) fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            seconds: SECONDS,
            every_seconds: EVERY_SECONDS,
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                bail!("{} lacks its value", pair.join(" "));
            };
            let seconds = value.strip_suffix('s').unwrap_or(value).parse();
            let seconds: u64 = seconds.with_context(|| format!("{name} must be whole seconds"))?;
            ensure!(seconds > 0, "{name} must be at least 1");
            match *name {
                "--seconds" => options.seconds = seconds,
                "--every" => options.every_seconds = seconds,
                _ => bail!("there is no option {name}"),
            }
        }
        Ok(options)
    }
}

/// Makes a run; true when every event arrived. After a violation what the router left stays below `rotate`
/// in the target folder.
pub(super) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = programs::folder()?;
    programs::build(&programs, &["rotate"])?;
    let alone = programs::alone(&programs, "rotate")?;
    let status = Command::new(programs.join("examples/rotate"))
        .arg(programs.join("twinroute"))
        .arg(&alone.folder)
        .args([options.seconds, options.every_seconds].map(|number| number.to_string()))
        .status()
        .context("cannot run the rotations")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_any_order_and_unknown_ones_are_refused() {
        let read = |arguments: &[&str]| {
            let options = Options::parse(arguments).ok();
            options.map(|options| (options.seconds, options.every_seconds))
        };
        assert_eq!(read(&[]), Some((60, 5)));
        assert_eq!(read(&["--every", "2s", "--seconds", "9"]), Some((9, 2)));
        assert_eq!(read(&["--every", "0"]), None);
        assert_eq!(read(&["--often", "2"]), None);
        assert_eq!(read(&["--every"]), None);
    }
}
