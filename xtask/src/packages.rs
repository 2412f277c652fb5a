//! Whether each library builds from what its package holds: the tarballs are unpacked beside each other, in a workspace that
//! knows nothing of the repository, and checked against each other.
//!
//! `cargo package` alone builds every tarball with all its dependencies once more; here those that the other checks have
//! compiled serve.

use crate::programs;
use anyhow::{Context as _, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages that nobody adds to a program.
const LEFT_OUT: [&str; 4] = [
    "twinrouted",
    "twinroute-tests",
    "twinroute-benches",
    "xtask",
];

/// Packs all libraries and checks what was packed; true when all of it builds.
pub(crate) fn run() -> anyhow::Result<bool> {
    let debug = programs::folder()?;
    let target = debug.parent().context("the target folder has no parent")?;
    let folder = target.join("package");
    remove_old(&folder)?;
    pack()?;
    let outside = folder.join("outside");
    let libraries = unpack(&folder, &outside)?;
    ensure!(
        !libraries.is_empty(),
        "nothing was packed into {}",
        folder.display()
    );
    fs::write(outside.join("Cargo.toml"), workspace(&libraries)?)?;
    fs::copy(root().join("Cargo.lock"), outside.join("Cargo.lock"))?;
    let mut check = cargo(&[
        "check",
        "--workspace",
        "--lib",
        "--all-features",
        "--offline",
        "--quiet",
    ]);
    check.current_dir(&outside).env("CARGO_TARGET_DIR", target);
    if !check.status()?.success() {
        return Ok(false);
    }
    println!("{} libraries build from their packages", libraries.len());
    Ok(true)
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask stands below the root")
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// Packages of another run, and of libraries that are no more.
fn remove_old(folder: &Path) -> anyhow::Result<()> {
    for path in packages(folder)? {
        fs::remove_file(path)?;
    }
    match fs::remove_dir_all(folder.join("outside")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The tarballs in a folder, by name.
fn packages(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "crate") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn pack() -> anyhow::Result<()> {
    let mut pack = cargo(&[
        "package",
        "--workspace",
        "--no-verify",
        "--allow-dirty",
        "--locked",
        "--quiet",
    ]);
    pack.args(LEFT_OUT.iter().flat_map(|name| ["--exclude", name]));
    ensure!(pack.status()?.success(), "cargo package failed");
    Ok(())
}

/// Unpacks all tarballs; gives the names of their folders, `name-version`.
fn unpack(folder: &Path, outside: &Path) -> anyhow::Result<Vec<String>> {
    fs::create_dir_all(outside)?;
    let mut names = Vec::new();
    for package in packages(folder)? {
        let unpacking = Command::new("tar")
            .arg("-xzf")
            .arg(&package)
            .arg("-C")
            .arg(outside)
            .status();
        ensure!(
            unpacking?.success(),
            "{}: cannot be unpacked",
            package.display()
        );
        let name = package.file_stem().and_then(|name| name.to_str());
        names.push(name.context("a package's name is no text")?.to_owned());
    }
    Ok(names)
}

/// A workspace of the unpacked libraries, in which each finds the others there, and dependencies are compiled as in the
/// repository.
fn workspace(libraries: &[String]) -> anyhow::Result<String> {
    let mut text =
        "[workspace]\nresolver = \"3\"\nmembers = [\"twinroute*\"]\n\n[patch.crates-io]\n"
            .to_owned();
    for library in libraries {
        let (name, _) = library
            .rsplit_once('-')
            .context("a package has no version")?;
        writeln!(text, "{name} = {{ path = \"{library}\" }}")?;
    }
    let own = fs::read_to_string(root().join("Cargo.toml"))?;
    let profiles = own
        .find("[profile.dev]")
        .context("Cargo.toml has no [profile.dev]")?;
    let rest = &own[profiles..];
    text.push('\n');
    text.push_str(&rest[..rest.find("[profile.bench]").unwrap_or(rest.len())]);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacked_libraries_find_each_other_and_nothing_of_the_repository() {
        let libraries = ["twinroute-0.1.0", "twinroute-model-0.1.0"].map(str::to_owned);
        let text = workspace(&libraries).unwrap();
        assert!(text.contains("\ntwinroute-model = { path = \"twinroute-model-0.1.0\" }\n"));
        assert!(text.contains("\n[profile.dev.package.\"*\"]\n") && !text.contains("crates/"));
    }
}
