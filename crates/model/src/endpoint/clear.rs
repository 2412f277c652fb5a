//! Endpoints whose credential crosses a network in the clear.

use super::{Endpoint, EndpointDestination, NamespaceAccess};
use std::net::IpAddr;

impl Endpoint {
    /// Where its key would be sent unencrypted to another machine, in words without the key; nothing where it is not.
    ///
    /// Dead-letter containers are not asked: their URL is refused when it is `http://` to another machine.
    #[must_use]
    pub fn key_in_clear(&self) -> Option<String> {
        match &self.destination {
            EndpointDestination::EventGrid(topic) => {
                let rest = topic.endpoint.get(..7)?.eq_ignore_ascii_case("http://");
                let authority = rest.then(|| authority(&topic.endpoint[7..]))?;
                let host = host(authority);
                (!is_this_machine(host)).then(|| {
                    format!(
                        "its key goes to {host} in the clear, for TopicEndpoint is http://: use https://"
                    )
                })
            }
            EndpointDestination::EventHub(access) | EndpointDestination::ServiceBus(access) => {
                let NamespaceAccess::Keys { primary, secondary } = access else {
                    return None;
                };
                let mut strings = std::iter::once(primary).chain(secondary);
                let plain = strings.find(|string| {
                    string.development_emulator() && !is_this_machine(string.host())
                })?;
                Some(format!(
                    "its key and its events go to {} without TLS, for its connection string has \
                     UseDevelopmentEmulator=true: leave that out",
                    plain.host()
                ))
            }
            EndpointDestination::Waiting(_) | EndpointDestination::Custom(_) => None,
        }
    }
}

fn authority(rest: &str) -> &str {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    // A user and a password are no part of the host.
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::name::EndpointName;

    fn warned(body: &str) -> Option<String> {
        let name = EndpointName::new("e-1").unwrap();
        parse(&name, body).unwrap().key_in_clear()
    }

    #[test]
    fn key_that_goes_over_a_network_in_the_clear_is_reported() {
        let grid = |url: &str| {
            warned(&format!(
                r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"bWFya2Vk","TopicEndpoint":"{url}"}}}}"#
            ))
        };
        for url in [
            "https://t.example/api/events",
            "http://localhost:1/api/events",
            "http://127.0.0.1:1/api/events",
            "http://[::1]:1/api/events",
        ] {
            assert_eq!(grid(url), None, "{url}");
        }
        for (url, host) in [
            ("http://t.example/api/events", "t.example"),
            ("http://10.0.0.1:8080/api/events", "10.0.0.1"),
            ("http://[2001:db8::1]/api/events", "2001:db8::1"),
        ] {
            let warning = grid(url).unwrap();
            assert!(
                warning.contains(host) && !warning.contains("bWFya2Vk"),
                "{warning}"
            );
        }
        let hub = |host: &str, more: &str| {
            warned(&format!(
                r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":
                "Endpoint=sb://{host};SharedAccessKeyName=s;SharedAccessKey=bWFya2Vk;EntityPath=h{more}"}}}}"#
            ))
        };
        let emulated = ";UseDevelopmentEmulator=true";
        assert_eq!(hub("n.servicebus.windows.net/", ""), None);
        assert_eq!(hub("127.0.0.1:5672", emulated), None);
        let warning = hub("emulator:5672", emulated).unwrap();
        assert!(warning.contains("go to emulator without TLS"), "{warning}");
    }
}
