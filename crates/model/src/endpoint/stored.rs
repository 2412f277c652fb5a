//! An endpoint as text that holds its secrets, and back: for what is sealed before it is written.
//!
//! The text is the ARM body that every source gives, with two members more: what a definition that waits for its
//! secret waits for, and why the endpoint is not in use. So what is read back passes the same checks.

use super::{
    ConnectionCredential, DeadLetterDestination, Endpoint, EndpointDestination, EndpointIdentity,
    NamespaceAccess,
};
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};
use zeroize::Zeroizing;

/// Serialises as the ARM body of an endpoint, with its secrets in the clear. Every use is a place to review: what
/// comes of it must be sealed. [`restore`](super::restore) reads it.
pub struct RevealedEndpoint<'a>(pub &'a Endpoint);

impl std::fmt::Debug for RevealedEndpoint<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // That of the endpoint masks what is secret.
        self.0.fmt(formatter)
    }
}

/// The member `properties`.
struct EndpointProperties<'a>(&'a Endpoint);

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityReference<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_assigned_identity: Option<&'a str>,
}

impl Serialize for RevealedEndpoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(Some(1))?;
        body.serialize_entry("properties", &EndpointProperties(self.0))?;
        body.end()
    }
}

impl Serialize for EndpointProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let endpoint = self.0;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("endpointType", endpoint.endpoint_type())?;
        if let Some(state) = &endpoint.provisioning_state {
            members.serialize_entry("provisioningState", state)?;
        }
        if let Some(why) = &endpoint.provisioning_error {
            members.serialize_entry("notInUseBecause", why)?;
        }
        match &endpoint.dead_letter {
            Some(DeadLetterDestination::Sas(url)) => {
                members.serialize_entry("deadLetterSecret", url.expose())?;
            }
            Some(DeadLetterDestination::Identity(url)) => {
                members.serialize_entry("deadLetterUri", url)?
            }
            None => {}
        }
        match &endpoint.destination {
            EndpointDestination::EventGrid(topic) => {
                members.serialize_entry("TopicEndpoint", &topic.endpoint)?;
                members.serialize_entry("accessKey1", topic.access_key1.expose())?;
                if let Some(second) = &topic.access_key2 {
                    members.serialize_entry("accessKey2", second.expose())?;
                }
            }
            EndpointDestination::EventHub(access) => {
                let names = ["connectionStringPrimaryKey", "connectionStringSecondaryKey"];
                reach::<S>(&mut members, access, names)?;
            }
            EndpointDestination::ServiceBus(access) => {
                let names = ["primaryConnectionString", "secondaryConnectionString"];
                reach::<S>(&mut members, access, names)?;
            }
            EndpointDestination::Waiting(waiting) => {
                members.serialize_entry("waitingFor", &waiting.missing)?;
            }
            EndpointDestination::Custom(_) => {
                let why = "a destination of the program's own kind is not stored";
                return Err(S::Error::custom(why));
            }
        }
        members.end()
    }
}

fn reach<S: Serializer>(
    members: &mut S::SerializeMap,
    access: &NamespaceAccess,
    [first, second]: [&str; 2],
) -> Result<(), S::Error> {
    match access {
        NamespaceAccess::Keys { primary, secondary } => {
            members.serialize_entry("authenticationType", "KeyBased")?;
            members.serialize_entry(first, primary.reveal().as_str())?;
            if let Some(secondary) = secondary {
                members.serialize_entry(second, secondary.reveal().as_str())?;
            }
        }
        NamespaceAccess::Identity {
            endpoint_uri,
            entity_path,
            identity,
        } => {
            members.serialize_entry("authenticationType", "IdentityBased")?;
            members.serialize_entry("endpointUri", endpoint_uri)?;
            members.serialize_entry("entityPath", entity_path)?;
            let (kind, user_assigned_identity) = match identity {
                EndpointIdentity::SystemAssigned => ("SystemAssigned", None),
                EndpointIdentity::UserAssigned(id) => ("UserAssigned", Some(id.as_str())),
            };
            let reference = IdentityReference {
                kind,
                user_assigned_identity,
            };
            members.serialize_entry("identity", &reference)?;
        }
    }
    Ok(())
}

