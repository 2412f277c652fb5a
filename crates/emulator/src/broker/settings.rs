//! What a broker serves: its rules, hubs, topics and queues, and its limits.

use crate::settings_error::{SettingsError, check_distinct, check_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::time::Duration;

/// The group that every hub has.
const DEFAULT_GROUP: &str = "$Default";
/// Consumer groups of a hub in the Standard tier ("Azure Event Hubs quotas and limits").
const GROUPS_MAX: usize = 20;

/// The namespace of Event Hubs and Service Bus.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// The rule that clients sign with.
    pub shared_access_key_name: String,
    /// Its first key.
    pub shared_access_key: String,
    /// Its second key.
    pub secondary_shared_access_key: String,
    /// More rules, which may do less.
    pub access_rules: Vec<AccessRuleSettings>,
    /// Whether a link needs a token; without it anyone may attach.
    pub require_tokens: bool,
    /// The event hubs.
    pub hubs: Vec<HubSettings>,
    /// The Service Bus topics.
    pub topics: Vec<TopicSettings>,
    /// The Service Bus queues.
    pub queues: Vec<QueueSettings>,
    /// Bounds that a test may want to reach.
    pub limits: BrokerLimits,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            shared_access_key_name: "RootManageSharedAccessKey".to_owned(),
            shared_access_key: "c2hhcmVkLWFjY2Vzcy1rZXktb2YtdGhlLWVtdWxhdG9y".to_owned(),
            secondary_shared_access_key: "c2Vjb25kLWtleS1vZi10aGUtZW11bGF0b3I=".to_owned(),
            access_rules: Vec::new(),
            require_tokens: true,
            hubs: Vec::new(),
            topics: Vec::new(),
            queues: Vec::new(),
            limits: BrokerLimits::default(),
        }
    }
}

impl BrokerSettings {
    /// Checks the names of all hubs, topics and queues, and of what is in them.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        for hub in &self.hubs {
            check_hub(hub)?;
            if hub.partitions == 0 {
                return Err(SettingsError::NoPartitions(hub.name.clone()));
            }
        }
        for topic in &self.topics {
            check_name("topic", &topic.name, 1..=260)?;
            let names = |queue: &QueueSettings| queue.name.clone();
            check_distinct(&topic.subscriptions.iter().map(names).collect::<Vec<_>>())?;
            for subscription in &topic.subscriptions {
                check_name("subscription", &subscription.name, 1..=50)?;
            }
        }
        for queue in &self.queues {
            check_name("queue", &queue.name, 1..=260)?;
        }
        Ok(())
    }
}

/// What a rule lets its keys do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRights {
    /// Send to hubs, queues and topics.
    pub send: bool,
    /// Receive from hubs, queues and subscriptions.
    pub listen: bool,
}

impl AccessRights {
    /// Everything.
    pub const ALL: Self = Self {
        send: true,
        listen: true,
    };
}

/// A rule of the namespace of Event Hubs and Service Bus.
#[derive(Clone, Debug)]
pub struct AccessRuleSettings {
    /// Its name.
    pub name: String,
    /// What its keys may do.
    pub rights: AccessRights,
    /// Its first key.
    pub key: String,
    /// Its second key.
    pub secondary_key: String,
}

impl AccessRuleSettings {
    /// A rule whose keys are made of its name, so that they are the same after a restart.
    pub fn new(name: impl Into<String>, rights: AccessRights) -> Self {
        let name = name.into();
        Self {
            key: BASE64.encode(format!("first key of {name}")),
            secondary_key: BASE64.encode(format!("second key of {name}")),
            name,
            rights,
        }
    }
}

/// Bounds of a broker.
#[derive(Clone, Debug)]
pub struct BrokerLimits {
    /// Events kept per partition; the oldest go first, as under a hub's retention.
    pub events_per_partition_max: usize,
    /// Bytes kept per partition.
    pub bytes_per_partition_max: usize,
    /// Messages kept per queue or subscription; beyond it sends are refused, as over a quota.
    pub messages_per_queue_max: usize,
    /// Bytes kept per queue or subscription.
    pub bytes_per_queue_max: usize,
    /// Largest message or batch, announced at each link.
    pub message_bytes_max: u64,
    /// Largest frame either side sends.
    pub frame_bytes_max: u32,
    /// Messages a sender may have under way on one link.
    pub link_credit: u32,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            events_per_partition_max: 1_000_000,
            bytes_per_partition_max: 256 * 1024 * 1024,
            messages_per_queue_max: 1_000_000,
            bytes_per_queue_max: 256 * 1024 * 1024,
            message_bytes_max: 1024 * 1024,
            frame_bytes_max: 64 * 1024,
            link_credit: 1_000,
        }
    }
}

