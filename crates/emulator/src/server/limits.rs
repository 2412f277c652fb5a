//! What hubs, queues and topics refuse of a message, beside its size.
//!
//! Sources: "Service Bus quotas" (message, session and partition key size 128; a property 32 KB, all of them
//! 64 KB), "Event Hubs quotas" and the clients, which name 128 characters for a hub's partition key. Characters
//! are those of .NET, UTF-16 code units. Which condition the services give for them is published nowhere; these
//! are the ones that no client tries again.

use super::address::LinkNode;
use crate::amqp::message::{self, AmqpMessage};
use crate::amqp::state::AmqpError;
use crate::amqp::value::AmqpValue;
use bytes::Bytes;

/// Characters of a message-id, a session-id or a partition key.
const KEY_CHARS_MAX: usize = 128;
/// Bytes of one application property, name and value.
const PROPERTY_BYTES_MAX: usize = 32 * 1024;
/// Bytes of header, annotations, properties and application properties together.
const PROPERTIES_BYTES_MAX: usize = 64 * 1024;

pub(super) const PARTITION_KEY: &str = "x-opt-partition-key";

/// Checks one message for an entity; `encoded` is all of it.
///
/// # Errors
/// Which limit it breaks.
pub(super) fn check(
    node: &LinkNode,
    encoded: &Bytes,
    message: &AmqpMessage,
) -> Result<(), AmqpError> {
    let key = message
        .annotation(PARTITION_KEY)
        .and_then(AmqpValue::as_str);
    check_key("partition key", key)?;
    if matches!(node, LinkNode::Hub(..)) {
        return Ok(());
    }
    check_key("message-id", message.message_id.as_deref())?;
    let session = message.group_id.as_deref();
    check_key("session-id", session)?;
    if let (Some(key), Some(session)) = (key, session)
        && key != session
    {
        let text = "a message's partition key differs from its session-id; give one of them";
        return Err(AmqpError::new("com.microsoft:argument-error", text));
    }
    check_properties(encoded)
}

/// Checks the partition key of a batch.
pub(super) fn check_envelope(key: Option<&str>) -> Result<(), AmqpError> {
    check_key("partition key", key)
}

fn check_key(what: &str, value: Option<&str>) -> Result<(), AmqpError> {
    let length = value.map_or(0, |value| value.encode_utf16().count());
    if length <= KEY_CHARS_MAX {
        return Ok(());
    }
    Err(too_long(format!(
        "a {what} of {length} characters is longer than {KEY_CHARS_MAX}"
    )))
}

fn check_properties(encoded: &Bytes) -> Result<(), AmqpError> {
    let all = message::head_bytes(encoded).unwrap_or(0);
    if all > PROPERTIES_BYTES_MAX {
        return Err(too_long(format!(
            "a message's header and properties have {all} bytes, more than {PROPERTIES_BYTES_MAX}"
        )));
    }
    if all <= PROPERTY_BYTES_MAX {
        return Ok(());
    }
    let content = message::content(encoded).unwrap_or_default();
    for (name, value) in &content.application {
        let bytes = message::encoded_bytes(name) + message::encoded_bytes(value);
        if bytes > PROPERTY_BYTES_MAX {
            let name: String = name.as_str().unwrap_or_default().chars().take(64).collect();
            return Err(too_long(format!(
                "property {name:?} has {bytes} bytes, more than {PROPERTY_BYTES_MAX}"
            )));
        }
    }
    Ok(())
}

