//! `twinroute endpoint update` and `rotate-key`: only what is said changes.
#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "help texts are read in a terminal"
)]

use super::entity::EntityOptions;
use super::list::{NamedEndpoint, facts};
use super::secret_options::{ConnectionStrings, DeadLetterContainer, TopicKeys};
use crate::cli::arm::{INSTANCES, ManagementClient, WaitMode, secret, show};
use anyhow::bail;
use clap::{ArgGroup, Args, ValueEnum};
use reqwest::Method;
use secret::SecretReader;
use serde_json::{Value, json};
use twinroute_management::SECRET_MEMBERS;
use twinroute_model::endpoint::EndpointType;
use twinroute_model::secret::Secret;

#[derive(Args, Debug)]
pub(crate) struct EndpointUpdate {
    /// Event Grid: the topic's URL; a new one needs its keys, too.
    #[arg(long, value_name = "URL")]
    topic_endpoint: Option<String>,
    #[command(flatten)]
    keys: TopicKeys,
    #[command(flatten)]
    strings: ConnectionStrings,
    /// Removes the other key.
    #[arg(long)]
    no_secondary: bool,
    /// The event hub or topic: for an identity, and for a connection string that names none.
    #[arg(long, value_name = "NAME", visible_aliases = ["eventhub", "servicebus-topic"])]
    entity_path: Option<String>,
    /// For an identity: where, such as sb://<namespace>.servicebus.windows.net/.
    #[arg(long, value_name = "URI")]
    endpoint_uri: Option<String>,
    /// The identity to write as: `[system]`, the instance's own, or the ARM id of a user-assigned one.
    #[arg(long, value_name = "[system]|ID")]
    identity: Option<String>,
    #[command(flatten)]
    dead_letters: DeadLetterContainer,
    /// Removes the container for dead letters.
    #[arg(long, conflicts_with_all = ["deadletter_sas_uri", "deadletter_sas_uri_env", "deadletter_uri"])]
    no_deadletter: bool,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    which: NamedEndpoint,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("how").required(true))]
pub(crate) struct RotateKey {
    /// The two keys change places: the one that is tried second is used first from here on.
    #[arg(long, group = "how")]
    swap: bool,
    /// A new access key or connection string.
    #[arg(long, value_name = "SECRET", group = "how", value_parser = secret::parse)]
    key: Option<Secret>,
    /// The environment variable with it.
    #[arg(long, value_name = "NAME", group = "how")]
    key_env: Option<String>,
    /// Which key the new one replaces.
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        default_value = "primary",
        conflicts_with = "swap"
    )]
    slot: KeyChoice,
    /// The event hub or topic, for a connection string that names none.
    #[arg(long, value_name = "NAME", visible_aliases = ["eventhub", "servicebus-topic"])]
    entity_path: Option<String>,
    /// Does not wait until it is provisioned.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    which: NamedEndpoint,
}

/// A place of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyChoice {
    /// The one that is used.
    Primary,
    /// The one that is tried when the first is refused.
    Secondary,
}

