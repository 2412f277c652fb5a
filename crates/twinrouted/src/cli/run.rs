//! `twinroute run`: the real thing.

use super::exit::{self, ExitReason};
use super::table;
use crate::cli::output;
use crate::config::LoadedConfig;
use crate::daemon::RunningDaemon;
use crate::logging::{self, LogFormat};
use crate::process;
use crate::stop_signals::StopSignals;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use twinroute_admin::StatusReport;

pub(super) async fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match LoadedConfig::read(file) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    let format = loaded.config.log.format;
    let log = match logging::install(format, &loaded.config.log.filter) {
        Ok(log) => log,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    if !loaded.config.core_dumps {
        process::without_core_dumps();
    }
    let mut stop = StopSignals::new()?;
    let grace = loaded.config.shutdown_grace;
    let daemon = match RunningDaemon::start(loaded, log).await {
        Ok(daemon) => daemon,
        Err(error) => return Ok(not_started(format, &error)),
    };
    stop.wait().await;
    tracing::info!(?grace, "stopping: lanes finish what they have");
    // A second signal is meant: whoever sends it does not want to wait for the grace time.
    tokio::select! {
        status = daemon.stop(grace) => {
            show_last(format, &status);
            Ok(ExitCode::SUCCESS)
        }
        () = stop.wait() => {
            tracing::error!(
                "stopped at once by a second signal; what was not delivered waits in the journal \
                 on disk, or is lost with the one in memory"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says why there is no daemon, in the form of the log.
fn not_started(format: LogFormat, error: &anyhow::Error) -> ExitCode {
    match format {
        LogFormat::Pretty => exit::not_started(error),
        LogFormat::Json => {
            let code = ExitReason::of(error).code();
            let fields = json!({ "error": format!("{error:#}"), "exit_code": code });
            let event = logging::json_event("ERROR", "cannot start", &fields);
            output::error_line(event);
            ExitCode::from(code)
        }
    }
}

/// The last status goes out whatever the log's filter is.
fn show_last(format: LogFormat, status: &StatusReport) {
    match format {
        LogFormat::Pretty => output::error_text(table::render(&status.router)),
        LogFormat::Json => {
            let fields = json!({ "status": status });
            output::error_line(logging::json_event("INFO", "the last status", &fields));
        }
    }
}
