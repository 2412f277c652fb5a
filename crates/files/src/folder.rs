//! The folder that a file stands in, on which it depends whether the file is there after a loss of power.

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder that holds a file; `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Syncs a folder: a file that is not in its folder yet would be gone after a loss of power. What the system says
/// does not name the folder. Blocks on the file system.
///
/// # Errors
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
