//! Sets up the log: one subscriber for the process, on standard error.

use crate::config::LogFormat;
use crate::log_gate::{self, JsonGate};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber; `RUST_LOG` wins over `filter`.
///
/// # Errors
/// When a filter cannot be read.
pub(crate) fn install(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = self::filter(&directives)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Pretty => log_gate::text(builder).init(),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            builder.map_event_format(JsonGate).init();
        }
    }
    Ok(())
}

/// Reads a filter.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(directives)
        .map_err(|error| anyhow::anyhow!("the log filter {directives:?}: {error}"))
}
