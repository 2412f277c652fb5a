//! What is made for this user alone: folders, and files that stay open. What the system says is handed on as it is:
//! callers name the place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a folder, and those above it, for this user alone (mode 0700); those that are there stay as they are.
/// Blocks on the file system.
///
/// # Errors
/// When the system refuses.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

/// Opens a file to read and write; makes an empty one, for this user alone (mode 0600), where there is none. Blocks on
/// the file system.
///
/// # Errors
/// When the system refuses.
pub fn open_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}
