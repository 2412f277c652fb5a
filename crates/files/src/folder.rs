//! Folders that files of ours stand in. What the system says of one is handed on as it is: callers name it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// The folder that a file stands in; `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes a folder, and those above it, for this user alone (mode 0700); those that are there stay as they are.
/// Blocks on the file system.
///
/// # Errors
/// When the system refuses.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

/// Syncs a folder: a file that is not in its folder yet would be gone after a loss of power. Blocks on the file
/// system.
///
/// # Errors
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