impl EndpointUpdate {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let (client, path, what) = self.which.find().await?;
        let mut body = client.get(&path, INSTANCES.version, &what).await?;
        let before = body["properties"].clone();
        {
            let mut input = std::io::stdin().lock();
            self.apply(&mut body["properties"], &mut SecretReader::new(&mut input))?;
        }
        if body["properties"] == before {
            if self.no_secondary || self.no_deadletter {
                bail!("{what}: there is none to remove; nothing is changed");
            }
            bail!("{what}: say what is to change; `--help` lists the options");
        }
        put(&client, (&path, &what), &body, self.no_wait, &self.which).await
    }

    /// Puts what was said into the properties of an endpoint.
    fn apply(&self, properties: &mut Value, secrets: &mut SecretReader<'_>) -> anyhow::Result<()> {
        let kind = kind(properties)?;
        let is_grid = kind == EndpointType::EventGrid;
        let [first, second] = kind.keys();
        let second_string = "--secondary-connection-string";
        for (option, read, of_grid, member) in [
            ("--key", self.keys.first(secrets)?, true, first),
            ("--secondary-key", self.keys.second(secrets)?, true, second),
            (
                "--connection-string",
                self.strings.first(secrets)?,
                false,
                first,
            ),
            (second_string, self.strings.second(secrets)?, false, second),
        ] {
            let Some(secret) = read else { continue };
            if of_grid != is_grid {
                let other = if is_grid {
                    "--key"
                } else {
                    "--connection-string"
                };
                bail!(
                    "{option} is not for {} endpoints: give {other}",
                    kind.as_str()
                );
            }
            let entity = self.entity_path.as_deref();
            properties[member] = complete(kind, option, &secret, entity)?.expose().into();
        }
        self.apply_place(properties, kind)?;
        if let Some(sas) = self.dead_letters.sas_uri(secrets)? {
            remove(properties, "deadLetterUri");
            properties["deadLetterSecret"] = sas.expose().into();
        }
        if let Some(uri) = &self.dead_letters.deadletter_uri {
            remove(properties, "deadLetterSecret");
            properties["deadLetterUri"] = uri.as_str().into();
        }
        if self.no_deadletter {
            remove(properties, "deadLetterSecret");
            remove(properties, "deadLetterUri");
        }
        if self.no_secondary {
            remove(properties, second);
        }
        Ok(())
    }

    /// Where it goes, and as whom.
    fn apply_place(&self, properties: &mut Value, kind: EndpointType) -> anyhow::Result<()> {
        let by_identity = properties["authenticationType"] == "IdentityBased";
        let is_grid = kind == EndpointType::EventGrid;
        if let Some(url) = &self.topic_endpoint {
            if !is_grid {
                bail!(
                    "--topic-endpoint is for EventGrid endpoints; this is {}",
                    kind.as_str()
                );
            }
            properties["TopicEndpoint"] = url.as_str().into();
        }
        if !by_identity && (self.endpoint_uri.is_some() || self.identity.is_some()) {
            bail!(
                "--endpoint-uri and --identity are for IdentityBased endpoints; this one has keys"
            );
        }
        if let Some(uri) = &self.endpoint_uri {
            properties["endpointUri"] = uri.as_str().into();
        }
        if let Some(entity) = self.entity_path.as_ref().filter(|_| by_identity) {
            properties["entityPath"] = entity.as_str().into();
        }
        match self.identity.as_deref() {
            None => {}
            Some("[system]") => properties["identity"] = json!({ "type": "SystemAssigned" }),
            Some(id) => {
                properties["identity"] =
                    json!({ "type": "UserAssigned", "userAssignedIdentity": id });
            }
        }
        Ok(())
    }
}

impl RotateKey {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let (client, path, what) = self.which.find().await?;
        if self.swap {
            if client.is_azure() {
                bail!(
                    "{what}: Azure does not swap keys, and shows none: give the new one with --key or --key-env"
                );
            }
            let swap = format!("{path}/swapKeys");
            let change = (Method::POST, swap.as_str());
            let waiting = WaitMode::unless(self.no_wait);
            let resource = client
                .change(change, INSTANCES.version, None, waiting, &what)
                .await?;
            show::print(self.which.is_json(), &resource, facts)?;
            return Ok(());
        }
        let mut body = client.get(&path, INSTANCES.version, &what).await?;
        let properties = &mut body["properties"];
        let kind = kind(properties)?;
        if properties["authenticationType"] == "IdentityBased" {
            bail!("{what} has an identity and no keys");
        }
        let read = {
            let mut input = std::io::stdin().lock();
            let variable = self.key_env.as_deref();
            SecretReader::new(&mut input).read("--key", self.key.as_ref(), variable)?
        };
        let Some(secret) = read else {
            bail!("give the new key with --key or --key-env, or say --swap");
        };
        let [first, second] = kind.keys();
        let member = match self.slot {
            KeyChoice::Primary => first,
            KeyChoice::Secondary => second,
        };
        let entity = self.entity_path.as_deref();
        properties[member] = complete(kind, "--key", &secret, entity)?.expose().into();
        // The server alone sees whether the new key is for the place that is stored.
        let path = match client.is_azure() {
            true => path,
            false => format!("{path}?keysOnly=true"),
        };
        put(&client, (&path, &what), &body, self.no_wait, &self.which).await
    }
}

/// The secret as the endpoint has it: a connection string names its event hub or topic.
fn complete(
    kind: EndpointType,
    option: &str,
    secret: &Secret,
    entity: Option<&str>,
) -> anyhow::Result<Secret> {
    let noun = match kind {
        EndpointType::EventGrid => return Ok(secret.clone()),
        EndpointType::EventHub => "event hub",
        EndpointType::ServiceBus => "topic",
    };
    let entity = EntityOptions {
        noun,
        namespace: None,
        entity,
        policy: None,
        options: ["", "--entity-path", ""],
    };
    entity.complete(option, secret)
}

