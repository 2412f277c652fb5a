//! What an emulator serves, and its limits.

use crate::access::AccessRights;
use crate::blob::{ACCOUNT, ACCOUNT_KEY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use twinroute_model::secret::Secret;

/// Everything an emulator is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port of Event Hubs and Service Bus on 127.0.0.1; 0 lets the system choose.
    pub amqp_port: u16,
    /// Port of the Event Grid topics on 127.0.0.1; 0 lets the system choose.
    pub http_port: u16,
    /// Port of the blob containers on 127.0.0.1; 0 lets the system choose.
    pub blob_port: u16,
    /// The rule that clients of Event Hubs and Service Bus sign with.
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
    /// The Event Grid topics.
    pub event_grid_topics: Vec<EventGridSettings>,
    /// The storage account; by default the one that every storage emulator has.
    pub blob_account: String,
    /// Its key, base64.
    pub blob_account_key: Secret,
    /// The blob containers that are there from the start; clients may create more.
    pub blob_containers: Vec<String>,
    /// The identity service with the vault beside it; none of them by default.
    pub identity: Option<IdentitySettings>,
    /// Ports where TLS is spoken too; nowhere by default.
    pub tls: Option<TlsPorts>,
    /// Bounds that a test may want to reach.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amqp_port: 0,
            http_port: 0,
            blob_port: 0,
            shared_access_key_name: "RootManageSharedAccessKey".to_owned(),
            shared_access_key: "c2hhcmVkLWFjY2Vzcy1rZXktb2YtdGhlLWVtdWxhdG9y".to_owned(),
            secondary_shared_access_key: "c2Vjb25kLWtleS1vZi10aGUtZW11bGF0b3I=".to_owned(),
            access_rules: Vec::new(),
            require_tokens: true,
            hubs: Vec::new(),
            topics: Vec::new(),
            queues: Vec::new(),
            event_grid_topics: Vec::new(),
            blob_account: ACCOUNT.to_owned(),
            blob_account_key: Secret::from(ACCOUNT_KEY),
            blob_containers: Vec::new(),
            identity: None,
            tls: None,
            limits: Limits::default(),
        }
    }
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

/// The identity service: whom it knows.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// Its port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// The Entra tenant of all.
    pub tenant_id: String,
    /// What programs of App Service know and put into `X-IDENTITY-HEADER`.
    pub header: Secret,
    /// How long tokens are good.
    pub token_life: Duration,
    /// What the machine is known as.
    pub managed: Vec<ManagedIdentitySettings>,
    /// Applications that log in by themselves.
    pub applications: Vec<ApplicationSettings>,
    /// Secrets of the vault from the start, by name.
    pub vault_secrets: Vec<(String, Secret)>,
}

impl Default for IdentitySettings {
    /// A machine with a system-assigned identity, and nobody else.
    fn default() -> Self {
        Self {
            port: 0,
            tenant_id: "70000000-0000-4000-8000-000000000001".to_owned(),
            header: Secret::from("the-header-of-the-emulator"),
            token_life: Duration::from_secs(60 * 60),
            managed: vec![ManagedIdentitySettings {
                client_id: "71000000-0000-4000-8000-000000000001".to_owned(),
                object_id: "72000000-0000-4000-8000-000000000001".to_owned(),
                resource_id: None,
            }],
            applications: Vec::new(),
            vault_secrets: Vec::new(),
        }
    }
}

/// A managed identity.
#[derive(Clone, Debug)]
pub struct ManagedIdentitySettings {
    /// Its client id, a GUID.
    pub client_id: String,
    /// Its object id, a GUID, also called the principal's.
    pub object_id: String,
    /// The ARM id of one that is user-assigned; `None` for the system-assigned one.
    pub resource_id: Option<String>,
}

/// An application with what proves that it is.
#[derive(Clone, Debug)]
pub struct ApplicationSettings {
    /// Its client id, a GUID.
    pub client_id: String,
    /// The object id of its service principal, a GUID.
    pub object_id: String,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
    /// Its certificates, DER.
    pub certificates: Vec<Vec<u8>>,
    /// Kubernetes service accounts that may log in as it, such as
    /// `system:serviceaccount:default:twinroute`.
    pub service_accounts: Vec<String>,
    /// Roles that its tokens name.
    pub roles: Vec<String>,
}

