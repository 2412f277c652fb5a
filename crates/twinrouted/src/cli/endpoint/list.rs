//! Endpoints that are there: listed, shown, waited for, deleted.

use crate::cli::arm::{INSTANCES, InstanceResource, ManagementClient, WaitMode, WaitOptions, show};
use crate::cli::ask;
use crate::cli::output;
use clap::Args;
use reqwest::Method;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct EndpointList {
    #[command(flatten)]
    instance: InstanceResource,
}

#[derive(Args, Debug)]
pub(crate) struct NamedEndpoint {
    /// The endpoint.
    #[arg(long, value_name = "NAME", visible_alias = "en")]
    endpoint_name: String,
    #[command(flatten)]
    instance: InstanceResource,
}

#[derive(Args, Debug)]
pub(crate) struct EndpointDelete {
    /// Does not ask.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Does not wait until it is gone.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    which: NamedEndpoint,
}

#[derive(Args, Debug)]
pub(crate) struct EndpointWaitOptions {
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    which: NamedEndpoint,
}

impl EndpointList {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let (client, instance) = self.instance.find().await?;
        let path = format!("{}/endpoints", instance.path);
        let what = format!("instance {}", instance.name);
        let all = client.list(&path, INSTANCES.version, &what).await?;
        show::print(self.instance.server.json, &all.into(), rows)?;
        Ok(())
    }
}

impl NamedEndpoint {
    /// Connects; gives the path, and the name for messages.
    pub(super) async fn find(&self) -> anyhow::Result<(ManagementClient, String, String)> {
        let (client, instance) = self.instance.find().await?;
        let path = instance.child("endpoints", &self.endpoint_name);
        let what = format!("endpoint {}/{}", instance.name, self.endpoint_name);
        Ok((client, path, what))
    }

    pub(super) fn is_json(&self) -> bool {
        self.instance.server.json
    }

    pub(super) async fn show(&self) -> anyhow::Result<()> {
        let (client, path, what) = self.find().await?;
        let resource = client.get(&path, INSTANCES.version, &what).await?;
        show::print(self.instance.server.json, &resource, facts)?;
        Ok(())
    }
}

impl EndpointDelete {
    pub(super) async fn run(&self) -> anyhow::Result<ExitCode> {
        let (client, path, what) = self.which.find().await?;
        if !ask::may_delete(&what, self.yes)? {
            return Ok(ExitCode::FAILURE);
        }
        let waiting = WaitMode::unless(self.no_wait);
        let change = (Method::DELETE, path.as_str());
        client
            .change(change, INSTANCES.version, None, waiting, &what)
            .await?;
        if !self.which.instance.server.json {
            output::line(format_args!("{what}: {}", waiting.deleted()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl EndpointWaitOptions {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let (client, path, what) = self.which.find().await?;
        let resource = self
            .wait
            .wait(&client, &path, INSTANCES.version, &what)
            .await?;
        if let Some(resource) = resource {
            show::print(self.which.instance.server.json, &resource, facts)?;
        }
        Ok(())
    }
}

/// Where events go, as far as a reader may see it.
fn destination(resource: &Value) -> String {
    let property = |name: &str| show::text(resource, &format!("/properties/{name}"));
    match (property("TopicEndpoint"), property("endpointUri")) {
        ("", "") => "in its connection string".to_owned(),
        ("", uri) => format!("{}/{}", uri.trim_end_matches('/'), property("entityPath")),
        (topic, _) => topic.to_owned(),
    }
}

fn dead_letters(resource: &Value) -> &str {
    match resource.pointer("/properties/deadLetterSecret") {
        Some(Value::String(_)) => "container, by SAS",
        _ => show::text(resource, "/properties/deadLetterUri"),
    }
}

fn rows(all: &Value) -> String {
    let all = all.as_array().into_iter().flatten();
    let rows = all.map(|resource| {
        let property = |name: &str| show::text(resource, &format!("/properties/{name}"));
        [
            show::text(resource, "/name").to_owned(),
            property("endpointType").to_owned(),
            property("authenticationType").to_owned(),
            property("provisioningState").to_owned(),
            destination(resource),
            dead_letters(resource).to_owned(),
        ]
    });
    let heading = [
        "name",
        "type",
        "authentication",
        "state",
        "destination",
        "dead letters",
    ];
    show::table(heading, rows.collect())
}

pub(super) fn facts(resource: &Value) -> String {
    let property = |name: &str| show::text(resource, &format!("/properties/{name}"));
    show::facts(&[
        ("name", show::text(resource, "/name")),
        ("type", property("endpointType")),
        ("authentication", property("authenticationType")),
        ("identity", property("identity/type")),
        ("state", property("provisioningState")),
        ("reason", &show::reason(resource)),
        ("destination", &destination(resource)),
        ("dead letters", dead_letters(resource)),
        ("id", show::text(resource, "/id")),
    ])
}
