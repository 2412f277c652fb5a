//! What an emulator holds, with or without its servers running.

use crate::access::{self, AccessRules, KeySlot};
use crate::blob::StoredBlob;
use crate::blob::account::Account;
use crate::broker::Tally;
use crate::broker::hub::{Arrival, Hub};
use crate::broker::queue::Queue;
use crate::broker::stored::Tokens;
use crate::broker::topic::Topic;
use crate::faults::Faults;
use crate::grid::topic::{GridEvent, GridTopic};
use crate::identity::{Issuer, Service, TokenRequest};
use crate::names;
use crate::received::ReceivedMessage;
use crate::settings::Settings;
use crate::vault::Vault;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::secret::Secret;

/// The entities of one emulator, their messages, keys and scripted faults.
///
/// It outlives a shutdown, so a test can kill the servers, start them again and count what arrived
/// overall. Methods that take a name panic when no such entity is in the settings: that is a
/// mistake in a test, not something that happens at run time.
pub struct Store {
    pub(crate) settings: Settings,
    pub(crate) rules: AccessRules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) grid: Vec<GridTopic>,
    pub(crate) blobs: Account,
    pub(crate) identity: Option<Service>,
    pub(crate) vault: Vault,
    pub(crate) open_connections: AtomicUsize,
    connections: AtomicU64,
    keys_made: AtomicU64,
    faults: Faults,
    entities: HashMap<String, Entity>,
    arrivals: AtomicU64,
}

/// A named entity of the AMQP side.
#[derive(Clone, Debug)]
pub(crate) enum Entity {
    Hub(Arc<Hub>),
    Queue(Arc<Queue>),
    Topic(Arc<Topic>),
}

/// Why settings cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Two hubs, topics or queues, or two Event Grid topics, share a name.
    #[error("the name {0} is used twice")]
    NameTwice(String),
    /// Two Event Grid topics share a path.
    #[error("the path {0} is used twice")]
    PathTwice(String),
    /// A container whose name the service would not take.
    #[error(
        "the container name {0:?} is not 3 to 63 lower-case letters, digits and single hyphens"
    )]
    ContainerName(String),
    /// The system gives no random bytes for the identity service's key.
    #[error("the identity service has no key: the system gives no random bytes")]
    NoKey,
    /// A name that the service would not take.
    #[error("{what} {name:?}: {rule}")]
    EntityName {
        /// What has it.
        what: &'static str,
        /// The name.
        name: String,
        /// What it must be.
        rule: String,
    },
    /// A hub without partitions.
    #[error("hub {0} has no partitions")]
    NoPartitions(String),
}

/// A wait that ended before enough had arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entity}: {seen} of {wanted} arrived within {waited:?}")]
pub struct TimedOut {
    /// What was waited on.
    pub entity: String,
    /// What had arrived.
    pub seen: u64,
    /// What was wanted.
    pub wanted: u64,
    /// How long the wait was.
    pub waited: Duration,
}

/// How much an entity took in since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transfers or posts that arrived, faulted ones included.
    pub requests: u64,
    /// Messages or events that were stored, whether still retained or not.
    pub stored: u64,
}

