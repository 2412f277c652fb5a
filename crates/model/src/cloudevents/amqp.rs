//! CloudEvents AMQP binding 1.0.2, binary mode: one event as one AMQP 1.0 message.
//!
//! Attributes are application properties under the prefix `cloudEvents:`, as Azure Digital Twins writes
//! them; `datacontenttype` is the `content-type` property, and the payload stands in one data section.
//! A trace context stands beside them under the names that Azure's clients write and read: `traceparent`, `tracestate`, and
//! `Diagnostic-Id` for older ones.
//! The encoder writes bytes directly: one event costs no allocation beside its place in `out`.

use crate::event::{Event, ExtensionValue};
use crate::trace_context::TraceContext;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What a message carries beside the event. Empty fields are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageEnvelope<'a> {
    /// Message annotation `x-opt-partition-key`.
    pub partition_key: Option<&'a str>,
    /// Property `message-id`.
    pub message_id: Option<&'a str>,
    /// Property `group-id`: the session, for Service Bus.
    pub group_id: Option<&'a str>,
    /// Application properties `traceparent`, `Diagnostic-Id` and `tracestate`.
    pub trace: Option<&'a TraceContext>,
}

const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
const APPLICATION_PROPERTIES: u8 = 0x74;
const DATA: u8 = 0x75;

/// Bytes of a [`message_id`].
pub const MESSAGE_ID_BYTES: usize = 43;

/// `message-id` that stays the same over every attempt and for every producer's repeat of an event:
/// base64url of SHA-256 over `source` NUL `id`, 43 characters.
#[must_use]
pub fn message_id(event: &Event) -> String {
    let mut hash = Sha256::new();
    hash.update(event.source());
    hash.update([0]);
    hash.update(event.id());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Appends the message.
pub fn write(event: &Event, envelope: &MessageEnvelope<'_>, out: &mut Vec<u8>) {
    let payload = event.payload();
    write_annotations(envelope, out);
    write_properties(envelope, payload.media_type, out);
    write_application_properties(event, envelope.trace, out);
    write_data(&payload.bytes, out);
}

/// Appends a data section (AMQP 1.0 part 3 §3.2.6).
pub fn write_data(bytes: &[u8], out: &mut Vec<u8>) {
    section(DATA, out);
    variable(0xa0, 0xb0, bytes, out);
}

fn write_annotations(envelope: &MessageEnvelope<'_>, out: &mut Vec<u8>) {
    let Some(key) = envelope.partition_key else {
        return;
    };
    section(MESSAGE_ANNOTATIONS, out);
    map(out, |out| {
        symbol("x-opt-partition-key", out);
        string(key, out);
        2
    });
}

/// AMQP 1.0 part 3 §3.2.4; trailing fields that are null may be left out of the list.
fn write_properties(envelope: &MessageEnvelope<'_>, content_type: Option<&str>, out: &mut Vec<u8>) {
    const MESSAGE_ID: usize = 0;
    const CONTENT_TYPE: usize = 6;
    const GROUP_ID: usize = 10;
    let fields = if envelope.group_id.is_some() {
        GROUP_ID + 1
    } else if content_type.is_some() {
        CONTENT_TYPE + 1
    } else if envelope.message_id.is_some() {
        MESSAGE_ID + 1
    } else {
        return;
    };
    section(PROPERTIES, out);
    compound(0xd0, out, |out| {
        for field in 0..fields {
            match (field, envelope.message_id, content_type, envelope.group_id) {
                (MESSAGE_ID, Some(id), _, _) => string(id, out),
                (CONTENT_TYPE, _, Some(content_type), _) => symbol(content_type, out),
                (GROUP_ID, _, _, Some(group)) => string(group, out),
                _ => out.push(0x40),
            }
        }
        fields
    });
}

/// Names of attributes as they are written, each with its constructor and length: one copy instead of three.
mod names {
    pub(super) const ID: &[u8] = b"\xa1\x0ecloudEvents:id";
    pub(super) const SOURCE: &[u8] = b"\xa1\x12cloudEvents:source";
    /// With its value, which is always the same.
    pub(super) const SPECVERSION: &[u8] = b"\xa1\x17cloudEvents:specversion\xa1\x031.0";
    pub(super) const TYPE: &[u8] = b"\xa1\x10cloudEvents:type";
    pub(super) const TIME: &[u8] = b"\xa1\x10cloudEvents:time";
    pub(super) const SUBJECT: &[u8] = b"\xa1\x13cloudEvents:subject";
    pub(super) const DATASCHEMA: &[u8] = b"\xa1\x16cloudEvents:dataschema";
    pub(super) const TRACEPARENT: &[u8] = b"\xa1\x0btraceparent";
    pub(super) const DIAGNOSTIC_ID: &[u8] = b"\xa1\x0dDiagnostic-Id";
    pub(super) const TRACESTATE: &[u8] = b"\xa1\x0atracestate";
}

fn write_application_properties(event: &Event, trace: Option<&TraceContext>, out: &mut Vec<u8>) {
    section(APPLICATION_PROPERTIES, out);
    map(out, |out| {
        let mut entries = 0;
        let mut attribute = |name: &[u8], value: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(name);
            string(value, out);
            entries += 2;
        };
        attribute(names::ID, event.id(), out);
        attribute(names::SOURCE, event.source(), out);
        out.extend_from_slice(names::SPECVERSION);
        attribute(names::TYPE, event.event_type(), out);
        for (name, value) in [
            (names::TIME, event.time()),
            (names::SUBJECT, event.subject()),
            (names::DATASCHEMA, event.dataschema()),
        ] {
            if let Some(value) = value {
                attribute(name, value, out);
            }
        }
        if let Some(trace) = trace {
            let parent = trace.parent();
            attribute(names::TRACEPARENT, parent.as_str(), out);
            attribute(names::DIAGNOSTIC_ID, parent.as_str(), out);
            if let Some(state) = trace.state() {
                attribute(names::TRACESTATE, state, out);
            }
        }
        // That of the version.
        entries += 2;
        for (name, value) in event.extensions() {
            prefixed(name, out);
            match value {
                ExtensionValue::String(text) => string(text, out),
                ExtensionValue::Boolean(truth) => out.push(if truth { 0x41 } else { 0x42 }),
                ExtensionValue::Integer(number) => {
                    out.push(0x71);
                    out.extend_from_slice(&number.to_be_bytes());
                }
            }
            entries += 2;
        }
        entries
    });
}

