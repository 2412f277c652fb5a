//! The rules of CloudEvents 1.0.2 for attributes ("Context Attributes", "Type System").
//!
//! They run for every event, so they look at bytes and build nothing.

use super::error::EventProblem;

type AttributeRule = Result<(), EventProblem>;

pub(crate) fn non_empty(attribute: &str, value: &str) -> AttributeRule {
    if value.is_empty() {
        return Err(EventProblem::attribute(attribute, "must not be empty"));
    }
    Ok(())
}

/// `source`: "MUST be a non-empty URI-reference".
///
/// RFC 3986 also forbids `<`, `>`, `{`, `}`, `|`, `^` and the back-tick; they pass here, because events in
/// the wild carry them and every destination takes them.
pub(crate) fn uri_reference(attribute: &str, value: &str) -> AttributeRule {
    non_empty(attribute, value)?;
    let bytes = value.as_bytes();
    if all(bytes, |byte| {
        matches!(byte, b'!'..=b'~') && !matches!(byte, b'%' | b'"' | b'\\')
    }) {
        return Ok(());
    }
    for (at, byte) in bytes.iter().enumerate() {
        let rule = match byte {
            b'%' if !escaped(&bytes[at..]) => "`%` must be followed by two hexadecimal digits",
            0..=b' ' | 0x7f => "a URI-reference has no blanks or control characters",
            b'"' | b'\\' => "a URI-reference has no quotes or backslashes",
            0x80.. => "a URI-reference is ASCII; other characters are percent-encoded",
            _ => continue,
        };
        return Err(EventProblem::attribute(
            attribute,
            format!("{rule} (at byte {at})"),
        ));
    }
    Ok(())
}

/// Whether something holds of all bytes. Looks at every one, so that the compiler takes many at a time.
fn all(bytes: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & holds(*byte))
}

