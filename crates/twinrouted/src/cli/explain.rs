//! `twinroute explain`: why an event goes where it goes.

use super::event_input::read_events;
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
    #[arg(long, short, required_unless_present = "filter")]
    config: Option<PathBuf>,
    /// Asks this filter alone, without a configuration; exit code 1 where it matches no event.
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["config", "instance"])]
    filter: Option<String>,
    /// The events: a file in CloudEvents JSON format, or `-` for standard input.
    event: PathBuf,
    /// The instance whose routes are asked.
    #[arg(long)]
    instance: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    match (&options.filter, &options.config) {
        (Some(filter), _) => of_filter(options, filter),
        (None, Some(config)) => of_routes(options, config),
        (None, None) => Ok(ExitCode::FAILURE),
    }
}

/// Why a filter matches events, or does not.
fn of_filter(options: &ExplainOptions, filter: &str) -> anyhow::Result<ExitCode> {
    let filter = RouteFilter::parse(filter, &FilterOptions::default())?;
    let events = read_events(&options.event)?;
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

fn of_routes(options: &ExplainOptions, config: &Path) -> anyhow::Result<ExitCode> {
    let router = match offline_router(config, "explain")? {
        Ok(router) => router,
        Err(code) => return Ok(code),
    };
    let (mut text, mut list) = (String::new(), Vec::new());
    for (number, written) in read_events(&options.event)?.iter().enumerate() {
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
