//! A Service Bus topic: every subscription gets a copy of every message.

use super::hub::Arrival;
use super::queue;
use super::queue::Queue;
use super::settings::{BrokerLimits, TopicSettings};
use super::stored::Tokens;
use crate::amqp::message::Message;
use crate::amqp::state::Problem;
use crate::intake::IntakeTally;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) intake: IntakeTally,
    pub(crate) subscriptions: Vec<Arc<Queue>>,
}

impl Topic {
    pub(crate) fn new(
        settings: &TopicSettings,
        limits: &BrokerLimits,
        tokens: &Arc<Tokens>,
    ) -> Self {
        let subscriptions = settings.subscriptions.iter().map(|subscription| {
            let path = format!("{}/Subscriptions/{}", settings.name, subscription.name);
            Arc::new(Queue::new(path, subscription, limits, tokens))
        });
        Self {
            name: settings.name.clone(),
            intake: IntakeTally::default(),
            subscriptions: subscriptions.collect(),
        }
    }

    pub(crate) fn subscription(&self, name: &str) -> Option<&Arc<Queue>> {
        let wanted = |queue: &&Arc<Queue>| queue.own_name().eq_ignore_ascii_case(name);
        self.subscriptions.iter().find(wanted)
    }

    /// All messages to all subscriptions, or none to any.
    pub(crate) fn push(&self, messages: &[Message], arrival: Arrival<'_>) -> Result<(), Problem> {
        for subscription in &self.subscriptions {
            subscription.admit_copies(messages)?;
        }
        let first = queue::numbers(arrival.counter, messages.len());
        for subscription in &self.subscriptions {
            subscription.push(messages.to_vec(), first, arrival.now);
        }
        self.intake.add_stored(messages.len());
        Ok(())
    }
}
