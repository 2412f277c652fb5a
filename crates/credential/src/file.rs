//! Files that hold secrets: whose they have to be.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use twinroute_model::exposure::{Exposure, Process, Rights};

/// Who else gets at a file that holds a secret, if anybody does.
#[must_use]
pub fn exposure(path: &Path, metadata: &Metadata) -> Option<Exposure> {
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.push(rustix::process::getegid().as_raw());
    let process = Process {
        user: rustix::process::geteuid().as_raw(),
        groups: &groups,
    };
    let rights = Rights {
        mode: metadata.mode(),
        owner: metadata.uid(),
        group: metadata.gid(),
    };
    Exposure::of(path, rights, process)
}