fn escaped(bytes: &[u8]) -> bool {
    matches!(bytes, [_, high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// `dataschema`: "a non-empty URI", so with a scheme; a DTMI is one.
pub(crate) fn uri(attribute: &str, value: &str) -> AttributeRule {
    uri_reference(attribute, value)?;
    let scheme = value.split_once(':').map(|(scheme, _)| scheme.as_bytes());
    let valid = scheme.is_some_and(|scheme| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    });
    if valid {
        Ok(())
    } else {
        Err(EventProblem::attribute(
            attribute,
            "must be an absolute URI",
        ))
    }
}

/// Extension names: "lower-case letters ('a' to 'z') or digits ('0' to '9')".
pub(crate) fn name(name: &str) -> AttributeRule {
    if name.is_empty() {
        return Err(EventProblem::attribute(
            name,
            "an attribute name must not be empty",
        ));
    }
    match name
        .chars()
        .find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit())
    {
        None => Ok(()),
        Some(c) => Err(EventProblem::attribute(
            name,
            format!("attribute names consist of lower-case letters and digits, not {c:?}"),
        )),
    }
}

/// As [`name`], and not a name that is taken.
pub(crate) fn extension_name(name: &str) -> AttributeRule {
    const CORE: [&str; 8] = [
        "id",
        "source",
        "specversion",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
    ];
    if CORE.contains(&name) {
        return Err(EventProblem::attribute(name, "must be a string"));
    }
    if name == "data" {
        // CloudEvents 1.0.2, "Naming Conventions".
        return Err(EventProblem::attribute(name, "no attribute has this name"));
    }
    self::name(name)
}

/// Strings: no control characters (CloudEvents 1.0.2, "Type System", String).
pub(crate) fn string(attribute: &str, value: &str) -> AttributeRule {
    if all(value.as_bytes(), |byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    match value.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(c) => Err(EventProblem::attribute(
            attribute,
            format!("has the control character {c:?}"),
        )),
    }
}

pub(crate) fn spec_version(value: &str) -> AttributeRule {
    if value == "1.0" {
        return Ok(());
    }
    Err(EventProblem::attribute(
        "specversion",
        format!("must be \"1.0\", not {value:?}"),
    ))
}

/// `time`: RFC 3339 section 5.6.
pub(crate) fn time(attribute: &str, value: &str) -> AttributeRule {
    if is_rfc3339(value.as_bytes()) {
        return Ok(());
    }
    let rule = format!("must be an RFC 3339 date-time such as 2026-01-31T08:15:30Z, not {value:?}");
    Err(EventProblem::attribute(attribute, rule))
}

fn is_rfc3339(text: &[u8]) -> bool {
    let number = |at: usize, len: usize| -> Option<u32> {
        text.get(at..at + len)?.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + u32::from(byte - b'0'))
        })
    };
    let mark = |at: usize, marks: &[u8]| text.get(at).is_some_and(|byte| marks.contains(byte));
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 2), number(8, 2)) else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 2), number(14, 2), number(17, 2))
    else {
        return false;
    };
    let marks =
        mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":");
    let in_range = (1..=12).contains(&month)
        && (1..=days(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    let mut at = 19;
    if mark(at, b".") {
        let digits = text[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return false;
        }
        at += 1 + digits;
    }
    let zone = if mark(at, b"Zz") {
        at + 1 == text.len()
    } else {
        mark(at, b"+-")
            && number(at + 1, 2).is_some_and(|hours| hours <= 23)
            && mark(at + 3, b":")
            && number(at + 4, 2).is_some_and(|minutes| minutes <= 59)
            && at + 6 == text.len()
    };
    marks && in_range && zone
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// `datacontenttype`: RFC 2046, so `type/subtype` of RFC 2045 tokens and parameters.
pub(crate) fn media_type(attribute: &str, value: &str) -> AttributeRule {
    if value == "application/json" {
        return Ok(());
    }
    let essence = value.split(';').next().unwrap_or_default().trim_end();
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
    };
    match essence.split_once('/') {
        // It becomes a header in HTTP and a symbol in AMQP, which are ASCII.
        _ if !value.is_ascii() => Err(EventProblem::attribute(attribute, "a media type is ASCII")),
        Some((kind, subtype)) if token(kind) && token(subtype) => string(attribute, value),
        _ => {
            let rule = format!("must be a media type such as application/json, not {value:?}");
            Err(EventProblem::attribute(attribute, rule))
        }
    }
}

/// `source` of a sender that does not repeat: not empty, and no control characters. The topics of Azure are not
/// always URI-references, and an event is worth more than that rule.
pub(crate) fn lenient_source(attribute: &str, value: &str) -> AttributeRule {
    non_empty(attribute, value)?;
    string(attribute, value)
}

/// Whether a payload of this media type is JSON. Of no media type nothing is known.
pub(crate) fn is_json(media_type: Option<&str>) -> bool {
    if media_type == Some("application/json") {
        return true;
    }
    let Some((_, subtype)) = media_type
        .map(essence)
        .and_then(|text| text.split_once('/'))
    else {
        return false;
    };
    let bytes = subtype.as_bytes();
    subtype.eq_ignore_ascii_case("json")
        || bytes.len() > 5 && bytes[bytes.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// Whether UTF-8 of this media type is text, and so a JSON string in the JSON format. Text in another charset is
/// bytes: a JSON string would say other characters.
pub(crate) fn is_text(media_type: Option<&str>) -> bool {
    let Some(lower) = media_type.map(str::to_ascii_lowercase) else {
        return false;
    };
    let essence = self::essence(&lower);
    let is_text =
        essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml");
    is_text
        && charset(&lower).is_none_or(|charset| ["utf-8", "utf8", "us-ascii"].contains(&charset))
}

/// The value of the parameter `charset` of a media type in lower case.
fn charset(media_type: &str) -> Option<&str> {
    let parameters = media_type.split(';').skip(1);
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == "charset")?;
    Some(value.trim().trim_matches('"'))
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for good in [
            "2021-12-09T20:28:53.2016395Z",
            "0001-01-01T00:00:00Z",
            "2024-02-29t23:59:60+14:00",
            "2020-06-23 19:03:48-00:30",
        ] {
            assert!(time("time", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "2021",
            "2021-12-09",
            "2021-12-09T20:28:53",
            "2021-13-09T20:28:53Z",
            "2023-02-29T00:00:00Z",
            "2021-12-09T24:00:00Z",
            "2021-12-09T20:28:53.Z",
            "2021-12-09T20:28:53+1:00",
            "2021-12-09T20:28:53Zx",
            "+021-12-09T20:28:53Z",
            "2021-12-09T20:28:53+01:0ä",
        ] {
            assert!(time("time", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uri_references() {
        for good in [
            "a",
            "/x/y",
            "host/digitaltwins/t%20x",
            "urn:uuid:1",
            "https://h:1/p?q#f",
            "<i>.api",
        ] {
            assert!(uri_reference("source", good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\tb", "%zz", "%4", "\"x\"", "bücher", "c:\\x"] {
            assert!(uri_reference("source", bad).is_err(), "{bad}");
        }
        assert!(uri("dataschema", "dtmi:example:com:floor4;2").is_ok());
        assert!(uri("dataschema", "floor4;2").is_err());
        assert!(uri("dataschema", "1a:b").is_err());
    }

    #[test]
    fn content_types() {
        assert!(!is_json(None));
        assert!(is_json(Some("application/JSON; charset=utf-8")));
        assert!(is_json(Some("application/json-patch+json; charset=utf-8")));
        assert!(!is_json(Some("text/plain")));
        assert!(is_text(Some("Text/plain; charset=utf-8")));
        assert!(is_text(Some("application/soap+xml")));
        assert!(is_text(Some("text/csv; header=present; CharSet=\"UTF-8\"")));
        assert!(!is_text(Some("text/plain;charset=iso-8859-1")));
        assert!(!is_text(None));
        assert!(media_type("datacontenttype", "application/json;charset=utf-8").is_ok());
        assert!(media_type("datacontenttype", "json").is_err());
        assert!(media_type("datacontenttype", "a/ b").is_err());
        assert!(media_type("datacontenttype", "text/plain; x=\"ü\"").is_err());
    }
}
