//! `iotHubs` of a service: hubs that devices are assigned to. Their connection strings are secrets.
//!
//! Source: Microsoft.Devices 2026-11-01, `IotHubDefinitionDescription`: a hub with an identity has `hostName` instead.

use crate::arm::error::Error;
use crate::arm::json::ArmObject;
use crate::arm::names;
use crate::store::masks::KeptSecrets;
use crate::store::record::ResourceRecord;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use twinroute_model::pasted;
use twinroute_model::secret::Secret;

/// Hubs of one service.
const HUBS_MAX: usize = 100;

/// Bytes of a connection string.
const STRING_BYTES_MAX: usize = 1024;

const AUTHENTICATION: &[&str] = &["KeyBased", "UserAssigned", "SystemAssigned"];

const FORM: &str =
    "must be HostName=<hub>.azure-devices.net;SharedAccessKeyName=<name>;SharedAccessKey=<key>";

/// What everybody may know of a connection string.
#[derive(Debug, PartialEq, Eq)]
struct ConnectionParts<'a> {
    host: &'a str,
    key_name: &'a str,
}

/// What a body's hubs come to.
#[derive(Debug, Default)]
pub(super) struct LinkedHubs {
    /// What is shown of them.
    pub(super) views: Vec<Value>,
    /// Their connection strings, by the JSON pointer of their place.
    pub(super) secrets: BTreeMap<String, Secret>,
    /// Those of them that the body named by a mask.
    pub(super) kept: KeptSecrets,
}

/// Members that are read; a `name` is the server's own.
pub(super) const KNOWN: &[&str] = &[
    "allocationWeight",
    "applyAllocationPolicy",
    "authenticationType",
    "connectionString",
    "hostName",
    "location",
    "name",
    "selectedUserAssignedIdentityResourceId",
];

/// Reads `iotHubs`. A mask keeps the connection string of `present` that it names: recorded of Azure.
pub(super) fn read(
    properties: &ArmObject<'_>,
    present: Option<&ResourceRecord>,
) -> Result<LinkedHubs, Error> {
    let given = properties.objects("iotHubs")?.unwrap_or_default();
    if given.len() > HUBS_MAX {
        let rule = format!("has at most {HUBS_MAX} hubs");
        return Err(Error::invalid(properties.path("iotHubs"), rule));
    }
    let mut hubs = LinkedHubs::default();
    for (index, hub) in given.iter().enumerate() {
        let (view, secret) = one(hub, present, &mut hubs.kept)?;
        let name = view["name"].as_str().unwrap_or_default();
        let twice = |other: &Value| {
            let other = other["name"].as_str();
            other.is_some_and(|other| other.eq_ignore_ascii_case(name))
        };
        if hubs.views.iter().any(twice) {
            let member = if secret.is_some() {
                "connectionString"
            } else {
                "hostName"
            };
            let rule = "names a hub that stands in the list already";
            return Err(Error::invalid(hub.path(member), rule));
        }
        hubs.views.push(view);
        if let Some(secret) = secret {
            hubs.secrets.insert(pointer(index), secret);
        }
    }
    Ok(hubs)
}

/// One hub: what is shown, and its connection string, where it has one.
fn one(
    hub: &ArmObject<'_>,
    present: Option<&ResourceRecord>,
    kept: &mut KeptSecrets,
) -> Result<(Value, Option<Secret>), Error> {
    let mut view = Map::new();
    let mut set = |member: &str, value: Value| drop(view.insert(member.to_owned(), value));
    let authentication = hub.word("authenticationType", AUTHENTICATION)?;
    let host = hub.text("hostName")?;
    let secret = match hub.text("connectionString")? {
        Some(text) => Some(connection_string(hub, text, present, kept)?),
        None => None,
    };
    // What says where the hub is: its connection string with keys, `hostName` with an identity; never
    // both in disagreement.
    match (&secret, authentication, host) {
        (Some(secret), None | Some("KeyBased"), host) => {
            let name = parse(secret.expose()).map(|parts| parts.host.to_owned());
            let name = name.unwrap_or_default();
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(&name)) {
                let rule = "is another than the HostName of the connection string";
                return Err(Error::invalid(hub.path("hostName"), rule));
            }
            set("name", name.into());
        }
        (Some(_), Some(_), _) => {
            let rule = "is for authenticationType KeyBased; leave it out of a hub with an identity";
            return Err(Error::invalid(hub.path("connectionString"), rule));
        }
        (None, None | Some("KeyBased"), _) => {
            return Err(hub.missing("connectionString"));
        }
        (None, Some(_), Some(host)) => set("name", host_name(hub, host)?.into()),
        (None, Some(_), None) => {
            return Err(hub.missing("hostName"));
        }
    }
    if let Some(host) = host {
        set("hostName", host.into());
    }
    if let Some(authentication) = authentication {
        set("authenticationType", authentication.into());
    }
    if let Some(id) = identity(hub, authentication)? {
        set(IDENTITY, id.into());
    }
    let location = names::location(hub.required_text("location")?).map_err(|_| {
        Error::invalid(
            hub.path("location"),
            "must be the name of a region, such as westus2",
        )
    })?;
    set("location", location.into());
    if let Some(apply) = hub.boolean("applyAllocationPolicy")? {
        set("applyAllocationPolicy", apply.into());
    }
    if let Some(weight) = hub.integer("allocationWeight")? {
        let weight = i32::try_from(weight).ok().filter(|weight| *weight >= 0);
        let weight = weight.ok_or_else(|| {
            Error::invalid(
                hub.path("allocationWeight"),
                "must be a whole number from 0 to 2147483647",
            )
        })?;
        set("allocationWeight", weight.into());
    }
    Ok((view.into(), secret))
}

