//! W3C Trace Context: which trace something belongs to, and below which of its spans.
//!
//! An event brings its own in the CloudEvents distributed tracing extension (`traceparent`, `tracestate`), a request in
//! headers of the same names. What breaks a rule of the recommendation is as good as absent: a trace is never a reason
//! to refuse an event.

use crate::event::Event;
use std::collections::BTreeSet;
use std::str;

/// Bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Bytes of a `tracestate` that are kept; W3C Trace Context §3.3.1.5 asks for at least so many.
const STATE_BYTES_MAX: usize = 512;

/// Members of a `tracestate` (§3.3.1.1).
const STATE_MEMBERS_MAX: usize = 32;

/// Somebody records this trace (§3.2.2.5.1).
const SAMPLED: u8 = 0x01;

/// The trace id is random (Trace Context Level 2 §3.2.2.5.2). It is handed on as it came.
const RANDOM_ID: u8 = 0x02;

/// A place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Box<str>>,
}

impl TraceContext {
    /// The first span of a trace that is recorded. `None` for ids of zeros, which are not allowed.
    #[must_use]
    pub fn root(trace_id: u128, span_id: u64) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            flags: SAMPLED | RANDOM_ID,
            state: None,
        })
    }

    /// Reads a `traceparent` (§3.2). Of a version that is not known, what version 00 has in it counts (§3.2.4).
    #[must_use]
    pub fn parse(parent: &str) -> Option<Self> {
        let bytes = parent.as_bytes();
        let known = bytes.get(..PARENT_BYTES)?;
        let version = hex(&known[..2])?;
        let ends_well = match version {
            0x00 => bytes.len() == PARENT_BYTES,
            // §3.2.2.1: not allowed.
            0xff => false,
            _ => bytes.get(PARENT_BYTES).is_none_or(|next| *next == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        if !ends_well || !dashes {
            return None;
        }
        let trace_id = hex(&known[3..35])?;
        let span_id = u64::try_from(hex(&known[36..52])?).ok()?;
        let flags = u8::try_from(hex(&known[53..])?).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            // Flags that are not known are not handed on (§3.2.2.5.2).
            flags: flags & (SAMPLED | RANDOM_ID),
            state: None,
        })
    }

    /// The same with a `tracestate`, which is handed on as it came; without one where that breaks a rule (§3.3). Of one
    /// that is too long the last members are left out (§3.3.1.5).
    #[must_use]
    pub fn with_state(mut self, state: &str) -> Self {
        self.state = checked_state(state).map(Box::from);
        self
    }

    /// What an event says of itself: the CloudEvents distributed tracing extension.
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Self> {
        let parsed = Self::parse(event.attribute("traceparent")?)?;
        Some(match event.attribute("tracestate") {
            None => parsed,
            Some(state) => parsed.with_state(state),
        })
    }

    /// A span below this one, in the same trace.
    #[must_use]
    pub fn child(&self, span_id: u64) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// 16 bytes, never all zeros.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// 8 bytes, never all zeros.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// The flags that are known.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether somebody records this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// `tracestate`, where there is one.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// `traceparent`, in version 00.
    #[must_use]
    pub fn parent(&self) -> TraceParent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        put_hex(&self.trace_id.to_be_bytes(), &mut text[3..35]);
        put_hex(&self.span_id.to_be_bytes(), &mut text[36..52]);
        put_hex(&[self.flags], &mut text[53..]);
        TraceParent(text)
    }
}

/// A `traceparent` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; PARENT_BYTES]);

impl TraceParent {
    /// 55 characters of ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("it holds digits and dashes")
    }
}

/// Digits and lower-case letters alone: §3.2.2 calls everything else invalid.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn put_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The members that are kept; none where one of them breaks a rule.
fn checked_state(state: &str) -> Option<&str> {
    let state = state.trim_matches([' ', '\t']);
    let (mut keys, mut begin, mut kept) = (BTreeSet::new(), 0, 0);
    for member in state.split(',') {
        let end = begin + member.len();
        let member = member.trim_matches([' ', '\t']);
        // §3.3.1.2: a member may be empty.
        if !member.is_empty() {
            let (key, value) = member.split_once('=')?;
            let is_good = is_state_key(key) && is_state_value(value) && keys.insert(key);
            if !is_good || keys.len() > STATE_MEMBERS_MAX {
                return None;
            }
        }
        if end <= STATE_BYTES_MAX {
            kept = end;
        }
        begin = end + 1;
    }
    Some(&state[..kept]).filter(|_| kept > 0 && !keys.is_empty())
}

/// §3.3.1.3.1.
fn is_state_key(key: &str) -> bool {
    let first = key.bytes().next();
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256
        && first.is_some_and(is_letter)
        && key
            .bytes()
            .all(|byte| is_letter(byte) || b"_-*/@".contains(&byte))
}

/// §3.3.1.3.2: printable ASCII but for `,` and `=`.
fn is_state_value(value: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b",=".contains(&byte);
    !value.is_empty() && value.len() <= 256 && value.bytes().all(is_plain)
}

#[cfg(test)]
#[path = "trace_context_tests.rs"]
mod tests;
