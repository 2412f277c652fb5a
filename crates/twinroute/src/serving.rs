//! Wiring: the management API, its store and its key.

use crate::auditing;
use crate::config::{Kind, Loaded};
use crate::containers::Endpoints;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinroute_credential::key_file as keys;
use twinroute_management::{Backing, Management, StoreError};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;
use twinroute_model::secret::Secret;
use twinroute_retry::journal::{KEYS, Sealing};

/// Opens the management API, if it is served or is the source. Blocks on the disk.
pub(crate) fn open(
    loaded: &Loaded,
    endpoints: &Arc<Endpoints>,
) -> anyhow::Result<Option<Management>> {
    let settings = &loaded.config.management;
    let served = settings.is_served();
    let backing = match loaded.config.table.source {
        Kind::Store => Backing::Disk {
            path: store_file(loaded),
            key: Box::new(key(loaded)?),
        },
        Kind::Files if served => Backing::Mirror(format!(
            "the definitions come from the files in {}; change them there, or set source = \"store\" in \
             [table]",
            loaded.folder.root().display()
        )),
        Kind::Azure if served => Backing::Mirror(format!(
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
    let backing = Backing::Disk {
        path: store_file(loaded),
        key: Box::new(key(loaded)?),
    };
    let settings = &loaded.config.management;
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::new(Endpoints::new(None, &loaded.outgoing()?)?);
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
    folder(loaded).join("store.redb")
}

/// The folder of the store and of what goes with it.
pub(crate) fn folder(loaded: &Loaded) -> PathBuf {
    loaded.path(&loaded.config.management.path)
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
        return folder(loaded).join("store.key");
    }
    loaded.path(named)
}

/// The file of the last good listing of Azure.
pub(crate) fn saved_file(loaded: &Loaded) -> PathBuf {
    folder(loaded).join("azure.saved")
}
