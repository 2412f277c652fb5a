//! `twinroute dps`: device provisioning services.

use super::arm::ReplaceMode;
use super::arm::replace::may_replace;
use super::arm::{
    self, FoundResource, ManagementClient, ResourceGroup, SERVICES, ServerOptions, WaitMode,
    secret, show,
};
use super::ask;
use crate::cli::output;
use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use secret::SecretReader;
use serde_json::{Value, json};
use std::process::ExitCode;
use twinroute_model::secret::Secret;

/// Hubs of one command.
const HUBS_MAX: usize = 100;

const HUB_HELP: &str = "\
Hubs: HostName=<hub>.azure-devices.net;SharedAccessKeyName=<name>;SharedAccessKey=<key>, and, if need be,
;Location=<region>;AllocationWeight=<number>;ApplyAllocationPolicy=<true|false> behind that. The region is
the service's by default. Give the string, `@FILE` or `-`, or name a variable with --hub-env: a value on the
command line can be seen by others in `ps` and stays in the shell's history.";

#[derive(Debug, Subcommand)]
pub(crate) enum DpsCommand {
    /// Makes a service. One of this name that is there is replaced as a whole, after a question.
    #[command(after_help = HUB_HELP)]
    Create(DpsCreate),
    /// Shows a service.
    Show(DpsName),
    /// Lists services: of the whole subscription, or of one group.
    List {
        #[command(flatten)]
        group: ResourceGroup,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Changes a service; what is not said stays.
    #[command(after_help = HUB_HELP)]
    Update(DpsUpdate),
    /// Deletes a service.
    Delete {
        /// Does not ask.
        #[arg(long, short = 'y')]
        yes: bool,
        /// Does not wait until it is gone.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        which: DpsName,
    },
    /// Lists the policies of a service; their keys when asked for.
    Keys {
        /// Only the policy of this name.
        #[arg(long, value_name = "NAME", visible_alias = "kn")]
        key_name: Option<String>,
        /// Shows the keys in the clear.
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        which: DpsName,
    },
}

/// A service that is there.
#[derive(Args, Debug)]
pub(crate) struct DpsName {
    /// The service; may be left out where there is only one.
    #[arg(long, short = 'n', value_name = "NAME", visible_alias = "name")]
    dps_name: Option<String>,
    #[command(flatten)]
    group: ResourceGroup,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Args, Debug)]
pub(crate) struct DpsCreate {
    /// The service: 3 to 50 letters, digits and hyphens.
    #[arg(long, short = 'n', value_name = "NAME", visible_alias = "name")]
    dps_name: String,
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
pub(crate) struct DpsUpdate {
    #[command(flatten)]
    settings: Settings,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    which: DpsName,
}

/// What can be set.
#[derive(Args, Debug, Default)]
struct Settings {
    /// The SKU; S1 is the only one there is, and the default.
    #[arg(long, value_name = "NAME")]
    sku: Option<String>,
    /// How many units; 1 by default.
    #[arg(long, value_name = "NUMBER")]
    unit: Option<u32>,
    /// Tags, in place of all there were: `--tags site=plant line=4`; `--tags ''` for none.
    #[arg(long, value_name = "KEY=VALUE", num_args = 0..)]
    tags: Option<Vec<String>>,
    /// How devices are spread over hubs; Hashed by default.
    #[arg(long, value_enum, ignore_case = true)]
    allocation_policy: Option<AllocationPolicy>,
    /// Hubs that devices are assigned to, in place of all there were; once for each.
    #[arg(long, value_name = "SECRET", value_parser = secret::parse)]
    hub: Vec<Secret>,
    /// Environment variables with such hubs; once for each.
    #[arg(long, value_name = "NAME")]
    hub_env: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AllocationPolicy {
    #[value(name = "Hashed")]
    Hashed,
    #[value(name = "GeoLatency")]
    GeoLatency,
    #[value(name = "Static")]
    Static,
}

impl AllocationPolicy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hashed => "Hashed",
            Self::GeoLatency => "GeoLatency",
            Self::Static => "Static",
        }
    }
}

impl Settings {
    /// The hubs that are given, read.
    fn hubs(
        &self,
        secrets: &mut SecretReader<'_>,
        location: &str,
    ) -> anyhow::Result<Option<Value>> {
        if self.hub.is_empty() && self.hub_env.is_empty() {
            return Ok(None);
        }
        if self.hub.len() + self.hub_env.len() > HUBS_MAX {
            bail!("give at most {HUBS_MAX} hubs");
        }
        let given = self.hub.iter().map(|hub| (Some(hub), None));
        let named = self.hub_env.iter().map(|name| (None, Some(name.as_str())));
        let mut hubs = Vec::new();
        for (given, variable) in given.chain(named) {
            let read = secrets.read("--hub", given, variable)?;
            hubs.extend(read.map(|secret| hub(&secret, location)).transpose()?);
        }
        Ok(Some(hubs.into()))
    }

