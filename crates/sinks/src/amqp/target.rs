//! Where to connect, as whom and how.

use super::entity::AmqpEntity;
use fe2o3_amqp::sasl_profile::SaslProfile;
use std::sync::Arc;
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::ConnectionCredential;
use twinroute_model::settings::{AmqpAuth, AmqpTransport};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// Why SASL PLAIN cannot be used.
pub(crate) const PLAIN_NEEDS_KEY: &str = "amqp_auth = \"plain\" needs SharedAccessKeyName and SharedAccessKey, not a signature or an identity";

/// Everything that is needed to connect to one entity with one credential.
#[derive(Clone)]
pub(crate) struct AmqpTarget {
    pub(crate) entity: AmqpEntity,
    pub(crate) auth: AmqpAuth,
    pub(crate) container_id: String,
    pub(crate) outgoing: OutgoingConnections,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: AmqpTransport,
    pub(crate) dial: DialTarget,
}

/// Where a connection's bytes go.
#[derive(Clone)]
pub(crate) enum DialTarget {
    /// TCP, with TLS unless the connection string is an emulator's.
    Network,
    #[cfg(test)]
    Memory(MemoryDial),
}

#[cfg(test)]
type MemoryDial = Arc<dyn Fn() -> std::io::Result<tokio::io::DuplexStream> + Send + Sync>;

impl AmqpTarget {
    pub(crate) fn new(
        entity: AmqpEntity,
        auth: AmqpAuth,
        container_id: String,
        outgoing: OutgoingConnections,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            entity,
            auth,
            container_id,
            outgoing,
            clock,
            transport: AmqpTransport::Tcp,
            dial: DialTarget::Network,
        }
    }

    /// How to log in to the connection itself.
    pub(super) fn sasl(&self) -> Result<SaslProfile, EndpointFault> {
        match (self.auth, &self.entity) {
            (AmqpAuth::Plain, AmqpEntity::Keys(text)) => match text.credential() {
                ConnectionCredential::Key { name, key } => Ok(SaslProfile::Plain {
                    username: name.clone(),
                    password: key.expose().to_owned(),
                }),
                ConnectionCredential::Signature(_) => Err(plain_needs_key()),
            },
            (AmqpAuth::Plain, AmqpEntity::Identity(_)) => Err(plain_needs_key()),
            _ => Ok(SaslProfile::Anonymous),
        }
    }
}

fn plain_needs_key() -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unsupported,
        after: None,
        reason: FailureReason::new("plain-needs-key", PLAIN_NEEDS_KEY),
    }
}
