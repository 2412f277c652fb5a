//! The parameters of a request's target.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use twinroute_router::dead_letters::{DeadLetterCursor, DeadLetterQuery, DeadLetterQueryText};
use twinroute_router::tap::{TapRequest, TapSelection};

/// Dead letters on one page.
pub(crate) const PAGE_MAX: u64 = 1_000;

/// Dead letters on one page when nobody says how many.
pub(crate) const PAGE: u64 = 100;

/// Which dead letters are asked for.
#[derive(Debug)]
pub(crate) struct DeadLetterParameters {
    pub(crate) query: DeadLetterQuery,
    /// From behind here on.
    pub(crate) after: Option<DeadLetterCursor>,
    /// At most so many.
    pub(crate) most: Option<u64>,
}

impl DeadLetterParameters {
    /// Reads the part behind the question mark, `application/x-www-form-urlencoded` as in the URL Standard:
    /// a space may be `+`, a plus is `%2B`.
    ///
    /// # Errors
    /// The first parameter that cannot be read, by name.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, String> {
        let (mut after, mut most) = (None, None);
        let mut about = Map::new();
        for (name, value) in parameters(text)? {
            let repeated = match name.as_str() {
                "pretty" => false,
                "after" => after.replace(value).is_some(),
                "most" => most.replace(value).is_some(),
                _ => about.insert(name.clone(), Value::String(value)).is_some(),
            };
            if repeated {
                return Err(format!("{name}: given more than once"));
            }
        }
        let query: DeadLetterQueryText =
            serde_json::from_value(Value::Object(about)).map_err(|error| error.to_string())?;
        let after = after.filter(|after| !after.is_empty());
        let after = after.map(|after| after.parse().map_err(|error| format!("after: {error}")));
        let most = most.map(|most| match most.parse() {
            Ok(most @ 1..) => Ok(most),
            Ok(0) | Err(_) => Err(format!("most: {most:?} is no number above 0")),
        });
        Ok(Self {
            query: query.parse()?,
            after: after.transpose()?,
            most: most.transpose()?,
        })
    }
}

/// Reads which events a tap is to show.
///
/// # Errors
/// The first parameter that cannot be read, by name.
pub(crate) fn tap(text: Option<&str>) -> Result<TapSelection, String> {
    let mut about = Map::new();
    for (name, value) in parameters(text)? {
        if name != "pretty" && about.insert(name.clone(), Value::String(value)).is_some() {
            return Err(format!("{name}: given more than once"));
        }
    }
    let request: TapRequest =
        serde_json::from_value(Value::Object(about)).map_err(|error| error.to_string())?;
    request.parse()
}

/// Whether an indented answer is asked for.
pub(crate) fn pretty(text: Option<&str>) -> bool {
    let wants = |parameter: &str| parameter == "pretty" || parameter == "pretty=true";
    text.is_some_and(|text| text.split('&').any(wants))
}

pub(crate) fn parameters(text: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let text = text.unwrap_or_default();
    // What is not UTF-8 would be read as question marks.
    let broken = |part: &&str| percent_decode_str(part).decode_utf8().is_err();
    if let Some(part) = text.split(['&', '=']).find(broken) {
        return Err(format!("the parameter {part:?} is not UTF-8"));
    }
    Ok(form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let text =
            "endpoint=grid-1&filter=type+%3D%20'x'&after=demo/grid-1/7&most=5&reason=&pretty";
        let wanted = DeadLetterParameters::parse(Some(text)).unwrap();
        assert_eq!(wanted.query.endpoint.unwrap().as_str(), "grid-1");
        assert_eq!(wanted.query.filter.unwrap().as_str(), "type = 'x'");
        assert_eq!(wanted.query.reason, None);
        assert_eq!(wanted.after.unwrap().to_string(), "demo/grid-1/7");
        assert_eq!(wanted.most, Some(5));
        let all = DeadLetterParameters::parse(None).unwrap();
        assert!(all.query.endpoint.is_none() && all.after.is_none() && all.most.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expect) in [
            (
                "endpiont=x",
                "unknown field `endpiont`, expected one of `instance`, `endpoint`, `reason`, \
                 `since`, `until`, `type`, `filter`",
            ),
            ("most=0", "most: \"0\" is no number above 0"),
            ("most=-1", "most: \"-1\" is no number above 0"),
            ("type=a&type=b", "type: given more than once"),
            ("type=%FF", "the parameter \"%FF\" is not UTF-8"),
            (
                "after=x",
                "after: \"x\" is no place among dead letters, instance/endpoint/sequence",
            ),
            (
                "since=2h",
                "since: not a time as in 2026-11-22T10:00:00Z (RFC 3339)",
            ),
        ] {
            assert_eq!(DeadLetterParameters::parse(Some(text)).unwrap_err(), expect);
        }
    }
}
