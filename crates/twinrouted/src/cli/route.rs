//! `twinroute route`: event routes, over the data plane's API.

use super::arm::replace::may_replace;
use super::arm::{
    INSTANCES, InstanceResource, ManagementClient, ReplaceMode, WaitMode, escape, show,
};
use crate::cli::output;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_filter::explain::{FilterExplanation, explain};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::cloudevents::json as events;
use twinroute_model::event::{Event, EventLimits};
use twinroute_model::twin::TwinKey;

/// Azure Digital Twins data plane.
const VERSION: &str = "2023-10-31";

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Makes a route. One of this name that is there is replaced, after a question.
    Create {
        /// The route; its name counts with case.
        #[arg(long, value_name = "NAME", visible_alias = "rn")]
        route_name: String,
        /// The endpoint that it sends to.
        #[arg(long, value_name = "NAME", visible_alias = "en")]
        endpoint_name: String,
        /// Which events.
        #[arg(long, default_value = "true")]
        filter: String,
        #[command(flatten)]
        replacing: ReplaceMode,
        #[command(flatten)]
        at: RoutesLocation,
    },
    /// Lists the routes of an instance.
    List {
        #[command(flatten)]
        at: RoutesLocation,
    },
    /// Shows a route.
    Show {
        /// The route.
        #[arg(long, value_name = "NAME", visible_alias = "rn")]
        route_name: String,
        #[command(flatten)]
        at: RoutesLocation,
    },
    /// Deletes a route.
    Delete {
        /// The route.
        #[arg(long, value_name = "NAME", visible_alias = "rn")]
        route_name: String,
        #[command(flatten)]
        at: RoutesLocation,
    },
    /// Says for every route whether and why it would match an event. Sends nothing.
    Test {
        /// The event: a file in CloudEvents JSON format, or `-` for standard input.
        event: PathBuf,
        #[command(flatten)]
        at: RoutesLocation,
    },
}

/// Where the routes are.
#[derive(Args, Debug)]
pub(crate) struct RoutesLocation {
    /// Where the instance's routes are; by default where the instance says.
    #[arg(
        long,
        value_name = "URL",
        env = "TWINROUTE_ROUTES_URL",
        hide_env_values = true
    )]
    routes_url: Option<String>,
    #[command(flatten)]
    instance: InstanceResource,
}

impl RoutesLocation {
    /// Connects to the instance's routes; gives its name too.
    async fn connect(&self) -> anyhow::Result<(ManagementClient, String)> {
        let (client, found) = self.instance.find().await?;
        let what = format!("instance {}", found.name);
        let instance = match &self.routes_url {
            Some(_) => Value::Null,
            None => client.get(&found.path, INSTANCES.version, &what).await?,
        };
        let routes = client.routes(self.routes_url.as_deref(), &instance)?;
        Ok((routes, found.name))
    }
}

