//! What the commands share that ask a management API: Azure's, or a twinroute's.
#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "help texts are read in a terminal"
)]

mod client;
mod error_text;
pub(super) mod replace;
pub(super) mod secret;
mod server;
pub(super) mod show;
mod wait;

pub(super) use client::{ManagementClient, WaitMode};
pub(super) use server::ServerOptions;
pub(super) use wait::WaitOptions;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};
use twinroute_model::uri::RESERVED;
use twinroute_model::visible::one_line;

/// Where resources are made that no option places elsewhere.
const GROUP: &str = "twinroute";

/// In which resource group.
#[derive(Args, Debug)]
pub(crate) struct ResourceGroup {
    /// The resource group; without it all are searched, and what is made is made in `twinroute`.
    #[arg(
        long,
        short = 'g',
        value_name = "GROUP",
        env = "TWINROUTE_RESOURCE_GROUP",
        hide_env_values = true
    )]
    resource_group: Option<String>,
}

/// Whether a resource whose name is taken may be replaced.
#[derive(Args, Debug)]
pub(crate) struct ReplaceMode {
    /// Replaces the one of this name, with everything that is not said.
    #[arg(long, short = 'y')]
    pub(super) yes: bool,
}

impl ResourceGroup {
    pub(super) fn named(&self) -> Option<&str> {
        self.resource_group.as_deref()
    }

    pub(super) fn or_default(&self) -> &str {
        self.named().unwrap_or(GROUP)
    }
}

/// An instance that is there.
#[derive(Args, Debug)]
pub(crate) struct InstanceResource {
    /// The instance; may be left out where there is only one.
    #[arg(long, short = 'n', value_name = "NAME", visible_alias = "dtn")]
    dt_name: Option<String>,
    #[command(flatten)]
    group: ResourceGroup,
    #[command(flatten)]
    pub(super) server: ServerOptions,
}

impl InstanceResource {
    /// Connects, and finds it.
    pub(super) async fn find(&self) -> anyhow::Result<(ManagementClient, FoundResource)> {
        let client = self.server.client().await?;
        let found = INSTANCES
            .find(&client, self.group.named(), self.dt_name.as_deref())
            .await?;
        Ok((client, found))
    }
}

/// A type of resources that stand in groups.
pub(super) struct ResourceType {
    /// Namespace and type.
    pub(super) provider: &'static str,
    pub(super) version: &'static str,
    pub(super) noun: &'static str,
    /// The option that names one.
    option: &'static str,
    /// The command about them.
    pub(super) command: &'static str,
}

pub(super) const INSTANCES: ResourceType = ResourceType {
    provider: "Microsoft.DigitalTwins/digitalTwinsInstances",
    version: "2023-01-31",
    noun: "instance",
    option: "--dt-name",
    command: "twinroute instance",
};

pub(super) const SERVICES: ResourceType = ResourceType {
    provider: "Microsoft.Devices/provisioningServices",
    version: "2022-12-12",
    noun: "provisioning service",
    option: "--dps-name",
    command: "twinroute dps",
};

/// A resource by its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundResource {
    pub(super) name: String,
    pub(super) group: String,
    /// Its path, escaped.
    pub(super) path: String,
}

impl FoundResource {
    pub(super) fn child(&self, kind: &str, name: &str) -> String {
        format!("{}/{kind}/{}", self.path, escape(name))
    }
}

impl ResourceType {
    /// The path of a list.
    pub(super) fn list(&self, subscription: &str, group: Option<&str>) -> String {
        let subscription = escape(subscription);
        let group = group.map(|group| format!("/resourceGroups/{}", escape(group)));
        let group = group.unwrap_or_default();
        let provider = self.provider;
        format!("/subscriptions/{subscription}{group}/providers/{provider}")
    }

    pub(super) fn at(&self, subscription: &str, group: &str, name: &str) -> FoundResource {
        let path = self.list(subscription, Some(group));
        FoundResource {
            name: name.to_owned(),
            group: group.to_owned(),
            path: format!("{path}/{}", escape(name)),
        }
    }

    /// Finds the one that is meant: by name, by group, or because there is no other.
    pub(super) async fn find(
        &self,
        client: &ManagementClient,
        group: Option<&str>,
        name: Option<&str>,
    ) -> anyhow::Result<FoundResource> {
        if let (Some(group), Some(name)) = (group, name) {
            return Ok(self.at(&client.subscription, group, name));
        }
        let path = self.list(&client.subscription, group);
        let what = format!("list of {}s", self.noun);
        let all = client.list(&path, self.version, &what).await?;
        let all: Vec<FoundResource> = all
            .iter()
            .filter_map(|resource| self.read(&client.subscription, resource))
            .collect();
        self.choose(all, name)
    }

