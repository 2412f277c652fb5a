//! The key that what is stored is sealed with: where it comes from, who uses it.

use crate::cli::exit::{ExitReason, ReasonedError};
use crate::config::{LoadedConfig, SourceKind};
use crate::paths::{key_file, lock_file};
use anyhow::{Context as _, bail};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use twinroute_credential::key_file as keys;
use twinroute_files::folder::folder_of;
use twinroute_files::private_file::{make_private_folder, open_private_file};
use twinroute_journal::{EventSealing, KEYS};
use twinroute_model::seal::SealKey;
use twinroute_model::secret::Secret;

/// Holds the key in its place: as long as one of these is there, it is not changed.
#[derive(Debug)]
pub(crate) struct KeyInUse {
    _locked: File,
}

/// Says that a daemon uses what is sealed with the key; nothing where nothing is. Several may do so.
///
/// # Errors
/// When the key is being changed, or the folder cannot be written.
pub(crate) fn use_key(loaded: &LoadedConfig) -> anyhow::Result<Option<KeyInUse>> {
    if loaded.config.table.source == SourceKind::Files && loaded.journal_folder().is_none() {
        return Ok(None);
    }
    let path = lock_file(loaded);
    let file = open_lock(&path).with_context(|| path.display().to_string())?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(KeyInUse { _locked: file })),
        Err(TryLockError::WouldBlock) => Err(in_use(format!(
            "{}: the key is being changed; start again once `twinroute management rotate-key` has ended",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
    }
}

/// Keeps daemons away while the key is changed.
///
/// # Errors
/// When one uses it.
pub(crate) fn change_key(loaded: &LoadedConfig) -> anyhow::Result<KeyInUse> {
    let path = lock_file(loaded);
    let file = open_lock(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(KeyInUse { _locked: file }),
        Err(TryLockError::WouldBlock) => Err(in_use(format!(
            "{}: a twinroute that runs uses the key; stop it, change the key, and start it again",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
    }
}

fn in_use(text: String) -> anyhow::Error {
    ReasonedError::new(ExitReason::InUse, text).into()
}

fn open_lock(path: &Path) -> io::Result<File> {
    make_private_folder(folder_of(path))?;
    open_private_file(path)
}

/// The key that what is stored is sealed with.
pub(crate) fn key(loaded: &LoadedConfig) -> anyhow::Result<SealKey> {
    let settings = &loaded.config.management;
    if !settings.key_variable.is_empty() {
        return key_of_variable(&settings.key_variable);
    }
    Ok(keys::load_or_make(&key_file(loaded))?)
}

/// Whether events of the journal in `folder` are sealed, and the key for that. Blocks on the disk.
///
/// Where sealed keys stand already, no key is made: it could open nothing.
pub(crate) fn sealing(loaded: &LoadedConfig, folder: &Path) -> anyhow::Result<EventSealing> {
    let seal = loaded.config.journal.seal;
    let sealed = folder.join(KEYS).exists();
    if !seal && !sealed {
        return Ok(EventSealing::Off);
    }
    let variable = &loaded.config.management.key_variable;
    let file = key_file(loaded);
    if sealed && variable.is_empty() && !file.exists() {
        bail!(
            "[journal]: events in {} are sealed, and the key file {} is not there: bring it back; without it these \
             accepted events are lost",
            folder.display(),
            file.display()
        );
    }
    let key = Box::new(key(loaded).context("[journal]: the key that events are sealed with")?);
    Ok(if seal {
        EventSealing::Seal(key)
    } else {
        EventSealing::Open(key)
    })
}

/// The key in a variable of the environment.
pub(crate) fn key_of_variable(name: &str) -> anyhow::Result<SealKey> {
    let value = std::env::var(name)
        .with_context(|| format!("[management] key_variable: the environment variable {name}"))?;
    Ok(keys::from_variable(name, &Secret::new(value))?)
}
