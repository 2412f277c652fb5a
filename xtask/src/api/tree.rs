//! The modules of the library, walked as a program sees them.

use super::items::{self, CrateItems};
use anyhow::{Context as _, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Item, UseTree};

/// The library's own crate.
const LIBRARY: &str = "twinroute";

/// All lines of the list, in order.
pub(super) fn listing(root: &Path) -> anyhow::Result<String> {
    let mut walk = ApiWalk {
        root,
        crates: BTreeMap::new(),
        lines: BTreeSet::new(),
        homes: BTreeMap::new(),
        later: Vec::new(),
    };
    walk.load(LIBRARY)?;
    walk.module(&[], "")?;
    // What is known by another path already is named once more, without its members.
    for (path, gate, (from, name)) in std::mem::take(&mut walk.later) {
        let home = walk.homes.get(&(from, name.clone()));
        match home {
            Some(home) if *home != path => {
                walk.lines.insert(format!("{gate}pub use {path} = {home}"))
            }
            Some(_) => false,
            None => bail!("{path}: {name} is not found"),
        };
    }
    let lines: Vec<String> = walk.lines.into_iter().collect();
    Ok(format!("{}\n", lines.join("\n")))
}

/// Types of this project that stand in a line of the list and have no line of their own: programs cannot name them.
pub(super) fn unnamed(root: &Path, listing: &str) -> anyhow::Result<Vec<String>> {
    let mut known = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        if folder.join("src/lib.rs").exists() {
            known.extend(CrateItems::read(&folder)?.types());
        }
    }
    let defines = [
        "pub struct ",
        "pub enum ",
        "pub trait ",
        "pub type ",
        "pub use ",
    ];
    let defined = |line: &str| {
        let (_, rest) = defines.iter().find_map(|word| line.split_once(word))?;
        let path = rest
            .split(['<', ':', ' ', '='])
            .filter(|part| !part.is_empty());
        let path: Vec<&str> = path.take_while(|part| *part != "=").collect();
        let until = path
            .iter()
            .position(|part| part.starts_with(char::is_uppercase))?;
        Some(path[until].to_owned())
    };
    let named: BTreeSet<String> = listing.lines().filter_map(defined).collect();
    let mut unnamed = Vec::new();
    for line in listing
        .lines()
        .filter(|line| !line.contains("impl ") || line.contains("fn "))
    {
        let Some((_, rest)) = line.split_once("pub ") else {
            continue;
        };
        // Behind the path of the item itself.
        let own = rest
            .find(['(', '<', '='])
            .or_else(|| rest.find(": "))
            .unwrap_or(rest.len());
        let words = rest[own..].split(|letter: char| !letter.is_alphanumeric());
        for word in words.filter(|word| known.contains(*word) && !named.contains(*word)) {
            unnamed.push(format!("{word}, in {line}"));
        }
    }
    Ok(unnamed)
}

/// A public name, under which condition it is there, and the crate and the name of what it stands for.
type LaterUse = (String, String, (String, String));

struct ApiWalk<'a> {
    root: &'a Path,
    crates: BTreeMap<String, CrateItems>,
    lines: BTreeSet<String>,
    /// The path by which each item was listed with all that it has.
    homes: BTreeMap<(String, String), String>,
    later: Vec<LaterUse>,
}

