//! One binary for all integration tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod architecture;
mod azure_definitions;
mod delivery;
mod logins;
mod management_client;
mod probe;
mod tidy;
mod websocket;
mod words;
