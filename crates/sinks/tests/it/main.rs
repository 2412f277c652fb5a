//! Sinks made by the connector, over real sockets.

#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../broker/mod.rs"]
mod broker;
mod event_grid;
mod fault_texts;
mod hostile_http;
mod proxies;
mod sockets;
mod support;
