//! From the JSON body to the checked endpoint.

use super::{
    Access, ConnectionString, DeadLetter, Destination, Endpoint, EndpointType, FieldError,
    Identity, ProvisioningState, Topic, Waiting,
};
use crate::name::EndpointName;
use crate::secret::{Secret, repeated, without_value};
use serde::Deserialize;

/// Members as ARM names them; others are ignored, as ARM does.
#[derive(Deserialize)]
struct Body {
    name: Option<String>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    endpoint_type: Option<String>,
    provisioning_state: Option<ProvisioningState>,
    authentication_type: Option<String>,
    dead_letter_secret: Option<Secret>,
    dead_letter_uri: Option<String>,
    identity: Option<IdentityReference>,
    #[serde(rename = "TopicEndpoint")]
    topic_endpoint: Option<String>,
    access_key1: Option<Secret>,
    access_key2: Option<Secret>,
    connection_string_primary_key: Option<Secret>,
    connection_string_secondary_key: Option<Secret>,
    primary_connection_string: Option<Secret>,
    secondary_connection_string: Option<Secret>,
    endpoint_uri: Option<String>,
    entity_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityReference {
    #[serde(rename = "type")]
    kind: Option<String>,
    user_assigned_identity: Option<String>,
}

/// Reads an endpoint's body and checks all of it.
///
/// `name` is the name it goes by (the file's stem, the URL's segment); a `name` inside must agree.
///
/// # Errors
/// Every field that is wrong, not only the first.
pub fn parse(name: &EndpointName, json: &str) -> Result<Endpoint, Vec<FieldError>> {
    checked(name, read(json)?, None)
}

/// As [`parse`], of what [`Revealed`](super::Revealed) wrote.
///
/// # Errors
/// As [`parse`].
pub fn restore(name: &EndpointName, json: &str) -> Result<Endpoint, Vec<FieldError>> {
    let added: Added = read(json)?;
    let endpoint = checked(name, read(json)?, added.properties.waiting_for)?;
    Ok(Endpoint {
        provisioning_error: added.properties.not_in_use_because,
        ..endpoint
    })
}

/// What stands in a stored body beside what ARM knows.
#[derive(Deserialize)]
struct Added {
    properties: AddedProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddedProperties {
    waiting_for: Option<String>,
    not_in_use_because: Option<String>,
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Errors> {
    serde_json::from_str(json).map_err(|error| {
        vec![FieldError::new(
            "(body)",
            format!("not an endpoint: {}", without_value(&error.to_string())),
        )]
    })
}

/// Checks a body; one that waits for a secret, which `waiting_for` names, has no destination yet.
fn checked(
    name: &EndpointName,
    body: Body,
    waiting_for: Option<String>,
) -> Result<Endpoint, Errors> {
    let mut errors = Vec::new();
    if let Some(inside) = body
        .name
        .filter(|inside| !inside.eq_ignore_ascii_case(name.as_str()))
    {
        let rule = format!(
            "is {inside:?}, but the endpoint goes by {:?}",
            name.as_str()
        );
        errors.push(FieldError::new("name", rule));
    }
    let Some(properties) = body.properties else {
        errors.push(FieldError::new("properties", "required, but missing"));
        return Err(errors);
    };
    let identity = properties.identity(&mut errors);
    let dead_letter = properties.dead_letter(&mut errors);
    let destination = match waiting_for {
        Some(missing) => properties.waiting(missing, &mut errors),
        None => properties.destination(identity.as_ref(), &mut errors),
    };
    match destination {
        Some(destination) if errors.is_empty() => Ok(Endpoint {
            name: name.clone(),
            destination,
            dead_letter,
            provisioning_state: properties.provisioning_state,
            provisioning_error: None,
        }),
        _ => Err(errors),
    }
}

type Errors = Vec<FieldError>;

impl Properties {
    /// The identity, when the endpoint is identity-based.
    fn identity(&self, errors: &mut Errors) -> Option<Identity> {
        let based = match self.authentication_type.as_deref() {
            None | Some("KeyBased") => {
                self.identity.is_some() && self.authentication_type.is_none()
            }
            Some("IdentityBased") => true,
            Some(other) => {
                let rule = format!("must be KeyBased or IdentityBased, not {}", repeated(other));
                errors.push(FieldError::new("properties.authenticationType", rule));
                false
            }
        };
        if !based {
            return None;
        }
        let Some(reference) = &self.identity else {
            return Some(Identity::SystemAssigned);
        };
        match (reference.kind.as_deref(), &reference.user_assigned_identity) {
            (None | Some("SystemAssigned"), None) => Some(Identity::SystemAssigned),
            (None | Some("UserAssigned"), Some(id)) if id.starts_with('/') => {
                Some(Identity::UserAssigned(id.clone()))
            }
            (Some("UserAssigned"), _) | (None, Some(_)) => {
                let rule = "a UserAssigned identity needs its ARM resource id";
                errors.push(FieldError::new(
                    "properties.identity.userAssignedIdentity",
                    rule,
                ));
                None
            }
            (Some("SystemAssigned"), Some(_)) => {
                let rule = "must be absent when the type is SystemAssigned";
                errors.push(FieldError::new(
                    "properties.identity.userAssignedIdentity",
                    rule,
                ));
                None
            }
            (Some(other), _) => {
                let rule = format!(
                    "must be SystemAssigned or UserAssigned, not {}",
                    repeated(other)
                );
                errors.push(FieldError::new("properties.identity.type", rule));
                None
            }
        }
    }

    fn dead_letter(&self, errors: &mut Errors) -> Option<DeadLetter> {
        if let Some(secret) = &self.dead_letter_secret {
            const FIELD: &str = "properties.deadLetterSecret";
            if secret.is_masked() {
                errors.push(FieldError::new(
                    FIELD,
                    "is a mask; put the real container SAS URI here",
                ));
            } else if !container_url(secret.expose()) || !secret.expose().contains('?') {
                let rule = "must be a container's URL with its SAS token: \
                            https://<account>.blob.core.windows.net/<container>?<sas>";
                errors.push(FieldError::new(FIELD, rule));
            }
            return Some(DeadLetter::Sas(secret.clone()));
        }
        let uri = self.dead_letter_uri.as_ref()?;
        if !container_url(uri) || uri.contains('?') {
            let rule = "must be a container's URL without a token: \
                        https://<account>.blob.core.windows.net/<container>";
            errors.push(FieldError::new("properties.deadLetterUri", rule));
        }
        Some(DeadLetter::Identity(uri.clone()))
    }

    fn destination(&self, identity: Option<&Identity>, errors: &mut Errors) -> Option<Destination> {
        match self.endpoint_type.as_deref() {
            Some("EventGrid") => self.topic(identity, errors).map(Destination::EventGrid),
            Some("EventHub") => {
                let primary = (
                    "connectionStringPrimaryKey",
                    &self.connection_string_primary_key,
                );
                let secondary = (
                    "connectionStringSecondaryKey",
                    &self.connection_string_secondary_key,
                );
                self.access(primary, secondary, identity, errors)
                    .map(Destination::EventHub)
            }
            Some("ServiceBus") => {
                let primary = ("primaryConnectionString", &self.primary_connection_string);
                let secondary = (
                    "secondaryConnectionString",
                    &self.secondary_connection_string,
                );
                self.access(primary, secondary, identity, errors)
                    .map(Destination::ServiceBus)
            }
            other => {
                errors.push(wrong_type(other));
                None
            }
        }
    }

    fn waiting(&self, missing: String, errors: &mut Errors) -> Option<Destination> {
        let endpoint_type = match self.endpoint_type.as_deref() {
            Some("EventGrid") => EndpointType::EventGrid,
            Some("EventHub") => EndpointType::EventHub,
            Some("ServiceBus") => EndpointType::ServiceBus,
            other => {
                errors.push(wrong_type(other));
                return None;
            }
        };
        Some(Destination::Waiting(Waiting {
            endpoint_type,
            missing,
        }))
    }

    fn topic(&self, identity: Option<&Identity>, errors: &mut Errors) -> Option<Topic> {
        if identity.is_some() {
            let rule = "Event Grid endpoints are key-based; identities are not supported for them";
            errors.push(FieldError::new("properties.authenticationType", rule));
        }
        let endpoint = match self.topic_endpoint.as_deref() {
            Some(url) if is_url(url) => Some(url.to_owned()),
            Some(_) => {
                let rule = "must be the topic's URL, such as \
                            https://<topic>.<region>-1.eventgrid.azure.net/api/events";
                errors.push(FieldError::new("properties.TopicEndpoint", rule));
                None
            }
            None => {
                errors.push(FieldError::new(
                    "properties.TopicEndpoint",
                    "required, but missing",
                ));
                None
            }
        };
        let first = access_key("properties.accessKey1", self.access_key1.as_ref(), errors);
        if self.access_key1.is_none() {
            errors.push(FieldError::new(
                "properties.accessKey1",
                "required, but missing",
            ));
        }
        let access_key2 = access_key("properties.accessKey2", self.access_key2.as_ref(), errors);
        Some(Topic {
            endpoint: endpoint?,
            access_key1: first?,
            access_key2,
        })
    }

    fn access(
        &self,
        (primary, primary_value): (&str, &Option<Secret>),
        (secondary, secondary_value): (&str, &Option<Secret>),
        identity: Option<&Identity>,
        errors: &mut Errors,
    ) -> Option<Access> {
        if let Some(identity) = identity {
            return self.identity_access(identity, errors);
        }
        let mut read = |name: &str, value: &Option<Secret>| {
            let value = value.as_ref()?;
            match ConnectionString::parse(value) {
                Ok(string) => Some(string),
                Err(error) => {
                    let field = format!("properties.{name}");
                    errors.push(FieldError::new(&field, error.to_string()));
                    None
                }
            }
        };
        let first = read(primary, primary_value);
        let second = read(secondary, secondary_value);
        if primary_value.is_none() {
            let rule = "required for a key-based endpoint, but missing";
            errors.push(FieldError::new(&format!("properties.{primary}"), rule));
        }
        if let (Some(first), Some(second)) = (&first, &second)
            && (first.host() != second.host() || first.entity_path() != second.entity_path())
        {
            let rule = format!("must name the same namespace and entity as {primary}");
            errors.push(FieldError::new(&format!("properties.{secondary}"), rule));
        }
        Some(Access::Keys {
            primary: first?,
            secondary: second,
        })
    }

    fn identity_access(&self, identity: &Identity, errors: &mut Errors) -> Option<Access> {
        let endpoint_uri = match self.endpoint_uri.as_deref() {
            Some(uri) if uri.len() > 5 && uri[..5].eq_ignore_ascii_case("sb://") => Some(uri),
            Some(_) => {
                let rule = "must begin with `sb://`";
                errors.push(FieldError::new("properties.endpointUri", rule));
                None
            }
            None => {
                let rule = "required for an identity-based endpoint, but missing";
                errors.push(FieldError::new("properties.endpointUri", rule));
                None
            }
        };
        let entity_path = self.entity_path.as_deref().filter(|path| !path.is_empty());
        if entity_path.is_none() {
            let rule = "required for an identity-based endpoint, but missing";
            errors.push(FieldError::new("properties.entityPath", rule));
        }
        Some(Access::Identity {
            endpoint_uri: endpoint_uri?.to_owned(),
            entity_path: entity_path?.to_owned(),
            identity: identity.clone(),
        })
    }
}

fn access_key(field: &str, key: Option<&Secret>, errors: &mut Errors) -> Option<Secret> {
    let key = key?;
    if key.is_masked() {
        errors.push(FieldError::new(
            field,
            "is a mask; put the real access key here",
        ));
        return None;
    }
    // The key travels in a header.
    if key.expose().is_empty() || !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        errors.push(FieldError::new(
            field,
            "must be the topic's access key, without blanks",
        ));
        return None;
    }
    Some(key.clone())
}

fn wrong_type(found: Option<&str>) -> FieldError {
    const TYPES: &str = "EventGrid, EventHub or ServiceBus";
    let rule = match found {
        None => format!("required, but missing; it is {TYPES}"),
        Some(other) => format!("must be {TYPES}, not {}", repeated(other)),
    };
    FieldError::new("properties.endpointType", rule)
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        !authority.is_empty()
            && !authority.contains('@')
            && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

/// A URL with a path: the container.
fn container_url(text: &str) -> bool {
    let path = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'));
    is_url(text) && path.is_some_and(|(_, path)| !path.is_empty() && !path.starts_with('?'))
}
