//! `twinroute instance`: Azure Digital Twins instances, as tenants of a router.

use super::arm::ReplaceMode;
use super::arm::replace::may_replace;
use super::arm::{
    self, AccessOption, INSTANCES, InstanceResource, ResourceGroup, ServerOptions, WaitMode,
    WaitOptions, show,
};
use super::ask;
use crate::cli::output;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// Makes an instance. One of this name that is there is replaced as a whole, after a question.
    Create(InstanceCreate),
    /// Shows an instance.
    Show(InstanceResource),
    /// Lists instances: of the whole subscription, or of one group.
    List {
        #[command(flatten)]
        group: ResourceGroup,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Changes tags, identity or access of an instance.
    Update(InstanceUpdate),
    /// Deletes an instance with its endpoints and routes.
    Delete {
        /// Does not ask.
        #[arg(long, short = 'y')]
        yes: bool,
        /// Does not wait until it is gone.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        instance: InstanceResource,
    },
    /// Waits for the state of an instance.
    Wait {
        #[command(flatten)]
        wait: WaitOptions,
        #[command(flatten)]
        instance: InstanceResource,
    },
    /// Says whether a name is free; exit code 1 when it is not.
    CheckName {
        /// The name.
        #[arg(long, short = 'n', value_name = "NAME", visible_alias = "dtn")]
        dt_name: String,
        /// The region.
        #[arg(long, short = 'l', value_name = "REGION", default_value = "westus2")]
        location: String,
        #[command(flatten)]
        server: ServerOptions,
    },
}

#[derive(Args, Debug)]
pub(crate) struct InstanceCreate {
    /// The instance: 3 to 63 letters, digits and hyphens.
    #[arg(long, short = 'n', value_name = "NAME", visible_alias = "dtn")]
    dt_name: String,
    /// The region; the resource group's when left out, or else westus2.
    #[arg(long, short = 'l', value_name = "REGION")]
    location: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    replacing: ReplaceMode,
    #[command(flatten)]
    group: ResourceGroup,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Args, Debug)]
pub(crate) struct InstanceUpdate {
    #[command(flatten)]
    settings: Settings,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    instance: InstanceResource,
}

/// What can be changed.
#[derive(Args, Debug, Default)]
struct Settings {
    /// Gives it an identity of its own, or removes it.
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    assign_identity: Option<bool>,
    /// Tags, in place of all there were: `--tags site=plant line=4`; `--tags ''` for none.
    #[arg(long, value_name = "KEY=VALUE", num_args = 0..)]
    tags: Option<Vec<String>>,
    /// Whether it may be reached but over private endpoints.
    #[arg(long, value_enum, ignore_case = true, visible_alias = "pna")]
    public_network_access: Option<AccessOption>,
}

impl Settings {
    /// The members of a PATCH; those that are not given are left out.
    fn body(&self) -> Value {
        let mut body = json!({});
        if let Some(assign) = self.assign_identity {
            let kind = if assign { "SystemAssigned" } else { "None" };
            body["identity"] = json!({ "type": kind });
        }
        if let Some(pairs) = &self.tags {
            body["tags"] = arm::tags(pairs);
        }
        if let Some(access) = self.public_network_access {
            body["properties"] = json!({ "publicNetworkAccess": access.as_str() });
        }
        body
    }
}

