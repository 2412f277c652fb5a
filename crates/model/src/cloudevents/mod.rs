//! The CloudEvents 1.0.2 bindings: JSON format, HTTP, AMQP.

pub mod amqp;
pub mod http;
pub(crate) mod items;
pub mod json;
mod members;
mod scan;
mod shorthand;
mod unset;
