//! Texts that people paste: freed of what editors, shells and web pages put around them, and looked at for what
//! must not be inside.
//!
//! The one place for both, whatever the text is for: keys, connection strings, SAS URIs, names, files.

/// A character that nobody sees, and that no key, URL or name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has {what} (U+{code:04X}) at character {at}; copy it again without it")]
#[non_exhaustive]
pub struct InvisibleCharacter {
    /// What it is, in words.
    pub what: &'static str,
    code: u32,
    /// Its place, from 1.
    pub at: usize,
}

/// Quotes that come in pairs.
const QUOTES: [(char, char); 7] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
];

/// The text without what stands around it: blanks of every kind, line ends, byte order marks, zero-width characters,
/// and quotes in pairs.
#[must_use]
pub fn clean(text: &str) -> &str {
    let mut text = text.trim_matches(is_around);
    for (open, close) in QUOTES.into_iter().cycle().take(2 * QUOTES.len()) {
        let inside = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        if let Some(inside) = inside {
            text = inside.trim_matches(is_around);
        }
    }
    text
}

/// The content of a file without a byte order mark (RFC 8259 §8.1: it may be ignored).
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Looks for a character inside that nobody sees. A plain blank is none.
///
/// # Errors
/// The first.
pub fn check(text: &str) -> Result<(), InvisibleCharacter> {
    let mut letters = text.chars().enumerate();
    let found = letters.find(|(_, letter)| *letter != ' ' && is_around(*letter));
    let Some((at, letter)) = found else {
        return Ok(());
    };
    let what = match letter {
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => "a line end",
        '\t' => "a tab",
        '\u{a0}' | '\u{202f}' => "a non-breaking space",
        '\u{feff}' => "a byte order mark",
        '\u{200b}'..='\u{200d}' | '\u{2060}' => "a zero-width character",
        letter if letter.is_whitespace() => "a blank of another kind",
        _ => "a control character",
    };
    Err(InvisibleCharacter {
        what,
        code: u32::from(letter),
        at: at + 1,
    })
}

/// Blanks, controls, and the format characters of Unicode that text is pasted with.
fn is_around(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_hygiene_takes_off_what_stands_around() {
        for text in [
            "key",
            " key\n",
            "key\r\n",
            "\u{feff}key",
            "\u{a0}key\u{200b}",
            "\"key\"",
            "'key'\n",
            " \u{201c}key\u{201d} ",
            "\u{feff}\"key\"\r\n",
            "'\"key\"'",
            "\"'key'\"",
        ] {
            assert_eq!(clean(text), "key", "{text:?}");
        }
        for kept in ["", "a b", "it's", "\"half", "a\u{200b}b"] {
            assert_eq!(clean(kept), kept);
        }
    }

    #[test]
    fn text_hygiene_names_what_stands_inside() {
        assert_eq!(check("Endpoint=sb://h; Key=a+b/c=="), Ok(()));
        for (text, expect) in [
            (
                "a\u{200b}b",
                "has a zero-width character (U+200B) at character 2; copy it again without it",
            ),
            (
                "ab\u{a0}c",
                "has a non-breaking space (U+00A0) at character 3; copy it again without it",
            ),
            (
                "a\nb",
                "has a line end (U+000A) at character 2; copy it again without it",
            ),
            (
                "\u{feff}a",
                "has a byte order mark (U+FEFF) at character 1; copy it again without it",
            ),
        ] {
            assert_eq!(check(text).unwrap_err().to_string(), expect);
        }
    }

    proptest! {
        #[test]
        fn what_is_clean_stays(text in "\\PC{0,20}") {
            let once = clean(&text);
            prop_assert!(text.contains(once));
            prop_assert!(!once.starts_with(is_around) && !once.ends_with(is_around));
        }
    }
}
