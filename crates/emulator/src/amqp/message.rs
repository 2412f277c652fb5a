//! Messages as sections (AMQP 1.0 part 3 §3.2), cut where a broker may change them.

use super::decode::{AmqpDecoder, DecodeError, skip};
use super::encode;
use super::value::{AmqpValue, find};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use uuid::Uuid;

/// The message-format of an envelope whose data sections are whole messages.
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

pub(crate) const HEADER: u8 = 0x70;
pub(crate) const DELIVERY_ANNOTATIONS: u8 = 0x71;
pub(crate) const MESSAGE_ANNOTATIONS: u8 = 0x72;
pub(crate) const PROPERTIES: u8 = 0x73;
pub(crate) const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;
const SEQUENCE: u8 = 0x76;
const VALUE: u8 = 0x77;
const FOOTER: u8 = 0x78;

/// A message: what a broker may change, and the rest byte for byte.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AmqpMessage {
    /// Fields of the header section.
    pub(crate) header: Vec<AmqpValue>,
    /// Message annotations.
    pub(crate) annotations: Vec<(AmqpValue, AmqpValue)>,
    /// Property `message-id` as text.
    pub(crate) message_id: Option<String>,
    /// Property `group-id`: the session.
    pub(crate) group_id: Option<String>,
    /// Everything from the properties section on.
    pub(crate) bare: Bytes,
}

/// The readable content of a bare message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MessageContent {
    pub(crate) properties: Vec<AmqpValue>,
    pub(crate) application: Vec<(AmqpValue, AmqpValue)>,
    pub(crate) body: MessageBody,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum MessageBody {
    #[default]
    Empty,
    Data(Vec<Bytes>),
    Value(AmqpValue),
    Sequence,
}

struct MessageSection {
    code: u8,
    whole: Range<usize>,
    content: Range<usize>,
}

/// Cuts a message; its properties and application properties are checked, and it owns its bytes.
pub(crate) fn cut(bytes: &Bytes) -> Result<AmqpMessage, DecodeError> {
    let mut message = AmqpMessage::default();
    let mut bare_start = bytes.len();
    for section in sections(bytes)? {
        let content = || decode(bytes, &section.content);
        match section.code {
            HEADER => message.header = content()?.into_items(),
            DELIVERY_ANNOTATIONS => {}
            MESSAGE_ANNOTATIONS => message.annotations = content()?.into_pairs(),
            PROPERTIES => {
                let properties = content()?.into_items();
                message.message_id = properties.first().and_then(text);
                message.group_id = properties.get(10).and_then(text);
                bare_start = bare_start.min(section.whole.start);
            }
            APPLICATION_PROPERTIES => {
                content()?;
                bare_start = bare_start.min(section.whole.start);
            }
            _ => bare_start = bare_start.min(section.whole.start),
        }
    }
    message.bare = Bytes::copy_from_slice(&bytes[bare_start..]);
    Ok(message)
}

/// A batch's envelope, and the messages in it.
pub(crate) fn batch(bytes: &Bytes) -> Result<(AmqpMessage, Vec<Bytes>), DecodeError> {
    let mut envelope = AmqpMessage::default();
    let mut members = Vec::new();
    for section in sections(bytes)? {
        match (section.code, decode(bytes, &section.content)?) {
            (MESSAGE_ANNOTATIONS, annotations) => envelope.annotations = annotations.into_pairs(),
            (DATA, AmqpValue::Binary(member)) => members.push(member),
            (DATA, _) => return Err(DecodeError::Descriptor),
            _ => {}
        }
    }
    Ok((envelope, members))
}

/// Decodes a bare message.
pub(crate) fn content(bytes: &Bytes) -> Result<MessageContent, DecodeError> {
    let mut content = MessageContent::default();
    for section in sections(bytes)? {
        let value = || decode(bytes, &section.content);
        match section.code {
            PROPERTIES => content.properties = value()?.into_items(),
            APPLICATION_PROPERTIES => content.application = value()?.into_pairs(),
            DATA => {
                let AmqpValue::Binary(data) = value()? else {
                    return Err(DecodeError::Descriptor);
                };
                match &mut content.body {
                    MessageBody::Data(all) => all.push(data),
                    other => *other = MessageBody::Data(vec![data]),
                }
            }
            VALUE => content.body = MessageBody::Value(value()?),
            SEQUENCE => content.body = MessageBody::Sequence,
            _ => {}
        }
    }
    Ok(content)
}

/// Bytes of the sections before the body.
pub(crate) fn head_bytes(bytes: &Bytes) -> Result<usize, DecodeError> {
    let all = sections(bytes)?;
    let head = all.iter().filter(|section| section.code < DATA);
    Ok(head.map(|section| section.whole.len()).sum())
}

/// Bytes of a value on the wire.
pub(crate) fn encoded_bytes(value: &AmqpValue) -> usize {
    let mut out = BytesMut::new();
    encode::value(value, &mut out);
    out.len()
}

