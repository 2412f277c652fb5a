//! `twinroute validate`: everything that is wrong, before anything runs.

use super::exit::{self, ExitReason};
use crate::cli::output;
use crate::config::{ConfigMistakes, LoadedConfig, SourceKind};
use crate::connect::azure_connect;
use crate::file_permissions;
use crate::listeners;
use crate::places;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_router::source::Definitions;

/// What is checked, and how it is said.
#[derive(Args, Debug)]
pub(crate) struct ValidateOptions {
    /// The configuration file.
    #[arg(long, short)]
    config: PathBuf,
    /// Takes warnings for errors: exit code 78 where there are any.
    #[arg(long)]
    deny_warnings: bool,
    /// Prints JSON: `valid`, `errors`, `warnings`, and how many instances, endpoints and routes there are.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct ValidationReport {
    errors: Vec<String>,
    warnings: Vec<String>,
    /// Where they are in files and could be read.
    definitions: Option<Definitions>,
}

pub(super) fn run(options: &ValidateOptions) -> anyhow::Result<ExitCode> {
    let file = &options.config;
    let loaded = match LoadedConfig::read(file) {
        Ok(loaded) => loaded,
        Err(error) => return options.unreadable(&error),
    };
    let mut report = ValidationReport::default();
    match loaded.config.check() {
        Ok(warnings) => report.warnings.extend(warnings),
        Err(found) => report.errors.extend(found),
    }
    report.errors.extend(listeners::taken_twice(&loaded.config));
    report
        .warnings
        .extend(file_permissions::open_folders(&loaded));
    report.warnings.extend(places::not_writable(&loaded));
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
        Ok(Some(definitions)) => {
            let connector = azure_connect(None, &outgoing, loaded.config.ingress.event_bytes())?;
            match twinroute_router::check(&definitions, &connector) {
                Ok(warnings) => {
                    report.warnings.extend(warnings);
                    let unnamed = listeners::unnamed(&loaded.config, &definitions.instances);
                    report.warnings.extend(unnamed);
                    report.definitions = Some(definitions);
                }
                Err(faults) => report
                    .errors
                    .extend(faults.0.iter().map(ToString::to_string)),
            }
        }
        Ok(None) => {}
        Err(faults) => report
            .errors
            .extend(faults.0.iter().map(ToString::to_string)),
    }
    options.say(&report)
}

impl ValidateOptions {
    /// The file itself cannot be read, or is full of mistakes.
    fn unreadable(&self, error: &anyhow::Error) -> anyhow::Result<ExitCode> {
        let Some(mistakes) = error.downcast_ref::<ConfigMistakes>() else {
            return Ok(exit::not_started(error));
        };
        let mistakes = mistakes.0.iter();
        self.say(&ValidationReport {
            errors: mistakes
                .map(|mistake| mistake.in_file(&self.config))
                .collect(),
            ..ValidationReport::default()
        })
    }

    fn say(&self, report: &ValidationReport) -> anyhow::Result<ExitCode> {
        let is_valid =
            report.errors.is_empty() && (report.warnings.is_empty() || !self.deny_warnings);
        let code = match is_valid {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(ExitReason::Configuration.code()),
        };
        if self.json {
            let counts = report.definitions.as_ref().map(counts);
            let (instances, endpoints, routes) = counts.unwrap_or_default();
            let document = json!({
                "valid": is_valid, "errors": report.errors, "warnings": report.warnings,
                "instances": instances, "endpoints": endpoints, "routes": routes,
            });
            output::line(serde_json::to_string_pretty(&document)?)?;
            return Ok(code);
        }
        for warning in &report.warnings {
            output::error_line(format_args!("warning: {warning}"));
        }
        for error in &report.errors {
            output::error_line(format_args!("error: {error}"));
        }
        if is_valid {
            valid(report.definitions.as_ref(), &self.config)?;
            return Ok(code);
        }
        let sum = match report.errors.len() {
            0 => format!(
                "{}, which are denied",
                count(report.warnings.len(), "warning")
            ),
            errors => format!("{} in all", count(errors, "error")),
        };
        output::error_line(format_args!("twinroute: {}: {sum}", self.config.display()));
        Ok(code)
    }
}

fn valid(definitions: Option<&Definitions>, file: &Path) -> std::io::Result<()> {
    let file = file.display();
    let Some(definitions) = definitions else {
        return output::line(format_args!("{file}: valid; definitions are not in files"));
    };
    let (instances, endpoints, routes) = counts(definitions);
    output::line(format_args!(
        "{file}: valid: {}, {}, {}",
        count(instances, "instance"),
        count(endpoints, "endpoint"),
        count(routes, "route")
    ))
}

/// Instances, endpoints and routes.
fn counts(definitions: &Definitions) -> (usize, usize, usize) {
    let instances = &definitions.instances;
    let endpoints = instances.iter().map(|instance| instance.endpoints.len());
    let routes = instances.iter().map(|instance| instance.routes.len());
    (instances.len(), endpoints.sum(), routes.sum())
}

fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
