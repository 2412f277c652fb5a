//! Counts how the source is built: edges between crates, circles of files inside them, lines, names of types,
//! and what carries an event to its lane.
//!
//! It reads imports and definitions, nothing else: a method that another file defines for a type is not seen.

mod carriers;
mod circles;
mod names;
mod source;
#[cfg(test)]
mod tests;

use circles::FileCircle;
use names::TypeNames;
use source::CrateSource;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

/// The figures of one checkout.
pub(crate) struct SourceStructure {
    crates: Vec<CrateSource>,
    edges: BTreeMap<String, Vec<String>>,
}

impl SourceStructure {
    /// Reads every crate below `crates/` of a checkout.
    ///
    /// # Errors
    /// When a file cannot be read or is no Rust.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut crates = Vec::new();
        let mut edges = BTreeMap::new();
        for folder in source::crate_folders(root)? {
            let name = folder.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            edges.insert(name.clone(), source::crate_edges(&folder)?);
            crates.push(CrateSource::read(root, &folder, name)?);
        }
        Ok(Self { crates, edges })
    }

    /// The circles of files inside the crates, the largest first.
    pub(crate) fn circles(&self) -> Vec<FileCircle> {
        let mut found: Vec<FileCircle> = self.crates.iter().flat_map(circles::find).collect();
        found.sort_by_key(|circle| (std::cmp::Reverse(circle.files.len()), circle.files.clone()));
        found
    }

    /// The names of all types outside tests.
    pub(crate) fn type_names(&self) -> TypeNames {
        TypeNames::of(self.crates.iter().flat_map(|source| source.types()))
    }

    fn report(&self, ties: bool) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let edges: usize = self.edges.values().map(Vec::len).sum();
        writeln!(
            text,
            "crates: {}, edges between them: {edges}",
            self.edges.len()
        )?;
        let (mut lines, mut tests) = (0, 0);
        for source in &self.crates {
            let counted = source.lines();
            lines += counted.code;
            tests += counted.tests;
            let uses = self.edges[source.name()].join(" ");
            writeln!(
                text,
                "  {:<16} {:>6} lines {:>6} of tests   uses {}",
                source.name(),
                counted.code,
                counted.tests,
                if uses.is_empty() { "-" } else { &uses }
            )?;
        }
        writeln!(text, "  {:<16} {lines:>6} lines {tests:>6} of tests", "all")?;

        let circles = self.circles();
        writeln!(text, "circles of files inside crates: {}", circles.len())?;
        for circle in &circles {
            writeln!(
                text,
                "  {:>3} files: {}",
                circle.files.len(),
                circle.files.join(" ")
            )?;
            for tie in circle.ties.iter().filter(|_| ties) {
                let names: Vec<&str> = tie.names.iter().map(String::as_str).collect();
                writeln!(
                    text,
                    "      {} -> {}: {}",
                    tie.from,
                    tie.to,
                    names.join(" ")
                )?;
            }
        }
        let names = self.type_names();
        write!(text, "{names}")?;
        Ok(text)
    }
}

/// Prints the figures of the checkout that this program was built from; with `ties` also which names
/// tie each circle.
pub(crate) fn run(ties: bool) -> anyhow::Result<bool> {
    let structure = SourceStructure::read(root())?;
    print!("{}", structure.report(ties)?);
    let carriers = carriers::of_checkout(root())?;
    let names: Vec<&str> = carriers.iter().map(String::as_str).collect();
    let (count, names) = (names.len(), names.join(" "));
    println!("types that carry an event from its match to its lane: {count}: {names}");
    Ok(true)
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask stands below the root")
}
