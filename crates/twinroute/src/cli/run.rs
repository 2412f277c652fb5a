//! `twinroute run`: the real thing.

use super::{StopSignals, config_error, table};
use crate::cli::output;
use crate::config::Loaded;
use crate::daemon::Daemon;
use crate::logging;
use crate::process;
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
    if !loaded.config.core_dumps {
        process::without_core_dumps();
    }
    let mut stop = StopSignals::new()?;
    let grace = loaded.config.shutdown_grace;
    let daemon = match Daemon::start(loaded).await {
        Ok(daemon) => daemon,
        Err(error) => return Ok(config_error(&error)),
    };
    stop.wait().await;
    tracing::info!(?grace, "stopping: lanes finish what they have");
    tokio::select! {
        status = daemon.stop(grace) => {
            output::error_text(table::render(&status));
            Ok(ExitCode::SUCCESS)
        }
        () = stop.wait() => {
            tracing::error!("told to stop once more: what was not delivered is lost, uncounted");
            Ok(ExitCode::FAILURE)
        }
    }
}
