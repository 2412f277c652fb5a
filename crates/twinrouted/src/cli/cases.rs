//! `twinroute test`: events and the routes and endpoints that they must reach.

use super::offline_router::offline_router;
use super::paint::{PaintedText, TextColor};
use crate::cli::output;
use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_model::cloudevents::json as event_json;
use twinroute_model::event::EventLimits;
use twinroute_router::Router;

/// Bytes of a file of cases.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What is tested.
#[derive(Args, Debug)]
pub(crate) struct TestOptions {
    /// The configuration file, whose definitions are in files.
    #[arg(long, short)]
    config: PathBuf,
    /// Files of cases, JSON or TOML.
    #[arg(required = true)]
    cases: Vec<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// A file of cases; in JSON a list alone will do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    cases: Vec<RoutingCase>,
}

/// Events that must reach these routes and endpoints, and no others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoutingCase {
    name: String,
    /// The default instance, if none is named.
    #[serde(default)]
    instance: Option<String>,
    /// One event, or several of which each must.
    event: Value,
    #[serde(default)]
    routes: Option<BTreeSet<String>>,
    #[serde(default)]
    endpoints: Option<BTreeSet<String>>,
}

/// What a case came to.
struct CaseResult {
    file: String,
    name: String,
    /// What is missing or too much, a line each; empty where it passed.
    differences: Vec<String>,
}

pub(super) fn run(options: &TestOptions) -> anyhow::Result<ExitCode> {
    let router = match offline_router(&options.config, "test")? {
        Ok(router) => router,
        Err(code) => return Ok(code),
    };
    let mut results = Vec::new();
    for file in &options.cases {
        let name = file.display().to_string();
        for case in read_cases(file).with_context(|| name.clone())? {
            let differences = differences(&router, &case);
            let differences =
                differences.with_context(|| format!("{name}: case {:?}", case.name))?;
            results.push(CaseResult {
                file: name.clone(),
                name: case.name,
                differences,
            });
        }
    }
    let failed = results
        .iter()
        .filter(|result| !result.differences.is_empty())
        .count();
    match options.json {
        true => output::line(serde_json::to_string_pretty(&as_json(&results))?)?,
        false => output::print_painted(&as_text(&results, failed))?,
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn read_cases(file: &Path) -> anyhow::Result<Vec<RoutingCase>> {
    let size = std::fs::metadata(file)?.len();
    if size > FILE_BYTES_MAX {
        bail!("it is larger than 16 MiB: divide it");
    }
    let text = std::fs::read_to_string(file)?;
    let is_toml = file
        .extension()
        .is_some_and(|extension| extension == "toml");
    if is_toml {
        return Ok(toml::from_str::<CaseFile>(&text)?.cases);
    }
    Ok(match text.trim_start().starts_with('[') {
        true => serde_json::from_str(&text)?,
        false => serde_json::from_str::<CaseFile>(&text)?.cases,
    })
}

/// What each event of a case did, against what it must do.
fn differences(router: &Router, case: &RoutingCase) -> anyhow::Result<Vec<String>> {
    if case.routes.is_none() && case.endpoints.is_none() {
        bail!("it expects nothing: name `routes` or `endpoints`, [] for none");
    }
    let one = std::slice::from_ref(&case.event);
    let events = case.event.as_array().map_or(one, Vec::as_slice);
    let mut differences = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let event = event_json::parse(event.to_string().into(), &EventLimits::default());
        let event = event.with_context(|| format!("event {}", number + 1))?;
        let explained = router.explain(case.instance.as_deref(), &event)?;
        let matching = explained
            .iter()
            .filter(|(_, _, explanation)| explanation.matches);
        let (mut routes, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
        for (route, endpoint, _) in matching {
            routes.insert(route.to_string());
            endpoints.insert(endpoint.to_string());
        }
        let about = format!("event {}", event.id());
        compare(
            &about,
            "route",
            case.routes.as_ref(),
            &routes,
            &mut differences,
        );
        compare(
            &about,
            "endpoint",
            case.endpoints.as_ref(),
            &endpoints,
            &mut differences,
        );
    }
    Ok(differences)
}

fn compare(
    about: &str,
    what: &str,
    expected: Option<&BTreeSet<String>>,
    reached: &BTreeSet<String>,
    differences: &mut Vec<String>,
) {
    let Some(expected) = expected else {
        return;
    };
    for missing in expected.difference(reached) {
        differences.push(format!(
            "- {what} {missing}: {about} must reach it and does not"
        ));
    }
    for surplus in reached.difference(expected) {
        differences.push(format!(
            "+ {what} {surplus}: {about} reaches it and must not"
        ));
    }
}

fn as_json(results: &[CaseResult]) -> Value {
    let cases = results.iter().map(|result| {
        json!({
            "file": result.file, "name": result.name,
            "passed": result.differences.is_empty(), "differences": result.differences,
        })
    });
    cases.collect()
}

fn as_text(results: &[CaseResult], failed: usize) -> PaintedText {
    let mut text = PaintedText::default();
    for result in results {
        match result.differences.is_empty() {
            true => text.add(TextColor::Good, "ok    "),
            false => text.add(TextColor::Bad, "FAIL  "),
        }
        let line = format!("{}: {}", result.file, result.name);
        text.plain(twinroute_model::visible::one_line(&line));
        text.plain("\n");
        for difference in &result.differences {
            let color = match difference.starts_with('-') {
                true => TextColor::Bad,
                false => TextColor::Caution,
            };
            text.add(
                color,
                format!(
                    "        {}\n",
                    twinroute_model::visible::one_line(difference)
                ),
            );
        }
    }
    text.plain(format!(
        "{} passed, {failed} failed\n",
        results.len() - failed
    ));
    text
}
