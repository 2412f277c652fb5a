//! Where an event hub or topic is, and what opens it.

use twinroute_credential::token::TokenSource;
use twinroute_model::endpoint::ConnectionString;
use twinroute_model::settings::AmqpTransport;

/// TLS from the start. Source: Azure Service Bus, "AMQP protocol guide".
const TLS_PORT: u16 = 5671;
/// Plain, for emulators only.
const PLAIN_PORT: u16 = 5672;
/// WebSockets over TLS. Source: the same guide.
const WEBSOCKET_PORT: u16 = 443;

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
        let written = self.written_port();
        match (transport, self.plain()) {
            (_, true) => written.unwrap_or(PLAIN_PORT),
            (AmqpTransport::Tcp, false) => written.unwrap_or(TLS_PORT),
            // Endpoint URIs may name the port of AMQP itself, which takes no WebSockets.
            (AmqpTransport::Websocket, false) => written
                .filter(|port| *port != TLS_PORT)
                .unwrap_or(WEBSOCKET_PORT),
        }
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
