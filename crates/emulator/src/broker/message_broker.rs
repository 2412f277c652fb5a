//! The namespace of Event Hubs and Service Bus: its entities with their messages, its rules and keys.

use super::access::AccessRules;
use super::hub::{AppendContext, EventHub};
use super::queue::MessageQueue;
use super::received::ReceivedMessage;
use super::settings::BrokerSettings;
use super::stored::LockTokens;
use super::topic::MessageTopic;
use crate::access_key::KeySlot;
use crate::arrivals::{ArrivalCounts, ArrivalTally, TimedOut};
use crate::identity::TokenIssuer;
use crate::service_context::ServiceContext;
use crate::settings_error::SettingsError;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// Hubs, queues and Service Bus topics with their messages.
///
/// It outlives a shutdown, so a test can kill the servers, start them again and count what arrived
/// overall. Methods that take a name panic when no such entity is in the settings: that is a
/// mistake in a test, not something that happens at run time.
#[derive(Debug)]
pub struct MessageBroker {
    pub(crate) settings: BrokerSettings,
    pub(crate) rules: AccessRules,
    pub(crate) context: ServiceContext,
    pub(crate) issuer: Option<Arc<TokenIssuer>>,
    connections: AtomicU64,
    entities: HashMap<String, BrokerEntity>,
    last_arrival: AtomicU64,
}

/// A named entity of a broker.
#[derive(Clone, Debug)]
pub(crate) enum BrokerEntity {
    Hub(Arc<EventHub>),
    Queue(Arc<MessageQueue>),
    Topic(Arc<MessageTopic>),
}

impl BrokerEntity {
    fn arrivals(&self) -> &ArrivalTally {
        match self {
            Self::Hub(hub) => &hub.arrivals,
            Self::Queue(queue) => &queue.arrivals,
            Self::Topic(topic) => &topic.arrivals,
        }
    }
}

impl MessageBroker {
    /// Entra's tokens are checked by `issuer`, where there is one.
    pub(crate) fn new(
        settings: BrokerSettings,
        context: ServiceContext,
        issuer: Option<Arc<TokenIssuer>>,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let tokens = Arc::new(LockTokens::default());
        let now = context.now();
        let mut all = Vec::new();
        for hub in &settings.hubs {
            all.push((
                &hub.name,
                BrokerEntity::Hub(Arc::new(EventHub::new(hub, now))),
            ));
        }
        for topic in &settings.topics {
            let entity = MessageTopic::new(topic, &settings.limits, &tokens);
            all.push((&topic.name, BrokerEntity::Topic(Arc::new(entity))));
        }
        for queue in &settings.queues {
            let entity = MessageQueue::new(queue.name.clone(), queue, &settings.limits, &tokens);
            all.push((&queue.name, BrokerEntity::Queue(Arc::new(entity))));
        }
        let mut entities = HashMap::new();
        for (name, entity) in all {
            if entities.insert(name.to_ascii_lowercase(), entity).is_some() {
                return Err(SettingsError::NameTwice(name.clone()));
            }
        }
        Ok(Self {
            rules: AccessRules::new(&settings).map_err(SettingsError::NameTwice)?,
            entities,
            settings,
            context,
            issuer,
            connections: AtomicU64::new(0),
            last_arrival: AtomicU64::new(0),
        })
    }

    /// Replaces both shared access keys. Links whose token was signed with an old key are detached
    /// with `amqp:unauthorized-access`, and new tokens need a new key.
    pub fn set_shared_access_keys(&self, primary: &str, secondary: &str) {
        self.rules.root().set(primary, secondary);
    }

    /// Makes a new shared access key in one place and gives it, as the service's regenerateKeys does. Links
    /// whose token was signed with the one before are detached with `amqp:unauthorized-access` within 200 ms;
    /// whether the service waits for the end of the token instead is published nowhere.
    pub fn regenerate_shared_access_key(&self, slot: KeySlot) -> String {
        let key = self.context.key_maker.make();
        self.rules.root().replace(slot, key.clone());
        key
    }

    /// The events that a hub retains, in order of arrival.
    #[must_use]
    pub fn hub_events(&self, hub: &str) -> Vec<ReceivedMessage> {
        match self.known(hub) {
            BrokerEntity::Hub(hub) => hub.events(),
            _ => panic!("{hub} is not a hub"),
        }
    }

    /// The messages that a subscription holds: ready, locked and deferred ones.
    #[must_use]
    pub fn subscription_messages(&self, topic: &str, subscription: &str) -> Vec<ReceivedMessage> {
        self.subscription(topic, subscription).messages()
    }

    /// The messages that a queue holds.
    #[must_use]
    pub fn queue_messages(&self, queue: &str) -> Vec<ReceivedMessage> {
        match self.known(queue) {
            BrokerEntity::Queue(queue) => queue.messages(),
            _ => panic!("{queue} is not a queue"),
        }
    }

    /// The dead letters of a subscription.
    #[must_use]
    pub fn dead_letters(&self, topic: &str, subscription: &str) -> Vec<ReceivedMessage> {
        let dead_letters = &self.subscription(topic, subscription).dead_letters;
        dead_letters
            .iter()
            .flat_map(|dead| dead.messages())
            .collect()
    }

    /// How much a hub, queue or Service Bus topic took in.
    #[must_use]
    pub fn counts(&self, entity: &str) -> ArrivalCounts {
        self.known(entity).arrivals().counts()
    }

    /// Waits until a hub, queue or Service Bus topic has stored `count` messages overall.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for(&self, entity: &str, count: u64, wait: Duration) -> Result<(), TimedOut> {
        self.known(entity)
            .arrivals()
            .wait_for(entity, count, wait)
            .await
    }

    /// Connections since the broker was made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn add_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.now()
    }

    pub(crate) fn arrival(&self) -> AppendContext<'_> {
        AppendContext {
            counter: &self.last_arrival,
            now: self.now(),
            limits: &self.settings.limits,
        }
    }

    pub(crate) fn entity(&self, name: &str) -> Option<&BrokerEntity> {
        self.entities.get(&name.to_ascii_lowercase())
    }

    /// The entities in the order of their names.
    pub(crate) fn entities_by_name(&self) -> Vec<&BrokerEntity> {
        let mut all: Vec<_> = self.entities.iter().collect();
        all.sort_by_key(|(name, _)| name.as_str());
        all.into_iter().map(|(_, entity)| entity).collect()
    }

    fn known(&self, name: &str) -> &BrokerEntity {
        self.entity(name)
            .unwrap_or_else(|| panic!("no entity {name} in the settings"))
    }

    fn subscription(&self, topic: &str, name: &str) -> &Arc<MessageQueue> {
        let BrokerEntity::Topic(found) = self.known(topic) else {
            panic!("{topic} is not a topic")
        };
        let queue = found.subscription(name);
        queue.unwrap_or_else(|| panic!("no subscription {name} of {topic} in the settings"))
    }
}
