//! Folders of data that this process could not write to.

use crate::auditing;
use crate::config::{LoadedConfig, SourceKind};
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};

/// Warns of them: the configuration may be for another user, or for another machine. Blocks on the file system.
pub(crate) fn not_writable(loaded: &LoadedConfig) -> Vec<String> {
    let stores = loaded.config.table.source != SourceKind::Files;
    let store = stores.then(|| loaded.store_folder());
    let folders = [
        ("[journal] path", loaded.journal_folder()),
        ("[management] path", store),
        ("[audit] path", auditing::folder(loaded)),
    ];
    let warning = |(key, folder): (&str, Option<PathBuf>)| {
        let folder = folder?;
        let why = why_not(&folder)?;
        Some(format!(
            "{key}: the folder {} cannot be written: {why}",
            folder.display()
        ))
    };
    folders.into_iter().filter_map(warning).collect()
}

/// Why a folder cannot be written, or made where it is to be.
fn why_not(folder: &Path) -> Option<String> {
    let there = folder
        .ancestors()
        .find(|path| !path.as_os_str().is_empty() && path.exists());
    let there = there.unwrap_or(Path::new("."));
    if !there.is_dir() {
        return Some(format!("{} is no folder", there.display()));
    }
    let error = access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(match there == folder {
        true => error.to_string(),
        false => format!("{}: {error}", there.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_writable_or_it_is_said_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(why_not(folder.path()), None);
        assert_eq!(why_not(&folder.path().join("new/below")), None);
        let expect = format!("{} is no folder", file.display());
        assert_eq!(why_not(&file.join("below")), Some(expect));
    }
}
