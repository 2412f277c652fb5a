//! The router of a configuration, built to be asked what its routes decide. It accepts and delivers nothing.

use super::exit;
use crate::config::LoadedConfig;
use crate::daemon;
use std::path::Path;
use std::process::ExitCode;
use twinroute_router::Router;

/// Builds it for `command`, from definitions in files. Blocks on the file system.
///
/// Where the configuration or its definitions cannot be used, that was said, and the inner error is the exit code.
///
/// # Errors
/// Outgoing connections cannot be set up.
pub(super) fn offline_router(
    config: &Path,
    command: &str,
) -> anyhow::Result<Result<Router, ExitCode>> {
    let loaded = match LoadedConfig::read(config) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(Err(exit::not_started(&error))),
    };
    if let Err(error) = loaded.need_files(command) {
        return Ok(Err(exit::not_started(&error)));
    }
    let definitions = match loaded.definitions() {
        Ok(definitions) => definitions,
        Err(faults) => return Ok(Err(exit::not_started(&faults.into()))),
    };
    let router = daemon::router(&loaded.outgoing()?)?
        .default_instance(&loaded.config.instance)
        .definitions(definitions);
    Ok(router
        .build()
        .map_err(|error| exit::not_started(&error.into())))
}