pub(super) async fn run(step: &InstanceCommand) -> anyhow::Result<ExitCode> {
    match step {
        InstanceCommand::Create(create) => return create.run().await,
        InstanceCommand::Show(instance) => {
            let (client, found) = instance.find().await?;
            let what = format!("instance {}", found.name);
            let resource = client.get(&found.path, INSTANCES.version, &what).await?;
            show::print(instance.server.json, &resource, facts)?;
        }
        InstanceCommand::List { group, server } => {
            let client = server.client().await?;
            let path = INSTANCES.list(&client.subscription, group.named());
            let what = "list of instances";
            let all = client.list(&path, INSTANCES.version, what).await?;
            show::print(server.json, &all.into(), rows)?;
        }
        InstanceCommand::Update(update) => {
            let (client, found) = update.instance.find().await?;
            let body = update.settings.body();
            let what = format!("instance {}", found.name);
            let waiting = WaitMode::unless(update.no_wait);
            let change = (Method::PATCH, found.path.as_str());
            let resource = client
                .change(change, INSTANCES.version, Some(&body), waiting, &what)
                .await?;
            show::print(update.instance.server.json, &resource, facts)?;
        }
        InstanceCommand::Delete {
            yes,
            no_wait,
            instance,
        } => return delete(instance, *yes, WaitMode::unless(*no_wait)).await,
        InstanceCommand::Wait { wait, instance } => {
            let (client, found) = instance.find().await?;
            let what = format!("instance {}", found.name);
            let resource = wait
                .wait(&client, &found.path, INSTANCES.version, &what)
                .await?;
            if let Some(resource) = resource {
                show::print(instance.server.json, &resource, facts)?;
            }
        }
        InstanceCommand::CheckName {
            dt_name,
            location,
            server,
        } => return check_name(dt_name, location, server).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl InstanceCreate {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.server.client().await?;
        let group = self.group.or_default();
        let found = INSTANCES.at(&client.subscription, group, &self.dt_name);
        let location = arm::location(&client, group, self.location.as_deref()).await?;
        let mut body = self.settings.body();
        body["location"] = location.into();
        let what = format!("instance {}", self.dt_name);
        let at = (found.path.as_str(), INSTANCES.version);
        if !may_replace(&client, at, &body, self.replacing.yes, &what).await? {
            return Ok(ExitCode::FAILURE);
        }
        let waiting = WaitMode::unless(self.no_wait);
        let change = (Method::PUT, found.path.as_str());
        let resource = client
            .change(change, INSTANCES.version, Some(&body), waiting, &what)
            .await?;
        show::print(self.server.json, &resource, facts)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn delete(
    instance: &InstanceResource,
    yes: bool,
    waiting: WaitMode,
) -> anyhow::Result<ExitCode> {
    let (client, found) = instance.find().await?;
    let what = format!("instance {}", found.name);
    if !ask::may_delete(&format!("{what} with its endpoints and routes"), yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let change = (Method::DELETE, found.path.as_str());
    client
        .change(change, INSTANCES.version, None, waiting, &what)
        .await?;
    if !instance.server.json {
        output::line(format_args!("{what}: {}", waiting.deleted()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn check_name(
    name: &str,
    location: &str,
    server: &ServerOptions,
) -> anyhow::Result<ExitCode> {
    let client = server.client().await?;
    let (subscription, location) = (arm::escape(&client.subscription), arm::escape(location));
    let path = format!(
        "/subscriptions/{subscription}/providers/Microsoft.DigitalTwins/locations/{location}/\
         checkNameAvailability"
    );
    let body = json!({ "name": name, "type": INSTANCES.provider });
    let what = format!("name {name}");
    let answer = client
        .post(&path, INSTANCES.version, Some(&body), &what)
        .await?;
    show::print(server.json, &answer, |answer| {
        format!("{}\n", show::text(answer, "/message"))
    })?;
    Ok(match answer["nameAvailable"].as_bool() {
        Some(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn group(resource: &Value) -> &str {
    show::text(resource, "/id")
        .split('/')
        .nth(4)
        .unwrap_or_default()
}

fn rows(all: &Value) -> String {
    let all = all.as_array().into_iter().flatten();
    let rows = all.map(|resource| {
        [
            show::text(resource, "/name").to_owned(),
            group(resource).to_owned(),
            show::text(resource, "/location").to_owned(),
            show::text(resource, "/properties/provisioningState").to_owned(),
            show::text(resource, "/properties/hostName").to_owned(),
        ]
    });
    let heading = ["name", "group", "location", "state", "host"];
    show::table(heading, rows.collect())
}

fn facts(resource: &Value) -> String {
    show::facts(&[
        ("name", show::text(resource, "/name")),
        ("group", group(resource)),
        ("location", show::text(resource, "/location")),
        (
            "state",
            show::text(resource, "/properties/provisioningState"),
        ),
        ("host", show::text(resource, "/properties/hostName")),
        (
            "public access",
            show::text(resource, "/properties/publicNetworkAccess"),
        ),
        ("identity", show::text(resource, "/identity/type")),
        ("tags", &show::tags(resource)),
        ("id", show::text(resource, "/id")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_holds_what_was_said_and_no_more() {
        assert_eq!(Settings::default().body(), json!({}));
        let settings = Settings {
            assign_identity: Some(false),
            tags: Some(vec!["a=b".to_owned()]),
            public_network_access: Some(AccessOption::Disabled),
        };
        let expect = json!({
            "identity": { "type": "None" }, "tags": { "a": "b" },
            "properties": { "publicNetworkAccess": "Disabled" },
        });
        assert_eq!(settings.body(), expect);
    }
}
