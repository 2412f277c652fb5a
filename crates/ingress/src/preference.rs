//! Whether a request asks for a body in its answer.
//!
//! Senders of events take an answer for a failure, and send again, when its body is no event of theirs (Knative
//! brokers do). So an answer has one only for those who ask.

use http::header::{ACCEPT, HeaderName};
use http::{HeaderMap, HeaderValue};

/// RFC 7240 §2.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a producer prefers the answer to hold (RFC 7240 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnPreference {
    Minimal,
    Representation,
}

impl ReturnPreference {
    /// The first one that the request states; unknown values state nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        items(headers, &PREFER).find_map(|item| {
            let preference = item.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("return") {
                return None;
            }
            match value.trim().trim_matches('"').to_ascii_lowercase().as_str() {
                "minimal" => Some(Self::Minimal),
                "representation" => Some(Self::Representation),
                _ => None,
            }
        })
    }
}

/// Whether `Accept` names JSON (RFC 9110 §12.5.1). A range with a star names nothing, nor does a weight of 0.
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    items(headers, &ACCEPT).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        named.eq_ignore_ascii_case("application/json") && !parts.any(is_zero_weight)
    })
}

/// RFC 9110 §12.4.2: a weight of 0 says "not acceptable".
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let value = value.trim();
    name.trim().eq_ignore_ascii_case("q")
        && value.starts_with('0')
        && value.bytes().all(|byte| b"0.".contains(&byte))
}

/// The items of a list, in one header or several; commas in quoted strings part nothing.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).into_iter();
    let texts = texts.filter_map(|value: &HeaderValue| value.to_str().ok());
    texts.flat_map(|text| {
        let (mut quoted, mut escaped) = (false, false);
        text.split(move |character| {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => {}
            }
            character == ',' && !quoted
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn json_is_named_or_not() {
        for (values, expect) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["text/html"], false),
            (&["application/cloudevents+json"], false),
            (&["application/jsonp"], false),
            (&["application/json"], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&["text/html, application/json;q=0.9, */*;q=0.1"], true),
            (&["text/html", "application/json"], true),
            (&["application/json;q=0"], false),
            (&["application/json ; Q=0.000, */*"], false),
            (&["application/json;q=0.001"], true),
            (&["application/json;q=1"], true),
            (&[r#"text/plain;x="a,application/json,b""#], false),
            (&[r#"text/plain;x="a\",", application/json"#], true),
            (&[""], false),
        ] {
            assert_eq!(
                accepts_json(&headers("accept", values)),
                expect,
                "{values:?}"
            );
        }
    }

    #[test]
    fn preferences() {
        use ReturnPreference::{Minimal, Representation};
        for (values, expect) in [
            (&[][..], None),
            (&["return=representation"], Some(Representation)),
            (
                &["respond-async, wait=10, Return = \"Representation\""],
                Some(Representation),
            ),
            (&["return=minimal", "return=representation"], Some(Minimal)),
            (&["return=representation; x=y"], Some(Representation)),
            (&["return=full", "wait=1"], None),
            (&["return"], None),
        ] {
            let found = ReturnPreference::of(&headers("prefer", values));
            assert_eq!(found, expect, "{values:?}");
        }
    }
}
