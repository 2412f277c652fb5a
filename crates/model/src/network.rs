//! From which networks an instance is reached: `publicNetworkAccess` and its private endpoint connections.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsProperties` and `PrivateEndpointConnection`.
//! What is no word of that version keeps people out: its enums are open, and a word that is not understood
//! may mean anything.

use crate::body::{self, BodyObject, MemberSpelling};
use crate::endpoint::FieldError;
use crate::json::JsonDocument;
use serde_json::{Map, Value};
use std::fmt;

/// Connections of one instance that are read.
const CONNECTIONS_MAX: usize = 1_000;

/// Bytes of a connection's name.
const NAME_BYTES_MAX: usize = 256;

/// Members of an instance: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsDescription`.
const TOP: &[&str] = &[
    "$schema",
    "id",
    "identity",
    "location",
    "name",
    "properties",
    "resourceGroup",
    "systemData",
    "tags",
    "type",
];
const PROPERTIES: &[&str] = &[
    "createdTime",
    "hostName",
    "lastUpdatedTime",
    "privateEndpointConnections",
    "provisioningState",
    "publicNetworkAccess",
];

/// From which networks an instance is reached. The default: from everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkAccess {
    /// Whether it is reached without a private endpoint connection.
    pub public: PublicAccess,
    /// Its private endpoint connections.
    pub connections: Vec<PrivateConnection>,
}

/// `publicNetworkAccess`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicAccess {
    /// Everybody reaches the instance.
    #[default]
    Enabled,
    /// Only approved private endpoint connections do.
    Disabled,
}

/// A private endpoint connection of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateConnection {
    /// Its name. Names compare without case.
    pub name: String,
    /// What was decided about it.
    pub status: ConnectionStatus,
}

/// `privateLinkServiceConnectionState.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// Nothing was decided yet.
    Pending,
    /// It lets its callers in.
    Approved,
    /// It keeps them out.
    Rejected,
    /// It has been taken down.
    Disconnected,
    /// A word that is none of these, or no word at all.
    Unknown,
}

impl PublicAccess {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
        }
    }
}

impl ConnectionStatus {
    const ALL: [Self; 4] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Disconnected,
    ];

    /// The status of that name, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        let known = |status: &Self| status.as_str().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(known).unwrap_or(Self::Unknown)
    }

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Disconnected => "Disconnected",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl NetworkAccess {
    /// Reads the body of an instance, of which nothing else is looked at, and says what is wrong with it. What
    /// is wrong keeps people out: an unknown access is `Disabled`, an unknown status is not `Approved`.
    #[must_use]
    pub fn read(instance: &Map<String, Value>) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let properties = match member(instance, "properties") {
            None => return (Self::default(), errors),
            Some(Value::Object(properties)) => properties,
            Some(_) => {
                errors.push(FieldError::new("properties", "must be an object"));
                return (Self::default(), errors);
            }
        };
        let access = Self {
            public: public(properties, &mut errors),
            connections: connections(properties, &mut errors),
        };
        (access, errors)
    }

    /// Reads the file of an instance: its body, strictly.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub fn parse(json: &str) -> Result<Self, Vec<FieldError>> {
        let wrong = |reason: &str| {
            vec![FieldError::new(
                "(body)",
                format!("not an instance: {reason}"),
            )]
        };
        let document =
            JsonDocument::read(json.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
        let body = document
            .object()
            .ok_or_else(|| wrong("must be an object"))?;
        let (access, mut errors) = Self::read(body);
        let top = BodyObject::new("", Some(body), TOP, MemberSpelling::AnyCase);
        top.refuse_unknown(&mut errors);
        let properties = body.get("properties").and_then(Value::as_object);
        let known = PROPERTIES;
        BodyObject::new("properties", properties, known, MemberSpelling::AnyCase)
            .refuse_unknown(&mut errors);
        if errors.is_empty() {
            Ok(access)
        } else {
            Err(errors)
        }
    }

    /// The connection of that name.
    #[must_use]
    pub fn connection(&self, name: &str) -> Option<&PrivateConnection> {
        let mut all = self.connections.iter();
        all.find(|connection| connection.name.eq_ignore_ascii_case(name))
    }
}

fn public(properties: &Map<String, Value>, errors: &mut Vec<FieldError>) -> PublicAccess {
    let word = match member(properties, "publicNetworkAccess") {
        None => return PublicAccess::Enabled,
        Some(value) => value.as_str().unwrap_or_default(),
    };
    if word.eq_ignore_ascii_case("Enabled") {
        return PublicAccess::Enabled;
    }
    if !word.eq_ignore_ascii_case("Disabled") {
        let rule = "must be Enabled or Disabled; read as Disabled";
        errors.push(FieldError::new("properties.publicNetworkAccess", rule));
    }
    PublicAccess::Disabled
}

