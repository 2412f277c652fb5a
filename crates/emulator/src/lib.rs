//! Local stand-ins for Event Grid topics, Event Hubs, Service Bus and blob containers.
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
mod received;
mod server;
mod settings;
mod store;
mod web;

pub use amqp::value::Value;
pub use blob::StoredBlob;
pub use emulator::{Emulator, StartError, Stopped};
pub use faults::{BlobAnswer, Faults, PostAnswer, SendAnswer};
pub use grid::topic::GridEvent;
pub use received::ReceivedMessage;
pub use settings::{
    EventGridSchema, EventGridSettings, HubSettings, Limits, QueueSettings, Settings, TopicSettings,
};
pub use store::{Counts, SettingsError, Store, TimedOut};
