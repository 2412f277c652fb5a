//! Circles: files of one crate that import each other in a loop.

use super::source::CrateSource;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use std::collections::BTreeSet;

/// Files that cannot be understood one after the other.
#[derive(Debug)]
pub(crate) struct FileCircle {
    /// Paths from the root, in order.
    pub(crate) files: Vec<String>,
    /// What ties them.
    pub(crate) ties: Vec<CircleTie>,
}

/// What one file of a circle takes from another.
#[derive(Debug)]
pub(crate) struct CircleTie {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) names: BTreeSet<String>,
}

/// The circles of one crate.
pub(super) fn find(source: &CrateSource) -> Vec<FileCircle> {
    let imports = source.imports();
    let mut graph = DiGraphMap::<usize, ()>::new();
    for (from, to) in imports.keys() {
        graph.add_edge(*from, *to, ());
    }
    let components = tarjan_scc(&graph);
    let circles = components.into_iter().filter(|files| files.len() > 1);
    circles
        .map(|members| {
            let inside = imports
                .iter()
                .filter(|((from, to), _)| members.contains(from) && members.contains(to));
            let ties = inside.map(|((from, to), names)| CircleTie {
                from: source.file_path(*from).to_owned(),
                to: source.file_path(*to).to_owned(),
                names: names.clone(),
            });
            let mut files: Vec<String> = members
                .iter()
                .map(|file| source.file_path(*file).to_owned())
                .collect();
            files.sort();
            FileCircle {
                files,
                ties: ties.collect(),
            }
        })
        .collect()
}
