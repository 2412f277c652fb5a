//! Endpoints as the management API defines them: the ARM body, checked.
//!
//! Source: Microsoft.DigitalTwins 2023-01-31, `DigitalTwinsEndpointResource`.

mod address;
mod authentication;
mod body;
mod clear;
mod connection_string;
mod custom;
pub mod location;
mod members;
pub mod problem;
mod stored;

pub use address::amqp_port;
pub use body::{BodySource, parse, restore};
pub use connection_string::{
    ConnectionCredential, ConnectionString, InvalidConnectionString, authority,
};
pub use custom::CustomDestination;
pub use members::{EndpointBody, StateWord};
pub use stored::RevealedEndpoint;

use crate::name::EndpointName;
use crate::secret::Secret;

/// A named destination of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name within the instance.
    pub name: EndpointName,
    /// Where events go and with which credential.
    pub destination: EndpointDestination,
    /// Where events go that cannot be delivered.
    pub dead_letter: Option<DeadLetterDestination>,
    /// What the management API last said of it; absent in files.
    pub provisioning_state: Option<ProvisioningState>,
    /// Why it is in that state, in the source's words, where it says so. Shown to people: no secrets.
    pub provisioning_error: Option<String>,
}

impl Endpoint {
    /// An endpoint without dead letters' destination, which is in use.
    #[must_use]
    pub fn new(name: EndpointName, destination: EndpointDestination) -> Self {
        Self {
            name,
            destination,
            dead_letter: None,
            provisioning_state: None,
            provisioning_error: None,
        }
    }

    /// The ARM name of its type, or the program's own name of its kind.
    #[must_use]
    pub fn endpoint_type(&self) -> &str {
        let endpoint_type = match &self.destination {
            EndpointDestination::EventGrid(_) => EndpointType::EventGrid,
            EndpointDestination::EventHub(_) => EndpointType::EventHub,
            EndpointDestination::ServiceBus(_) => EndpointType::ServiceBus,
            EndpointDestination::Waiting(waiting) => waiting.endpoint_type,
            EndpointDestination::Custom(custom) => return &custom.kind,
        };
        endpoint_type.as_str()
    }
}

/// Where an endpoint's events go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointDestination {
    /// An Event Grid topic.
    EventGrid(EventGridTopic),
    /// An event hub.
    EventHub(NamespaceAccess),
    /// A Service Bus topic.
    ServiceBus(NamespaceAccess),
    /// One that cannot be reached before a secret is here, which its definition comes without.
    Waiting(WaitingDestination),
    /// One of the embedding program's own kind.
    Custom(CustomDestination),
}

/// A destination whose secret is not here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDestination {
    /// What it is.
    pub endpoint_type: EndpointType,
    /// What is missing and where to put it, in words for people.
    pub missing: String,
}

/// `endpointType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointType {
    /// An Event Grid topic.
    EventGrid,
    /// An event hub.
    EventHub,
    /// A Service Bus topic.
    ServiceBus,
}

impl EndpointType {
    /// The ARM name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventGrid => "EventGrid",
            Self::EventHub => "EventHub",
            Self::ServiceBus => "ServiceBus",
        }
    }
}

/// An Event Grid topic. Azure Digital Twins knows no identity for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGridTopic {
    /// `TopicEndpoint`: the full URL, path included.
    pub endpoint: String,
    /// `accessKey1`.
    pub access_key1: Secret,
    /// `accessKey2`, tried when the first is refused.
    pub access_key2: Option<Secret>,
}

/// How Event Hubs or Service Bus is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceAccess {
    /// With connection strings.
    Keys {
        /// The one used.
        primary: ConnectionString,
        /// The one tried when the first is refused.
        secondary: Option<ConnectionString>,
    },
    /// With a managed identity.
    Identity {
        /// `endpointUri`: `sb://…`.
        endpoint_uri: String,
        /// `entityPath`: the event hub or topic.
        entity_path: String,
        /// Which identity.
        identity: EndpointIdentity,
    },
}

impl NamespaceAccess {
    /// The event hub or topic that events go to.
    #[must_use]
    pub fn entity_path(&self) -> &str {
        match self {
            Self::Keys { primary, .. } => primary.entity_path(),
            Self::Identity { entity_path, .. } => entity_path,
        }
    }
}

/// A managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointIdentity {
    /// The instance's own.
    SystemAssigned,
    /// One of the instance's user-assigned, by ARM resource id.
    UserAssigned(String),
}

impl EndpointIdentity {
    /// The ARM resource id of a user-assigned one.
    #[must_use]
    pub fn user_assigned(&self) -> Option<&str> {
        match self {
            Self::SystemAssigned => None,
            Self::UserAssigned(id) => Some(id),
        }
    }
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterDestination {
    /// `deadLetterSecret`: a container's URL with a SAS token.
    Sas(Secret),
    /// `deadLetterUri`: a container's URL, reached with the endpoint's identity.
    Identity(String),
}

/// `provisioningState`, all published values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[allow(missing_docs, reason = "the published names say all that is published")]
#[non_exhaustive]
pub enum ProvisioningState {
    Provisioning,
    Deleting,
    Updating,
    Succeeded,
    Failed,
    Canceled,
    Deleted,
    Warning,
    Suspending,
    Restoring,
    Moving,
    Disabled,
}

impl ProvisioningState {
    /// All published values.
    pub const ALL: [Self; 12] = [
        Self::Provisioning,
        Self::Deleting,
        Self::Updating,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Deleted,
        Self::Warning,
        Self::Suspending,
        Self::Restoring,
        Self::Moving,
        Self::Disabled,
    ];

    /// The published word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "Provisioning",
            Self::Deleting => "Deleting",
            Self::Updating => "Updating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Deleted => "Deleted",
            Self::Warning => "Warning",
            Self::Suspending => "Suspending",
            Self::Restoring => "Restoring",
            Self::Moving => "Moving",
            Self::Disabled => "Disabled",
        }
    }

    /// Whether it passes by itself.
    #[must_use]
    pub const fn is_changing(self) -> bool {
        match self {
            Self::Provisioning
            | Self::Deleting
            | Self::Updating
            | Self::Suspending
            | Self::Restoring
            | Self::Moving => true,
            Self::Succeeded
            | Self::Failed
            | Self::Canceled
            | Self::Deleted
            | Self::Warning
            | Self::Disabled => false,
        }
    }

    /// The word of a state in which an endpoint is sent nothing. One that is `Deleting` or `Deleted` is not there.
    #[must_use]
    pub const fn waiting_word(self) -> Option<&'static str> {
        match self {
            Self::Provisioning => Some("provisioning"),
            Self::Updating => Some("updating"),
            Self::Failed => Some("failed"),
            Self::Canceled => Some("canceled"),
            Self::Suspending => Some("suspending"),
            Self::Restoring => Some("restoring"),
            Self::Moving => Some("moving"),
            Self::Disabled => Some("disabled"),
            Self::Succeeded | Self::Warning | Self::Deleting | Self::Deleted => None,
        }
    }

    /// The state of that name, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str().eq_ignore_ascii_case(word))
    }
}

/// A field of a definition that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {rule}")]
#[non_exhaustive]
pub struct FieldError {
    /// Dotted path of the JSON member.
    pub field: String,
    /// The rule and the way out; never the value of a secret.
    pub rule: String,
}

impl FieldError {
    /// `field` breaks `rule`.
    #[must_use]
    pub fn new(field: &str, rule: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            rule: rule.into(),
        }
    }
}

#[cfg(test)]
mod tests;
