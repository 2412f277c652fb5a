//! Where an endpoint is, for people: host and port, which hold no secret.

use super::{Endpoint, EndpointDestination, NamespaceAccess, authority};
use crate::settings::AmqpTransport;

/// TLS from the start. Source: Azure Service Bus, "AMQP protocol guide".
const TLS_PORT: u16 = 5671;
/// Plain, for emulators only.
const PLAIN_PORT: u16 = 5672;
/// WebSockets over TLS. Source: the same guide.
const WEBSOCKET_PORT: u16 = 443;

/// The port of a namespace whose address names `written`, or none.
#[must_use]
pub fn amqp_port(written: Option<u16>, transport: AmqpTransport, is_plain: bool) -> u16 {
    match (transport, is_plain) {
        (_, true) => written.unwrap_or(PLAIN_PORT),
        (AmqpTransport::Tcp, false) => written.unwrap_or(TLS_PORT),
        // Endpoint URIs may name the port of AMQP itself, which takes no WebSockets.
        (AmqpTransport::Websocket, false) => written
            .filter(|port| *port != TLS_PORT)
            .unwrap_or(WEBSOCKET_PORT),
    }
}

impl Endpoint {
    /// Host and port that it is reached at, `press.servicebus.windows.net:5671`. Empty while a secret is missing, since
    /// the address may stand in it.
    #[must_use]
    pub fn address(&self, transport: AmqpTransport) -> String {
        match &self.destination {
            EndpointDestination::EventGrid(topic) => host_of_url(&topic.endpoint),
            EndpointDestination::EventHub(access) | EndpointDestination::ServiceBus(access) => {
                access.address(transport)
            }
            EndpointDestination::Waiting(_) => String::new(),
            EndpointDestination::Custom(custom) => custom.address.clone(),
        }
    }
}

impl NamespaceAccess {
    fn address(&self, transport: AmqpTransport) -> String {
        let (host, port, is_plain) = match self {
            Self::Keys { primary, .. } => (
                primary.host().to_owned(),
                primary.port(),
                primary.development_emulator(),
            ),
            Self::Identity { endpoint_uri, .. } => match authority(endpoint_uri) {
                Ok((host, port)) => (host, port, false),
                Err(_) => return String::new(),
            },
        };
        format!("{host}:{}", amqp_port(port, transport, is_plain))
    }
}

fn host_of_url(url: &str) -> String {
    let (usual, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (80, rest),
        Some((_, rest)) => (443, rest),
        None => return String::new(),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Whoever wrote a user and a password there gave a secret away; it does not go further.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (authority, has_port) {
        ("", _) => String::new(),
        (authority, true) => authority.to_owned(),
        (authority, false) => format!("{authority}:{usual}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn host_and_port_of_a_url() {
        for (url, expect) in [
            (
                "https://t.eventgrid.azure.net/api/events",
                "t.eventgrid.azure.net:443",
            ),
            ("http://127.0.0.1:9/api/events", "127.0.0.1:9"),
            ("http://[::1]/x", "[::1]:80"),
            ("https://[::1]:8443/x?y", "[::1]:8443"),
            ("https://me:secret@host/x", "host:443"),
            ("host", ""),
            ("https:///x", ""),
        ] {
            assert_eq!(host_of_url(url), expect, "{url}");
        }
    }

    #[test]
    fn host_and_port_of_a_namespace() {
        let keys = |more: &str| {
            let text = format!(
                "Endpoint=sb://press.example/;SharedAccessKeyName=s;SharedAccessKey=c2VjcmV0;EntityPath=h{more}"
            );
            let primary = super::super::ConnectionString::parse(&Secret::new(text));
            let (primary, secondary) = (primary.unwrap(), None);
            NamespaceAccess::Keys { primary, secondary }
        };
        let (tcp, web) = (AmqpTransport::Tcp, AmqpTransport::Websocket);
        assert_eq!(keys("").address(tcp), "press.example:5671");
        assert_eq!(keys("").address(web), "press.example:443");
        let emulated = keys(";UseDevelopmentEmulator=true");
        assert_eq!(emulated.address(tcp), "press.example:5672");
    }
}
