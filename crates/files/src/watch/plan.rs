//! Which entries of which folders decide what stands at a path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Links on one way; Linux follows as many.
const LINKS_MAX: usize = 40;

/// Folders that are watched, at most: a mistyped path must not use up what the system has.
const FOLDERS_MAX: usize = 16_384;

/// The folders to watch, and what matters in each. Two of them are equal when every way leads through the same folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchPlan {
    folders: BTreeMap<PathBuf, WatchedFolder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct WatchedFolder {
    /// Device and inode: another folder may have come to the same path.
    identity: (u64, u64),
    entries: WatchedEntries,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WatchedEntries {
    All,
    /// These; what else changes there may be a log.
    Named(BTreeSet<OsString>),
}

impl WatchPlan {
    /// The plan for everything below `trees`, and for `files`; all paths are absolute. Blocks on the file system.
    pub(super) fn of(trees: &[PathBuf], files: &[PathBuf]) -> Self {
        let mut plan = Self::default();
        for tree in trees {
            if let Some(folder) = plan.follow(tree) {
                plan.add_tree(folder);
            }
        }
        for file in files {
            plan.follow(file);
        }
        plan
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// Whether a change of `path`, as the watcher names it, matters.
    pub(super) fn holds(&self, path: &Path) -> bool {
        if self.folders.contains_key(path) {
            return true;
        }
        let entry = path.parent().zip(path.file_name());
        entry.is_some_and(|(folder, name)| match self.folders.get(folder) {
            None => false,
            Some(folder) => match &folder.entries {
                WatchedEntries::All => true,
                WatchedEntries::Named(names) => names.contains(name),
            },
        })
    }

    /// Adds every folder on the way to `path`, along its links. Gives where it leads, if it is there.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut rest: VecDeque<OsString> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            self.add_entry(&at, &name);
            let next = at.join(&name);
            let metadata = fs::symlink_metadata(&next).ok()?;
            if !metadata.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            let target = fs::read_link(&next).ok()?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Some(at)
    }

    /// Adds a folder with all below it, and the ways of the links in it.
    fn add_tree(&mut self, root: PathBuf) {
        let mut seen = BTreeSet::new();
        let mut open = vec![root];
        while let Some(folder) = open.pop() {
            let Some(identity) = identity(&folder) else {
                continue;
            };
            if !seen.insert(identity) || self.folders.len() >= FOLDERS_MAX {
                continue;
            }
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            let watched = WatchedFolder {
                identity,
                entries: WatchedEntries::All,
            };
            self.folders.insert(folder, watched);
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_symlink() => {
                        let target = self.follow(&entry.path());
                        open.extend(target.filter(|target| target.is_dir()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn add_entry(&mut self, folder: &Path, name: &OsStr) {
        if let Some(known) = self.folders.get_mut(folder) {
            if let WatchedEntries::Named(names) = &mut known.entries {
                names.insert(name.to_owned());
            }
            return;
        }
        if let Some(identity) = identity(folder).filter(|_| self.folders.len() < FOLDERS_MAX) {
            let entries = WatchedEntries::Named(BTreeSet::from([name.to_owned()]));
            let watched = WatchedFolder { identity, entries };
            self.folders.insert(folder.to_owned(), watched);
        }
    }
}

/// The parts of a path that lead somewhere.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// Of a folder; nothing for what is none.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(folder).ok()?;
    metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
}