fn too_long(text: String) -> AmqpError {
    AmqpError::new("com.microsoft:argument-out-of-range", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::encode;
    use crate::broker::queue::MessageQueue;
    use crate::broker::settings::{BrokerLimits, HubSettings, QueueSettings};
    use bytes::BytesMut;
    use std::sync::Arc;
    use twinroute_model::clock::Timestamp;

    struct LimitSample {
        id: usize,
        session: Option<String>,
        key: Option<String>,
        properties: Vec<(String, usize)>,
    }

    fn sample() -> LimitSample {
        LimitSample {
            id: 1,
            session: None,
            key: None,
            properties: Vec::new(),
        }
    }

    fn encoded(sample: &LimitSample) -> Bytes {
        let mut out = BytesMut::new();
        if let Some(key) = &sample.key {
            let key = vec![(AmqpValue::symbol(PARTITION_KEY), AmqpValue::string(key))];
            encode::described(0x72, &AmqpValue::Map(key), &mut out);
        }
        let mut properties = vec![AmqpValue::Null; 13];
        properties[0] = AmqpValue::string("i".repeat(sample.id));
        if let Some(session) = &sample.session {
            properties[10] = AmqpValue::string(session);
        }
        encode::described(0x73, &AmqpValue::List(properties), &mut out);
        let pairs = sample.properties.iter();
        let pairs = pairs.map(|(name, length)| {
            (
                AmqpValue::string(name),
                AmqpValue::string("v".repeat(*length)),
            )
        });
        encode::described(0x74, &AmqpValue::Map(pairs.collect()), &mut out);
        encode::described(0x75, &AmqpValue::Binary(Bytes::from_static(b"x")), &mut out);
        out.freeze()
    }

    fn refused(node: &LinkNode, sample: &LimitSample) -> Option<String> {
        let encoded = encoded(sample);
        let message = message::cut(&encoded).unwrap();
        let refused = check(node, &encoded, &message).err();
        refused.map(|problem| problem.condition)
    }

    fn hub() -> LinkNode {
        let hub = crate::broker::hub::EventHub::new(
            &HubSettings::new("h"),
            Timestamp::from_unix_millis(0),
        );
        LinkNode::Hub(Arc::new(hub), None)
    }

    fn queue() -> LinkNode {
        let settings = QueueSettings::new("q");
        let limits = BrokerLimits::default();
        LinkNode::Queue(Arc::new(MessageQueue::new(
            "q".to_owned(),
            &settings,
            &limits,
            &Arc::default(),
        )))
    }

    #[test]
    fn keys_over_128_characters_are_refused() {
        let long = Some("com.microsoft:argument-out-of-range".to_owned());
        let text = |length: usize| Some("k".repeat(length));
        let key = |length| LimitSample {
            key: text(length),
            ..sample()
        };
        let session = |length| LimitSample {
            session: text(length),
            ..sample()
        };
        let id = |length| LimitSample {
            id: length,
            ..sample()
        };
        for (node, on_hub) in [(hub(), true), (queue(), false)] {
            assert_eq!(refused(&node, &key(128)), None);
            assert_eq!(refused(&node, &key(129)), long, "a partition key");
            let elsewhere = if on_hub { None } else { long.clone() };
            assert_eq!(refused(&node, &session(128)), None);
            assert_eq!(refused(&node, &session(129)), elsewhere, "a session-id");
            assert_eq!(refused(&node, &id(128)), None);
            assert_eq!(refused(&node, &id(129)), elsewhere, "a message-id");
        }
        // .NET counts such a character as two.
        let wide = |length| LimitSample {
            key: Some("\u{1F600}".repeat(length)),
            ..sample()
        };
        assert_eq!(refused(&hub(), &wide(64)), None);
        assert_eq!(refused(&hub(), &wide(65)), long);
        assert!(check_envelope(text(129).as_deref()).is_err());
    }

    #[test]
    fn a_partition_key_beside_another_session_is_refused() {
        let both = |key: &str| LimitSample {
            key: Some(key.to_owned()),
            session: Some("s".to_owned()),
            ..sample()
        };
        assert_eq!(refused(&queue(), &both("s")), None);
        let refusal = refused(&queue(), &both("k"));
        assert_eq!(refusal.as_deref(), Some("com.microsoft:argument-error"));
        assert_eq!(refused(&hub(), &both("k")), None);
    }

    #[test]
    fn properties_have_32_kb_each_and_64_kb_together() {
        let with = |lengths: &[usize]| {
            let properties = lengths.iter().enumerate();
            let properties = properties.map(|(at, length)| (format!("p{at}"), *length));
            LimitSample {
                properties: properties.collect(),
                ..sample()
            }
        };
        let long = Some("com.microsoft:argument-out-of-range".to_owned());
        let name_and_codes = 2 + 2 + 5;
        let fits = PROPERTY_BYTES_MAX - name_and_codes;
        assert_eq!(refused(&queue(), &with(&[fits])), None);
        assert_eq!(refused(&queue(), &with(&[fits + 1])), long);
        assert_eq!(refused(&queue(), &with(&[fits, fits - 200])), None);
        assert_eq!(refused(&queue(), &with(&[fits, fits])), long);
        assert_eq!(refused(&hub(), &with(&[fits, fits])), None);
    }
}
