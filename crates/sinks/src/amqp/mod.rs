//! What Event Hubs and Service Bus have in common: one AMQP 1.0 sink.
//!
//! `batch` groups and encodes, `link` owns the connection and does what a `command` says, `connection`
//! and `cbs` make one, with an `entity`'s `token`, over TCP or a `websocket`. What a peer sends passes
//! `guard` and `wire` before fe2o3-amqp sees it, and everything that touches fe2o3-amqp is in this
//! module. Its faults that the code here is built around (see `docs/decisions/0001-amqp-client.md`):
//!
//! 1. Pending deliveries do not fail when the connection dies: one task owns the link, watches its
//!    end, and answers them itself.
//! 2. A silent peer is noticed only with an idle time-out of our own, so there is one, and each
//!    delivery has a deadline besides.
//! 3. A send without credit waits for ever, so the hand-over has the same deadline.
//! 4. Heartbeats come too late for a strict peer: an idle connection that ends is not a fault.
//! 5. A connection that waits for its peer's close frame spins: it is cut instead, see `stream`.
//! 6. Links are not resumed: a new link is made, and what was not answered is sent again by the
//!    lane.
//! 7. Its decoder trusts what a frame says of itself: see `wire`.

mod batch;
mod buckets;
mod cbs;
mod command;
mod connection;
pub(crate) mod entity;
mod fault;
mod fault_text;
pub(crate) mod guard;
mod link;
mod link_state;
mod sink;
mod stream;
mod target;
mod token;
mod unsettled;
mod websocket;
mod wire;

pub(crate) use batch::MessageRouting;
pub(crate) use sink::{AmqpSink, SendSettings};
pub(crate) use target::{AmqpTarget, PLAIN_NEEDS_KEY};

#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod scripted_peer;
#[cfg(test)]
mod send_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod websocket_tests;
