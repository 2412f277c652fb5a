//! Events, endpoints and routes as values: parsed, checked and encoded without I/O.
//!
//! Everything here is synchronous and pure. An [`event::Event`] keeps the bytes its producer sent and
//! borrows its attributes from them; an [`endpoint::Endpoint`] and a [`route::Route`] are the JSON bodies
//! of the Azure management and data-plane APIs, checked.

pub mod body;
pub mod clock;
pub mod cloudevents;
pub mod data_key;
pub mod dead_letter;
pub mod endpoint;
pub mod event;
pub mod event_grid_schema;
#[cfg(test)]
mod fixtures;
pub mod http_date;
pub mod instance;
pub mod json;
pub mod name;
pub mod network;
pub mod pasted;
pub mod received;
pub mod retry_after;
pub mod route;
pub mod sas;
pub mod seal;
pub mod secret;
pub mod settings;
pub mod stable_hash;
pub mod trace_context;
pub mod twin;
pub mod uri;
pub mod visible;
pub mod words;