    /// Puts what was said into the body of a service.
    fn apply(&self, body: &mut Value, hubs: Option<Value>) {
        if let Some(sku) = &self.sku {
            body["sku"]["name"] = sku.as_str().into();
        }
        if let Some(unit) = self.unit {
            body["sku"]["capacity"] = unit.into();
        }
        if let Some(pairs) = &self.tags {
            body["tags"] = arm::tags(pairs);
        }
        if let Some(policy) = self.allocation_policy {
            body["properties"]["allocationPolicy"] = policy.as_str().into();
        }
        if let Some(hubs) = hubs {
            body["properties"]["iotHubs"] = hubs;
        }
    }

    fn is_tags_alone(&self) -> bool {
        self.sku.is_none()
            && self.unit.is_none()
            && self.allocation_policy.is_none()
            && self.hub.is_empty()
            && self.hub_env.is_empty()
    }
}

/// One hub of `iotHubs`: the connection string without what only we understand.
fn hub(given: &Secret, location: &str) -> anyhow::Result<Value> {
    let mut string = Vec::new();
    let mut hub = json!({ "location": location });
    let parts = given.expose().split(';').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.to_ascii_lowercase().as_str() {
            "location" => hub["location"] = value.into(),
            "allocationweight" => match value.parse::<u32>() {
                Ok(weight) => hub["allocationWeight"] = weight.into(),
                Err(_) => bail!("--hub: AllocationWeight must be a whole number"),
            },
            "applyallocationpolicy" => match value.to_ascii_lowercase().parse::<bool>() {
                Ok(apply) => hub["applyAllocationPolicy"] = apply.into(),
                Err(_) => bail!("--hub: ApplyAllocationPolicy must be true or false"),
            },
            _ => string.push(part),
        }
    }
    hub["connectionString"] = string.join(";").into();
    Ok(hub)
}

impl DpsName {
    async fn find(&self) -> anyhow::Result<(ManagementClient, FoundResource, String)> {
        let client = self.server.client().await?;
        let (group, name) = (self.group.named(), self.dps_name.as_deref());
        let found = SERVICES.find(&client, group, name).await?;
        let what = format!("provisioning service {}", found.name);
        Ok((client, found, what))
    }
}

