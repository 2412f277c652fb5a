//! JSON documents of definitions: read strictly, and zeroed when they are dropped, since they may hold secrets.

use crate::json_place::TextPlace;
use crate::pasted;
use crate::secret::without_value;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;
use zeroize::Zeroize as _;

/// A JSON document. Its texts are zeroed when it is dropped, and `Debug` shows none of it.
pub struct JsonDocument(Value);

/// Why a text is no document. Holds nothing of its values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct JsonError {
    reason: String,
    /// Where, as far as that is known.
    pub place: Option<TextPlace>,
}

/// What a value is, as an error says it: `a number`.
#[must_use]
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl JsonDocument {
    /// Reads UTF-8, with or without a byte order mark. A member that stands twice is refused: nobody could say
    /// which was meant. Depth is bounded by serde's 128.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|error| JsonError {
            reason: format!("is not UTF-8 from byte {} on", error.valid_up_to()),
            place: None,
        })?;
        let strict: StrictValue =
            serde_json::from_str(pasted::without_mark(text)).map_err(|error| JsonError {
                reason: without_value(&error.to_string()),
                place: Some(TextPlace {
                    line: error.line().max(1),
                    column: error.column().max(1),
                }),
            })?;
        Ok(Self(strict.0))
    }

    /// Takes a value over.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// All of it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Its members, if it is an object.
    #[must_use]
    pub fn object(&self) -> Option<&Map<String, Value>> {
        self.0.as_object()
    }
}

impl fmt::Debug for JsonDocument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Document(***)")
    }
}

impl Drop for JsonDocument {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Zeroes all texts.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A value in which no object has a member twice.
struct StrictValue(Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let StrictValue(value) = members.next_value()?;
            if object.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format_args!(
                    "member {name:?} stands twice"
                )));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_that_could_be_read_in_two_ways_is_refused() {
        let refusal = |bytes: &[u8]| JsonDocument::read(bytes).unwrap_err().to_string();
        assert!(refusal(br#"{"a":{"b":1,"b":2}}"#).contains("\"b\" stands twice"));
        assert!(refusal(b"{\"a\":\xff}").contains("not UTF-8 from byte 5"));
        assert!(refusal(b"{").contains("line 1 column 1"));
        assert!(refusal("[".repeat(100_000).as_bytes()).contains("recursion limit"));
        let marked = JsonDocument::read(b"\xef\xbb\xbf{}").unwrap();
        assert_eq!(marked.value(), &serde_json::json!({}));
    }

    #[test]
    fn debug_shows_nothing() {
        let document = JsonDocument::new(serde_json::json!({ "key": "marked" }));
        assert!(!format!("{document:?}").contains("marked"));
    }

    proptest! {
        #[test]
        fn reading_agrees_with_serde_where_no_member_is_twice(text in "[\\[\\]{}:,\"a0-9. ntrue-]{0,30}") {
            if let Ok(document) = JsonDocument::read(text.as_bytes()) {
                prop_assert_eq!(document.value(), &serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
