//! The members of an event's JSON object in one pass over its bytes: what serde_json does, for the texts that nearly
//! all producers send, at a fraction of its cost.
//!
//! It says nothing of a text that it does not take: serde_json decides then, and words the error. What it takes is
//! JSON by RFC 8259, and its members are those that serde_json finds; a property test holds both.

use super::members::EventMembers;
use std::borrow::Cow;

/// The members of the JSON object at the start of `text`, and the byte behind it.
///
/// `None`: it is no object, a name has an escape, it is nested deeper than 63, or it is no JSON.
pub(super) fn members(text: &str) -> Option<(EventMembers<'_>, usize)> {
    let mut scanner = JsonScanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut found = EventMembers::default();
    scanner.skip_blanks();
    scanner.expect(b'{')?;
    scanner.skip_blanks();
    if scanner.take(b'}') {
        return Some((found, scanner.at));
    }
    loop {
        let name_at = scanner.at + 1;
        let has_escape = scanner.skip_string()?;
        if has_escape {
            return None;
        }
        let name = &text[name_at..scanner.at - 1];
        scanner.skip_colon()?;
        let value_at = scanner.at;
        match scanner.peek()? {
            b'"' => found.has_escape |= scanner.skip_string()?,
            _ => scanner.skip_value()?,
        }
        found.add(Cow::Borrowed(name), &text[value_at..scanner.at]);
        scanner.skip_blanks();
        match scanner.next()? {
            b',' => scanner.skip_blanks(),
            b'}' => return Some((found, scanner.at)),
            _ => return None,
        }
    }
}

/// Whether nothing but blanks stands in `rest`.
pub(super) fn is_blank(rest: &str) -> bool {
    rest.bytes().all(is_blank_byte)
}

const fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes of a string that are looked at together: the compiler makes a few vector instructions of it.
const CHUNK: usize = 16;

/// Chunks that are looked at, each for the place where it ends, before a string is taken for a long one.
const SHORT_CHUNKS: usize = 4;

/// Bytes of a long string that are looked at together.
const STRIDE: usize = 4 * CHUNK;

