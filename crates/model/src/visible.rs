//! The one gate for foreign text: what peers, producers and files wrote, made fit for a log or a terminal.
//!
//! A line break forges a line of a log, an escape sequence moves the cursor or answers for the user, a bidi mark
//! shows another order than there is, and what has no width hides. Such characters are written as JSON writes them
//! (`\n`, `\u202e`); everything else stays. So a JSON document is still the same document. A backslash stays as it
//! is, so elsewhere this is no encoding that could be read back: it is for eyes.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a character must not reach a log or a terminal as it is.
///
/// Control characters (C0, DEL, C1), line and paragraph separators, marks, embeddings and isolates of the
/// bidirectional algorithm, and what Unicode 16 calls default-ignorable: characters without width, variation
/// selectors, tags.
#[must_use]
pub const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A text in one line, for a field of a log, a message or a cell of a table.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// A text that has lines of its own, such as a JSON document: line feeds and tabs stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden_in_lines)
}

/// The same JSON document without a hidden character in it: what answers a program may well end on a terminal.
#[must_use]
pub fn json(document: String) -> String {
    match lines(&document) {
        Cow::Borrowed(_) => document,
        Cow::Owned(visible) => visible,
    }
}

/// As many whole characters from the beginning of `text` as fit into `bytes_max`.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const fn is_hidden_in_lines(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

fn escaped(text: &str, hidden: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len() + 16);
    // A `String` takes everything.
    write_escaped(&mut visible, text, hidden).ok();
    Cow::Owned(visible)
}

fn write_escaped(out: &mut impl Write, text: &str, hidden: fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(hidden) {
        let (visible, more) = rest.split_at(at);
        out.write_str(visible)?;
        let mut characters = more.chars();
        match characters.next() {
            Some('\n') => out.write_str("\\n")?,
            Some('\r') => out.write_str("\\r")?,
            Some('\t') => out.write_str("\\t")?,
            Some(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.write_str(rest)
}

/// Writes on to another writer what [`one_line`] makes of it. JSON in one line stays the same document.
#[derive(Debug)]
pub struct OneLineWriter<W>(pub W);

impl<W: Write> Write for OneLineWriter<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(&mut self.0, text, is_hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKS: [&str; 12] = [
        "a\nb",
        "a\r\nb",
        "a\x1b[2Jb",
        "a\x1b]0;title\x07b",
        "a\u{9b}31mb",
        "a\u{85}b",
        "a\u{7f}\u{8}b",
        "a\u{2028}b\u{2029}c",
        "a\u{202e}b\u{202c}",
        "a\u{2066}b\u{2069}\u{200f}\u{61c}",
        "a\u{200b}b\u{feff}\u{2060}\u{ad}",
        "a\u{e0041}b\u{fe0f}",
    ];

    #[test]
    fn what_forges_or_hides_is_escaped_and_the_rest_stays() {
        for (text, expect) in [
            ("plain", "plain"),
            ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
            (r"C:\temp", r"C:\temp"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\x1b[2J", r"\u001b[2J"),
            ("\0\x7f\u{9b}", r"\u0000\u007f\u009b"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            ("\u{202e}x\u{2069}", r"\u202ex\u2069"),
            ("\u{200b}\u{feff}\u{e0041}", r"\u200b\ufeff\udb40\udc41"),
        ] {
            assert_eq!(one_line(text), expect);
            let mut written = String::new();
            OneLineWriter(&mut written).write_str(text).unwrap();
            assert_eq!(written, expect);
        }
        assert!(matches!(one_line("Grüße"), Cow::Borrowed(_)));
        assert_eq!(lines("a\n\tb\r\x1b"), "a\n\tb\\r\\u001b");
    }

    #[test]
    fn every_attack_is_made_visible() {
        for attack in ATTACKS {
            assert!(attack.contains(is_hidden), "{attack:?}");
            assert!(!one_line(attack).contains(is_hidden), "{attack:?}");
            assert!(!lines(attack).contains(is_hidden_in_lines), "{attack:?}");
        }
    }

    #[test]
    fn json_stays_the_same_document() {
        for attack in ATTACKS {
            let json = serde_json::to_string(attack).unwrap();
            let mut written = String::new();
            OneLineWriter(&mut written).write_str(&json).unwrap();
            assert!(!written.contains(is_hidden), "{written:?}");
            let read: String = serde_json::from_str(&written).unwrap();
            assert_eq!(read, attack);
            let pretty = serde_json::to_string_pretty(&[attack]).unwrap();
            let read: [String; 1] = serde_json::from_str(&lines(&pretty)).unwrap();
            assert_eq!(read, [attack]);
            assert_eq!(super::json(pretty.clone()), lines(&pretty));
        }
    }
}