/// `bare` with its properties or application properties replaced by what `change` makes of them.
pub(crate) fn rewrite(
    bare: &Bytes,
    code: u8,
    change: impl FnOnce(AmqpValue) -> AmqpValue,
) -> Result<Bytes, DecodeError> {
    let all = sections(bare)?;
    let known = all.iter().find(|section| section.code == code);
    let before = all
        .iter()
        .filter(|section| section.code < code)
        .map(|section| section.whole.end);
    let (start, end, old) = match known {
        Some(section) => (
            section.whole.start,
            section.whole.end,
            decode(bare, &section.content)?,
        ),
        None => {
            let at = before.max().unwrap_or(0);
            (at, at, AmqpValue::Null)
        }
    };
    let mut out = BytesMut::with_capacity(bare.len() + 128);
    out.extend_from_slice(&bare[..start]);
    encode::described(code, &change(old), &mut out);
    out.extend_from_slice(&bare[end..]);
    Ok(out.freeze())
}

impl AmqpMessage {
    /// The annotation of that name.
    pub(crate) fn annotation(&self, name: &str) -> Option<&AmqpValue> {
        find(&self.annotations, name)
    }

    /// Bytes this message is counted with.
    pub(crate) fn bytes(&self) -> usize {
        self.bare.len() + 32 * (self.annotations.len() + self.header.len())
    }

    /// The message on the wire, with `extra` put over its own annotations.
    pub(crate) fn encode(&self, header: &[AmqpValue], extra: Vec<(AmqpValue, AmqpValue)>) -> Bytes {
        let mut out = BytesMut::with_capacity(self.bare.len() + 256);
        if !header.is_empty() {
            encode::described(HEADER, &AmqpValue::List(header.to_vec()), &mut out);
        }
        let mut annotations = extra;
        for (name, value) in &self.annotations {
            let known = name.as_str().and_then(|name| find(&annotations, name));
            if known.is_none() {
                annotations.push((name.clone(), value.clone()));
            }
        }
        if !annotations.is_empty() {
            encode::described(MESSAGE_ANNOTATIONS, &AmqpValue::Map(annotations), &mut out);
        }
        out.extend_from_slice(&self.bare);
        out.freeze()
    }
}

/// `message` with delivery annotations, which stand after its header.
pub(crate) fn with_delivery_annotations(
    pairs: Vec<(AmqpValue, AmqpValue)>,
    message: &Bytes,
) -> Bytes {
    let header = sections(message).ok().and_then(|all| {
        all.first()
            .filter(|first| first.code == HEADER)
            .map(|header| header.whole.end)
    });
    let at = header.unwrap_or(0);
    let mut out = BytesMut::with_capacity(message.len() + 256);
    out.extend_from_slice(&message[..at]);
    encode::described(DELIVERY_ANNOTATIONS, &AmqpValue::Map(pairs), &mut out);
    out.extend_from_slice(&message[at..]);
    out.freeze()
}

/// A property as text: numbers and identifiers too.
pub(crate) fn text(value: &AmqpValue) -> Option<String> {
    match value {
        AmqpValue::Uuid(bytes) => Some(Uuid::from_bytes(*bytes).simple().to_string()),
        AmqpValue::Binary(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => {
            let number = || other.as_i64().map(|number| number.to_string());
            other.as_str().map(str::to_owned).or_else(number)
        }
    }
}

/// A message with a value body, as `$cbs` and `$management` answer.
pub(crate) fn reply(
    correlation: AmqpValue,
    application: Vec<(AmqpValue, AmqpValue)>,
    body: AmqpValue,
) -> Bytes {
    let mut properties = vec![AmqpValue::Null; 5];
    properties.push(correlation);
    properties.resize(13, AmqpValue::Null);
    let mut out = BytesMut::new();
    encode::described(PROPERTIES, &AmqpValue::List(properties), &mut out);
    encode::described(
        APPLICATION_PROPERTIES,
        &AmqpValue::Map(application),
        &mut out,
    );
    encode::described(VALUE, &body, &mut out);
    out.freeze()
}

fn decode(bytes: &Bytes, content: &Range<usize>) -> Result<AmqpValue, DecodeError> {
    AmqpDecoder::new(&bytes.slice(content.clone())).value()
}

fn sections(bytes: &Bytes) -> Result<Vec<MessageSection>, DecodeError> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (code, content) = match bytes[at..] {
            [0x00, 0x53, code, ..] => (code, at + 3),
            [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => (code, at + 10),
            _ => return Err(DecodeError::Descriptor),
        };
        if !(HEADER..=FOOTER).contains(&code) {
            return Err(DecodeError::Descriptor);
        }
        // A value body may itself be described; only decoding tells where that ends.
        let end = match bytes.get(content) {
            Some(0x00) => end_of_described(bytes, content)?,
            _ => skip(bytes, content)?,
        };
        all.push(MessageSection {
            code,
            whole: at..end,
            content: content..end,
        });
        at = end;
    }
    Ok(all)
}

fn end_of_described(bytes: &Bytes, at: usize) -> Result<usize, DecodeError> {
    let rest = bytes.slice(at..);
    let mut decoder = AmqpDecoder::new(&rest);
    decoder.value()?;
    Ok(at + decoder.position())
}
