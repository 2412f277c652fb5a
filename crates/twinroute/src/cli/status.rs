//! `twinroute status`: what a running twinroute does.

use super::table;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;
use twinroute_router::status::Status;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(admin: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let address = admin
        .parse()
        .with_context(|| format!("the admin address {admin:?}"))?;
    let answer = twinroute_admin::client::get(&address, "/status?pretty", PATIENCE)
        .await
        .with_context(|| format!("no status from {admin}; is twinroute running there?"))?;
    let body = answer.body;
    if as_json {
        println!("{body}");
        return Ok(ExitCode::SUCCESS);
    }
    let status: Status = serde_json::from_str(&body)
        .context("the answer is not a status of this version of twinroute")?;
    print!("{}", table::render(&status));
    Ok(ExitCode::SUCCESS)
}
