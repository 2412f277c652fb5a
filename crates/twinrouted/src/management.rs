//! Wiring: the management API with its store, and the last definitions.

use crate::config::{LoadedConfig, SourceKind};
use crate::connect::azure_connect;
use crate::{auditing, keys, paths};
use anyhow::{Context as _, bail};
use std::sync::Arc;
use twinroute::azure::AzureConnect;
use twinroute_management::{ManagementServer, StoreBacking, StoreError};
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_router::LastDefinitions;

/// Opens the management API, if it is served or is the source. Blocks on the disk.
pub(crate) fn open(
    loaded: &LoadedConfig,
    endpoints: &Arc<AzureConnect>,
) -> anyhow::Result<Option<ManagementServer>> {
    let settings = &loaded.config.management;
    let served = settings.is_served();
    let backing = match loaded.config.table.source {
        SourceKind::Store => StoreBacking::Disk {
            path: paths::store_file(loaded),
            key: Box::new(keys::key(loaded)?),
        },
        SourceKind::Files if served => StoreBacking::Mirror(format!(
            "the definitions come from the files in {}; change them there, or set source = \"store\" in \
             [table]",
            loaded.folder.root().display()
        )),
        SourceKind::Azure if served => StoreBacking::Mirror(format!(
            "the definitions come from {}; change them there, or set source = \"store\" in [table]",
            loaded.config.azure.management_url
        )),
        SourceKind::Files | SourceKind::Azure => return Ok(None),
    };
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::clone(endpoints);
    let clock = Arc::new(SystemClock);
    let management = ManagementServer::open(settings, backing, default_instance, connect, clock);
    management.map(Some).context("[management]")
}

/// The store of a daemon that is stopped, for commands that look at it or change it. Blocks on the disk.
///
/// # Errors
/// When the store is not the source, or a process has it open.
pub(crate) fn offline(loaded: &LoadedConfig) -> anyhow::Result<ManagementServer> {
    if loaded.config.table.source != SourceKind::Store {
        bail!("set source = \"store\" in [table]: with another source, nothing is stored here");
    }
    let backing = StoreBacking::Disk {
        path: paths::store_file(loaded),
        key: Box::new(keys::key(loaded)?),
    };
    let settings = &loaded.config.management;
    let default_instance = InstanceName::new(&loaded.config.instance)?;
    let connect = Arc::new(azure_connect(
        None,
        &loaded.outgoing()?,
        loaded.config.ingress.event_bytes(),
    )?);
    let clock = Arc::new(SystemClock);
    let opened =
        ManagementServer::open_offline(settings, backing, default_instance, connect, clock);
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

/// Where the last definitions of endpoints are kept: beside the journal, so nowhere when that is in memory.
///
/// A daemon whose definitions are files needs the key for nothing else, so it does without when there is none to be
/// had, and says so.
///
/// # Errors
/// When there is no key, and definitions come from elsewhere.
pub(crate) fn last_definitions(loaded: &LoadedConfig) -> anyhow::Result<Option<LastDefinitions>> {
    let Some(file) = paths::last_definitions_file(loaded) else {
        return Ok(None);
    };
    match keys::key(loaded) {
        Ok(key) => Ok(Some(LastDefinitions { path: file, key })),
        Err(error) if loaded.config.table.source == SourceKind::Files => {
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
