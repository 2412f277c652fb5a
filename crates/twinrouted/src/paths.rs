//! Where the daemon keeps what it stores.

use crate::config::{LoadedConfig, SourceKind};
use std::path::PathBuf;

/// The file of the store.
pub(crate) fn store_file(loaded: &LoadedConfig) -> PathBuf {
    loaded.store_folder().join("store.redb")
}

/// The file of the last definitions of endpoints.
pub(crate) fn last_definitions_file(loaded: &LoadedConfig) -> Option<PathBuf> {
    Some(loaded.journal_folder()?.join("last-definitions"))
}

/// The file that holds the key, unless a variable does.
pub(crate) fn key_file(loaded: &LoadedConfig) -> PathBuf {
    let named = &loaded.config.management.key_file;
    if named.as_os_str().is_empty() {
        return key_folder(loaded).join("store.key");
    }
    loaded.path(named)
}

/// Where the key is unless something else is said: with what it seals. Where definitions are files that is beside the
/// journal, for a folder beside the configuration may not be writable.
fn key_folder(loaded: &LoadedConfig) -> PathBuf {
    match (loaded.config.table.source, loaded.journal_folder()) {
        (SourceKind::Files, Some(journal)) => journal,
        _ => loaded.store_folder(),
    }
}

/// The file of the last good listing of Azure.
pub(crate) fn saved_file(loaded: &LoadedConfig) -> PathBuf {
    loaded.store_folder().join("azure.saved")
}

/// The file that says who uses the key.
pub(crate) fn lock_file(loaded: &LoadedConfig) -> PathBuf {
    // The journal has a file `lock` of its own.
    key_folder(loaded).join("key.lock")
}
