//! Wiring: the audit log.

use crate::config::{LoadedConfig, SourceKind};
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use twinroute_audit::{AuditLog, ChangeAuthor};
use twinroute_model::clock::SystemClock;

/// The folder of the log; none where nothing is kept on disk and none is named.
pub(crate) fn folder(loaded: &LoadedConfig) -> Option<PathBuf> {
    let named = &loaded.config.audit.path;
    if !named.as_os_str().is_empty() {
        return Some(loaded.path(named));
    }
    match loaded.config.table.source {
        SourceKind::Store => Some(loaded.store_folder().join("audit")),
        SourceKind::Files | SourceKind::Azure => Some(loaded.journal_folder()?.join("audit")),
    }
}

/// Opens it, if there is to be one. Blocks on the disk.
pub(crate) fn open(loaded: &LoadedConfig) -> anyhow::Result<AuditLog> {
    let Some(folder) = folder(loaded) else {
        tracing::info!("changes are not recorded anywhere: set [audit] path to keep an audit log");
        return Ok(AuditLog::off());
    };
    let clock = Arc::new(SystemClock);
    AuditLog::open(&folder, &loaded.config.audit, clock).context("[audit]")
}

/// Who runs a command on the daemon's files: a user of this machine, by number.
pub(crate) fn author() -> ChangeAuthor {
    let user = rustix::process::getuid().as_raw();
    ChangeAuthor::command("command", &format!("uid {user}"))
}

/// Whoever sent a signal, which does not say who that is.
pub(crate) fn signal() -> ChangeAuthor {
    ChangeAuthor::command("signal", "unknown")
}
