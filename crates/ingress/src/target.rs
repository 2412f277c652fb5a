//! What a path stands for.

use http::Uri;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Which rules a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngressSurface {
    /// CloudEvents over HTTP.
    Events,
    /// What a client of an Event Grid topic expects.
    EventGrid,
}

/// The versions of the publish operation that are served.
pub(crate) const API_VERSIONS: &str = "2018-01-01";

/// Where a request's events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IngressTarget<'a> {
    pub(crate) surface: IngressSurface,
    /// `None` is the default instance.
    pub(crate) instance: Option<&'a str>,
}

impl<'a> IngressTarget<'a> {
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let (instance, rest) = match path.strip_prefix("/instances/") {
            None => (None, path),
            Some(rest) => {
                let name_len = rest.find('/')?;
                (Some(&rest[..name_len]), &rest[name_len..])
            }
        };
        let surface = match rest {
            "/events" => IngressSurface::Events,
            "/api/events" => IngressSurface::EventGrid,
            _ => return None,
        };
        Some(Self { surface, instance })
    }
}

/// The value of a query parameter, percent-decoded. A `+` stays one: keys are base64.
pub(crate) fn query<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let pairs = uri.query()?.split('&');
    let value = pairs
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))?;
    percent_decode_str(value).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expect) in [
            ("/events", Some((IngressSurface::Events, None))),
            ("/api/events", Some((IngressSurface::EventGrid, None))),
            (
                "/instances/a/events",
                Some((IngressSurface::Events, Some("a"))),
            ),
            (
                "/instances/a/api/events",
                Some((IngressSurface::EventGrid, Some("a"))),
            ),
            (
                "/instances//events",
                Some((IngressSurface::Events, Some(""))),
            ),
            ("/", None),
            ("/events/", None),
            ("/instances/a", None),
            ("/instances/a/b/events", None),
        ] {
            let expect = expect.map(|(surface, instance)| IngressTarget { surface, instance });
            assert_eq!(IngressTarget::of(path), expect, "{path}");
        }
    }

    #[test]
    fn query_values_are_decoded() {
        let uri: Uri = "/x?a=1&key=a%2Bb+c%3D%3D&b".parse().unwrap();
        assert_eq!(query(&uri, "key").as_deref(), Some("a+b+c=="));
        assert_eq!(query(&uri, "b"), None);
    }
}
