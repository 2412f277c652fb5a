//! `twinroute run`: the real thing.

use super::{config_error, table, told_to_stop};
use crate::config::Loaded;
use crate::daemon::Daemon;
use crate::logging;
use std::path::Path;
use std::process::ExitCode;

pub(super) async fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match Loaded::read(file) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(config_error(&error)),
    };
    if let Err(error) = logging::install(loaded.config.log.format, &loaded.config.log.filter) {
        return Ok(config_error(&error));
    }
    let grace = loaded.config.shutdown_grace;
    let daemon = match Daemon::start(loaded) {
        Ok(daemon) => daemon,
        Err(error) => return Ok(config_error(&error)),
    };
    told_to_stop().await?;
    tracing::info!(?grace, "stopping: lanes finish what they have");
    let status = daemon.stop(grace).await;
    eprint!("{}", table::render(&status));
    Ok(ExitCode::SUCCESS)
}
