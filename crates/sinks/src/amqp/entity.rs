//! Where an event hub or topic is, and what opens it.

use twinroute_credential::token::TokenSource;
use twinroute_model::endpoint::{ConnectionString, amqp_port};
use twinroute_model::settings::AmqpTransport;

/// One entity with one credential.
#[derive(Clone)]
pub(crate) enum AmqpEntity {
    /// Opened by a shared access key or signature.
    Keys(ConnectionString),
    /// Opened by an identity's tokens.
    Identity(IdentityEntity),
}

/// An entity that is opened by an identity.
#[derive(Clone)]
pub(crate) struct IdentityEntity {
    host: String,
    port: Option<u16>,
    entity_path: String,
    pub(crate) tokens: TokenSource,
    /// What the tokens are for.
    pub(crate) scope: &'static str,
}

impl IdentityEntity {
    /// The entity `entity_path` at a namespace's host and port.
    pub(crate) fn new(
        (host, port): (String, Option<u16>),
        entity_path: &str,
        tokens: TokenSource,
        scope: &'static str,
    ) -> Self {
        Self {
            host,
            port,
            entity_path: entity_path.to_owned(),
            tokens,
            scope,
        }
    }
}

impl AmqpEntity {
    /// Host without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        let host = self.written_host();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    fn written_host(&self) -> &str {
        match self {
            Self::Keys(text) => text.host(),
            Self::Identity(place) => &place.host,
        }
    }

    fn written_port(&self) -> Option<u16> {
        match self {
            Self::Keys(text) => text.port(),
            Self::Identity(place) => place.port,
        }
    }

    pub(crate) fn port(&self, transport: AmqpTransport) -> u16 {
        amqp_port(self.written_port(), transport, self.plain())
    }

    /// Whether there is no TLS. An identity's token never goes in the clear.
    pub(crate) fn plain(&self) -> bool {
        match self {
            Self::Keys(text) => text.development_emulator(),
            Self::Identity(_) => false,
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Keys(text) => text.entity_path(),
            Self::Identity(place) => &place.entity_path,
        }
    }

    /// `sb://<host>[:port]/<entity>`: what a token is put for.
    pub(crate) fn audience(&self) -> String {
        let (host, path) = (self.written_host(), self.path());
        match self.written_port() {
            Some(port) => format!("sb://{host}:{port}/{path}"),
            None => format!("sb://{host}/{path}"),
        }
    }
}
