//! `twinroute status`: what a running twinroute does.

use super::ask::{self, AdminTarget};
use super::table;
use crate::cli::output;
use std::process::ExitCode;

pub(super) async fn run(whom: &AdminTarget, as_json: bool) -> anyhow::Result<ExitCode> {
    let body = whom.get("/status?pretty").await?;
    if as_json {
        output::line(&body)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(table::render(&ask::read(&body)?))?;
    Ok(ExitCode::SUCCESS)
}
