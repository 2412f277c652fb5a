//! `twinroute validate`: everything that is wrong, before anything runs.

use super::exit::{self, ExitReason};
use crate::cli::output;
use crate::config::{LoadedConfig, SourceKind};
use crate::connect::azure_connect;
use crate::file_permissions;
use crate::listeners;
use std::path::Path;
use std::process::ExitCode;
use twinroute_router::source::DefinitionFaults;

pub(super) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match LoadedConfig::read(file) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    let mut errors = Vec::new();
    match loaded.config.check() {
        Ok(warnings) => warnings
            .iter()
            .for_each(|warning| output::error_line(format_args!("warning: {warning}"))),
        Err(found) => errors.extend(found),
    }
    for warning in file_permissions::open_folders(&loaded) {
        output::error_line(format_args!("warning: {warning}"));
    }
    let outgoing = match loaded.outgoing() {
        Ok(outgoing) => outgoing,
        // What else is wrong would be reported of a table that was not checked.
        Err(error) => return Ok(exit::not_started(&error)),
    };
    let definitions = match loaded.config.table.source {
        SourceKind::Files => loaded.definitions().map(Some),
        // Settings alone: the definitions are where a running daemon has them.
        SourceKind::Store | SourceKind::Azure => loaded.settings().map(|_| None),
    };
    match definitions {
        Ok(None) if errors.is_empty() => {
            output::line(format_args!(
                "{}: valid; definitions are not in files",
                file.display()
            ))?;
        }
        Ok(None) => {}
        Ok(Some(definitions)) => {
            let connector = azure_connect(None, &outgoing, loaded.config.ingress.event_bytes())?;
            let checked = twinroute_router::check(&definitions, &connector);
            match checked {
                Ok(mut warnings) => {
                    let private = listeners::unnamed(&loaded.config, &definitions.instances);
                    warnings.extend(private);
                    warnings
                        .iter()
                        .for_each(|warning| output::error_line(format_args!("warning: {warning}")));
                    if errors.is_empty() {
                        report(&definitions, file)?;
                    }
                }
                Err(faults) => add(&mut errors, &faults),
            }
        }
        Err(faults) => add(&mut errors, &faults),
    }
    if errors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for error in &errors {
        output::error_line(format_args!("error: {error}"));
    }
    output::error_line(format_args!(
        "twinroute: {}: {} in all",
        file.display(),
        count(errors.len(), "error")
    ));
    Ok(ExitCode::from(ExitReason::Configuration.code()))
}

fn add(errors: &mut Vec<String>, faults: &DefinitionFaults) {
    errors.extend(faults.0.iter().map(ToString::to_string));
}

fn report(definitions: &twinroute_router::source::Definitions, file: &Path) -> std::io::Result<()> {
    let instances = &definitions.instances;
    let endpoints: usize = instances
        .iter()
        .map(|instance| instance.endpoints.len())
        .sum();
    let routes: usize = instances.iter().map(|instance| instance.routes.len()).sum();
    output::line(format_args!(
        "{}: valid: {}, {}, {}",
        file.display(),
        count(instances.len(), "instance"),
        count(endpoints, "endpoint"),
        count(routes, "route")
    ))
}

fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