fn kind(properties: &Value) -> anyhow::Result<EndpointType> {
    let word = properties["endpointType"].as_str().unwrap_or_default();
    match EndpointType::parse(word) {
        Some(kind) => Ok(kind),
        None => bail!("the endpoint is of the type {word:?}, which is not known here"),
    }
}

fn remove(properties: &mut Value, member: &str) {
    if let Some(members) = properties.as_object_mut() {
        members.remove(member);
    }
}

/// Sends it back: masks keep what they stand for.
async fn put(
    client: &ManagementClient,
    (path, what): (&str, &str),
    body: &Value,
    no_wait: bool,
    which: &NamedEndpoint,
) -> anyhow::Result<()> {
    let masked = masked(&body["properties"]);
    // What Azure makes of a mask is not published: it might take it for the secret.
    if client.is_azure() && !masked.is_empty() {
        bail!(
            "{what}: Azure shows masks for {} and may take them for secrets: give these, too",
            masked.join(" and ")
        );
    }
    let sent = json!({ "properties": body["properties"] });
    let waiting = WaitMode::unless(no_wait);
    let change = (Method::PUT, path);
    let resource = client
        .change(change, INSTANCES.version, Some(&sent), waiting, what)
        .await?;
    show::print(which.is_json(), &resource, facts)?;
    Ok(())
}

/// The members that hold masks.
fn masked(properties: &Value) -> Vec<String> {
    let members = properties.as_object().into_iter().flatten();
    let masked = members.filter(|(name, value)| {
        let mask = value
            .as_str()
            .is_some_and(|text| Secret::new(text).is_masked());
        mask && SECRET_MEMBERS.contains(&name.as_str())
    });
    masked.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct UpdateLine {
        #[command(flatten)]
        update: EndpointUpdate,
    }

    fn applied(line: &str, properties: &Value) -> Result<Value, String> {
        let words = std::iter::once("update").chain(line.split_whitespace());
        let line = UpdateLine::try_parse_from(words).map_err(|error| error.to_string())?;
        let mut properties = properties.clone();
        let mut input: &[u8] = b"";
        line.update
            .apply(&mut properties, &mut SecretReader::new(&mut input))
            .map_err(|error| error.to_string())?;
        Ok(properties)
    }

    const STRING: &str = "Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey=k";

    #[test]
    fn create_drops_but_update_keeps() {
        let hub = json!({ "endpointType": "EventHub", "authenticationType": "KeyBased",
            "connectionStringPrimaryKey": "***", "connectionStringSecondaryKey": "***", "deadLetterSecret": "***",
            "newer": 1 });
        let mut expect = hub.clone();
        expect["connectionStringPrimaryKey"] = format!("{STRING};EntityPath=hub").into();
        let line = format!("--en e1 --connection-string {STRING} --eventhub hub");
        assert_eq!(applied(&line, &hub), Ok(expect));
        let line = "--en e1 --deadletter-sas-uri https://a/dead?sig=x --no-secondary";
        let changed = applied(line, &hub).unwrap();
        assert_eq!(changed["deadLetterSecret"], "https://a/dead?sig=x");
        assert_eq!(changed["connectionStringPrimaryKey"], "***");
        assert!(changed.get("connectionStringSecondaryKey").is_none());
        assert!(
            applied("--en e1 --no-deadletter", &hub)
                .unwrap()
                .get("deadLetterSecret")
                .is_none()
        );
        assert_eq!(applied("--en e1", &hub), Ok(hub.clone()));
        assert_eq!(masked(&hub).len(), 3);
        for (line, expect) in [
            (
                "--en e1 --key x",
                "--key is not for EventHub endpoints: give --connection-string",
            ),
            (
                "--en e1 --identity [system]",
                "--endpoint-uri and --identity are for IdentityBased",
            ),
            (
                "--en e1 --topic-endpoint https://t",
                "--topic-endpoint is for EventGrid endpoints",
            ),
        ] {
            let error = applied(line, &hub).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        }
        let line = format!("--en e1 --connection-string {STRING}");
        let error = applied(&line, &hub).unwrap_err();
        assert_eq!(
            error,
            "--connection-string names no event hub: say which with --entity-path"
        );
    }
}
