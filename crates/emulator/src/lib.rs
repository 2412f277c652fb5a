//! Local stand-ins for Event Grid topics, Event Hubs, Service Bus, blob containers, identities and Key Vault.
//!
//! The unmodified Azure clients for Python and JavaScript work against them with the connection
//! strings that [`Emulator`] makes. They listen on the loopback interface only, keep everything in
//! memory within [`Limits`], and misbehave as told through [`Faults`]. They are for tests and for
//! trying things out: not everything the services do is here, and nothing is durable.

mod access;
mod amqp;
mod blob;
mod broker;
mod emulator;
mod faults;
mod grid;
mod http_server;
mod identity;
mod inspect;
mod listener;
mod names;
mod received;
mod server;
mod settings;
mod store;
mod tls_proxy;
mod vault;

pub use access::{AccessRights, KeySlot};
pub use amqp::value::Value;
pub use blob::StoredBlob;
pub use emulator::{Emulator, StartError, Stopped};
pub use faults::{BlobAnswer, Faults, PostAnswer, SendAnswer, TokenAnswer, VaultAnswer};
pub use grid::topic::GridEvent;
pub use identity::{Door, TokenRequest};
pub use received::ReceivedMessage;
pub use settings::{
    AccessRuleSettings, ApplicationSettings, EventGridSchema, EventGridSettings, HubSettings,
    IdentitySettings, Limits, ManagedIdentitySettings, PortPlace, QueueSettings, Settings,
    TlsPorts, TopicSettings,
};
pub use store::{Counts, SettingsError, Store, TimedOut};
pub use tls_proxy::TlsError;