impl ApiWalk<'_> {
    fn load(&mut self, name: &str) -> anyhow::Result<()> {
        if self.crates.contains_key(name) {
            return Ok(());
        }
        let folder = name
            .strip_prefix("twinroute_")
            .unwrap_or(name)
            .replace('_', "-");
        let path: PathBuf = self.root.join("crates").join(folder);
        let items = CrateItems::read(&path).with_context(|| path.display().to_string())?;
        self.crates.insert(name.to_owned(), items);
        Ok(())
    }

    /// Lists a public module of the library.
    fn module(&mut self, module: &[String], gate: &str) -> anyhow::Result<()> {
        let own = self.crates[LIBRARY]
            .module(module)
            .context("a module is not found")?;
        let public = own.items.iter().filter(|item| items::is_public(item));
        let public: Vec<Item> = public.cloned().collect();
        let path = [&[LIBRARY.to_owned()], module].concat().join("::");
        for item in &public {
            let attributes = items::attributes(item);
            if items::is_test(attributes) {
                continue;
            }
            let gate = format!("{gate}{}", items::feature(attributes));
            match item {
                Item::Mod(inner) => {
                    self.lines
                        .insert(format!("{gate}pub mod {path}::{}", inner.ident));
                    let below = [module, &[inner.ident.to_string()]].concat();
                    self.module(&below, &gate)?;
                }
                Item::Use(own) => self.uses(&own.tree, Vec::new(), module, &gate)?,
                _ => {
                    let name = items::item_name(item).unwrap_or_default();
                    self.item(LIBRARY, &name, &format!("{path}::{name}"), &gate)?;
                }
            }
        }
        Ok(())
    }

    /// Lists what a `pub use` brings.
    fn uses(
        &mut self,
        tree: &UseTree,
        before: Vec<String>,
        module: &[String],
        gate: &str,
    ) -> anyhow::Result<()> {
        match tree {
            UseTree::Path(path) => {
                let before = [before, vec![path.ident.to_string()]].concat();
                self.uses(&path.tree, before, module, gate)
            }
            UseTree::Group(group) => {
                let mut trees = group.items.iter();
                trees.try_for_each(|tree| self.uses(tree, before.clone(), module, gate))
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.used(&before, (&name, &name), module, gate)
            }
            UseTree::Rename(renamed) => {
                let (name, alias) = (renamed.ident.to_string(), renamed.rename.to_string());
                self.used(&before, (&name, &alias), module, gate)
            }
            UseTree::Glob(_) => {
                let from = before.first().context("a glob of nothing")?.clone();
                self.load(&from)?;
                let own = self.crates[&from]
                    .module(&before[1..])
                    .context("a glob of no module")?;
                let public = own.items.iter().filter(|item| items::is_public(item));
                let names: Vec<String> = public.filter_map(items::item_name).collect();
                let path = [&[LIBRARY.to_owned()], module].concat().join("::");
                let mut names = names.iter();
                names.try_for_each(|name| {
                    let path = format!("{path}::{name}");
                    self.item(&from, name, &path, gate)
                })
            }
        }
    }

    fn used(
        &mut self,
        before: &[String],
        (name, alias): (&str, &str),
        module: &[String],
        gate: &str,
    ) -> anyhow::Result<()> {
        let path = [&[LIBRARY.to_owned()], module].concat().join("::");
        let first = before.first().map_or(name, String::as_str);
        // Of std and tokio, or a whole crate: named, and not walked.
        let is_whole_crate = before.is_empty() && name.starts_with("twinroute_");
        if is_whole_crate || ["std", "tokio"].contains(&first) {
            let from = [before, &[name.to_owned()]].concat().join("::");
            self.lines
                .insert(format!("{gate}pub use {path}::{alias} = {from}"));
            return Ok(());
        }
        let from = if first.starts_with("twinroute_") {
            first
        } else {
            LIBRARY
        };
        if path.ends_with("::prelude") {
            let key = (from.to_owned(), name.to_owned());
            let key = self.origin(key)?;
            self.later
                .push((format!("{path}::{alias}"), gate.to_owned(), key));
            return Ok(());
        }
        self.item(from, name, &format!("{path}::{alias}"), gate)
    }

    /// Where an item is defined that a crate may have from another.
    fn origin(&mut self, (from, name): (String, String)) -> anyhow::Result<(String, String)> {
        self.load(&from)?;
        if self.crates[&from].find(&name).is_some() {
            return Ok((from, name));
        }
        for other in [
            "model", "retry", "journal", "router", "filter", "listen", "files",
        ] {
            let other = format!("twinroute_{other}");
            self.load(&other)?;
            if self.crates[&other].find(&name).is_some() {
                return Ok((other, name));
            }
        }
        bail!("{name}, of {from}, is defined nowhere")
    }

    /// Lists an item and what it has, where that was not done by another path.
    fn item(&mut self, from: &str, name: &str, exported: &str, gate: &str) -> anyhow::Result<()> {
        let key = self.origin((from.to_owned(), name.to_owned()))?;
        let path = exported.to_owned();
        if self.homes.contains_key(&key) {
            self.later.push((path, gate.to_owned(), key));
            return Ok(());
        }
        let own = &self.crates[&key.0];
        let (_, item) = own.find(name).context("it was found before")?;
        let lines = items::lines(item, &path).into_iter();
        let lines = lines.chain(own.methods(name, &path));
        self.lines
            .extend(lines.map(|line| match line.starts_with(gate) {
                true => line,
                false => format!("{gate}{line}"),
            }));
        self.homes.insert(key, path);
        Ok(())
    }
}
