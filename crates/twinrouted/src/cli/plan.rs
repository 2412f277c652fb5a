//! `twinroute plan`: what changed definitions would do to the events of the history.

mod changed;
mod json_document;
mod render;

use super::exit;
use super::history::{HistoryFilterOptions, HistoryPlace, HistorySource};
use crate::cli::output;
use crate::config::LoadedConfig;
use anyhow::{Context as _, bail};
use changed::{ChangedDefinitions, add_destination, table_of};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use twinroute_model::name::InstanceName;
use twinroute_router::history::{ComparedTable, PlanReport, RoutePlan, RouteSnapshot};
use twinroute_router::status::RouterStatus;

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// The changed definitions: a folder with all of them, or JSON files (`-`: standard input) with those that would be
    /// put: bodies of Azure's APIs, their lists, ARM templates, exports. What a file does not name stays as it is.
    #[arg(required = true, value_name = "CHANGED")]
    changed: Vec<PathBuf>,
    /// The instance of what names none: the one of the configuration, or the only one, unless set.
    #[arg(long = "for-instance", value_name = "INSTANCE")]
    for_instance: Option<String>,
    #[command(flatten)]
    wanted: HistoryFilterOptions,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: HistoryPlace,
}

/// Exit code 2 when the change would send any event elsewhere.
pub(super) async fn run(options: &PlanOptions) -> anyhow::Result<ExitCode> {
    let source = options.place.source()?;
    let (before, configured) = match &source {
        HistorySource::Running(whom) => (table_of_status(&whom.status().await?), None),
        HistorySource::Folder(history) => {
            let config = options.place.config();
            let loaded = config.map(LoadedConfig::read).transpose()?;
            let routes = history.last_routes().await?;
            let before = table_of_journal(routes, loaded.as_ref());
            (before, loaded.map(|loaded| loaded.config.instance))
        }
    };
    let changed = ChangedDefinitions {
        paths: &options.changed,
        instance: options.instance(configured.as_deref(), &before)?,
        before: &before,
    };
    let after = match changed.table() {
        Ok(after) => after,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    let report = options.compare(&source, &before, &after).await?;
    output::print(if options.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        render::report(&report)
    })?;
    Ok(match report.is_change() {
        true => ExitCode::from(CHANGES),
        false => ExitCode::SUCCESS,
    })
}

/// Something would change.
const CHANGES: u8 = 2;

impl PlanOptions {
    /// That of definitions which name none, if there is one.
    fn instance(
        &self,
        configured: Option<&str>,
        before: &ComparedTable,
    ) -> anyhow::Result<Option<InstanceName>> {
        let of_routes = before.routes.iter().map(|route| route.instance.as_str());
        let of_endpoints = before.destinations.keys().map(|(instance, _)| &**instance);
        let mut known: Vec<&str> = of_routes.chain(of_endpoints).collect();
        known.sort_unstable();
        known.dedup();
        let name = match (self.for_instance.as_deref(), configured, &known[..]) {
            (Some(name), ..) | (None, Some(name), _) | (None, None, &[name]) => name,
            (None, None, _) => return Ok(None),
        };
        let name = InstanceName::new(name).context("--for-instance")?;
        Ok(Some(name))
    }

    async fn compare(
        &self,
        source: &HistorySource<'_>,
        before: &ComparedTable,
        after: &ComparedTable,
    ) -> anyhow::Result<PlanReport> {
        let mut plan = match RoutePlan::new(before, after) {
            Ok(plan) => plan,
            Err(reason) => bail!("{reason}"),
        };
        let query = self.wanted.text()?;
        let mut place = String::new();
        loop {
            let page = source.export(&query, &place).await?;
            page.events.iter().for_each(|event| plan.add(event));
            place = page.next;
            if page.at_end {
                return Ok(plan.report());
            }
        }
    }
}

/// The table that a running twinroute has.
fn table_of_status(status: &RouterStatus) -> ComparedTable {
    let mut table = ComparedTable::default();
    for instance in &status.instances {
        let routes = instance.routes.iter().map(|route| RouteSnapshot {
            instance: instance.name.clone(),
            route: route.id.clone(),
            endpoint: route.endpoint.clone(),
            filter: route.filter.clone(),
        });
        table.routes.extend(routes);
        for endpoint in &instance.endpoints {
            let name = (instance.name.clone(), endpoint.name.clone());
            add_destination(&mut table, name, &endpoint.endpoint_type);
        }
    }
    table
}

/// The table that was used last; what its endpoints are is known where its configuration has them in files.
fn table_of_journal(routes: Vec<RouteSnapshot>, loaded: Option<&LoadedConfig>) -> ComparedTable {
    let definitions = loaded.and_then(|loaded| loaded.definitions().ok());
    let mut table = definitions.map_or_else(ComparedTable::default, |known| table_of(&known));
    table.routes = routes;
    table
}