    fn read(&self, subscription: &str, resource: &Value) -> Option<FoundResource> {
        let id: Vec<&str> = resource["id"].as_str()?.split('/').collect();
        Some(self.at(subscription, id.get(4)?, id.last()?))
    }

    fn choose(&self, all: Vec<FoundResource>, name: Option<&str>) -> anyhow::Result<FoundResource> {
        let (noun, option, command) = (self.noun, self.option, self.command);
        let names: Vec<_> = all.iter().map(|found| one_line(&found.name)).collect();
        let names = names.join(", ");
        let is_meant =
            |found: &FoundResource| name.is_none_or(|name| found.name.eq_ignore_ascii_case(name));
        let mut meant = all.into_iter().filter(is_meant);
        match (meant.next(), meant.next(), name) {
            (Some(found), None, _) => Ok(found),
            (Some(_), Some(_), Some(name)) => bail!(
                "several groups have {noun} {name}; say which with --resource-group/-g: {command} list shows them"
            ),
            (Some(_), Some(_), None) => {
                bail!("there are several {noun}s; say which with {option}/-n: {names}")
            }
            (None, _, Some(name)) if !names.is_empty() => {
                bail!("there is no {noun} {name}; there are: {names}")
            }
            (None, _, _) => {
                bail!("there is no {noun} yet; make one: {command} create {option} NAME")
            }
        }
    }
}

/// `Enabled` or `Disabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessOption {
    #[value(name = "Enabled")]
    Enabled,
    #[value(name = "Disabled")]
    Disabled,
}

impl AccessOption {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
        }
    }
}

/// `key=value` pairs as the members of `tags`. One empty text stands for none at all.
pub(super) fn tags(pairs: &[String]) -> Value {
    let pairs = pairs.iter().filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), Value::from(value))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// A name as a segment of a path.
pub(super) fn escape(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// The region for what is made in a group: what was asked for, else the group's.
pub(super) async fn location(
    client: &ManagementClient,
    group: &str,
    asked: Option<&str>,
) -> anyhow::Result<String> {
    const ELSE: &str = "westus2";
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    let subscription = escape(&client.subscription);
    let path = format!(
        "/subscriptions/{subscription}/resourceGroups/{}",
        escape(group)
    );
    let found = client
        .find(&path, "2021-04-01", &format!("resource group {group}"))
        .await
        .context("which region? say it with --location/-l")?;
    let location = found.as_ref().and_then(|group| group["location"].as_str());
    Ok(location.unwrap_or(ELSE).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_meant_is_found_or_all_are_named() {
        let at = |group: &str, name: &str| INSTANCES.at("s", group, name);
        let choose = |all: &[(&str, &str)], name| {
            let all = all.iter().map(|(group, name)| at(group, name)).collect();
            match INSTANCES.choose(all, name) {
                Ok(found) => format!("{}/{}", found.group, found.name),
                Err(error) => error.to_string(),
            }
        };
        let two = [("g", "plant"), ("h", "lab")];
        assert_eq!(choose(&two[..1], None), "g/plant");
        assert_eq!(choose(&two, Some("LAB")), "h/lab");
        assert_eq!(
            choose(&two, None),
            "there are several instances; say which with --dt-name/-n: plant, lab"
        );
        assert_eq!(
            choose(&two, Some("x")),
            "there is no instance x; there are: plant, lab"
        );
        assert_eq!(
            choose(&[], None),
            "there is no instance yet; make one: twinroute instance create --dt-name NAME"
        );
        // peer-texts: a name of the server's forges no line.
        assert!(choose(&[("g", "a\nERROR b")], Some("x")).ends_with(r"there are: a\nERROR b"));
        assert!(choose(&[("g", "a-b"), ("h", "A-B")], Some("a-b")).starts_with("several groups"));
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let found = INSTANCES.at("s", "my (group)", "plant");
        let path = "/subscriptions/s/resourceGroups/my%20%28group%29/providers/\
                    Microsoft.DigitalTwins/digitalTwinsInstances/plant";
        assert_eq!(found.path, path);
        assert_eq!(
            found.child("endpoints", "a/b"),
            format!("{path}/endpoints/a%2Fb")
        );
    }

    #[test]
    fn tags_are_pairs() {
        let pairs = ["a=b=c".to_owned(), "d".to_owned(), String::new()];
        assert_eq!(tags(&pairs), serde_json::json!({ "a": "b=c", "d": "" }));
        assert_eq!(tags(&[]), serde_json::json!({}));
    }
}
