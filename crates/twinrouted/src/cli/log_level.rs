//! `twinroute log-level`: what the log of a running twinroute says.

use super::ask::{self, AdminTarget};
use crate::cli::output;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use twinroute_admin::LogFilter;

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct LogLevelOptions {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or levels of parts: `info,twinroute_router=debug`. Without
    /// it the present filter is shown. It holds until it is changed again or the process ends.
    filter: Option<String>,
    /// Goes back to the filter that the process began with.
    #[arg(long, conflicts_with = "filter")]
    reset: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: AdminTarget,
}

pub(super) async fn run(options: &LogLevelOptions) -> anyhow::Result<ExitCode> {
    const PATH: &str = "/log-level?pretty";
    let whom = &options.whom;
    let answer = match (&options.filter, options.reset) {
        (Some(filter), _) => {
            whom.post(PATH, json!({ "filter": filter }).to_string())
                .await?
        }
        (None, true) => whom.post(PATH, json!({}).to_string()).await?,
        (None, false) => whom.get(PATH).await?,
    };
    if options.json {
        output::print(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let LogFilter { filter, configured } = ask::read(&answer)?;
    if filter == configured {
        output::line(filter)?;
    } else {
        output::line(format_args!("{filter} (configured: {configured})"))?;
    }
    Ok(ExitCode::SUCCESS)
}