impl super::ConnectionString {
    /// The text that it could be read from, secret included.
    fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("Endpoint=sb://{}", self.host()));
        if let Some(port) = self.port() {
            text.push_str(&format!(":{port}"));
        }
        text.push_str("/;");
        let parts = match self.credential() {
            ConnectionCredential::Key { name, key } => vec![
                ("SharedAccessKeyName=", name.as_str()),
                (";SharedAccessKey=", key.expose()),
            ],
            ConnectionCredential::Signature(signature) => {
                vec![("SharedAccessSignature=", signature.expose())]
            }
        };
        for (name, value) in parts {
            text.push_str(name);
            text.push_str(value);
        }
        text.push_str(";EntityPath=");
        text.push_str(self.entity_path());
        if self.development_emulator() {
            text.push_str(";UseDevelopmentEmulator=true");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EndpointType, ProvisioningState, WaitingDestination, parse, restore};
    use super::*;
    use crate::name::EndpointName;

    fn name() -> EndpointName {
        EndpointName::new("one").unwrap()
    }

    fn round(endpoint: &Endpoint) {
        let text = serde_json::to_string(&RevealedEndpoint(endpoint)).unwrap();
        let read = restore(&name(), &text).unwrap_or_else(|errors| panic!("{errors:?} in {text}"));
        assert_eq!(read, *endpoint);
    }

    #[test]
    fn every_kind_of_definition_comes_back_as_it_was() {
        let hub = "Endpoint=sb://n.example:5671/;SharedAccessKeyName=root;SharedAccessKey=a+b/c==;\
                   EntityPath=hub-1";
        let other = "Endpoint=sb://[::1]:5672;SharedAccessSignature=SharedAccessSignature \
                     sr=a&sig=b%3d&se=1&skn=k;entitypath=hub-1;UseDevelopmentEmulator=true";
        let bodies = [
            serde_json::json!({ "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events",
                "accessKey1": "one==", "accessKey2": "two==", "provisioningState": "Failed",
                "deadLetterSecret":
                    "https://a.blob.core.windows.net/dead?sv=1&sr=c&sp=w&se=2030-01-01&sig=x" }),
            serde_json::json!({ "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events",
                "accessKey1": "one==" }),
            serde_json::json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": hub,
                "connectionStringSecondaryKey": hub }),
            serde_json::json!({ "endpointType": "ServiceBus", "primaryConnectionString": other,
                "deadLetterUri": "https://a.blob.core.windows.net/dead" }),
            serde_json::json!({ "endpointType": "ServiceBus", "authenticationType": "IdentityBased",
                "endpointUri": "sb://n.example", "entityPath": "topic",
                "identity": { "type": "UserAssigned", "userAssignedIdentity": "/subscriptions/x" } }),
            serde_json::json!({ "endpointType": "EventHub", "authenticationType": "IdentityBased",
                "endpointUri": "sb://n.example", "entityPath": "hub" }),
        ];
        for body in bodies {
            let body = serde_json::json!({ "properties": body }).to_string();
            let endpoint = parse(&name(), &body).unwrap_or_else(|errors| panic!("{errors:?}"));
            round(&endpoint);
            let held = Endpoint {
                provisioning_state: Some(ProvisioningState::Failed),
                provisioning_error: Some("the key is refused".to_owned()),
                ..endpoint.clone()
            };
            round(&held);
            let waiting = Endpoint {
                destination: EndpointDestination::Waiting(WaitingDestination {
                    endpoint_type: EndpointType::ServiceBus,
                    missing: "the primary connection string".to_owned(),
                }),
                ..endpoint
            };
            round(&waiting);
        }
    }

    #[test]
    fn what_waits_is_for_what_was_stored_alone() {
        let body = r#"{"properties":{"endpointType":"EventGrid","waitingFor":"a key"}}"#;
        assert!(parse(&name(), body).is_err());
        assert!(restore(&name(), body).is_ok());
        let other = r#"{"properties":{"endpointType":"Other","waitingFor":"a key"}}"#;
        assert!(restore(&name(), other).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let body = r#"{"properties":{"endpointType":"EventGrid","accessKey1":"marked",
            "TopicEndpoint":"https://t.example/api/events"}}"#;
        let endpoint = parse(&name(), body).unwrap();
        assert!(!format!("{:?}", RevealedEndpoint(&endpoint)).contains("marked"));
    }
}
