//! Whether a file that holds a secret is for this process alone.
//!
//! The rule: nobody else may write it, and nobody else may read it but root. One case of a group is let pass: a
//! file of root that a group of the process may read, which is how Kubernetes mounts a secret where `fsGroup` is
//! set (Kubernetes, "Configure a Security Context for a Pod"), and how a system gives a service its keys.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a file's metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileRights {
    /// Permission bits.
    mode: u32,
    /// Number of the user it belongs to.
    owner: u32,
    /// Number of the group it belongs to.
    group: u32,
}

/// Who this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessIds<'a> {
    /// Number of the effective user.
    user: u32,
    /// Numbers of the groups, the effective one too.
    groups: &'a [u32],
}

/// Who else gets at a file, and what to do about it. Prints as a sentence without the file's name at its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileExposure {
    path: PathBuf,
    rights: FileRights,
    to: ExposedTo,
    /// Whose it should be.
    user: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExposedTo {
    Everybody,
    Group,
    Owner,
}

impl FileExposure {
    fn of(path: &Path, rights: FileRights, process: ProcessIds<'_>) -> Option<Self> {
        let FileRights { mode, owner, group } = rights;
        let of_root = owner == 0;
        let read_by_our_group = of_root && mode & 0o070 == 0o040 && process.groups.contains(&group);
        let to = if owner != process.user && !of_root {
            ExposedTo::Owner
        } else if mode & 0o007 != 0 {
            ExposedTo::Everybody
        } else if mode & 0o070 != 0 && !read_by_our_group {
            ExposedTo::Group
        } else {
            return None;
        };
        Some(Self {
            path: path.to_owned(),
            rights,
            to,
            user: process.user,
        })
    }
}

/// Who else gets at a file that holds a secret, if anybody does.
#[must_use]
pub fn file_exposure(path: &Path, metadata: &Metadata) -> Option<FileExposure> {
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.push(rustix::process::getegid().as_raw());
    let process = ProcessIds {
        user: rustix::process::geteuid().as_raw(),
        groups: &groups,
    };
    let rights = FileRights {
        mode: metadata.mode(),
        owner: metadata.uid(),
        group: metadata.gid(),
    };
    FileExposure::of(path, rights, process)
}

impl fmt::Display for FileExposure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.rights.mode & 0o7777;
        let (owner, user, path) = (self.rights.owner, self.user, self.path.display());
        match self.to {
            ExposedTo::Everybody => write!(
                formatter,
                "has mode {mode:04o}, so everybody may use it; run: chmod 0600 {path} (of a Kubernetes \
                 secret, set defaultMode: 0400)"
            ),
            ExposedTo::Group => write!(
                formatter,
                "has mode {mode:04o}, so its group may use it; run: chmod 0600 {path}"
            ),
            ExposedTo::Owner => write!(
                formatter,
                "belongs to uid {owner}, who may change it; run: chown {user} {path}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: u32, owner: u32, group: u32) -> String {
        let process = ProcessIds {
            user: 1000,
            groups: &[1000, 2000],
        };
        let rights = FileRights { mode, owner, group };
        let found = FileExposure::of(Path::new("/k"), rights, process);
        found.map_or_else(|| "passes".to_owned(), |exposure| exposure.to_string())
    }

    #[test]
    fn only_the_process_and_root_get_at_it() {
        for (mode, owner, group, expect) in [
            (0o100_600, 1000, 1000, "passes"),
            (0o400, 1000, 1000, "passes"),
            (0o600, 0, 0, "passes"),
            // As Kubernetes mounts it with `fsGroup: 2000`.
            (0o440, 0, 2000, "passes"),
            (0o640, 0, 2000, "passes"),
            (
                0o440,
                0,
                3000,
                "has mode 0440, so its group may use it; run: chmod 0600 /k",
            ),
            (
                0o660,
                0,
                2000,
                "has mode 0660, so its group may use it; run: chmod 0600 /k",
            ),
            (
                0o640,
                1000,
                1000,
                "has mode 0640, so its group may use it; run: chmod 0600 /k",
            ),
            (
                0o644,
                1000,
                1000,
                "has mode 0644, so everybody may use it; run: chmod 0600 /k (of a Kubernetes secret, set \
                 defaultMode: 0400)",
            ),
            (
                0o600,
                1001,
                1000,
                "belongs to uid 1001, who may change it; run: chown 1000 /k",
            ),
        ] {
            assert_eq!(
                check(mode, owner, group),
                expect,
                "{mode:o} {owner} {group}"
            );
        }
        for bit in [0o001, 0o002, 0o004] {
            assert_ne!(check(0o600 | bit, 0, 0), "passes");
        }
    }
}
