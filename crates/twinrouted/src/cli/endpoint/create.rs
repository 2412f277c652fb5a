//! `twinroute endpoint create`: from options to the body of an endpoint.
#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "help texts are read in a terminal"
)]

use super::entity::EntityOptions;
use super::list::facts;
use super::secret_options::{ConnectionStrings, DeadLetterContainer, TopicKeys};
use crate::cli::arm::replace::may_replace;
use crate::cli::arm::{INSTANCES, InstanceResource, ReplaceMode, WaitMode, secret, show};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use secret::SecretReader;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCreate {
    /// To an Event Grid topic.
    #[command(visible_alias = "eventgrid", after_help = secret::HELP)]
    EventGrid(EventGridOptions),
    /// To an event hub.
    #[command(visible_alias = "eventhub", after_help = secret::HELP)]
    EventHubs(EventHubOptions),
    /// To a Service Bus topic.
    #[command(visible_alias = "servicebus", after_help = secret::HELP)]
    ServiceBus(ServiceBusOptions),
}

#[derive(Args, Debug)]
pub(crate) struct EventGridOptions {
    /// The topic; what --topic-endpoint names must be it.
    #[arg(long, value_name = "NAME", visible_alias = "egt")]
    eventgrid_topic: Option<String>,
    /// The topic's URL: https://<topic>.<region>-1.eventgrid.azure.net/api/events.
    #[arg(long, value_name = "URL")]
    topic_endpoint: String,
    #[command(flatten)]
    keys: TopicKeys,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Args, Debug)]
pub(crate) struct EventHubOptions {
    /// The event hub; goes into a connection string that names none.
    #[arg(long, value_name = "NAME", visible_alias = "eh")]
    eventhub: Option<String>,
    /// Its namespace.
    #[arg(long, value_name = "NAME", visible_alias = "ehn")]
    eventhub_namespace: Option<String>,
    /// The policy that the connection string must be for.
    #[arg(long, value_name = "NAME", visible_alias = "ehp")]
    eventhub_policy: Option<String>,
    #[command(flatten)]
    access: NamespaceOptions,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Args, Debug)]
pub(crate) struct ServiceBusOptions {
    /// The topic; goes into a connection string that names none.
    #[arg(long, value_name = "NAME", visible_alias = "sbt")]
    servicebus_topic: Option<String>,
    /// Its namespace.
    #[arg(long, value_name = "NAME", visible_alias = "sbn")]
    servicebus_namespace: Option<String>,
    /// The policy that the connection string must be for.
    #[arg(long, value_name = "NAME", visible_alias = "sbp")]
    servicebus_policy: Option<String>,
    #[command(flatten)]
    access: NamespaceOptions,
    #[command(flatten)]
    common: CommonOptions,
}

/// How an event hub or a topic is reached and written to.
#[derive(Args, Debug, Default)]
pub(crate) struct NamespaceOptions {
    /// With connection strings, or as an identity; as the other options say when left out.
    #[arg(long, value_enum, ignore_case = true)]
    auth_type: Option<AuthType>,
    #[command(flatten)]
    strings: ConnectionStrings,
    /// The identity to write as: `[system]`, the instance's own, or the ARM id of a user-assigned one.
    #[arg(long, value_name = "[system]|ID")]
    identity: Option<String>,
    /// For an identity: where, such as sb://<namespace>.servicebus.windows.net/; by default the namespace's.
    #[arg(long, value_name = "URI")]
    endpoint_uri: Option<String>,
    /// For an identity: to which event hub or topic; by default the one that is named.
    #[arg(long, value_name = "NAME")]
    entity_path: Option<String>,
}

/// `KeyBased` or `IdentityBased`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthType {
    #[value(name = "KeyBased")]
    KeyBased,
    #[value(name = "IdentityBased")]
    IdentityBased,
}

/// What all endpoints have.
#[derive(Args, Debug)]
pub(crate) struct CommonOptions {
    /// The endpoint: 3 to 49 letters, digits and hyphens.
    #[arg(long, value_name = "NAME", visible_alias = "en")]
    endpoint_name: String,
    #[command(flatten)]
    dead_letters: DeadLetterContainer,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    replacing: ReplaceMode,
    #[command(flatten)]
    instance: InstanceResource,
}

