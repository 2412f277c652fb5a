//! Protocol clients for Event Grid topics, Event Hubs and Service Bus topics.
//!
//! A sink says what became of each delivery; it never decides when something is tried again, and it
//! keeps nothing on disk. [`connect::AzureConnector`] makes the right sink for an endpoint.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use twinroute_model::clock::SystemClock;
//! use twinroute_model::name::InstanceName;
//! use twinroute_outgoing::OutgoingConnections;
//! use twinroute_router::Router;
//! use twinroute_router::source::{Definitions, DefinitionFolder};
//! use twinroute_sinks::connect::AzureConnector;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = DefinitionFolder::new("definitions", InstanceName::new("demo")?);
//! let router = Router::builder()
//!     .connect(AzureConnector::new(Arc::new(SystemClock), OutgoingConnections::of_environment()?))
//!     .default_instance("demo")
//!     .definitions(Definitions {
//!         instances: folder.read()?,
//!         folder: Some(folder),
//!         ..Definitions::default()
//!     })
//!     .build()?;
//! // ... `router.accept(...)` ...
//! router.stop(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

mod amqp;
pub mod connect;
mod event_grid;
mod event_hubs;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
pub mod published;
mod service_bus;
pub mod status;
