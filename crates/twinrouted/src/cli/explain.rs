//! `twinroute explain`: why an event goes where it goes.

use super::exit;
use crate::cli::output;
use crate::config::LoadedConfig;
use crate::daemon;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use twinroute_model::cloudevents::json;
use twinroute_model::event::EventLimits;
use twinroute_model::twin::TwinKey;
use twinroute_model::visible::one_line;

pub(super) async fn run(
    file: &Path,
    event: &Path,
    instance: Option<&str>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let loaded = match LoadedConfig::read(file) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    if let Err(error) = loaded.need_files("explain") {
        return Ok(exit::not_started(&error));
    }
    let definitions = match loaded.definitions() {
        Ok(definitions) => definitions,
        Err(faults) => return Ok(exit::not_started(&faults.into())),
    };
    let router = daemon::router(&loaded.outgoing()?)?
        .default_instance(&loaded.config.instance)
        .definitions(definitions);
    let router = match router.build() {
        Ok(router) => router,
        Err(error) => return Ok(exit::not_started(&error.into())),
    };
    let mut bytes = Vec::new();
    if event == Path::new("-") {
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = std::fs::read(event)
            .with_context(|| format!("cannot read the event {}", event.display()))?;
    }
    let event = json::parse(bytes.into(), &EventLimits::default())?;
    let explained = router.explain(instance, &event)?;
    if as_json {
        let routes: Vec<_> = explained
            .iter()
            .map(|(id, endpoint, explanation)| {
                serde_json::json!({
                    "route": id.as_str(), "endpoint": endpoint.as_str(), "explanation": explanation,
                })
            })
            .collect();
        output::line(serde_json::to_string_pretty(&routes)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("event {} of twin {}", event.id(), TwinKey::of(&event));
    let mut text = format!("{}\n", one_line(&head));
    for (id, endpoint, explanation) in explained {
        let verdict = if explanation.matches {
            "matches"
        } else {
            "does not match"
        };
        writeln!(text, "\nroute {id} -> {endpoint}: {verdict}")?;
        for line in explanation.to_string().lines() {
            writeln!(text, "    {line}")?;
        }
    }
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}
