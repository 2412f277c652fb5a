//! Requests that a browser sends for a page that is not ours.
//!
//! A browser on the machine reaches a server on loopback for every page that it shows, and no credential
//! is asked there. Two headers that a page cannot choose tell such requests from those of programs.

use crate::scheme::RequestScheme;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use std::borrow::Cow;
use std::net::IpAddr;

/// Characters of a foreign host or origin that are repeated.
const SHOWN_CHARS_MAX: usize = 200;

/// The hosts that a server goes by: every IP address, `localhost`, and some names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnHosts {
    /// In lower case.
    names: Vec<String>,
    /// In lower case, beginning with a dot.
    suffixes: Vec<String>,
}

/// What gives a foreign page away. A host or origin is cut off at 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossOrigin {
    /// It asks for a host that the server does not go by.
    #[error("host {host:?} is not a name of this server")]
    Host {
        /// Which.
        host: String,
    },
    /// It belongs to another server.
    #[error("origin {origin:?} is not this server")]
    Origin {
        /// Which.
        origin: String,
    },
}

impl OwnHosts {
    /// Names besides addresses and `localhost`. `*.adt.localhost` stands for all names below `adt.localhost`.
    #[must_use]
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut hosts = Self::default();
        for name in names {
            let name = name.as_ref().to_ascii_lowercase();
            match name.strip_prefix('*') {
                Some(suffix) if suffix.starts_with('.') => hosts.suffixes.push(suffix.to_owned()),
                _ => hosts.names.push(name),
            }
        }
        hosts
    }

    /// Whether a host, with or without a port, is one of them.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host().to_ascii_lowercase();
        let address = name.strip_prefix('[').unwrap_or(&name);
        let address = address.strip_suffix(']').unwrap_or(address);
        let below = |suffix: &String| {
            let label = name.strip_suffix(suffix.as_str());
            label.is_some_and(|label| !label.is_empty())
        };
        !host.contains('@')
            && (name == "localhost"
                || address.parse::<IpAddr>().is_ok()
                || self.names.contains(&name)
                || self.suffixes.iter().any(below))
    }

    /// Refuses a host that is none of them.
    ///
    /// A name that its owner points at 127.0.0.1 makes a foreign page one of ours (DNS rebinding); an
    /// address cannot be pointed elsewhere. A request that names no host is from a program.
    ///
    /// # Errors
    /// [`CrossOrigin::Host`].
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), CrossOrigin> {
        match host(uri, headers) {
            Some(host) if !self.contains(&host) => Err(CrossOrigin::Host { host: quote(&host) }),
            _ => Ok(()),
        }
    }

    /// Refuses an `Origin` that is not the server itself, by the name that was asked for.
    ///
    /// A browser sends it with all methods but GET and HEAD (Fetch Standard, "append a request `Origin`
    /// header"), programs do not.
    ///
    /// # Errors
    /// [`CrossOrigin::Origin`].
    pub fn check_origin(
        &self,
        scheme: RequestScheme,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), CrossOrigin> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let authority = origin.strip_prefix(scheme.as_str());
        let authority = authority.and_then(|rest| rest.strip_prefix("://"));
        let host = host(uri, headers);
        let ours = authority.zip(host).is_some_and(|(authority, host)| {
            host.eq_ignore_ascii_case(authority) && self.contains(&host)
        });
        if ours {
            return Ok(());
        }
        Err(CrossOrigin::Origin {
            origin: quote(&origin),
        })
    }
}

/// The host that was asked for: of HTTP/2 in the target, of HTTP/1.1 in a header.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    let header = || {
        let host = headers.get(header::HOST)?;
        Some(String::from_utf8_lossy(host.as_bytes()))
    };
    let target = uri.authority().map(|authority| authority.as_str().into());
    target.or_else(header)
}

fn quote(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn addresses_and_names_given_are_known() {
        let none = OwnHosts::default();
        let some = OwnHosts::new(["*.Adt.localhost", "router.Internal"]);
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "10.1.2.3:9",
            "[::1]:8081",
            "[::1]",
        ] {
            assert!(none.contains(host) && some.contains(host), "{host}");
        }
        for host in ["x.adt.localhost:1", "a.b.adt.LOCALHOST", "router.internal"] {
            assert!(!none.contains(host) && some.contains(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "adt.localhost",
            ".adt.localhost",
            "evil-adt.localhost",
            "x.adt.localhost.evil.example",
            "not-router.internal",
            "x.router.internal",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost/",
        ] {
            assert!(!none.contains(host) && !some.contains(host), "{host}");
        }
        assert!(!OwnHosts::new(["*", "*evil"]).contains("any.evil"));
    }

    #[test]
    fn a_rebound_name_is_foreign() {
        let hosts = OwnHosts::new(["*.localhost"]);
        let check = |target: &'static str, host: Option<&'static [u8]>| {
            let pairs: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            hosts.check_host(&Uri::from_static(target), &headers(&pairs))
        };
        assert_eq!(check("/", None), Ok(()));
        assert_eq!(check("/", Some(b"127.0.0.1:1")), Ok(()));
        assert_eq!(check("http://x.localhost:1/", None), Ok(()));
        for (target, host) in [
            ("/", Some(&b"evil.example"[..])),
            ("/", Some(b"\xff")),
            ("http://evil.example/", None),
            ("http://evil.example/", Some(b"localhost")),
        ] {
            assert!(check(target, host).is_err(), "{target} {host:?}");
        }
        let long = "x".repeat(1000);
        let map = [(header::HOST, HeaderValue::from_str(&long).unwrap())];
        let error = hosts.check_host(&Uri::from_static("/"), &map.into_iter().collect());
        assert!(error.unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn an_origin_is_the_server_itself_or_foreign() {
        let hosts = OwnHosts::new(["x.localhost"]);
        let check = |scheme, host: &'static str, origin: &'static str| {
            let pairs = [("host", host.as_bytes()), ("origin", origin.as_bytes())];
            hosts.check_origin(scheme, &Uri::from_static("/"), &headers(&pairs))
        };
        for (scheme, host, origin, good) in [
            (
                RequestScheme::Http,
                "127.0.0.1:1",
                "http://127.0.0.1:1",
                true,
            ),
            (
                RequestScheme::Https,
                "X.localhost",
                "https://x.localhost",
                true,
            ),
            (
                RequestScheme::Https,
                "127.0.0.1:1",
                "http://127.0.0.1:1",
                false,
            ),
            (
                RequestScheme::Http,
                "127.0.0.1:1",
                "https://127.0.0.1:1",
                false,
            ),
            (
                RequestScheme::Http,
                "127.0.0.1:1",
                "http://127.0.0.1:2",
                false,
            ),
            (
                RequestScheme::Http,
                "127.0.0.1:1",
                "http://evil.example",
                false,
            ),
            (
                RequestScheme::Http,
                "evil.example",
                "http://evil.example",
                false,
            ),
            (RequestScheme::Http, "127.0.0.1:1", "null", false),
            (RequestScheme::Http, "127.0.0.1:1", "", false),
        ] {
            assert_eq!(check(scheme, host, origin).is_ok(), good, "{host} {origin}");
        }
        let none = hosts.check_origin(RequestScheme::Http, &Uri::from_static("/"), &headers(&[]));
        assert_eq!(none, Ok(()));
    }
}