impl DpsCreate {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.server.client().await?;
        let group = self.group.or_default();
        let found = SERVICES.at(&client.subscription, group, &self.dps_name);
        let location = arm::location(&client, group, self.location.as_deref()).await?;
        let mut body = json!({
            "location": location, "sku": { "name": "S1", "capacity": 1 }, "properties": {},
        });
        let mut input = std::io::stdin().lock();
        let hubs = self
            .settings
            .hubs(&mut SecretReader::new(&mut input), &location)?;
        drop(input);
        self.settings.apply(&mut body, hubs);
        let what = format!("provisioning service {}", self.dps_name);
        let at = (found.path.as_str(), SERVICES.version);
        if !may_replace(&client, at, &body, self.replacing.yes, &what).await? {
            return Ok(ExitCode::FAILURE);
        }
        let waiting = WaitMode::unless(self.no_wait);
        let change = (Method::PUT, found.path.as_str());
        let resource = client
            .change(change, SERVICES.version, Some(&body), waiting, &what)
            .await?;
        show::print(self.server.json, &resource, facts)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl DpsUpdate {
    async fn run(&self) -> anyhow::Result<()> {
        let (client, found, what) = self.which.find().await?;
        let waiting = WaitMode::unless(self.no_wait);
        let (method, body) = if self.settings.is_tags_alone() {
            let mut body = json!({});
            self.settings.apply(&mut body, None);
            (Method::PATCH, body)
        } else {
            // Only a PUT changes them, and it changes everything: with the etag, so that no other change
            // is lost.
            let mut body = client.get(&found.path, SERVICES.version, &what).await?;
            let location = show::text(&body, "/location").to_owned();
            let mut input = std::io::stdin().lock();
            let hubs = self
                .settings
                .hubs(&mut SecretReader::new(&mut input), &location)?;
            drop(input);
            self.settings.apply(&mut body, hubs);
            (Method::PUT, body)
        };
        let change = (method, found.path.as_str());
        let resource = client
            .change(change, SERVICES.version, Some(&body), waiting, &what)
            .await?;
        show::print(self.which.server.json, &resource, facts)?;
        Ok(())
    }
}

pub(super) async fn run(step: &DpsCommand) -> anyhow::Result<ExitCode> {
    match step {
        DpsCommand::Create(create) => return create.run().await,
        DpsCommand::Show(which) => {
            let (client, found, what) = which.find().await?;
            let resource = client.get(&found.path, SERVICES.version, &what).await?;
            show::print(which.server.json, &resource, facts)?;
        }
        DpsCommand::List { group, server } => {
            let client = server.client().await?;
            let path = SERVICES.list(&client.subscription, group.named());
            let what = "list of provisioning services";
            let all = client.list(&path, SERVICES.version, what).await?;
            show::print(server.json, &all.into(), rows)?;
        }
        DpsCommand::Update(update) => update.run().await?,
        DpsCommand::Delete {
            yes,
            no_wait,
            which,
        } => {
            let (client, found, what) = which.find().await?;
            if !ask::may_delete(&what, *yes)? {
                return Ok(ExitCode::FAILURE);
            }
            let waiting = WaitMode::unless(*no_wait);
            let change = (Method::DELETE, found.path.as_str());
            client
                .change(change, SERVICES.version, None, waiting, &what)
                .await?;
            if !which.server.json {
                output::line(format_args!("{what}: {}", waiting.deleted()))?;
            }
        }
        DpsCommand::Keys {
            key_name,
            reveal,
            which,
        } => keys(which, key_name.as_deref(), *reveal).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn keys(which: &DpsName, name: Option<&str>, reveal: bool) -> anyhow::Result<()> {
    let (client, found, what) = which.find().await?;
    let path = match name {
        Some(name) => format!("{}/listkeys", found.child("keys", name)),
        None => format!("{}/listkeys", found.path),
    };
    let answer = client.post(&path, SERVICES.version, None, &what).await?;
    let mut all = match answer.get("value") {
        Some(all) => all.clone(),
        None => json!([answer]),
    };
    if !reveal {
        show::hide(&mut all);
    }
    if which.server.json {
        output::line(format_args!("{all:#}"))?;
        return Ok(());
    }
    let policies = all.as_array().into_iter().flatten();
    let view = policies.map(|policy| {
        let member = |name: &str| policy[name].as_str().unwrap_or_default();
        show::facts(&[
            ("policy", member("keyName")),
            ("rights", member("rights")),
            ("primary key", member("primaryKey")),
            ("secondary key", member("secondaryKey")),
        ])
    });
    output::print(view.collect::<Vec<_>>().join("\n"))?;
    Ok(())
}

fn hubs(resource: &Value) -> String {
    let hubs = resource["properties"]["iotHubs"].as_array();
    let hubs = hubs.into_iter().flatten();
    let names: Vec<_> = hubs.filter_map(|hub| hub["name"].as_str()).collect();
    names.join(", ")
}

fn rows(all: &Value) -> String {
    let all = all.as_array().into_iter().flatten();
    let rows = all.map(|resource| {
        let property = |name: &str| show::text(resource, &format!("/properties/{name}"));
        let group = show::text(resource, "/id").split('/').nth(4);
        [
            show::text(resource, "/name").to_owned(),
            group.unwrap_or_default().to_owned(),
            show::text(resource, "/location").to_owned(),
            property("state").to_owned(),
            property("idScope").to_owned(),
            hubs(resource),
        ]
    });
    let heading = ["name", "group", "location", "state", "id scope", "hubs"];
    show::table(heading, rows.collect())
}

fn facts(resource: &Value) -> String {
    let property = |name: &str| show::text(resource, &format!("/properties/{name}"));
    let sku = &resource["sku"];
    let sku = format!(
        "{} x {}",
        sku["name"].as_str().unwrap_or("S1"),
        sku["capacity"]
    );
    show::facts(&[
        ("name", show::text(resource, "/name")),
        ("location", show::text(resource, "/location")),
        ("state", property("state")),
        ("sku", &sku),
        ("id scope", property("idScope")),
        ("service host", property("serviceOperationsHostName")),
        ("device host", property("deviceProvisioningHostName")),
        ("allocation", property("allocationPolicy")),
        ("hubs", &hubs(resource)),
        ("tags", &show::tags(resource)),
        ("id", show::text(resource, "/id")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_its_connection_string_and_what_stands_behind_it() {
        let string = "HostName=h.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=a2V5=";
        assert_eq!(
            hub(&Secret::new(string), "westus2").unwrap(),
            json!({ "connectionString": string, "location": "westus2" })
        );
        let more =
            format!("{string};Location=eastus;AllocationWeight=3;ApplyAllocationPolicy=False");
        assert_eq!(
            hub(&Secret::new(more), "westus2").unwrap(),
            json!({
                "connectionString": string, "location": "eastus", "allocationWeight": 3,
                "applyAllocationPolicy": false,
            })
        );
        let error = hub(&Secret::new("AllocationWeight=x"), "w").unwrap_err();
        assert_eq!(
            error.to_string(),
            "--hub: AllocationWeight must be a whole number"
        );
    }

    #[test]
    fn what_is_not_said_stays() {
        let mut body = json!({
            "sku": { "name": "S1", "capacity": 1 }, "tags": { "a": "b" }, "etag": "e",
            "properties": { "allocationPolicy": "Static", "iotHubs": [{ "name": "h" }] },
        });
        let before = body.clone();
        let mut settings = Settings::default();
        assert!(settings.is_tags_alone());
        settings.apply(&mut body, None);
        assert_eq!(body, before);
        settings.unit = Some(2);
        settings.allocation_policy = Some(AllocationPolicy::GeoLatency);
        assert!(!settings.is_tags_alone());
        settings.apply(&mut body, Some(json!([])));
        assert_eq!(body["sku"], json!({ "name": "S1", "capacity": 2 }));
        let expect = json!({ "allocationPolicy": "GeoLatency", "iotHubs": [] });
        assert_eq!(body["properties"], expect);
    }
}
