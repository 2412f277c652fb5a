//! Event Hubs and Service Bus: hubs, queues, topics and who may use them. No network.

pub(crate) mod access;
pub(crate) mod hub;
pub(crate) mod message_broker;
mod partition_key;
pub(crate) mod queue;
mod queue_sessions;
mod queue_state;
pub(crate) mod received;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod stored;
pub(crate) mod topic;
mod waiters;

#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;
