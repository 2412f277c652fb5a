//! `twinroute plan`: what changed routes would do to the events of the history.

use super::ask::AdminTarget;
use super::exit;
use super::history::{HistoryFilterOptions, HistorySource};
use crate::cli::output;
use anyhow::{Context as _, bail};
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use twinroute_model::name::InstanceName;
use twinroute_model::visible::one_line;
use twinroute_router::history::{PlanReport, RoutePlan, RouteSnapshot};
use twinroute_router::source::DefinitionFolder;
use twinroute_router::status::RouterStatus;

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// The changed folder of definitions, all of it.
    changed: PathBuf,
    /// The instance of what stands at the folder's top; the only one of the running twinroute unless set.
    #[arg(long = "for-instance", value_name = "INSTANCE")]
    for_instance: Option<String>,
    #[command(flatten)]
    wanted: HistoryFilterOptions,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: AdminTarget,
}

/// Exit code 2 when the change would send any event elsewhere.
pub(super) async fn run(options: &PlanOptions) -> anyhow::Result<ExitCode> {
    let status = options.whom.status().await?;
    let folder = DefinitionFolder::new(&options.changed, options.instance(&status)?);
    let instances = match folder.read() {
        Ok(instances) => instances,
        Err(faults) => return Ok(exit::not_started(&faults.into())),
    };
    let mut after = Vec::new();
    for instance in &instances {
        after.extend(instance.routes.iter().map(|route| RouteSnapshot {
            instance: instance.name.to_string(),
            route: route.id.to_string(),
            endpoint: route.endpoint_name.to_string(),
            filter: route.filter.clone(),
        }));
    }
    let mut plan = RoutePlan::new(&routes_of(&status), &after).map_err(anyhow::Error::msg)?;
    let query = options.wanted.text()?;
    let source = HistorySource::Running(&options.whom);
    let mut place = String::new();
    loop {
        let page = source.export(&query, &place).await?;
        page.events.iter().for_each(|event| plan.add(event));
        place = page.next;
        if page.at_end {
            break;
        }
    }
    let report = plan.report();
    output::print(if options.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        render(&report)
    })?;
    Ok(match report.is_change() {
        true => ExitCode::from(CHANGES),
        false => ExitCode::SUCCESS,
    })
}

/// Something would change.
const CHANGES: u8 = 2;

impl PlanOptions {
    fn instance(&self, status: &RouterStatus) -> anyhow::Result<InstanceName> {
        let name = match (&self.for_instance, &status.instances[..]) {
            (Some(name), _) => name,
            (None, [only]) => &only.name,
            (None, _) => {
                bail!("there are several instances, or none: name one with --for-instance")
            }
        };
        InstanceName::new(name).context("--for-instance")
    }
}

/// The routes in use.
fn routes_of(status: &RouterStatus) -> Vec<RouteSnapshot> {
    let instances = status.instances.iter();
    let routes = instances.flat_map(|instance| {
        instance.routes.iter().map(|route| RouteSnapshot {
            instance: instance.name.clone(),
            route: route.id.clone(),
            endpoint: route.endpoint.clone(),
            filter: route.filter.clone(),
        })
    });
    routes.collect()
}

fn render(report: &PlanReport) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        text.push_str(&one_line(&line.to_string()));
        text.push('\n');
    };
    line(format_args!(
        "{:<40}{:>10}{:>10}",
        "route", "now", "changed"
    ));
    for (name, count) in &report.routes {
        line(format_args!(
            "{name:<40}{:>10}{:>10}",
            count.before, count.after
        ));
    }
    line(format_args!(""));
    line(format_args!(
        "{:<40}{:>10}{:>10}{:>8}{:>8}",
        "endpoint", "now", "changed", "come", "go"
    ));
    for (name, plan) in &report.endpoints {
        let (before, after) = (plan.count.before, plan.count.after);
        line(format_args!(
            "{name:<40}{before:>10}{after:>10}{:>8}{:>8}",
            plan.come, plan.go
        ));
        for (word, ids) in [("come", &plan.come_ids), ("go", &plan.go_ids)] {
            if !ids.is_empty() {
                line(format_args!("    {word}: {}", ids.join(", ")));
            }
        }
    }
    line(format_args!(""));
    let unmatched = report.unmatched;
    line(format_args!(
        "{:<40}{:>10}{:>10}",
        "unmatched", unmatched.before, unmatched.after
    ));
    let verdict = match report.is_change() {
        true => "some would go elsewhere",
        false => "nothing would change",
    };
    writeln!(text, "\n{} events, {verdict}", report.events).expect("a String takes everything");
    text
}
