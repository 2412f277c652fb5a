//! Sinks made by the connector, over real sockets.

#[path = "../broker/mod.rs"]
mod broker;
mod event_grid;
mod sockets;
mod support;
