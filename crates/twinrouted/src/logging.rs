//! Sets up the log: one subscriber for the process, on standard error.

use crate::cli::output;
use crate::log_gate::{self, JsonGate};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, Write};
use tracing_subscriber::{EnvFilter, reload};
use twinroute_admin::LogControl;
use twinroute_model::clock::{Clock as _, SystemClock};

/// How the log is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

/// Installs the subscriber; `RUST_LOG` wins over `filter`. What is given back changes the filter.
///
/// # Errors
/// When a filter cannot be read.
pub(crate) fn install(format: LogFormat, filter: &str) -> anyhow::Result<LogControl> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| filter.to_owned());
    let filter = self::filter(&directives)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogOutput);
    // Two types of handles, which depend on the format.
    let apply: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync> = match format {
        LogFormat::Pretty => {
            let builder = builder.with_ansi(output::has_colors(&io::stderr()));
            let builder = log_gate::text(builder).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let builder = builder.with_ansi(false).json().flatten_event(true);
            let builder = builder.map_event_format(JsonGate).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter))
        }
    };
    Ok(LogControl::new(&directives, move |directives| {
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        apply(filter).map_err(|error| error.to_string())
    }))
}

/// Reads a filter.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(directives)
        .map_err(|error| anyhow::anyhow!("the log filter {directives:?}: {error}"))
}

/// One line as the JSON log has them, for what is no event of `tracing`: a value that is a tree, or that goes out whatever
/// the filter is. `fields` is an object.
pub(crate) fn json_event(level: &str, message: &str, fields: &Value) -> Value {
    let mut event = json!({
        "timestamp": SystemClock.now().rfc3339(), "level": level, "message": message,
        "target": "twinroute",
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        event[name.as_str()] = value.clone();
    }
    event
}

/// Standard error, as far as somebody reads it. Events are delivered whether or not: a log whose pipe is closed or whose
/// disk is full loses lines and nothing else. (An error would make the subscriber print about it on standard error,
/// which panics there.)
struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        drop(io::stderr().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
