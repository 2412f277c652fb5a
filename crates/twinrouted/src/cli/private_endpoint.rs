//! `twinroute private-endpoint`: private endpoint connections of an instance.

use super::arm::{FoundResource, INSTANCES, InstanceResource, ManagementClient, WaitMode, show};
use crate::cli::output;
use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum PrivateEndpointCommand {
    /// Lets a connection in.
    Approve(ConnectionDecision),
    /// Keeps a connection out.
    Reject(ConnectionDecision),
    /// Makes a connection that waits for a decision; in Azure, a private endpoint does.
    Create(ConnectionDecision),
    /// Lists the connections of an instance.
    List {
        #[command(flatten)]
        instance: InstanceResource,
    },
    /// Shows a connection.
    Show {
        #[command(flatten)]
        which: PrivateEndpointName,
    },
    /// Deletes a connection.
    Delete {
        #[command(flatten)]
        which: PrivateEndpointName,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PrivateEndpointName {
    /// The connection.
    #[arg(long, value_name = "NAME", visible_alias = "cn")]
    connection_name: String,
    #[command(flatten)]
    instance: InstanceResource,
}

#[derive(Args, Debug)]
pub(crate) struct ConnectionDecision {
    /// Why, for whoever asked.
    #[arg(long, value_name = "TEXT", visible_alias = "desc")]
    description: Option<String>,
    #[command(flatten)]
    which: PrivateEndpointName,
}

impl PrivateEndpointName {
    fn path(&self, instance: &FoundResource) -> String {
        instance.child("privateEndpointConnections", &self.connection_name)
    }

    fn what(&self, instance: &FoundResource) -> String {
        format!("connection {}/{}", instance.name, self.connection_name)
    }

    async fn put(
        &self,
        client: &ManagementClient,
        instance: &FoundResource,
        properties: &Value,
    ) -> anyhow::Result<()> {
        let (path, what) = (self.path(instance), self.what(instance));
        let body = json!({ "properties": properties });
        let change = (Method::PUT, path.as_str());
        let waiting = WaitMode::Finish;
        let resource = client
            .change(change, INSTANCES.version, Some(&body), waiting, &what)
            .await?;
        show::print(self.instance.server.json, &resource, facts)?;
        Ok(())
    }
}

impl ConnectionDecision {
    fn state(&self, status: &str, reason: &str) -> Value {
        let description = self.description.as_deref().unwrap_or(reason);
        json!({ "status": status, "description": description })
    }

    /// Changes a connection that is there: a decision makes none.
    async fn decide(&self, state: Value) -> anyhow::Result<()> {
        let (client, instance) = self.which.instance.find().await?;
        let (path, what) = (self.which.path(&instance), self.which.what(&instance));
        let resource = client.get(&path, INSTANCES.version, &what).await?;
        let mut properties = json!({ "privateLinkServiceConnectionState": state });
        for kept in ["privateEndpoint", "groupIds"] {
            if let Some(value) = resource["properties"].get(kept) {
                properties[kept] = value.clone();
            }
        }
        self.which.put(&client, &instance, &properties).await
    }

    async fn create(&self) -> anyhow::Result<()> {
        let (client, instance) = self.which.instance.find().await?;
        let (path, what) = (self.which.path(&instance), self.which.what(&instance));
        if client
            .find(&path, INSTANCES.version, &what)
            .await?
            .is_some()
        {
            bail!("{what} is there already; approve it, reject it or delete it");
        }
        let state = self.state("Pending", "waits for a decision");
        let properties = json!({ "privateLinkServiceConnectionState": state });
        self.which.put(&client, &instance, &properties).await
    }
}

pub(super) async fn run(step: &PrivateEndpointCommand) -> anyhow::Result<ExitCode> {
    match step {
        PrivateEndpointCommand::Approve(decision) => {
            let state = decision.state("Approved", "approved");
            decision.decide(state).await?;
        }
        PrivateEndpointCommand::Reject(decision) => {
            let state = decision.state("Rejected", "rejected");
            decision.decide(state).await?;
        }
        PrivateEndpointCommand::Create(decision) => decision.create().await?,
        PrivateEndpointCommand::List { instance } => {
            let (client, found) = instance.find().await?;
            let path = format!("{}/privateEndpointConnections", found.path);
            let what = format!("instance {}", found.name);
            let all = client.list(&path, INSTANCES.version, &what).await?;
            show::print(instance.server.json, &all.into(), rows)?;
        }
        PrivateEndpointCommand::Show { which } => {
            let (client, found) = which.instance.find().await?;
            let (path, what) = (which.path(&found), which.what(&found));
            let resource = client.get(&path, INSTANCES.version, &what).await?;
            show::print(which.instance.server.json, &resource, facts)?;
        }
        PrivateEndpointCommand::Delete { which } => {
            let (client, found) = which.instance.find().await?;
            let (path, what) = (which.path(&found), which.what(&found));
            let change = (Method::DELETE, path.as_str());
            let waiting = WaitMode::Finish;
            client
                .change(change, INSTANCES.version, None, waiting, &what)
                .await?;
            if !which.instance.server.json {
                output::line(format_args!("{what}: deleted"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

const STATE: &str = "/properties/privateLinkServiceConnectionState";

fn state<'a>(resource: &'a Value, member: &str) -> &'a str {
    show::text(resource, &format!("{STATE}/{member}"))
}

fn rows(all: &Value) -> String {
    let all = all.as_array().into_iter().flatten();
    let rows = all.map(|resource| {
        [
            show::text(resource, "/name").to_owned(),
            state(resource, "status").to_owned(),
            state(resource, "description").to_owned(),
        ]
    });
    show::table(["name", "status", "description"], rows.collect())
}

fn facts(resource: &Value) -> String {
    show::facts(&[
        ("name", show::text(resource, "/name")),
        ("status", state(resource, "status")),
        ("description", state(resource, "description")),
        (
            "state",
            show::text(resource, "/properties/provisioningState"),
        ),
        (
            "private endpoint",
            show::text(resource, "/properties/privateEndpoint/id"),
        ),
        ("id", show::text(resource, "/id")),
    ])
}
