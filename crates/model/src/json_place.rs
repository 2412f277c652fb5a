//! Where in a JSON text a member stands, for messages about it.

use crate::pasted;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// A place in a text, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPlace {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl TextPlace {
    /// The first one.
    pub const BEGIN: Self = Self { line: 1, column: 1 };

    /// Of a byte in a text.
    #[must_use]
    pub fn of(text: &str, byte: usize) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
        }
    }
}

impl fmt::Display for TextPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// The place of the member at a dotted path, as errors name it: `properties.ipRules[1].value`. Of one that is not
/// there, the place of what it should stand in; of a text that is no JSON object, its begin.
#[must_use]
pub fn member_place(text: &str, path: &str) -> TextPlace {
    let text = pasted::without_mark(text);
    let mut found = 0;
    let mut inside = text;
    for part in path.split(['.', '[']) {
        let item = part.strip_suffix(']').and_then(|item| item.parse().ok());
        let inner = match item {
            Some(item) => item_of(inside, item),
            None => member_of(inside, part),
        };
        let Some(value) = inner else { break };
        let begin = offset(text, value);
        found = match item {
            Some(_) => begin,
            None => name_before(text, begin, part),
        };
        inside = value;
    }
    TextPlace::of(text, found)
}

fn member_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let members: HashMap<String, &'a RawValue> = serde_json::from_str(text).ok()?;
    members.get(name).map(|value| value.get())
}

fn item_of(text: &str, item: usize) -> Option<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    items.get(item).map(|value| value.get())
}

/// Where a part of a text begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// Where the name stands whose value begins at `value`; the value itself where the name is written with escapes.
fn name_before(text: &str, value: usize, name: &str) -> usize {
    let before = text[..value].trim_end();
    let before = before.strip_suffix(':').unwrap_or(before).trim_end();
    let quoted = format!("\"{name}\"");
    match before.ends_with(&quoted) {
        true => before.len() - quoted.len(),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_where_they_stand_and_missing_ones_in_what_should_hold_them() {
        let text = "{\"filter\": 1, \"a\": {\n  \"filter\" : [10,\n {\"ü\": 2, \"x\" :3}], \"b\": \"\\\"filter\\\":\"},\n\
                    \"\\u0063\": 4}";
        for (path, line, column) in [
            ("filter", 1, 2),
            ("a", 1, 15),
            ("a.filter", 2, 3),
            ("a.filter[0]", 2, 15),
            ("a.filter[1]", 3, 2),
            ("a.filter[1].x", 3, 11),
            ("a.filter[7].x", 2, 3),
            ("a.b", 3, 21),
            ("a.none", 1, 15),
            ("a.b.c", 3, 21),
            ("c", 4, 11),
            ("none", 1, 1),
            ("(body)", 1, 1),
            ("", 1, 1),
        ] {
            assert_eq!(
                member_place(text, path),
                TextPlace { line, column },
                "{path}"
            );
        }
        for text in ["", "no JSON", "[1]", "7"] {
            assert_eq!(member_place(text, "a.b"), TextPlace::BEGIN, "{text}");
        }
    }
}
