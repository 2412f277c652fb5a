//! `cargo xtask quick` and `cargo xtask fix`: what to run before a change goes out, in the order in which it
//! fails soonest. `.ci/run` runs every check.

use anyhow::{Context as _, ensure};
use clap::Args;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What counts as changed.
#[derive(Args, Clone, Debug)]
pub(super) struct QuickOptions {
    /// Besides what is not committed: what was since REV
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    base: String,
}

/// Runs the quick checks of what changed; stops at the first that fails.
pub(super) fn run(options: &QuickOptions) -> anyhow::Result<bool> {
    let changed = changed_files(&options.base)?;
    let packages: BTreeSet<String> = changed.iter().filter_map(|path| package_of(path)).collect();
    let mut checks = vec![words("fmt --all --check")];
    if packages.is_empty() {
        println!("no package changed");
    } else {
        let named = packages.iter().flat_map(|name| ["--package", name]);
        let named: Vec<String> = named.map(str::to_owned).collect();
        let clippy = [words("clippy --quiet --all-targets"), named.clone()].concat();
        checks.push([clippy, words("-- -D warnings")].concat());
        checks.push([words("test --quiet"), named].concat());
    }
    checks.push(words(
        "test --quiet --package twinroute-tests --test it tidy",
    ));
    for check in checks {
        if !cargo(&check)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Repairs what a program can repair, in the files as they are.
pub(super) fn fix() -> anyhow::Result<bool> {
    let clippy = "clippy --fix --workspace --all-targets --allow-dirty --allow-staged";
    Ok(cargo(&words(clippy))? && cargo(&words("fmt --all"))?)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn cargo(arguments: &[String]) -> anyhow::Result<bool> {
    println!("cargo {}", arguments.join(" "));
    let status = Command::new(env!("CARGO")).args(arguments).status();
    Ok(status.context("cargo cannot be run")?.success())
}

/// Paths from the root that differ from a revision or that git does not know yet.
fn changed_files(base: &str) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for arguments in [
        vec!["diff", "--name-only", base],
        vec!["ls-files", "--others", "--exclude-standard"],
    ] {
        let output = Command::new("git").args(&arguments).output();
        let output = output.context("git cannot be run")?;
        ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        paths.extend(text.lines().map(str::to_owned));
    }
    Ok(paths)
}

/// The package that a file belongs to. Files of the workspace as a whole belong to none.
fn package_of(path: &str) -> Option<String> {
    let mut parts = Path::new(path).iter().filter_map(|part| part.to_str());
    match parts.next()? {
        "crates" => match parts.next()? {
            name @ ("twinroute" | "twinrouted") => Some(name.to_owned()),
            name => Some(format!("twinroute-{name}")),
        },
        "tests" => Some("twinroute-tests".to_owned()),
        "benches" => Some("twinroute-benches".to_owned()),
        "xtask" => Some("xtask".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_its_package() {
        let package = |path| package_of(path).unwrap_or_default();
        assert_eq!(package("crates/router/src/lib.rs"), "twinroute-router");
        assert_eq!(package("crates/twinrouted/src/main.rs"), "twinrouted");
        assert_eq!(package("crates/twinroute/src/lib.rs"), "twinroute");
        assert_eq!(package("tests/it/tidy.rs"), "twinroute-tests");
        assert_eq!(package("xtask/Cargo.toml"), "xtask");
        assert_eq!(package("docs/index.md"), "");
        assert_eq!(package("Cargo.lock"), "");
    }
}
