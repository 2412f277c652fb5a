//! `twinroute explain`: why an event goes where it goes.

use super::ask::AdminTarget;
use super::event_input::read_events;
use super::history::HistorySource;
use super::history::render::explanations;
use super::offline_router::offline_router;
use crate::cli::output;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_filter::explain::{FilterExplanation, explain};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::event::Event;
use twinroute_model::twin::TwinKey;
use twinroute_model::visible::one_line;

/// What is explained.
#[derive(Args, Debug)]
pub(crate) struct ExplainOptions {
    /// The configuration file, whose routes are asked.
    #[arg(long, short, required_unless_present_any = ["filter", "id"])]
    config: Option<PathBuf>,
    /// Asks this filter alone, without a configuration; exit code 1 where it matches no event.
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["config", "instance"])]
    filter: Option<String>,
    /// The events: a file in CloudEvents JSON format, or `-` for standard input.
    #[arg(required_unless_present = "id")]
    event: Option<PathBuf>,
    /// Explains past events of this id: under the routes of then, and under those of today, which are those of `--config`,
    /// else of the running twinroute.
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "filter", "instance"])]
    id: Option<String>,
    /// Past events of this source, where several have this id.
    #[arg(long, default_value = "", requires = "id")]
    source: String,
    /// Past events of the journal in this folder, which no running twinroute has open, instead of asking one.
    #[arg(long, value_name = "FOLDER", requires = "id")]
    journal: Option<PathBuf>,
    /// The instance whose routes are asked.
    #[arg(long)]
    instance: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: AdminTarget,
}

pub(super) async fn run(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    let event = options.event.as_deref();
    match (&options.id, event, &options.filter, &options.config) {
        (Some(id), ..) => of_past(options, id).await,
        (None, Some(event), Some(filter), _) => of_filter(options, filter, event),
        (None, Some(event), None, Some(config)) => of_routes(options, config, event),
        (None, None, ..) | (None, _, None, None) => Ok(ExitCode::FAILURE),
    }
}

/// What routes decided about past events, and decide today.
async fn of_past(options: &ExplainOptions, id: &str) -> anyhow::Result<ExitCode> {
    let config = options.config.as_deref();
    let history = HistorySource::of(options.journal.as_deref(), config, &options.whom)?;
    let mut events = history.events_of(id, &options.source).await?;
    if let Some(config) = config {
        match offline_router(config, "explain")? {
            Ok(router) => router.decide_now(&mut events),
            Err(code) => return Ok(code),
        }
    }
    match options.json {
        true => output::line(serde_json::to_string_pretty(&events)?)?,
        false => output::print(explanations(&events))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a filter matches events, or does not.
fn of_filter(options: &ExplainOptions, filter: &str, event: &Path) -> anyhow::Result<ExitCode> {
    let filter = RouteFilter::parse(filter, &FilterOptions::default())?;
    let events = read_events(event)?;
    let (mut text, mut list, mut matches) = (String::new(), Vec::new(), false);
    for written in &events {
        let explanation = explain(&filter, &written.event);
        matches |= explanation.matches;
        writeln!(text, "{}: {}", head(&written.event), verdict(&explanation))?;
        for line in explanation.to_string().lines() {
            writeln!(text, "    {line}")?;
        }
        list.push(json!({ "id": written.event.id(), "explanation": explanation }));
    }
    match options.json {
        true => output::line(serde_json::to_string_pretty(&list)?)?,
        false => output::print(text)?,
    }
    Ok(match matches {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn of_routes(options: &ExplainOptions, config: &Path, event: &Path) -> anyhow::Result<ExitCode> {
    let router = match offline_router(config, "explain")? {
        Ok(router) => router,
        Err(code) => return Ok(code),
    };
    let (mut text, mut list) = (String::new(), Vec::new());
    for (number, written) in read_events(event)?.iter().enumerate() {
        let explained = router.explain(options.instance.as_deref(), &written.event)?;
        let gap = if number > 0 { "\n" } else { "" };
        writeln!(text, "{gap}{}", head(&written.event))?;
        for (id, endpoint, explanation) in explained {
            writeln!(
                text,
                "\nroute {id} -> {endpoint}: {}",
                verdict(&explanation)
            )?;
            for line in explanation.to_string().lines() {
                writeln!(text, "    {line}")?;
            }
            list.push(json!({
                "route": id.as_str(), "endpoint": endpoint.as_str(), "explanation": explanation,
            }));
        }
    }
    match options.json {
        true => output::line(serde_json::to_string_pretty(&Value::Array(list))?)?,
        false => output::print(text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn head(event: &Event) -> String {
    let head = format!("event {} of twin {}", event.id(), TwinKey::of(event));
    one_line(&head).into_owned()
}

fn verdict(explanation: &FilterExplanation) -> &'static str {
    match explanation.matches {
        true => "matches",
        false => "does not match",
    }
}
