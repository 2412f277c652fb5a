//! A file that is replaced as a whole: whoever reads it finds all of the old one or all of the new one.
//!
//! Written beside its place, synced, renamed over it, the folder synced. A crash before the rename leaves the old
//! one, and perhaps the draft `<path>.new`, which the next replacement writes over.

use crate::file_error::FileError;
use crate::folder::{folder_of, sync_folder};
use crate::private_file::make_private_folder;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Mode of a file that is for its owner alone.
pub const OWNER_ONLY: u32 = 0o600;

/// Mode of a file that everybody may read.
pub const READABLE_BY_ALL: u32 = 0o644;

/// The path with something behind its name.
#[must_use]
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces a file, or makes it, with `parts` one after the other; it has this mode whatever the mask of the process,
/// and is on disk, its name too, when this returns. Its folder is made, for this user alone, where there is none. A
/// symbolic link in its place is replaced, not followed. One writer at a time. Blocks on the file system.
///
/// # Errors
/// Naming the file and the step. Then it is as it was, unless the last step failed: that it is in its place would be
/// lost with the power.
pub fn replace_file(path: &Path, mode: u32, parts: &[&[u8]]) -> Result<(), FileError> {
    let at = |step| FileError::at(path, step);
    make_private_folder(folder_of(path)).map_err(at("make its folder"))?;
    let draft = sibling(path, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&draft).map_err(at("make it"))?;
    // Of a draft that was there already too.
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(at("set its mode"))?;
    parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| file.sync_all())
        .map_err(at("write it"))?;
    move_into_place(&draft, path)
}

/// Renames a file that is on disk already to `path`, in the same folder, whatever stands there; durable when this
/// returns. Blocks on the file system.
///
/// # Errors
/// As [`replace_file`].
pub fn move_into_place(draft: &Path, path: &Path) -> Result<(), FileError> {
    let at = |step| FileError::at(path, step);
    fs::rename(draft, path).map_err(at("put it in its place"))?;
    sync_folder(folder_of(path)).map_err(at("sync its folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn file_is_made_with_its_folder_and_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deeper/still/key");
        replace_file(&path, OWNER_ONLY, &[b"head ", b"and a long tail"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"head and a long tail");
        assert_eq!((mode(&path), mode(folder_of(&path))), (0o600, 0o700));
        replace_file(&path, READABLE_BY_ALL, &[b"short"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(mode(&path), 0o644);
        assert!(!sibling(&path, ".new").exists());
    }

    #[test]
    fn draft_of_a_crash_is_written_over_and_its_mode_does_not_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        let draft = sibling(&path, ".new");
        fs::write(&draft, "much longer than what comes").unwrap();
        fs::set_permissions(&draft, Permissions::from_mode(0o666)).unwrap();
        replace_file(&path, OWNER_ONLY, &[b"k"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"k");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn link_in_its_place_is_replaced_and_what_it_leads_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (root.path().join("key"), root.path().join("other"));
        fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        replace_file(&path, OWNER_ONLY, &[b"k"]).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read(&other).unwrap(), b"other");
    }

    #[test]
    fn step_that_fails_is_named_and_the_old_file_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        replace_file(&path, OWNER_ONLY, &[b"old"]).unwrap();
        fs::create_dir(sibling(&path, ".new")).unwrap();
        let error = replace_file(&path, OWNER_ONLY, &[b"new"]).unwrap_err();
        let expect = format!("{}: cannot make it", path.display());
        assert_eq!(error.to_string(), expect);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let below = path.join("key");
        let error = replace_file(&below, OWNER_ONLY, &[b"new"]).unwrap_err();
        assert_eq!(error.step, "make its folder");
    }
}
