//! The emulated services, driven over loopback by `fe2o3-amqp` as a client and by plain HTTP.

#![expect(clippy::unwrap_used, reason = "what tests share is test code")]

mod blob;
mod client;
mod event_grid;
mod event_hubs;
mod faults;
mod identity;
mod inspect;
mod service_bus;
