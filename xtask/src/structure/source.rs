//! Reads a crate: its modules, what each defines, and what each file takes from which other.

use super::names::TypeName;
use anyhow::Context as _;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// Re-exports that lead to re-exports: more steps than any real chain has.
const STEPS_MAX: usize = 32;

type ModuleId = usize;

/// One crate below `crates/`.
pub(super) struct CrateSource {
    name: String,
    files: Vec<SourceFile>,
    modules: Vec<SourceModule>,
}

struct SourceFile {
    path: String,
    lines: LineCount,
}

/// Lines of a file or crate.
#[derive(Clone, Copy, Default)]
pub(super) struct LineCount {
    pub(super) code: usize,
    pub(super) tests: usize,
}

struct SourceModule {
    file: usize,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    definitions: BTreeSet<String>,
    types: Vec<(String, bool)>,
    imports: Vec<ImportedName>,
    /// Paths in the code, each as its segments.
    paths: BTreeSet<Vec<String>>,
}

/// One name that a `use` brings.
struct ImportedName {
    path: Vec<String>,
    /// None for a glob.
    name: Option<String>,
    /// A re-export hands on and needs nothing itself.
    hands_on: bool,
}

#[derive(Clone, Copy)]
enum ResolvedPath {
    Module(ModuleId),
    Item(ModuleId),
}

/// The folders below `crates/` that hold a crate.
pub(super) fn crate_folders(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates).with_context(|| crates.display().to_string())?;
    let mut folders = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        if folder.join("Cargo.toml").exists() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The crates of ours that a crate uses outside its tests.
pub(super) fn crate_edges(folder: &Path) -> anyhow::Result<Vec<String>> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let dependencies = text
        .split("\n[")
        .find(|table| table.starts_with("dependencies]"))
        .unwrap_or_default();
    let names = dependencies.lines().filter_map(|line| {
        let rest = line.strip_prefix("twinroute-")?;
        let end = rest.find(['.', ' ', '='])?;
        Some(rest[..end].to_owned())
    });
    Ok(names.collect())
}

impl CrateSource {
    pub(super) fn read(root: &Path, folder: &Path, name: String) -> anyhow::Result<Self> {
        let mut source = Self {
            name,
            files: Vec::new(),
            modules: Vec::new(),
        };
        let lib = folder.join("src/lib.rs");
        let main = folder.join("src/main.rs");
        let top = if lib.exists() { lib } else { main };
        source.read_file(root, &top, None)?;
        source.count_test_files(root, &folder.join("src"))?;
        Ok(source)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn file_path(&self, file: usize) -> &str {
        &self.files[file].path
    }

    pub(super) fn lines(&self) -> LineCount {
        let mut sum = LineCount::default();
        for file in &self.files {
            sum.code += file.lines.code;
            sum.tests += file.lines.tests;
        }
        sum
    }

    pub(super) fn types(&self) -> impl Iterator<Item = TypeName> + '_ {
        self.modules.iter().flat_map(|module| {
            module.types.iter().map(|(name, public)| TypeName {
                name: name.clone(),
                file: self.files[module.file].path.clone(),
                public: *public,
            })
        })
    }

    /// What each file takes from which other.
    pub(super) fn imports(&self) -> BTreeMap<(usize, usize), BTreeSet<String>> {
        let mut found: BTreeMap<(usize, usize), BTreeSet<String>> = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            let imported = module.imports.iter().filter(|import| !import.hands_on);
            let imported = imported.filter(|import| import.name.is_some());
            let paths = imported.map(|import| &import.path).chain(&module.paths);
            for path in paths {
                let Some(ResolvedPath::Item(home)) = self.resolve(id, path, 0) else {
                    continue;
                };
                let home = self.modules[home].file;
                if home != module.file {
                    let names = found.entry((module.file, home)).or_default();
                    names.extend(path.last().cloned());
                }
            }
        }
        found
    }

    /// Where a path leads that stands in a module.
    fn resolve(&self, from: ModuleId, path: &[String], steps: usize) -> Option<ResolvedPath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(0, rest, steps),
            "self" => self.walk(from, rest, steps),
            "super" => {
                let parent = self.modules[from].parent?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(parent, rest, steps),
                    _ => self.walk(parent, rest, steps),
                }
            }
            _ => self.walk(from, path, steps),
        }
    }

    fn walk(&self, module: ModuleId, path: &[String], steps: usize) -> Option<ResolvedPath> {
        let Some((first, rest)) = path.split_first() else {
            return Some(ResolvedPath::Module(module));
        };
        if steps > STEPS_MAX {
            return None;
        }
        let here = &self.modules[module];
        if let Some(child) = here.children.get(first) {
            return self.walk(*child, rest, steps + 1);
        }
        if here.definitions.contains(first) {
            return Some(ResolvedPath::Item(module));
        }
        let named = here.imports.iter().find(|import| {
            import.name.as_ref() == Some(first) && import.path.as_slice() != [first.clone()]
        });
        if let Some(import) = named {
            return match self.resolve(module, &import.path, steps + 1)? {
                ResolvedPath::Module(found) => self.walk(found, rest, steps + 1),
                item => Some(item),
            };
        }
        let globs = here.imports.iter().filter(|import| import.name.is_none());
        globs.into_iter().find_map(|import| {
            match self.resolve(module, &import.path, steps + 1)? {
                ResolvedPath::Module(found) if found != module => self.walk(found, path, steps + 1),
                _ => None,
            }
        })
    }

    fn read_file(
        &mut self,
        root: &Path,
        path: &Path,
        parent: Option<ModuleId>,
    ) -> anyhow::Result<ModuleId> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let file = self.files.len();
        self.files.push(SourceFile {
            path: relative(root, path),
            lines: count_lines(&text),
        });
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(root);
        let below = match name.as_ref() {
            "lib" | "main" | "mod" => folder.to_owned(),
            name => folder.join(name),
        };
        self.read_module(root, file, &below, parent, &parsed.items)
    }

    fn read_module(
        &mut self,
        root: &Path,
        file: usize,
        below: &Path,
        parent: Option<ModuleId>,
        items: &[Item],
    ) -> anyhow::Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(SourceModule {
            file,
            parent,
            children: BTreeMap::new(),
            definitions: BTreeSet::new(),
            types: Vec::new(),
            imports: Vec::new(),
            paths: BTreeSet::new(),
        });
        for item in items {
            if is_for_tests(attributes(item)) {
                continue;
            }
            if let Item::Mod(item) = item {
                let name = item.ident.to_string();
                let child = match &item.content {
                    Some((_, items)) => {
                        self.read_module(root, file, &below.join(&name), Some(id), items)?
                    }
                    None => self.read_file(root, &module_file(below, &name), Some(id))?,
                };
                self.modules[id].children.insert(name, child);
                continue;
            }
            self.modules[id].take(item);
        }
        Ok(id)
    }

    /// Files that only tests compile have lines too.
    fn count_test_files(&mut self, root: &Path, folder: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.count_test_files(root, &path)?;
                continue;
            }
            let name = relative(root, &path);
            let known = self.files.iter().any(|file| file.path == name);
            if !known && path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(&path)?.lines().count();
                let lines = LineCount {
                    code: 0,
                    tests: lines,
                };
                self.files.push(SourceFile { path: name, lines });
            }
        }
        Ok(())
    }
}