impl EndpointCreate {
    pub(super) async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut input = std::io::stdin().lock();
        let mut secrets = SecretReader::new(&mut input);
        let (mut properties, common) = match self {
            Self::EventGrid(grid) => (grid.properties(&mut secrets)?, &grid.common),
            Self::EventHubs(hub) => {
                let entity = EntityOptions {
                    noun: "event hub",
                    namespace: hub.eventhub_namespace.as_deref(),
                    entity: hub.eventhub.as_deref(),
                    policy: hub.eventhub_policy.as_deref(),
                    options: ["--eventhub-namespace", "--eventhub", "--eventhub-policy"],
                };
                (
                    hub.access.properties(&entity, &HUB, &mut secrets)?,
                    &hub.common,
                )
            }
            Self::ServiceBus(bus) => {
                let entity = EntityOptions {
                    noun: "topic",
                    namespace: bus.servicebus_namespace.as_deref(),
                    entity: bus.servicebus_topic.as_deref(),
                    policy: bus.servicebus_policy.as_deref(),
                    options: [
                        "--servicebus-namespace",
                        "--servicebus-topic",
                        "--servicebus-policy",
                    ],
                };
                (
                    bus.access.properties(&entity, &BUS, &mut secrets)?,
                    &bus.common,
                )
            }
        };
        common.add_dead_letters(&mut properties, &mut secrets)?;
        drop(input);
        common.put(&json!({ "properties": properties })).await
    }
}

impl CommonOptions {
    fn add_dead_letters(
        &self,
        properties: &mut Value,
        secrets: &mut SecretReader<'_>,
    ) -> anyhow::Result<()> {
        let sas = self.dead_letters.sas_uri(secrets)?;
        if let Some(sas) = sas {
            properties["deadLetterSecret"] = sas.expose().into();
        }
        if let Some(uri) = &self.dead_letters.deadletter_uri {
            properties["deadLetterUri"] = uri.as_str().into();
        }
        Ok(())
    }