fn section(code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x00, 0x53, code]);
}

fn prefixed(name: &str, out: &mut Vec<u8>) {
    const PREFIX: &[u8] = b"cloudEvents:";
    let len = PREFIX.len() + name.len();
    head(0xa1, 0xb1, len, out);
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(name.as_bytes());
}

fn string(text: &str, out: &mut Vec<u8>) {
    variable(0xa1, 0xb1, text.as_bytes(), out);
}

fn symbol(text: &str, out: &mut Vec<u8>) {
    variable(0xa3, 0xb3, text.as_bytes(), out);
}

/// A variable-width value (AMQP 1.0 part 1 §1.2.2): one byte of length, or four.
fn variable(short: u8, long: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(short, long, bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn head(short: u8, long: u8, len: usize, out: &mut Vec<u8>) {
    if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[short, len]);
    } else {
        out.push(long);
        out.extend_from_slice(&narrow(len).to_be_bytes());
    }
}

fn map(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    compound(0xd1, out, write);
}

/// A list32 or map32 whose size and count are filled in behind its content.
fn compound(code: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    out.push(code);
    let size_at = out.len();
    out.extend_from_slice(&[0; 8]);
    let count = write(out);
    let size = narrow(out.len() - size_at - 4);
    // An array at once: slices that are copied cost calls.
    let head = u64::from(size) << 32 | u64::from(narrow(count));
    let place = out[size_at..].first_chunk_mut();
    *place.expect("the eight bytes were pushed above") = head.to_be_bytes();
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).expect("events are far below 4 GiB")
}

#[cfg(test)]
#[path = "amqp_tests.rs"]
mod tests;
