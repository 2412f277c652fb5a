//! Wiring: the management API, its store and its key.

use crate::auditing;
use crate::cli::exit::{ExitReason, ReasonedError};
use crate::config::{Kind, Loaded};
use crate::containers::Endpoints;
use anyhow::{Context as _, bail};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinroute_credential::key_file as keys;
use twinroute_files::folder::folder_of;
use twinroute_files::private_file::{make_private_folder, open_private_file};
use twinroute_journal::{KEYS, Sealing};
use twinroute_management::{Management, StoreBacking, StoreError};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;
use twinroute_model::secret::Secret;
use twinroute_router::LastDefinitions;

/// Opens the management API, if it is served or is the source. Blocks on the disk.
pub(crate) fn open(
    loaded: &Loaded,
    endpoints: &Arc<Endpoints>,
) -> anyhow::Result<Option<Management>> {
    let settings = &loaded.config.management;
    let served = settings.is_served();
    let backing = match loaded.config.table.source {
        Kind::Store => StoreBacking::Disk {
            path: store_file(loaded),
            key: Box::new(key(loaded)?),
        },
        Kind::Files if served => StoreBacking::Mirror(format!(
            "the definitions come from the files in {}; change them there, or set source = \"store\" in \
             [table]",
            loaded.folder.root().display()
        )),
        Kind::Azure if served => StoreBacking::Mirror(format!(
            "the definitions come from {}; change them there, or set source = \"store\" in [table]",
            loaded.config.azure.management_url
        )),
        Kind::Files | Kind::Azure => return Ok(None),
    };
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::clone(endpoints);
    let clock = Arc::new(SystemClock);
    let management = Management::open(settings, backing, default_instance, connect, clock);
    management.map(Some).context("[management]")
}

/// The store of a daemon that is stopped, for commands that look at it or change it. Blocks on the disk.
///
/// # Errors
/// When the store is not the source, or a process has it open.
pub(crate) fn offline(loaded: &Loaded) -> anyhow::Result<Management> {
    if loaded.config.table.source != Kind::Store {
        bail!("set source = \"store\" in [table]: with another source, nothing is stored here");
    }
    let backing = StoreBacking::Disk {
        path: store_file(loaded),
        key: Box::new(key(loaded)?),
    };
    let settings = &loaded.config.management;
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::new(Endpoints::new(
        None,
        &loaded.outgoing()?,
        loaded.config.ingress.event_bytes(),
    )?);
    let clock = Arc::new(SystemClock);
    let opened = Management::open_offline(settings, backing, default_instance, connect, clock);
    let management = opened.map_err(|error| {
        let hint = match error {
            StoreError::Locked { .. } => "stop the twinroute that has the store open",
            _ => "[management]",
        };
        anyhow::Error::from(error).context(hint)
    })?;
    management.set_beside(loaded.settings()?);
    management.set_audit(auditing::open(loaded)?);
    Ok(management)
}

/// The file of the store.
pub(crate) fn store_file(loaded: &Loaded) -> PathBuf {
    loaded.store_folder().join("store.redb")
}

/// Holds the key in its place: as long as one of these is there, it is not changed.
#[derive(Debug)]
pub(crate) struct InUse {
    _locked: File,
}

/// Says that a daemon uses what is sealed with the key; nothing where nothing is. Several may do so.
///
/// # Errors
/// When the key is being changed, or the folder cannot be written.
pub(crate) fn use_key(loaded: &Loaded) -> anyhow::Result<Option<InUse>> {
    if loaded.config.table.source == Kind::Files && loaded.journal_folder().is_none() {
        return Ok(None);
    }
    let path = lock_file(loaded);
    let file = open_lock(&path).with_context(|| path.display().to_string())?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(InUse { _locked: file })),
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
pub(crate) fn change_key(loaded: &Loaded) -> anyhow::Result<InUse> {
    let path = lock_file(loaded);
    let file = open_lock(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(InUse { _locked: file }),
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

fn lock_file(loaded: &Loaded) -> PathBuf {
    // The journal has a file `lock` of its own.
    key_folder(loaded).join("key.lock")
}

fn open_lock(path: &Path) -> io::Result<File> {
    make_private_folder(folder_of(path))?;
    open_private_file(path)
}

/// Where the last definitions of endpoints are kept: beside the journal, so nowhere when that is in memory.
///
/// A daemon whose definitions are files needs the key for nothing else, so it does without when there is none to be
/// had, and says so.
///
/// # Errors
/// When there is no key, and definitions come from elsewhere.
pub(crate) fn last_definitions(loaded: &Loaded) -> anyhow::Result<Option<LastDefinitions>> {
    let Some(file) = last_definitions_file(loaded) else {
        return Ok(None);
    };
    match key(loaded) {
        Ok(key) => Ok(Some(LastDefinitions { path: file, key })),
        Err(error) if loaded.config.table.source == Kind::Files => {
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                "there is no key to keep the last definitions of endpoints with, so those that are removed are \
                 forgotten at the next start, and what waits for them becomes dead letters kept here: have a key in \
                 [management] key_file or key_variable"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The file of the last definitions of endpoints.
pub(crate) fn last_definitions_file(loaded: &Loaded) -> Option<PathBuf> {
    Some(loaded.journal_folder()?.join("last-definitions"))
}

/// The key that what is stored is sealed with.
pub(crate) fn key(loaded: &Loaded) -> anyhow::Result<SealKey> {
    let settings = &loaded.config.management;
    if !settings.key_variable.is_empty() {
        return key_of_variable(&settings.key_variable);
    }
    Ok(keys::load_or_make(&key_file(loaded))?)
}

/// Whether events of the journal in `folder` are sealed, and the key for that. Blocks on the disk.
///
/// Where sealed keys stand already, no key is made: it could open nothing.
pub(crate) fn sealing(loaded: &Loaded, folder: &Path) -> anyhow::Result<Sealing> {
    let seal = loaded.config.journal.seal;
    let sealed = folder.join(KEYS).exists();
    if !seal && !sealed {
        return Ok(Sealing::Off);
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
        Sealing::Seal(key)
    } else {
        Sealing::Open(key)
    })
}

/// The key in a variable of the environment.
pub(crate) fn key_of_variable(name: &str) -> anyhow::Result<SealKey> {
    let value = std::env::var(name)
        .with_context(|| format!("[management] key_variable: the environment variable {name}"))?;
    Ok(keys::from_variable(name, &Secret::new(value))?)
}

/// The file that holds the key, unless a variable does.
pub(crate) fn key_file(loaded: &Loaded) -> PathBuf {
    let named = &loaded.config.management.key_file;
    if named.as_os_str().is_empty() {
        return key_folder(loaded).join("store.key");
    }
    loaded.path(named)
}

/// Where the key is unless something else is said: with what it seals. Where definitions are files that is beside the
/// journal, for a folder beside the configuration may not be writable.
fn key_folder(loaded: &Loaded) -> PathBuf {
    match (loaded.config.table.source, loaded.journal_folder()) {
        (Kind::Files, Some(journal)) => journal,
        _ => loaded.store_folder(),
    }
}

/// The file of the last good listing of Azure.
pub(crate) fn saved_file(loaded: &Loaded) -> PathBuf {
    loaded.store_folder().join("azure.saved")
}