    async fn put(&self, body: &Value) -> anyhow::Result<ExitCode> {
        let (client, instance) = self.instance.find().await?;
        let path = instance.child("endpoints", &self.endpoint_name);
        let what = format!("endpoint {}/{}", instance.name, self.endpoint_name);
        let at = (path.as_str(), INSTANCES.version);
        if !may_replace(&client, at, body, self.replacing.yes, &what).await? {
            return Ok(ExitCode::FAILURE);
        }
        let waiting = WaitMode::unless(self.no_wait);
        let change = (Method::PUT, path.as_str());
        let resource = client
            .change(change, INSTANCES.version, Some(body), waiting, &what)
            .await?;
        show::print(self.instance.server.json, &resource, facts)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl EventGridOptions {
    fn properties(&self, secrets: &mut SecretReader<'_>) -> anyhow::Result<Value> {
        const AZURE: &str = ".eventgrid.azure.net";
        let host = self.topic_endpoint.split("://").nth(1).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let topic = host.split('.').next().unwrap_or_default();
        if let Some(named) = &self.eventgrid_topic
            && host.ends_with(AZURE)
            && !topic.eq_ignore_ascii_case(named)
        {
            bail!("--topic-endpoint is of the topic {topic}, --eventgrid-topic says {named}");
        }
        let key = self.keys.first(secrets)?;
        let key = key.context("give the topic's access key with --key or --key-env")?;
        let mut properties = json!({
            "endpointType": "EventGrid", "authenticationType": "KeyBased",
            "TopicEndpoint": self.topic_endpoint, "accessKey1": key.expose(),
        });
        let second = self.keys.second(secrets)?;
        if let Some(second) = second {
            properties["accessKey2"] = second.expose().into();
        }
        Ok(properties)
    }
}

/// How the members of a type are called.
struct TypeMembers {
    kind: &'static str,
    keys: [&'static str; 2],
}

const HUB: TypeMembers = TypeMembers {
    kind: "EventHub",
    keys: ["connectionStringPrimaryKey", "connectionStringSecondaryKey"],
};

const BUS: TypeMembers = TypeMembers {
    kind: "ServiceBus",
    keys: ["primaryConnectionString", "secondaryConnectionString"],
};

impl NamespaceOptions {
    fn auth_type(&self) -> AuthType {
        self.auth_type.unwrap_or(match self.identity {
            Some(_) => AuthType::IdentityBased,
            None => AuthType::KeyBased,
        })
    }

    fn properties(
        &self,
        entity: &EntityOptions<'_>,
        members: &TypeMembers,
        secrets: &mut SecretReader<'_>,
    ) -> anyhow::Result<Value> {
        let mut properties = json!({ "endpointType": members.kind });
        let first = self.strings.first(secrets)?;
        let second = self.strings.second(secrets)?;
        if self.auth_type() == AuthType::IdentityBased {
            if first.is_some() || second.is_some() {
                bail!(
                    "give either a connection string or an identity: an IdentityBased endpoint has no keys"
                );
            }
            properties["authenticationType"] = "IdentityBased".into();
            properties["endpointUri"] = entity.uri(self.endpoint_uri.as_deref())?.into();
            properties["entityPath"] = entity.path(self.entity_path.as_deref())?.into();
            properties["identity"] = match self.identity.as_deref() {
                None | Some("[system]") => json!({ "type": "SystemAssigned" }),
                Some(id) => json!({ "type": "UserAssigned", "userAssignedIdentity": id }),
            };
            return Ok(properties);
        }
        if self.identity.is_some() || self.endpoint_uri.is_some() || self.entity_path.is_some() {
            bail!("--identity, --endpoint-uri and --entity-path are for --auth-type IdentityBased");
        }
        properties["authenticationType"] = "KeyBased".into();
        let first = first.context(
            "give the connection string with --connection-string or --connection-string-env, or an --identity",
        )?;
        let [primary, secondary] = members.keys;
        let first = entity.complete("--connection-string", &first)?;
        properties[primary] = first.expose().into();
        if let Some(second) = second {
            let second = entity.complete("--secondary-connection-string", &second)?;
            properties[secondary] = second.expose().into();
        }
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CreateLine {
        #[command(subcommand)]
        kind: EndpointCreate,
    }

    fn properties(line: &str) -> Result<Value, String> {
        let words = std::iter::once("create").chain(line.split_whitespace());
        let line = CreateLine::try_parse_from(words).map_err(|error| error.to_string())?;
        let mut input: &[u8] = b"";
        let mut secrets = SecretReader::new(&mut input);
        let (made, common) = match &line.kind {
            EndpointCreate::EventGrid(grid) => (grid.properties(&mut secrets), &grid.common),
            EndpointCreate::EventHubs(hub) => {
                let entity = EntityOptions {
                    noun: "event hub",
                    namespace: hub.eventhub_namespace.as_deref(),
                    entity: hub.eventhub.as_deref(),
                    policy: hub.eventhub_policy.as_deref(),
                    options: ["--ehn", "--eh", "--ehp"],
                };
                let made = hub.access.properties(&entity, &HUB, &mut secrets);
                (made, &hub.common)
            }
            EndpointCreate::ServiceBus(_) => return Err("not asked here".to_owned()),
        };
        let mut made = made.map_err(|error| error.to_string())?;
        let added = common.add_dead_letters(&mut made, &mut secrets);
        added.map_err(|error| error.to_string())?;
        Ok(made)
    }

    #[test]
    fn options_become_the_body() {
        let string = "Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey=k";
        assert_eq!(
            properties(&format!(
                "event-hubs --en e1 -n plant --eh hub --connection-string {string} \
                 --dsu https://a/c?sig=s"
            )),
            Ok(json!({
                "endpointType": "EventHub", "authenticationType": "KeyBased",
                "connectionStringPrimaryKey": format!("{string};EntityPath=hub"),
                "deadLetterSecret": "https://a/c?sig=s",
            }))
        );
        assert_eq!(
            properties("eventhub --en e1 --eh hub --ehn ns --identity [system] --du https://a/c"),
            Ok(json!({
                "endpointType": "EventHub", "authenticationType": "IdentityBased",
                "endpointUri": "sb://ns.servicebus.windows.net/", "entityPath": "hub",
                "identity": { "type": "SystemAssigned" }, "deadLetterUri": "https://a/c",
            }))
        );
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u";
        let made = properties(&format!(
            "event-hubs --en e1 --endpoint-uri sb://x/ --entity-path p --identity {id}"
        ))
        .unwrap();
        assert_eq!(made["identity"]["userAssignedIdentity"], id);
        assert_eq!(
            properties(
                "event-grid --en e1 --topic-endpoint https://t.r-1.eventgrid.azure.net/api/events \
                 --egt T --key a --secondary-key b"
            ),
            Ok(json!({
                "endpointType": "EventGrid", "authenticationType": "KeyBased", "accessKey1": "a",
                "accessKey2": "b",
                "TopicEndpoint": "https://t.r-1.eventgrid.azure.net/api/events",
            }))
        );
    }

    #[test]
    fn what_does_not_go_together_is_reported() {
        for (line, expect) in [
            (
                "event-hubs --en e1",
                "give the connection string with --connection-string or",
            ),
            (
                "event-hubs --en e1 --identity [system]",
                "say where the event hub is: --ehn or --endpoint-uri",
            ),
            (
                "event-hubs --en e1 --identity [system] --connection-string x",
                "give either a connection string or an identity",
            ),
            (
                "event-hubs --en e1 --auth-type keybased --endpoint-uri sb://x/",
                "--identity, --endpoint-uri and --entity-path are for",
            ),
            (
                "event-grid --en e1 --topic-endpoint https://a.r-1.eventgrid.azure.net/ --egt b --key k",
                "--topic-endpoint is of the topic a, --eventgrid-topic says b",
            ),
            (
                "event-grid --en e1 --topic-endpoint https://a/",
                "give the topic's access key with --key or --key-env",
            ),
        ] {
            let error = properties(line).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_in_what_is_printed_of_options() {
        let line = "x event-grid --en e1 --topic-endpoint https://a/ --key hush --dsu hush";
        let line = CreateLine::try_parse_from(line.split_whitespace()).unwrap_or_else(|_| panic!());
        assert!(!format!("{:?}", line.kind).contains("hush"));
    }
}