const IDENTITY: &str = "selectedUserAssignedIdentityResourceId";

/// The user-assigned identity that the hub is reached with, where it is one.
fn identity<'a>(
    hub: &ArmObject<'a>,
    authentication: Option<&str>,
) -> Result<Option<&'a str>, Error> {
    let id = hub.text(IDENTITY)?;
    match (id, authentication == Some("UserAssigned")) {
        (None, true) => Err(hub.missing(IDENTITY)),
        (Some(_), false) => {
            let rule = "is for authenticationType UserAssigned; leave it out";
            Err(Error::invalid(hub.path(IDENTITY), rule))
        }
        (id, _) => Ok(id),
    }
}

/// The connection string that a body gives, or names by its mask.
fn connection_string(
    hub: &ArmObject<'_>,
    text: &str,
    present: Option<&ResourceRecord>,
    kept: &mut KeptSecrets,
) -> Result<Secret, Error> {
    let path = || hub.path("connectionString");
    let secret = Secret::new(text);
    if secret.is_masked() {
        // One that shows neither hub nor key's name could be of any.
        let shows = parse(text).is_some_and(|parts| {
            [parts.host, parts.key_name]
                .iter()
                .all(|part| !Secret::new(*part).is_masked())
        });
        let stored = present.into_iter().flat_map(|present| &present.secrets);
        let mut stored = stored.filter(|(pointer, _)| is_pointer(pointer));
        let named = stored.find(|(_, stored)| shows && secret.is_mask_of(stored));
        let (pointer, stored) = named.ok_or_else(|| {
            let rule = "is a mask, as reads show it, of no connection string that is stored; send the whole \
                        string again";
            Error::invalid(path(), rule)
        })?;
        kept.add(pointer.clone(), stored);
        return Ok(stored.clone());
    }
    pasted::check(text).map_err(|error| Error::invalid(path(), error.to_string()))?;
    match parse(text) {
        Some(_) => Ok(secret),
        None => Err(Error::invalid(path(), FORM)),
    }
}

fn host_name<'a>(hub: &ArmObject<'_>, host: &'a str) -> Result<&'a str, Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=253).contains(&host.len()) && host.bytes().all(legal) {
        return Ok(host);
    }
    Err(Error::invalid(
        hub.path("hostName"),
        "must be a host name, such as <hub>.azure-devices.net",
    ))
}

fn pointer(index: usize) -> String {
    format!("/properties/iotHubs/{index}/connectionString")
}

fn is_pointer(pointer: &str) -> bool {
    pointer.starts_with("/properties/iotHubs/") && pointer.ends_with("/connectionString")
}

/// What a connection string is shown as.
pub(super) fn mask(secret: &Secret) -> String {
    match parse(secret.expose()) {
        Some(ConnectionParts { host, key_name }) => {
            format!("HostName={host};SharedAccessKeyName={key_name};SharedAccessKey=****")
        }
        None => "****".to_owned(),
    }
}

/// Takes a connection string of a hub apart. Only what has all three parts, once each, and nothing else is one:
/// whatever else stood in it would be shown or lost.
fn parse(text: &str) -> Option<ConnectionParts<'_>> {
    if text.len() > STRING_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (mut host, mut key_name, mut key) = (None, None, None);
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let place = match name.to_ascii_lowercase().as_str() {
            "hostname" => &mut host,
            "sharedaccesskeyname" => &mut key_name,
            "sharedaccesskey" => &mut key,
            _ => return None,
        };
        if value.is_empty() || place.replace(value).is_some() {
            return None;
        }
    }
    key?;
    let (host, key_name) = (host?, key_name?);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (host.bytes().all(legal) && key_name.bytes().all(legal))
        .then_some(ConnectionParts { host, key_name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_has_three_parts_and_shows_two() {
        let good = "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=a+b/c==";
        assert_eq!(
            mask(&Secret::new(good)),
            "HostName=h.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=****"
        );
        assert!(parse(&good.to_ascii_uppercase()).is_some());
        for bad in [
            "",
            "HostName=h",
            "HostName=h;SharedAccessKeyName=n",
            "HostName=;SharedAccessKeyName=n;SharedAccessKey=k",
            "HostName=h;SharedAccessKeyName=n;SharedAccessKey=k;SharedAccessKey=k2",
            "HostName=h;SharedAccessKeyName=n;SharedAccessKey=k;Password=k2",
            "HostName=h/x;SharedAccessKeyName=n;SharedAccessKey=k",
            "HostName=h;SharedAccessKeyName=n n;SharedAccessKey=k",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
