//! A small AMQP 1.0 codec of our own: types, frames, performatives and message sections.
//!
//! It exists because the server side of every AMQP crate trims trailing null fields of a
//! performative, as the specification allows, while azure-eventhub (Python) indexes those fields by
//! position and fails on a shorter list. Here every performative is written in full length.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod performative;
pub(crate) mod state;
pub(crate) mod value;

#[cfg(test)]
mod tests;
