//! The members of an endpoint's body, read once for every source.

use super::{EndpointType, FieldError, ProvisioningState};
use crate::body::{BodyObject, MemberSpelling};
use crate::pasted;
use crate::secret::Secret;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Members beside `properties`, of every resource below an instance. `$schema` is for editors, `resourceGroup` is
/// what the Azure CLI adds to what it prints.
const TOP: &[&str] = &[
    "$schema",
    "id",
    "name",
    "properties",
    "resourceGroup",
    "systemData",
    "type",
];

const PROPERTIES: &[&str] = &[
    "TopicEndpoint",
    "accessKey1",
    "accessKey2",
    "authenticationType",
    "connectionStringPrimaryKey",
    "connectionStringSecondaryKey",
    "createdTime",
    "deadLetterSecret",
    "deadLetterUri",
    "endpointType",
    "endpointUri",
    "entityPath",
    "identity",
    "primaryConnectionString",
    "provisioningError",
    "provisioningState",
    "secondaryConnectionString",
];

const IDENTITY: &[&str] = &["type", "userAssignedIdentity"];

/// Members that are secrets.
pub(super) const SECRETS: [&str; 7] = [
    "connectionStringPrimaryKey",
    "connectionStringSecondaryKey",
    "primaryConnectionString",
    "secondaryConnectionString",
    "accessKey1",
    "accessKey2",
    "deadLetterSecret",
];

/// Members that everybody may see.
const TEXTS: [&str; 4] = [
    "TopicEndpoint",
    "endpointUri",
    "entityPath",
    "deadLetterUri",
];

pub(super) const TYPES: [&str; 3] = ["EventGrid", "EventHub", "ServiceBus"];
pub(super) const AUTHENTICATION: [&str; 2] = ["KeyBased", "IdentityBased"];
pub(super) const IDENTITIES: [&str; 2] = ["SystemAssigned", "UserAssigned"];

/// `provisioningState` as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateWord {
    /// None.
    Absent,
    /// A published one.
    Known(ProvisioningState),
    /// Another: the enum is open.
    Unknown(String),
}

impl EndpointType {
    /// The type of that name, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = [Self::EventGrid, Self::EventHub, Self::ServiceBus].into_iter();
        all.find(|kind| kind.as_str().eq_ignore_ascii_case(word))
    }

    /// The secret members that it is reached with: the one that is used, and the one that is tried when that is
    /// refused.
    #[must_use]
    pub const fn keys(self) -> [&'static str; 2] {
        match self {
            Self::EventGrid => ["accessKey1", "accessKey2"],
            Self::EventHub => ["connectionStringPrimaryKey", "connectionStringSecondaryKey"],
            Self::ServiceBus => ["primaryConnectionString", "secondaryConnectionString"],
        }
    }
}

/// The body of an endpoint, normalised but not yet checked. `Debug` shows no values.
pub struct EndpointBody<'a> {
    pub(super) top: BodyObject<'a>,
    pub(super) properties: BodyObject<'a>,
    pub(super) identity: BodyObject<'a>,
    /// Secrets that a source has put in place of what the body shows.
    put: BTreeMap<&'static str, Secret>,
    /// Members that count as absent.
    left_out: Vec<&'static str>,
    /// Whether there are `properties`, if only empty ones.
    pub(super) has_properties: bool,
    /// What was wrong already with the form.
    pub(super) errors: Vec<FieldError>,
}

impl std::fmt::Debug for EndpointBody<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EndpointBody")
            .finish_non_exhaustive()
    }
}

impl<'a> EndpointBody<'a> {
    /// Takes a body apart; whatever is wrong comes out when it is checked.
    #[must_use]
    pub fn read(body: &'a Map<String, Value>, spelling: MemberSpelling) -> Self {
        let mut errors = Vec::new();
        let top = BodyObject::new("", Some(body), TOP, spelling);
        let properties = top.object("properties", PROPERTIES, &mut errors);
        let identity = properties.object("identity", IDENTITY, &mut errors);
        let mut members = body.iter();
        let given = members.find(|(name, _)| match spelling {
            MemberSpelling::Published => *name == "properties",
            MemberSpelling::AnyCase => name.eq_ignore_ascii_case("properties"),
        });
        Self {
            has_properties: given.is_some_and(|(_, value)| value.is_object()),
            top,
            properties,
            identity,
            put: BTreeMap::new(),
            left_out: Vec::new(),
            errors,
        }
    }