/// One event hub.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Its name; names of hubs, topics and queues differ.
    pub name: String,
    /// Number of partitions, numbered from 0.
    pub partitions: u16,
    /// Consumer groups that may read it.
    pub consumer_groups: Vec<String>,
}

impl HubSettings {
    /// A hub with four partitions and the group `$Default`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: 4,
            consumer_groups: vec!["$Default".to_owned()],
        }
    }
}

/// One Service Bus topic.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// Its name.
    pub name: String,
    /// Each of them gets a copy of every message.
    pub subscriptions: Vec<QueueSettings>,
}

impl TopicSettings {
    /// A topic with subscriptions of default behaviour.
    pub fn new(name: impl Into<String>, subscriptions: &[&str]) -> Self {
        let subscriptions = subscriptions
            .iter()
            .map(|name| QueueSettings::new(*name))
            .collect();
        Self {
            name: name.into(),
            subscriptions,
        }
    }
}

/// One queue or subscription.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// Its name.
    pub name: String,
    /// How long a receiver holds a message before it is handed out again.
    pub lock_duration: Duration,
    /// Deliveries after which a message goes to the dead-letter queue.
    pub deliveries_max: u32,
    /// Whether messages need a session (group-id) and receivers take sessions.
    pub requires_session: bool,
    /// Messages with a message-id seen within this time are accepted and dropped; off when `None`.
    pub duplicate_window: Option<Duration>,
}

impl QueueSettings {
    /// Locks of 30 s, ten deliveries, no sessions, no duplicate detection.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lock_duration: Duration::from_secs(30),
            deliveries_max: 10,
            requires_session: false,
            duplicate_window: None,
        }
    }
}

fn check_hub(hub: &HubSettings) -> Result<(), SettingsError> {
    check_name("hub", &hub.name, 1..=256)?;
    for group in &hub.consumer_groups {
        if !group.eq_ignore_ascii_case(DEFAULT_GROUP) {
            check_name("consumer group", group, 1..=50)?;
        }
    }
    if hub.consumer_groups.len() > GROUPS_MAX {
        let rule = format!("it has more than {GROUPS_MAX} consumer groups");
        return Err(SettingsError::entity_name("hub", &hub.name, rule));
    }
    check_distinct(&hub.consumer_groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_services_refuse_are_refused() {
        let hub = |name: &str, groups: &[&str]| {
            let mut hub = HubSettings::new(name);
            let groups = groups.iter().map(|group| (*group).to_owned());
            hub.consumer_groups.extend(groups);
            BrokerSettings {
                hubs: vec![hub],
                ..BrokerSettings::default()
            }
        };
        let queue = |name: &str| BrokerSettings {
            queues: vec![QueueSettings::new(name)],
            ..BrokerSettings::default()
        };
        let topic = |name: &str, subscriptions: &[&str]| BrokerSettings {
            topics: vec![TopicSettings::new(name, subscriptions)],
            ..BrokerSettings::default()
        };
        let many: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(51);
        for (settings, text) in [
            (
                hub("a b", &[]),
                "hub \"a b\": letters, digits, dots, hyphens and underscores are allowed",
            ),
            (hub("", &[]), "hub \"\": it must have 1 to 256 characters"),
            (
                hub("-a", &[]),
                "it must start and end with a letter or digit",
            ),
            (hub("a", &[&long]), "it must have 1 to 50 characters"),
            (hub("a", &["$other"]), "consumer group \"$other\""),
            (hub("a", &["$default"]), "the name $default is used twice"),
            (hub("a", &many), "it has more than 20 consumer groups"),
            (queue("a/b"), "queue \"a/b\": letters"),
            (topic("a", &[""]), "subscription \"\": it must have 1 to 50"),
            (topic("a", &["b", "B"]), "the name B is used twice"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(hub("telemetry.1", &["readers"]).check(), Ok(()));
        assert_eq!(topic("alerts", &["demo", "by-twin"]).check(), Ok(()));
    }
}
