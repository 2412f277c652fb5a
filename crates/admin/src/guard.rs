//! Who may change something: programs on the machine, not pages that a browser shows.
//!
//! Without access tokens the API asks for no credential, so whoever reaches it may use it. A browser on the
//! machine reaches it for every page that it shows; what tells such a request from others is checked here.

use crate::place::AdminPath;
use crate::refusal::AdminRefusal;
use crate::settings::ChangeListeners;
use http::{HeaderMap, Method, Uri, header};
use twinroute_listen::{ClientPeer, OwnHosts, RequestScheme};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOrigin {
    /// On a listener that only this machine reaches.
    Local,
    /// On one that others reach too.
    Remote,
}

/// What is checked before a request is read.
pub(crate) struct CallerChecks<'a> {
    pub(crate) reach: RequestOrigin,
    pub(crate) peer: ClientPeer,
    pub(crate) scheme: RequestScheme,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// Whether a method changes something.
pub(crate) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Lets a request pass.
///
/// # Errors
/// Why it may not.
pub(crate) fn check(
    place: &AdminPath<'_>,
    method: &Method,
    allowed: ChangeListeners,
    caller: &CallerChecks<'_>,
) -> Result<(), AdminRefusal> {
    let changes = changes(method);
    if changes && caller.reach == RequestOrigin::Remote && allowed == ChangeListeners::Local {
        return Err(AdminRefusal::ChangesNotAllowed);
    }
    let known = OwnHosts::default();
    // Others reach a remote listener by names that are not ours to know. Browsers do not speak to unix
    // sockets.
    let tcp = matches!(caller.peer, ClientPeer::Tcp(_));
    if tcp && caller.reach == RequestOrigin::Local && (changes || place.shows_events()) {
        known.check_host(caller.uri, caller.headers)?;
    }
    if !changes {
        return Ok(());
    }
    known.check_origin(caller.scheme, caller.uri, caller.headers)?;
    check_type(method, caller.headers)
}

/// Refuses a body of another type than JSON.
///
/// A form cannot send this type, and a script of another origin has to ask first (CORS), which nobody here
/// grants.
///
/// # Errors
/// [`AdminRefusal::UnsupportedContentType`].
pub(crate) fn check_type(method: &Method, headers: &HeaderMap) -> Result<(), AdminRefusal> {
    if *method == Method::POST && !is_json(headers) {
        return Err(AdminRefusal::UnsupportedContentType);
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn verdict(
        (method, path): (Method, &str),
        (reach, allowed): (RequestOrigin, ChangeListeners),
        headers: &[(&'static str, &'static str)],
    ) -> &'static str {
        let headers = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let uri = Uri::try_from(path).unwrap();
        let caller = CallerChecks {
            reach,
            peer: ClientPeer::Tcp(([127, 0, 0, 1], 1).into()),
            scheme: RequestScheme::Http,
            uri: &uri,
            headers: &headers.collect(),
        };
        match check(&AdminPath::of(path).unwrap(), &method, allowed, &caller) {
            Ok(()) => "passes",
            Err(AdminRefusal::ChangesNotAllowed) => "no changes",
            Err(AdminRefusal::ForeignOrigin { .. }) => "origin",
            Err(AdminRefusal::ForeignHost { .. }) => "host",
            Err(AdminRefusal::UnsupportedContentType) => "type",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn changes_come_from_programs_of_this_machine() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:8081");
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        let local = (RequestOrigin::Local, ChangeListeners::Local);
        for (headers, expect) in [
            (&[HOST, JSON][..], "passes"),
            (&[JSON], "passes"),
            (&[HOST], "type"),
            (&[HOST, ("content-type", "text/plain")], "type"),
            (&[HOST, JSON, ("origin", "http://127.0.0.1:8081")], "passes"),
            (
                &[HOST, JSON, ("origin", "https://127.0.0.1:8081")],
                "origin",
            ),
            (&[HOST, JSON, ("origin", "http://127.0.0.1:3000")], "origin"),
            (&[HOST, JSON, ("origin", "https://evil.example")], "origin"),
            (&[HOST, JSON, ("origin", "null")], "origin"),
            (&[("host", "localhost:8081"), JSON], "passes"),
            (&[("host", "[::1]:8081"), JSON], "passes"),
            (&[("host", "evil.example:8081"), JSON], "host"),
        ] {
            let asked = verdict((Method::POST, "/replays"), local, headers);
            assert_eq!(asked, expect, "{headers:?}");
        }
        let replay = (Method::DELETE, "/replays/1");
        assert_eq!(verdict(replay.clone(), local, &[HOST]), "passes");
        let foreign = [HOST, ("origin", "http://evil.example")];
        assert_eq!(verdict(replay, local, &foreign), "origin");
    }

    #[test]
    fn a_remote_listener_shows_but_does_not_change_unless_told() {
        const NAMED: (&str, &str) = ("host", "twinroute.internal:8081");
        const JSON: (&str, &str) = ("content-type", "application/json");
        let post = || (Method::POST, "/endpoints/demo/grid-1/pause");
        let closed = (RequestOrigin::Remote, ChangeListeners::Local);
        let open = (RequestOrigin::Remote, ChangeListeners::Everywhere);
        assert_eq!(verdict(post(), closed, &[NAMED, JSON]), "no changes");
        assert_eq!(verdict(post(), open, &[NAMED, JSON]), "passes");
        let rebound = [NAMED, JSON, ("origin", "http://twinroute.internal:8081")];
        assert_eq!(verdict(post(), open, &rebound), "origin");
        let list = || (Method::GET, "/dead-letters");
        assert_eq!(verdict(list(), closed, &[NAMED]), "passes");
        let local = (RequestOrigin::Local, ChangeListeners::Local);
        assert_eq!(verdict(list(), local, &[NAMED]), "host");
        assert_eq!(verdict((Method::GET, "/status"), local, &[NAMED]), "passes");
    }
}