/// Whether a byte ends a string, begins an escape, or may not stand in one.
#[inline]
const fn is_special(byte: u8) -> bool {
    // No `||`: a jump for each byte would keep the compiler from looking at many at a time.
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

/// Where the first special byte stands in a chunk; behind it, if there is none.
#[inline]
fn first_special(chunk: [u8; CHUNK]) -> usize {
    let mut marks = [0; CHUNK];
    for (mark, byte) in marks.iter_mut().zip(chunk) {
        *mark = 0_u8.wrapping_sub(u8::from(is_special(byte)));
    }
    u128::from_le_bytes(marks).trailing_zeros() as usize / 8
}

/// What follows the strides at the start of `rest` that have no special byte.
fn without_plain_strides(mut rest: &[u8]) -> &[u8] {
    let is_end = |found, byte: &u8| found | is_special(*byte);
    while let Some((stride, behind)) = rest.split_first_chunk::<STRIDE>()
        && !stride.iter().fold(false, is_end)
    {
        rest = behind;
    }
    rest
}

struct JsonScanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl JsonScanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank_byte) {
            self.at += 1;
        }
    }

    fn skip_colon(&mut self) -> Option<()> {
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        Some(())
    }

    /// Skips a string, quotes and all; says whether it has an escape.
    fn skip_string(&mut self) -> Option<bool> {
        self.expect(b'"')?;
        let mut has_escape = false;
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(has_escape),
                b'\\' => {
                    has_escape = true;
                    self.skip_escape()?;
                }
                _ => return None,
            }
        }
    }

    /// Skips what stands for itself in a string. Most strings are short, and a chunk at a time says where they end.
    fn skip_plain(&mut self) {
        let mut rest = &self.bytes[self.at..];
        let mut chunks = 0;
        while let Some((chunk, behind)) = rest.split_first_chunk() {
            let plain = first_special(*chunk);
            if plain < CHUNK {
                self.at = self.bytes.len() - rest.len() + plain;
                return;
            }
            rest = behind;
            chunks += 1;
            if chunks == SHORT_CHUNKS {
                rest = without_plain_strides(rest);
            }
        }
        let plain = rest.iter().position(|byte| is_special(*byte));
        self.at = self.bytes.len() - rest.len() + plain.unwrap_or(rest.len());
    }

    /// Skips what follows a backslash (RFC 8259 §7).
    fn skip_escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn skip_word(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        is_there.then_some(())
    }

    /// Skips at least one digit.
    fn skip_digits(&mut self) -> Option<()> {
        let begun = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begun).then_some(())
    }

    /// Skips a number (RFC 8259 §6).
    fn skip_number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.skip_digits()?;
        }
        if self.take(b'.') {
            self.skip_digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.skip_digits()?;
        }
        Some(())
    }

    /// Skips a value and all in it. What encloses the place that it has come to stands in bits, the innermost lowest:
    /// 1 an object, 0 an array, above them a 1 that marks the end.
    fn skip_value(&mut self) -> Option<()> {
        let mut enclosing = 1_u64;
        loop {
            match self.peek()? {
                b'"' => drop(self.skip_string()?),
                opening @ (b'{' | b'[') => {
                    let is_object = opening == b'{';
                    self.at += 1;
                    self.skip_blanks();
                    if !self.take(if is_object { b'}' } else { b']' }) {
                        if enclosing.leading_zeros() == 0 {
                            return None;
                        }
                        enclosing = enclosing << 1 | u64::from(is_object);
                        self.skip_name(is_object)?;
                        continue;
                    }
                }
                b't' => self.skip_word(b"true")?,
                b'f' => self.skip_word(b"false")?,
                b'n' => self.skip_word(b"null")?,
                _ => self.skip_number()?,
            }
            // A value ended, and with it perhaps some of what encloses it.
            loop {
                if enclosing == 1 {
                    return Some(());
                }
                let is_object = enclosing & 1 == 1;
                self.skip_blanks();
                match self.next()? {
                    b',' => {
                        self.skip_blanks();
                        self.skip_name(is_object)?;
                        break;
                    }
                    b'}' if is_object => enclosing >>= 1,
                    b']' if !is_object => enclosing >>= 1,
                    _ => return None,
                }
            }
        }
    }

    /// Skips the name of a member and its colon, in an object.
    fn skip_name(&mut self, is_object: bool) -> Option<()> {
        if is_object {
            self.skip_string()?;
            self.skip_colon()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What serde_json makes of the start of a text.
    fn by_serde(text: &str) -> Option<(EventMembers<'_>, usize)> {
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<EventMembers<'_>>();
        let members = stream.next()?.ok()?;
        Some((members, stream.byte_offset()))
    }

    fn check(text: &str) {
        if let Some(scanned) = members(text) {
            assert_eq!(Some(scanned), by_serde(text), "{text}");
        }
    }

    /// JSON values and what is nearly one.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            "[-+0-9.eE]{1,6}",
            "\"[a-z0-9 \u{e4}\u{1F600}]{0,40}\"",
            "\"([a-z]|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-fA-F]{4}|\u{1}){0,12}\"",
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            let member = ("\"[a-z]{0,6}\"", inner.clone());
            let member = member.prop_map(|(name, value)| format!("{name} :{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..5)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec(member, 0..5)
                    .prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_scanned_is_what_serde_finds(
            values in prop::collection::vec(("[a-z]{1,4}|id|type|data|\\\\n", value()), 0..6),
            cut in any::<prop::sample::Index>(),
            put in "[\\[\\]{}\",:\\\\ 0-9a-z]{0,2}",
        ) {
            let members: Vec<String> = values
                .iter()
                .map(|(name, value)| format!("\"{name}\": {value}"))
                .collect();
            let text = format!(" {{{}}} ,", members.join(",\n"));
            check(&text);
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            check(&text[..at]);
            check(&format!("{}{put}{}", &text[..at], &text[at..]));
        }
    }

    #[test]
    fn usual_events_are_scanned() {
        for text in [
            "{}",
            "{ }x",
            "{\"id\":\"1\",\"data\":{\"a\":[1,-2.5e3,true,false,null,\"\\u00e4\\n\"],\"b\":{}}}",
            "{\"id\":\"a string of more than sixteen bytes\" , \"type\" : [ ] }\n",
        ] {
            assert!(members(text).is_some(), "{text}");
            check(text);
        }
        for text in [
            "",
            "[]",
            "{\"i\\u0064\":1}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "{\"a\":\"\t\"}",
        ] {
            assert!(members(text).is_none(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_left_to_serde() {
        let nested =
            |depth: usize| format!("{{\"data\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(members(&nested(63)).is_some());
        assert!(members(&nested(64)).is_none());
        check(&nested(63));
    }
}
