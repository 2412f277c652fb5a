//! What an emulator is started with: the settings of its services, and its ports.

use crate::blob::BlobSettings;
use crate::broker::settings::BrokerSettings;
use crate::event_grid::EventGridSettings;
use crate::identity::IdentitySettings;
use crate::key_vault::EmulatedKeyVaultSettings;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Everything an emulator is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port of Event Hubs and Service Bus on 127.0.0.1; 0 lets the system choose.
    pub amqp_port: u16,
    /// Port of the Event Grid topics on 127.0.0.1; 0 lets the system choose.
    pub http_port: u16,
    /// Port of the blob containers on 127.0.0.1; 0 lets the system choose.
    pub blob_port: u16,
    /// Event Hubs and Service Bus.
    pub broker: BrokerSettings,
    /// The Event Grid topics.
    pub event_grid: EventGridSettings,
    /// The storage account.
    pub blob: BlobSettings,
    /// The identity service with the key vault beside it; none of them by default.
    pub identity: Option<IdentitySettings>,
    /// The key vault.
    pub key_vault: EmulatedKeyVaultSettings,
    /// Ports where TLS is spoken too; nowhere by default.
    pub tls: Option<TlsPorts>,
    /// Open connections of each server; more are closed at once.
    pub connections_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amqp_port: 0,
            http_port: 0,
            blob_port: 0,
            broker: BrokerSettings::default(),
            event_grid: EventGridSettings::default(),
            blob: BlobSettings::default(),
            identity: None,
            key_vault: EmulatedKeyVaultSettings::default(),
            tls: None,
            connections_max: 1_024,
        }
    }
}

impl Settings {
    /// What is to be bound.
    pub(crate) fn ports(&self) -> BTreeMap<PortPlace, u16> {
        let mut ports = BTreeMap::from([
            (PortPlace::Amqp, self.amqp_port),
            (PortPlace::Http, self.http_port),
            (PortPlace::Blob, self.blob_port),
        ]);
        let identity = self.identity.as_ref().map(|identity| identity.port);
        ports.extend(identity.map(|port| (PortPlace::Identity, port)));
        if let Some(tls) = &self.tls {
            ports.insert(PortPlace::AmqpTls, tls.amqp_port);
            ports.insert(PortPlace::BlobTls, tls.blob_port);
            ports.extend(identity.map(|_| (PortPlace::IdentityTls, tls.identity_port)));
        }
        ports
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl PortPlace {
    /// The place of the same service without TLS, if this one is with it.
    pub(crate) fn plain(self) -> Option<Self> {
        match self {
            Self::Amqp | Self::Http | Self::Blob | Self::Identity => None,
            Self::AmqpTls => Some(Self::Amqp),
            Self::BlobTls => Some(Self::Blob),
            Self::IdentityTls => Some(Self::Identity),
        }
    }
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
