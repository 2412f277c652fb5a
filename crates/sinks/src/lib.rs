//! Protocol clients for Event Grid topics, Event Hubs and Service Bus topics.
//!
//! A sink says what became of each delivery; it never decides when something is tried again, and it
//! keeps nothing on disk. [`connect::Connector`] makes the right sink for an endpoint.

mod amqp;
pub mod connect;
mod event_grid;
mod event_hubs;
mod service_bus;
pub mod status;
pub mod tls;