pub(super) async fn run(step: &RouteCommand) -> anyhow::Result<ExitCode> {
    match step {
        RouteCommand::Create {
            route_name,
            endpoint_name,
            filter,
            replacing,
            at,
        } => {
            let (client, instance) = at.connect().await?;
            let (path, what) = names(&instance, route_name);
            let body = json!({ "endpointName": endpoint_name, "filter": filter });
            if !may_replace(&client, (&path, VERSION), &body, replacing.yes, &what).await? {
                return Ok(ExitCode::FAILURE);
            }
            let change = (Method::PUT, path.as_str());
            client
                .change(change, VERSION, Some(&body), WaitMode::Begin, &what)
                .await?;
            let route = client.get(&path, VERSION, &what).await?;
            show::print(at.instance.server.json, &route, facts)?;
        }
        RouteCommand::List { at } => {
            let (client, instance) = at.connect().await?;
            let all = list(&client, &instance).await?;
            show::print(at.instance.server.json, &all.into(), rows)?;
        }
        RouteCommand::Show { route_name, at } => {
            let (client, instance) = at.connect().await?;
            let (path, what) = names(&instance, route_name);
            let route = client.get(&path, VERSION, &what).await?;
            show::print(at.instance.server.json, &route, facts)?;
        }
        RouteCommand::Delete { route_name, at } => {
            let (client, instance) = at.connect().await?;
            let (path, what) = names(&instance, route_name);
            let change = (Method::DELETE, path.as_str());
            let waiting = WaitMode::Finish;
            client.change(change, VERSION, None, waiting, &what).await?;
            if !at.instance.server.json {
                output::line(format_args!("{what}: deleted"))?;
            }
        }
        RouteCommand::Test { event, at } => {
            let event = read(event)?;
            let (client, instance) = at.connect().await?;
            let routes = list(&client, &instance).await?;
            test(&routes, &event, at.instance.server.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Path and name of a route.
fn names(instance: &str, route: &str) -> (String, String) {
    (
        format!("/eventroutes/{}", escape(route)),
        format!("route {instance}/{route}"),
    )
}

async fn list(client: &ManagementClient, instance: &str) -> anyhow::Result<Vec<Value>> {
    let what = format!("instance {instance}");
    client.list("/eventroutes", VERSION, &what).await
}

fn read(file: &Path) -> anyhow::Result<Event> {
    let limit = EventLimits::default().event_bytes_max as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let input = std::io::stdin().lock();
        let read = input.take(limit).read_to_end(&mut bytes);
        read.context("cannot read standard input")?;
    } else {
        let opened = std::fs::File::open(file);
        let read = opened.and_then(|file| file.take(limit).read_to_end(&mut bytes));
        read.with_context(|| format!("cannot read the event {}", file.display()))?;
    }
    Ok(events::parse(bytes.into(), &EventLimits::default())?)
}

/// What a route makes of the event; or why its filter cannot be read here.
fn judge(route: &Value, event: &Event) -> Result<FilterExplanation, String> {
    let filter = RouteFilter::parse(show::text(route, "/filter"), &FilterOptions::default());
    let filter = filter.map_err(|error| error.to_string())?;
    Ok(explain(&filter, event))
}

fn test(routes: &[Value], event: &Event, as_json: bool) -> anyhow::Result<()> {
    let judged: Vec<_> = routes
        .iter()
        .map(|route| (route, judge(route, event)))
        .collect();
    if as_json {
        let all = judged.iter().map(|(route, judged)| {
            let mut printed = json!({
                "route": show::text(route, "/id"), "endpoint": show::text(route, "/endpointName"),
            });
            match judged {
                Ok(explanation) => printed["explanation"] = serde_json::to_value(explanation)?,
                Err(error) => printed["error"] = error.as_str().into(),
            }
            Ok(printed)
        });
        let all: serde_json::Result<Vec<_>> = all.collect();
        output::line(serde_json::to_string_pretty(&all?)?)?;
        return Ok(());
    }
    output::print(report(&judged, event))?;
    Ok(())
}

fn report(judged: &[(&Value, Result<FilterExplanation, String>)], event: &Event) -> String {
    let mut text = format!("event {} of twin {}\n", event.id(), TwinKey::of(event));
    let mut goes_to: Vec<&str> = Vec::new();
    for (route, judged) in judged {
        let endpoint = show::text(route, "/endpointName");
        let (verdict, why) = match judged {
            Ok(explanation) if explanation.matches => ("matches", explanation.to_string()),
            Ok(explanation) => ("does not match", explanation.to_string()),
            Err(error) => ("its filter cannot be read here", error.clone()),
        };
        let known = goes_to
            .iter()
            .any(|known| known.eq_ignore_ascii_case(endpoint));
        if verdict == "matches" && !known {
            goes_to.push(endpoint);
        }
        let id = show::text(route, "/id");
        text.push_str(&format!("\nroute {id} -> {endpoint}: {verdict}\n"));
        for line in why.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    let goes_to = match goes_to.as_slice() {
        [] => "nowhere: no route matches".to_owned(),
        all => all.join(", "),
    };
    text.push_str(&format!("\nit goes to: {goes_to}\n"));
    text
}

fn rows(all: &Value) -> String {
    let all = all.as_array().into_iter().flatten();
    let rows = all.map(|route| {
        let flat = show::text(route, "/filter").split_whitespace();
        [
            show::text(route, "/id").to_owned(),
            show::text(route, "/endpointName").to_owned(),
            flat.collect::<Vec<_>>().join(" "),
        ]
    });
    show::table(["name", "endpoint", "filter"], rows.collect())
}

fn facts(route: &Value) -> String {
    show::facts(&[
        ("name", show::text(route, "/id")),
        ("endpoint", show::text(route, "/endpointName")),
        ("filter", show::text(route, "/filter")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_event_is_judged_by_every_route() {
        let event = r#"{"specversion":"1.0","id":"1","source":"h","type":"t","subject":"room1"}"#;
        let event =
            events::parse(event.as_bytes().to_vec().into(), &EventLimits::default()).unwrap();
        let routes = [
            json!({ "id": "all", "endpointName": "hub-1", "filter": "true" }),
            json!({ "id": "one", "endpointName": "grid-1", "filter": "subject = 'room2'" }),
            json!({ "id": "odd", "endpointName": "hub-1", "filter": "subject ~ 'x'" }),
        ];
        let judged: Vec<_> = routes
            .iter()
            .map(|route| (route, judge(route, &event)))
            .collect();
        expect![[r#"
            event 1 of twin h/room1

            route all -> hub-1: matches
                yes true

            route one -> grid-1: does not match
                no  subject = 'room2'
                      subject is 'room1'

            route odd -> hub-1: its filter cannot be read here
                Parsing error, Line=1, Position=9, Message=Unexpected input '~'

            it goes to: hub-1
        "#]]
        .assert_eq(&report(&judged, &event));
    }
}