/// Where TLS is spoken, as `localhost` and 127.0.0.1; ports on 127.0.0.1, 0 lets the system choose.
#[derive(Clone, Debug)]
pub struct TlsPorts {
    /// The folder of certificate and authority, which are made where they are missing.
    pub folder: PathBuf,
    /// For Event Hubs and Service Bus.
    pub amqp_port: u16,
    /// For the blob containers.
    pub blob_port: u16,
    /// For the identity service and the vault.
    pub identity_port: u16,
}

impl TlsPorts {
    /// Ports that the system chooses, with the authority in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            amqp_port: 0,
            blob_port: 0,
            identity_port: 0,
        }
    }
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each is the field of the settings with that name"
)]
pub enum PortPlace {
    Amqp,
    Http,
    Blob,
    Identity,
    AmqpTls,
    BlobTls,
    IdentityTls,
}

impl fmt::Display for PortPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Amqp => "Event Hubs and Service Bus",
            Self::Http => "the Event Grid topics",
            Self::Blob => "the blob containers",
            Self::Identity => "the identity service",
            Self::AmqpTls => "Event Hubs and Service Bus with TLS",
            Self::BlobTls => "the blob containers with TLS",
            Self::IdentityTls => "Entra and the key vault",
        })
    }
}

/// Bounds of the stand-ins.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Events kept per partition; the oldest go first, as under a hub's retention.
    pub events_per_partition_max: usize,
    /// Bytes kept per partition.
    pub bytes_per_partition_max: usize,
    /// Messages kept per queue or subscription; beyond it sends are refused, as over a quota.
    pub messages_per_queue_max: usize,
    /// Bytes kept per queue or subscription.
    pub bytes_per_queue_max: usize,
    /// Events kept per Event Grid topic; the oldest go first.
    pub events_per_topic_max: usize,
    /// Bytes kept per Event Grid topic.
    pub bytes_per_topic_max: usize,
    /// Blob containers.
    pub containers_max: usize,
    /// Blobs in one container, and blobs that have blocks but no list yet; beyond it writes are refused.
    pub blobs_per_container_max: usize,
    /// Bytes of all blobs and blocks together; beyond it writes are refused, as by a full store.
    pub blob_bytes_max: usize,
    /// Largest body of one request for a blob, in bytes. Four of that size may be under way at once.
    pub blob_body_bytes_max: usize,
    /// Blocks of one blob.
    pub blocks_per_blob_max: usize,
    /// Largest message or batch, announced at each link.
    pub message_bytes_max: u64,
    /// Largest frame either side sends.
    pub frame_bytes_max: u32,
    /// Open connections of each server; more are closed at once.
    pub connections_max: usize,
    /// Messages a sender may have under way on one link.
    pub link_credit: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events_per_partition_max: 1_000_000,
            bytes_per_partition_max: 256 * 1024 * 1024,
            messages_per_queue_max: 1_000_000,
            bytes_per_queue_max: 256 * 1024 * 1024,
            events_per_topic_max: 1_000_000,
            bytes_per_topic_max: 256 * 1024 * 1024,
            containers_max: 1_000,
            blobs_per_container_max: 100_000,
            blob_bytes_max: 256 * 1024 * 1024,
            blob_body_bytes_max: 64 * 1024 * 1024,
            blocks_per_blob_max: 50_000,
            message_bytes_max: 1024 * 1024,
            frame_bytes_max: 64 * 1024,
            connections_max: 1_024,
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

/// One Event Grid topic.
#[derive(Clone, Debug)]
pub struct EventGridSettings {
    /// Its name.
    pub name: String,
    /// The path events are posted to.
    pub path: String,
    /// What it takes.
    pub schema: EventGridSchema,
    /// First access key, base64.
    pub key1: String,
    /// Second access key, base64.
    pub key2: String,
}

impl EventGridSettings {
    /// A CloudEvents topic at `/topics/<name>/api/events`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            path: format!("/topics/{name}/api/events"),
            name,
            schema: EventGridSchema::CloudEvents,
            key1: "Zmlyc3Qta2V5LW9mLXRoZS10b3BpYw==".to_owned(),
            key2: "c2Vjb25kLWtleS1vZi10aGUtdG9waWM=".to_owned(),
        }
    }
}

/// The input schema of an Event Grid topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventGridSchema {
    /// CloudEvents 1.0, one or a batch.
    CloudEvents,
    /// An array in the Event Grid event schema.
    EventGrid,
}
