//! Emulates Event Grid topics, Event Hubs, Service Bus, blob containers, identities and Key Vault.
//!
//! The unmodified Azure clients for Python and JavaScript work against them with the connection
//! strings that [`RunningEmulator`] makes. They listen on the loopback interface only, keep everything in
//! memory within the limits of each service, and misbehave as scripted through [`ScriptedFaults`]. They are for tests and for
//! trying things out: not everything the services do is here, and nothing is durable.

mod access_key;
mod amqp;
mod arrivals;
mod blob;
mod broker;
mod emulator;
mod event_grid;
mod faults;
mod http_server;
mod identity;
mod inspect;
mod key_vault;
mod listener;
mod lock;
mod server;
mod service_context;
mod settings;
mod settings_error;
mod tls_proxy;

pub use access_key::KeySlot;
pub use amqp::value::AmqpValue;
pub use arrivals::{ArrivalCounts, TimedOut};
pub use blob::{BlobAccount, BlobLimits, BlobSettings, StoredBlob};
pub use broker::message_broker::MessageBroker;
pub use broker::received::ReceivedMessage;
pub use broker::settings::{
    AccessRights, AccessRuleSettings, BrokerLimits, BrokerSettings, HubSettings, QueueSettings,
    TopicSettings,
};
pub use emulator::{RunningEmulator, StartError, StoppedEmulator};
pub use event_grid::{
    EventGridLimits, EventGridSchema, EventGridService, EventGridSettings, EventGridTopicSettings,
    GridEvent,
};
pub use faults::{BlobAnswer, PostAnswer, ScriptedFaults, SendAnswer, TokenAnswer, VaultAnswer};
pub use identity::{
    ApplicationSettings, IdentityService, IdentitySettings, ManagedIdentitySettings, TokenEndpoint,
    TokenRequest,
};
pub use key_vault::{EmulatedKeyVault, EmulatedKeyVaultSettings};
pub use settings::{PortPlace, Settings, TlsPorts};
pub use settings_error::SettingsError;
pub use tls_proxy::TlsProxyError;