impl SourceModule {
    fn take(&mut self, item: &Item) {
        let mut define = |name: &syn::Ident, visibility: Option<&Visibility>| {
            self.definitions.insert(name.to_string());
            if let Some(visibility) = visibility {
                let public = matches!(visibility, Visibility::Public(_));
                self.types.push((name.to_string(), public));
            }
        };
        match item {
            Item::Struct(item) => define(&item.ident, Some(&item.vis)),
            Item::Enum(item) => define(&item.ident, Some(&item.vis)),
            Item::Union(item) => define(&item.ident, Some(&item.vis)),
            Item::Trait(item) => define(&item.ident, Some(&item.vis)),
            Item::Type(item) => define(&item.ident, Some(&item.vis)),
            Item::Fn(item) => define(&item.sig.ident, None),
            Item::Const(item) => define(&item.ident, None),
            Item::Static(item) => define(&item.ident, None),
            Item::Macro(item) => item.ident.iter().for_each(|name| define(name, None)),
            Item::Use(item) => {
                let hands_on = !matches!(item.vis, Visibility::Inherited);
                self.bring(&item.tree, &mut Vec::new(), hands_on);
                return;
            }
            _ => {}
        }
        let mut paths = PathCollector(&mut self.paths);
        paths.visit_item(item);
    }

    fn bring(&mut self, tree: &UseTree, before: &mut Vec<String>, hands_on: bool) {
        let mut push = |path: Vec<String>, name: Option<String>| {
            self.imports.push(ImportedName {
                path,
                name,
                hands_on,
            });
        };
        match tree {
            UseTree::Path(tree) => {
                before.push(tree.ident.to_string());
                self.bring(&tree.tree, before, hands_on);
                before.pop();
            }
            UseTree::Name(tree) if tree.ident == "self" => {
                push(before.clone(), before.last().cloned());
            }
            UseTree::Name(tree) => {
                let name = tree.ident.to_string();
                push(
                    [before.as_slice(), std::slice::from_ref(&name)].concat(),
                    Some(name),
                );
            }
            UseTree::Rename(tree) => {
                let path = [before.as_slice(), &[tree.ident.to_string()]].concat();
                push(path, Some(tree.rename.to_string()));
            }
            UseTree::Glob(_) => push(before.clone(), None),
            UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.bring(tree, before, hands_on);
                }
            }
        }
    }
}

/// Takes every path of the code, those in macro calls too.
struct PathCollector<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for PathCollector<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let segments = segments.map(|segment| segment.ident.to_string());
        self.0.insert(segments.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.take_tokens(called.tokens.clone());
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    /// Attributes name derives and formats, not items of ours.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

impl PathCollector<'_> {
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.0.insert(std::mem::take(&mut path));
                    }
                    colons = 0;
                    path.push(name.to_string());
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                    self.take_tokens(group.stream());
                }
                _ => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.0.insert(path);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether `cfg` keeps an item for tests or fuzzing alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg")
            && ["test", "any(test", "all(test", "fuzzing"]
                .iter()
                .any(|only| condition.starts_with(only))
    })
}

fn module_file(below: &Path, name: &str) -> PathBuf {
    let flat = below.join(format!("{name}.rs"));
    if flat.exists() {
        return flat;
    }
    below.join(name).join("mod.rs")
}

/// Counts what stands below `#[cfg(test)]` as tests: up to the semicolon, or to the brace that closes it.
fn count_lines(text: &str) -> LineCount {
    let mut counted = LineCount::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            counted.code += 1;
            continue;
        }
        counted.tests += 1;
        let indent = line.len() - line.trim_start().len();
        for below in lines.by_ref() {
            counted.tests += 1;
            let closes = below.trim_end().ends_with(';') || below.trim() == "}";
            if closes && below.len() - below.trim_start().len() == indent {
                break;
            }
        }
    }
    counted
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}