    /// Whether there is nothing to read: no mistake of its own stands in place of `properties`.
    #[must_use]
    pub fn is_without_properties(&self) -> bool {
        !self.has_properties && self.errors.is_empty() && self.top.misspelt("properties").is_none()
    }

    /// `endpointType`, if it is a published one.
    #[must_use]
    pub fn endpoint_type(&self) -> Option<EndpointType> {
        EndpointType::parse(self.word("endpointType")?)
    }

    /// A text of `properties` that is no secret, as it was given.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<&'a str> {
        if self.left_out.contains(&name) {
            return None;
        }
        self.properties.text(name, &mut Vec::new())
    }

    /// Whether it is reached with keys, as far as it says.
    #[must_use]
    pub fn is_key_based(&self) -> bool {
        match self.word("authenticationType") {
            None => !self.identity.is_there(),
            Some(word) => word.eq_ignore_ascii_case(AUTHENTICATION[0]),
        }
    }

    /// `provisioningState`.
    #[must_use]
    pub fn state(&self) -> StateWord {
        let Some(word) = self.word("provisioningState") else {
            return StateWord::Absent;
        };
        match ProvisioningState::parse(word) {
            Some(state) => StateWord::Known(state),
            None => StateWord::Unknown(word.to_owned()),
        }
    }

    /// A secret member: what was put in its place, else what stands in the body. It may be a mask.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        let put = self.put.get(name).cloned();
        put.or_else(|| self.word(name).map(Secret::new))
    }

    /// Puts a secret in place of what the body shows.
    pub fn put_secret(&mut self, name: &'static str, secret: &Secret) {
        let secret = Secret::new(pasted::clean(secret.expose()));
        self.put.insert(name, secret);
    }

    /// From here on a member of `properties` counts as absent.
    pub fn leave_out(&mut self, name: &'static str) {
        self.put.remove(name);
        self.left_out.push(name);
    }

    /// Every secret member that is there.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, Secret)> {
        let all = SECRETS.into_iter();
        all.filter_map(|name| Some((name, self.secret(name)?)))
    }

    /// What is stored of `properties`: everything that is known, but secrets and what the server says itself.
    #[must_use]
    pub fn plain(&self) -> Map<String, Value> {
        let mut plain = Map::new();
        if let Some(kind) = self.endpoint_type() {
            plain.insert("endpointType".to_owned(), kind.as_str().into());
        }
        let authentication = match self.is_key_based() {
            true => AUTHENTICATION[0],
            false => AUTHENTICATION[1],
        };
        plain.insert("authenticationType".to_owned(), authentication.into());
        if self.identity.is_there() {
            plain.insert("identity".to_owned(), self.plain_identity().into());
        }
        for name in TEXTS {
            if let Some(text) = self.word(name) {
                plain.insert(name.to_owned(), text.into());
            }
        }
        plain
    }

    fn plain_identity(&self) -> Map<String, Value> {
        let mut plain = Map::new();
        let mut none = Vec::new();
        if let Some(word) = self.identity.word("type", &IDENTITIES, &mut none) {
            plain.insert("type".to_owned(), word.into());
        }
        if let Some(id) = self.identity.text("userAssignedIdentity", &mut none) {
            plain.insert("userAssignedIdentity".to_owned(), id.into());
        }
        plain
    }

    /// Members that nobody knows, as they were given, each with the pointer of the object it stands in.
    #[must_use]
    pub fn unknown(&self) -> Vec<(&'static str, &'a str, &'a Value)> {
        let objects = [
            ("", &self.top),
            ("/properties", &self.properties),
            ("/properties/identity", &self.identity),
        ];
        let each = objects
            .into_iter()
            .flat_map(|(at, object)| object.unknown().map(move |(name, value)| (at, name, value)));
        each.collect()
    }
}
