//! A Service Bus topic: every subscription gets a copy of every message.

use super::hub::AppendContext;
use super::queue;
use super::queue::MessageQueue;
use super::settings::{BrokerLimits, TopicSettings};
use super::stored::LockTokens;
use crate::amqp::message::AmqpMessage;
use crate::amqp::state::AmqpError;
use crate::arrivals::ArrivalTally;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct MessageTopic {
    pub(crate) name: String,
    pub(crate) arrivals: ArrivalTally,
    pub(crate) subscriptions: Vec<Arc<MessageQueue>>,
}

impl MessageTopic {
    pub(crate) fn new(
        settings: &TopicSettings,
        limits: &BrokerLimits,
        tokens: &Arc<LockTokens>,
    ) -> Self {
        let subscriptions = settings.subscriptions.iter().map(|subscription| {
            let path = format!("{}/Subscriptions/{}", settings.name, subscription.name);
            Arc::new(MessageQueue::new(path, subscription, limits, tokens))
        });
        Self {
            name: settings.name.clone(),
            arrivals: ArrivalTally::default(),
            subscriptions: subscriptions.collect(),
        }
    }

    pub(crate) fn subscription(&self, name: &str) -> Option<&Arc<MessageQueue>> {
        let wanted = |queue: &&Arc<MessageQueue>| queue.own_name().eq_ignore_ascii_case(name);
        self.subscriptions.iter().find(wanted)
    }

    /// All messages to all subscriptions, or none to any.
    pub(crate) fn push(
        &self,
        messages: &[AmqpMessage],
        arrival: AppendContext<'_>,
    ) -> Result<(), AmqpError> {
        for subscription in &self.subscriptions {
            subscription.admit_copies(messages)?;
        }
        let first = queue::numbers(arrival.counter, messages.len());
        for subscription in &self.subscriptions {
            subscription.push(messages.to_vec(), first, arrival.now);
        }
        self.arrivals.add_stored(messages.len());
        Ok(())
    }
}
