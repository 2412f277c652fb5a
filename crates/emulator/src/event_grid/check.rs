//! What a post must look like to be accepted.
//!
//! Facts: "Post to custom topic for Azure Event Grid": at most 1 MB and 5,000 events a request; the
//! content type follows the topic's input schema; one access key, or a token signed with one.

use super::refusal::GridRefusal;
use super::settings::EventGridSchema;
use super::topic::GridTopic;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use std::collections::HashMap;
use twinroute_model::clock::Timestamp;
use twinroute_model::sas::verify_event_grid_token;

/// The largest body.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most events in one body.
const EVENTS_MAX: usize = 5_000;

/// Checks the access key or the token of a post.
pub(super) fn access(
    topic: &GridTopic,
    headers: &HeaderMap,
    query: &str,
    now: Timestamp,
) -> Result<(), GridRefusal> {
    let unauthorized =
        |text: &str| GridRefusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", text);
    let keys = topic.keys();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut pairs = query.split('&');
    let in_query = pairs.find_map(|pair| pair.strip_prefix("aeg-sas-key="));
    if let Some(key) = text("aeg-sas-key").or(in_query) {
        let known = keys.iter().any(|known| known == key);
        let wrong = || unauthorized("the access key does not match");
        return known.then_some(()).ok_or_else(wrong);
    }
    let bearer = text("authorization");
    let signed = bearer.and_then(|value| value.strip_prefix("SharedAccessSignature "));
    let Some(token) = text("aeg-sas-token").or(signed) else {
        let text = "the request has neither aeg-sas-key nor aeg-sas-token";
        return Err(unauthorized(text));
    };
    let first = verify_event_grid_token(token, &keys[0], now);
    let resource = first
        .or_else(|_| verify_event_grid_token(token, &keys[1], now))
        .map_err(|refusal| unauthorized(&refusal.to_string()))?;
    let resource = resource.split('?').next().unwrap_or_default();
    let resource = resource.trim_end_matches('/').to_ascii_lowercase();
    if resource.ends_with(&topic.path.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(unauthorized("the token was signed for another topic"))
}

/// Splits a body into events and checks each of them.
pub(super) fn events(
    schema: EventGridSchema,
    content_type: &str,
    body: &[u8],
) -> Result<Vec<Box<RawValue>>, GridRefusal> {
    let bad = |text: String| GridRefusal::new(StatusCode::BAD_REQUEST, "BadRequest", text);
    let media = content_type.split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    let malformed = |error: serde_json::Error| bad(format!("the body is not valid: {error}"));
    let many = |body| serde_json::from_slice::<Vec<Box<RawValue>>>(body).map_err(malformed);
    let events = match (schema, media.as_str()) {
        (EventGridSchema::CloudEvents, "application/cloudevents-batch+json") => many(body)?,
        (EventGridSchema::CloudEvents, "application/cloudevents+json") => {
            vec![serde_json::from_slice(body).map_err(malformed)?]
        }
        (EventGridSchema::EventGrid, "application/json") => many(body)?,
        (_, other) => return Err(bad(format!("the topic does not take {other}"))),
    };
    if events.len() > EVENTS_MAX {
        let text = format!("{} events are more than {EVENTS_MAX}", events.len());
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(GridRefusal::new(status, "RequestEntityTooLarge", text));
    }
    for event in &events {
        check_one(schema, event).map_err(bad)?;
    }
    Ok(events)
}

fn check_one(schema: EventGridSchema, event: &RawValue) -> Result<(), String> {
    let not_object = |error| format!("an event is not a JSON object: {error}");
    let fields: HashMap<String, &RawValue> =
        serde_json::from_str(event.get()).map_err(not_object)?;
    let needed: &[&str] = match schema {
        EventGridSchema::CloudEvents => &["id", "source", "type", "specversion"],
        EventGridSchema::EventGrid => &["id", "subject", "eventType", "eventTime"],
    };
    for name in needed {
        let text = fields
            .get(*name)
            .and_then(|value| serde_json::from_str(value.get()).ok());
        if text.is_none_or(|text: String| text.is_empty()) {
            return Err(format!("an event has no {name}"));
        }
    }
    let both = fields.contains_key("data") && fields.contains_key("data_base64");
    if schema == EventGridSchema::CloudEvents {
        if fields["specversion"].get() != "\"1.0\"" {
            return Err("specversion is not 1.0".to_owned());
        }
        if both {
            return Err("an event has data and data_base64".to_owned());
        }
    } else if !fields.contains_key("data") {
        return Err("an event has no data".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUD: &str = r#"{"id":"1","source":"s","type":"t","specversion":"1.0","x":1}"#;
    const GRID: &str = r#"{"id":"1","subject":"s","eventType":"t","data":{},
        "eventTime":"2026-01-01T00:00:00Z","dataVersion":"1"}"#;

    #[test]
    fn bodies_are_checked_by_schema() {
        use EventGridSchema::{CloudEvents, EventGrid};
        let batch = "application/cloudevents-batch+json; charset=utf-8";
        let one = "application/cloudevents+json";
        let list = |event: &str| format!("[{event}, {event}]");
        for (schema, media, body, expected) in [
            (CloudEvents, batch, list(CLOUD), Ok(2)),
            (CloudEvents, one, CLOUD.to_owned(), Ok(1)),
            (CloudEvents, one, list(CLOUD), Err(400)),
            (CloudEvents, "application/json", list(CLOUD), Err(400)),
            (CloudEvents, batch, list(GRID), Err(400)),
            (CloudEvents, one, CLOUD.replace("1.0", "0.3"), Err(400)),
            (
                CloudEvents,
                one,
                CLOUD.replace("\"x\"", "\"data\":1,\"data_base64\""),
                Err(400),
            ),
            (
                EventGrid,
                "application/json; charset=utf-8",
                list(GRID),
                Ok(2),
            ),
            (EventGrid, "application/json", GRID.to_owned(), Err(400)),
            (EventGrid, "application/json", list(CLOUD), Err(400)),
            (
                CloudEvents,
                batch,
                format!("[{}]", vec![CLOUD; 5_001].join(",")),
                Err(413),
            ),
        ] {
            let result = events(schema, media, body.as_bytes());
            let result = result
                .map(|all| all.len())
                .map_err(|refusal| refusal.status.as_u16());
            assert_eq!(result, expected, "{schema:?} {media}");
        }
    }
}