fn connections(
    properties: &Map<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Vec<PrivateConnection> {
    const FIELD: &str = "properties.privateEndpointConnections";
    let list = match member(properties, "privateEndpointConnections") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            errors.push(FieldError::new(FIELD, "must be a list"));
            return Vec::new();
        }
    };
    if list.len() > CONNECTIONS_MAX {
        let rule = format!("has more than {CONNECTIONS_MAX} items; the rest is left out");
        errors.push(FieldError::new(FIELD, rule));
    }
    let mut found: Vec<PrivateConnection> = Vec::new();
    for (position, item) in list.iter().take(CONNECTIONS_MAX).enumerate() {
        let mut wrong =
            |rule: &str| errors.push(FieldError::new(&format!("{FIELD}[{position}]"), rule));
        let Some(connection) = item.as_object().and_then(PrivateConnection::read) else {
            wrong("needs a name (or an id) of 1 to 256 bytes; left out");
            continue;
        };
        if connection.status == ConnectionStatus::Unknown {
            wrong(
                "properties.privateLinkServiceConnectionState.status must be Pending, Approved, Rejected or \
                 Disconnected",
            );
        }
        let same = |other: &PrivateConnection| other.name.eq_ignore_ascii_case(&connection.name);
        if found.iter().any(same) {
            wrong("has the name of another; left out");
        } else {
            found.push(connection);
        }
    }
    found
}

impl PrivateConnection {
    /// Reads a connection's resource. Nothing, if it says no name; one that is being deleted is
    /// `Disconnected`.
    #[must_use]
    pub fn read(resource: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| member(resource, name).and_then(Value::as_str);
        let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
        let name = match text("name") {
            Some(name) => name.to_owned(),
            None => text("id").map(last)?,
        };
        let plain = !name.chars().any(char::is_control);
        ((1..=NAME_BYTES_MAX).contains(&name.len()) && plain).then_some(())?;
        let properties = member(resource, "properties").and_then(Value::as_object);
        let status = properties.map_or(ConnectionStatus::Unknown, Self::status);
        Some(Self { name, status })
    }

    fn status(properties: &Map<String, Value>) -> ConnectionStatus {
        let state = member(properties, "provisioningState").and_then(Value::as_str);
        if state.is_some_and(|state| state.eq_ignore_ascii_case("Deleting")) {
            return ConnectionStatus::Disconnected;
        }
        let decided = member(properties, "privateLinkServiceConnectionState");
        let decided = decided.and_then(Value::as_object);
        let word = decided.and_then(|decided| member(decided, "status")?.as_str());
        word.map_or(ConnectionStatus::Unknown, ConnectionStatus::parse)
    }
}

/// A member that is there and not null: of exactly this name, else in another case, as answers differ in it.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other = || {
        let mut members = object.iter();
        members.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let value = object.get(name).or_else(other)?;
    (!body::is_empty(value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(properties: &str, expect: &Expect) {
        let text = match NetworkAccess::parse(&format!("{{\"properties\":{properties}}}")) {
            Ok(access) => {
                let connections = access.connections.iter();
                let each = connections.map(|one| format!(" {}={}", one.name, one.status));
                format!("{}{}", access.public.as_str(), each.collect::<String>())
            }
            Err(errors) => {
                let lines = errors.iter().map(ToString::to_string);
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn an_instance_is_open_unless_it_says_otherwise() {
        check("null", &expect!["Enabled"]);
        check("{}", &expect!["Enabled"]);
        check(r#"{"publicNetworkAccess":null}"#, &expect!["Enabled"]);
        check(
            r#"{"publicNetworkAccess":"disabled"}"#,
            &expect!["Disabled"],
        );
        check(
            r#"{"publicNetworkAccess":"Enabled","privateEndpointConnections":[
                {"name":"a","properties":{"privateLinkServiceConnectionState":{"status":"approved"}}},
                {"id":"/x/privateEndpointConnections/b","properties":{"provisioningState":"Deleting",
                    "privateLinkServiceConnectionState":{"status":"Approved"}}}]}"#,
            &expect!["Enabled a=Approved b=Disconnected"],
        );
    }

    #[test]
    fn what_is_not_understood_keeps_people_out_and_is_named() {
        check(
            r#"{"publicNetworkAccess":"SecuredByPerimeter","privateEndpointConnections":[{},
                {"name":"a","properties":{"privateLinkServiceConnectionState":{"status":"Maybe"}}},
                {"name":"A","properties":{"privateLinkServiceConnectionState":{"status":"Approved"}}}]}"#,
            &expect![[r#"
                `properties.publicNetworkAccess`: must be Enabled or Disabled; read as Disabled
                `properties.privateEndpointConnections[0]`: needs a name (or an id) of 1 to 256 bytes; left out
                `properties.privateEndpointConnections[1]`: properties.privateLinkServiceConnectionState.status must be Pending, Approved, Rejected or Disconnected
                `properties.privateEndpointConnections[2]`: has the name of another; left out"#]],
        );
        check("7", &expect!["`properties`: must be an object"]);
        let body =
            r#"{"properties":{"publicNetworkAccess":7,"privateEndpointConnections":{"x":1}}}"#;
        let body = serde_json::from_str(body).expect("JSON");
        let (access, errors) = NetworkAccess::read(&body);
        assert_eq!((access.public, errors.len()), (PublicAccess::Disabled, 2));
    }
}