impl Store {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        names::check(&settings)?;
        let mut entities = HashMap::new();
        let tokens = Arc::new(Tokens::default());
        let now = clock.now();
        let mut all = Vec::new();
        for hub in &settings.hubs {
            if hub.partitions == 0 {
                return Err(SettingsError::NoPartitions(hub.name.clone()));
            }
            all.push((&hub.name, Entity::Hub(Arc::new(Hub::new(hub, now)))));
        }
        for topic in &settings.topics {
            let entity = Topic::new(topic, &settings.limits, &tokens);
            all.push((&topic.name, Entity::Topic(Arc::new(entity))));
        }
        for queue in &settings.queues {
            let entity = Queue::new(queue.name.clone(), queue, &settings.limits, &tokens);
            all.push((&queue.name, Entity::Queue(Arc::new(entity))));
        }
        for (name, entity) in all {
            if entities.insert(name.to_ascii_lowercase(), entity).is_some() {
                return Err(SettingsError::NameTwice(name.clone()));
            }
        }
        let mut grid: Vec<GridTopic> = Vec::new();
        for topic in &settings.event_grid_topics {
            if grid
                .iter()
                .any(|known| known.name.eq_ignore_ascii_case(&topic.name))
            {
                return Err(SettingsError::NameTwice(topic.name.clone()));
            }
            if grid
                .iter()
                .any(|known| known.path.eq_ignore_ascii_case(&topic.path))
            {
                return Err(SettingsError::PathTwice(topic.path.clone()));
            }
            grid.push(GridTopic::new(topic, &settings.limits));
        }
        let rules = AccessRules::new(&settings).map_err(SettingsError::NameTwice)?;
        let blobs = Account::new(&settings, now)?;
        let identity = settings.identity.as_ref();
        let vault = Vault::new(identity, now);
        let identity = identity.map(|identity| Service::new(identity).ok_or(SettingsError::NoKey));
        Ok(Self {
            identity: identity.transpose()?,
            vault,
            rules,
            blobs,
            clock,
            grid,
            entities,
            settings,
            faults: Faults::default(),
            arrivals: AtomicU64::new(0),
            open_connections: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            keys_made: AtomicU64::new(1),
        })
    }

    /// The script of faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
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
        let key = self.made_key();
        self.rules.root().replace(slot, key.clone());
        key
    }

    /// Makes a new access key of an Event Grid topic in one place and gives it; the one before is refused
    /// from now on.
    pub fn regenerate_topic_key(&self, topic: &str, slot: KeySlot) -> String {
        let key = self.made_key();
        self.grid_topic(topic).set_key(slot, &key);
        key
    }

    fn made_key(&self) -> String {
        access::made_key(self.keys_made.fetch_add(1, Ordering::Relaxed))
    }

    /// Replaces both keys of an Event Grid topic.
    pub fn set_topic_keys(&self, topic: &str, key1: &str, key2: &str) {
        self.grid_topic(topic).set_keys(key1, key2);
    }

    /// The events that a hub retains, in order of arrival.
    #[must_use]
    pub fn hub_events(&self, hub: &str) -> Vec<ReceivedMessage> {
        self.hub(hub).events()
    }

    /// The messages that a subscription holds: ready, locked and deferred ones.
    #[must_use]
    pub fn subscription_messages(&self, topic: &str, subscription: &str) -> Vec<ReceivedMessage> {
        self.subscription(topic, subscription).messages()
    }

    /// The messages that a queue holds.
    #[must_use]
    pub fn queue_messages(&self, queue: &str) -> Vec<ReceivedMessage> {
        self.queue(queue).messages()
    }

    /// The dead letters of a subscription.
    #[must_use]
    pub fn dead_letters(&self, topic: &str, subscription: &str) -> Vec<ReceivedMessage> {
        let queue = self.subscription(topic, subscription);
        queue
            .dead_letters
            .as_ref()
            .map(|dead| dead.messages())
            .unwrap_or_default()
    }

    /// The events that an Event Grid topic retains, in order of arrival.
    #[must_use]
    pub fn topic_events(&self, topic: &str) -> Vec<GridEvent> {
        self.grid_topic(topic).events(0)
    }

    /// How much a hub, queue or Service Bus topic took in.
    #[must_use]
    pub fn counts(&self, entity: &str) -> Counts {
        let (transfers, accepted) = match self.known(entity) {
            Entity::Hub(hub) => (&hub.transfers, &hub.accepted),
            Entity::Queue(queue) => (&queue.transfers, &queue.accepted),
            Entity::Topic(topic) => (&topic.transfers, &topic.accepted),
        };
        Counts {
            requests: transfers.load(Ordering::Relaxed),
            stored: accepted.total(),
        }
    }

    /// How much an Event Grid topic took in.
    #[must_use]
    pub fn topic_counts(&self, topic: &str) -> Counts {
        self.grid_topic(topic).counts()
    }

    /// Replaces the key of the storage account; signatures made with the old one are void.
    pub fn set_blob_account_key(&self, key: Secret) {
        self.blobs.set_key(key);
    }

    /// The requests for tokens so far, the last thousand of them, in order.
    #[must_use]
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        let asked = self.identity.as_ref().map(Service::asked);
        asked.unwrap_or_default()
    }

    /// A token of the Kubernetes service account `subject`, as its API server writes it to a file.
    ///
    /// # Panics
    /// When the settings have no identity service.
    #[must_use]
    pub fn service_account_token(&self, subject: &str) -> String {
        let service = self.identity.as_ref();
        let service = service.expect("the settings have an identity service");
        service.service_account_token(subject, self.now())
    }

    /// Puts a secret, or a new version of it, into the vault.
    pub fn set_vault_secret(&self, name: &str, value: Secret) {
        self.vault.set(name, value, self.now());
    }

    /// Takes a secret out of the vault.
    pub fn delete_vault_secret(&self, name: &str) {
        self.vault.delete(name);
    }

    /// The requests to the vault so far: `list`, or the name of the secret that was asked for.
    #[must_use]
    pub fn vault_requests(&self) -> Vec<String> {
        self.vault.asked()
    }

    /// Who signs tokens, where there is an identity service.
    pub(crate) fn issuer(&self) -> Option<&Issuer> {
        self.identity.as_ref().map(|service| &service.issuer)
    }

    /// Makes a blob container.
    ///
    /// # Panics
    /// When there is one of that name, or the name is not legal.
    pub fn create_container(&self, container: &str) {
        let made = self
            .blobs
            .create_container(container, BTreeMap::new(), self.now());
        made.unwrap_or_else(|refusal| panic!("container {container}: {refusal:?}"));
    }

    /// Deletes a blob container with all that is in it.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn delete_container(&self, container: &str) {
        let deleted = self.blobs.delete_container(container);
        deleted.unwrap_or_else(|refusal| panic!("container {container}: {refusal:?}"));
    }

    /// Stores a blob as if a client had put it.
    ///
    /// # Panics
    /// When there is no such container, the name is not legal, or a limit is reached.
    pub fn put_blob(&self, container: &str, name: &str, content: impl Into<Bytes>) {
        let put = self
            .blobs
            .put_blob(container, name, content.into(), self.now());
        put.unwrap_or_else(|refusal| panic!("blob {name} of {container}: {refusal:?}"));
    }

    /// The blobs of a container in the order of their names; `None` when there is no such container.
    #[must_use]
    pub fn blobs(&self, container: &str) -> Option<Vec<StoredBlob>> {
        self.blobs.blobs(container)
    }

    /// How many requests a container had and how often a blob was stored in it, since it was created.
    #[must_use]
    pub fn container_counts(&self, container: &str) -> Counts {
        self.blobs.counts(container)
    }

    /// Waits until blobs were stored `count` times in a container, overwriting included.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for_blobs(
        &self,
        container: &str,
        count: u64,
        wait: Duration,
    ) -> Result<(), TimedOut> {
        let reached = tokio::time::timeout(wait, self.blobs.reach(container, count)).await;
        reached.map_err(|_| TimedOut {
            entity: container.to_owned(),
            seen: self.blobs.counts(container).stored,
            wanted: count,
            waited: wait,
        })
    }

    /// AMQP connections since the store was made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until a hub, queue or Service Bus topic has stored `count` messages overall.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for(&self, entity: &str, count: u64, wait: Duration) -> Result<(), TimedOut> {
        let known = self.known(entity);
        let tally = match known {
            Entity::Hub(hub) => &hub.accepted,
            Entity::Queue(queue) => &queue.accepted,
            Entity::Topic(topic) => &topic.accepted,
        };
        reach(entity, tally, count, wait).await
    }

    /// Waits until an Event Grid topic has stored `count` events overall.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for_topic_events(
        &self,
        topic: &str,
        count: u64,
        wait: Duration,
    ) -> Result<(), TimedOut> {
        reach(topic, self.grid_topic(topic).accepted(), count, wait).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            counter: &self.arrivals,
            now: self.now(),
            limits: &self.settings.limits,
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.get(&name.to_ascii_lowercase())
    }

    /// The entities of the AMQP side in the order of their names.
    pub(crate) fn entities_by_name(&self) -> Vec<&Entity> {
        let mut all: Vec<_> = self.entities.iter().collect();
        all.sort_by_key(|(name, _)| name.as_str());
        all.into_iter().map(|(_, entity)| entity).collect()
    }

    pub(crate) fn grid_topic(&self, name: &str) -> &GridTopic {
        let found = self
            .grid
            .iter()
            .find(|topic| topic.name.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no Event Grid topic {name} in the settings"))
    }

    fn known(&self, name: &str) -> &Entity {
        self.entity(name)
            .unwrap_or_else(|| panic!("no entity {name} in the settings"))
    }

    fn hub(&self, name: &str) -> &Arc<Hub> {
        match self.known(name) {
            Entity::Hub(hub) => hub,
            _ => panic!("{name} is not a hub"),
        }
    }

    fn queue(&self, name: &str) -> &Arc<Queue> {
        match self.known(name) {
            Entity::Queue(queue) => queue,
            _ => panic!("{name} is not a queue"),
        }
    }

    fn subscription(&self, topic: &str, name: &str) -> &Arc<Queue> {
        let Entity::Topic(found) = self.known(topic) else {
            panic!("{topic} is not a topic")
        };
        let queue = found.subscription(name);
        queue.unwrap_or_else(|| panic!("no subscription {name} of {topic} in the settings"))
    }
}

async fn reach(entity: &str, tally: &Tally, wanted: u64, waited: Duration) -> Result<(), TimedOut> {
    let reached = tokio::time::timeout(waited, tally.reach(wanted)).await;
    reached.map_err(|_| TimedOut {
        entity: entity.to_owned(),
        seen: tally.total(),
        wanted,
        waited,
    })
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("entities", &self.entities.keys())
            .finish()
    }
}
