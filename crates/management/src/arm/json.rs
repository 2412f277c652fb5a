//! Request bodies: JSON without surprises, and typed looks into it.
//!
//! Members that nobody knows are passed over, as ARM does; a member that stands twice is refused, since
//! nobody could say which was meant.

use super::error::Error;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;
use twinroute_model::secret::repeated;

/// Reads a body.
///
/// # Errors
/// [`Error::NotJson`] with line and column.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error::NotJson {
        reason: format!("is not UTF-8 from byte {} on", error.valid_up_to()),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strict: Strict = serde_json::from_str(text).map_err(|error| Error::NotJson {
        reason: error.to_string(),
    })?;
    Ok(strict.0)
}

/// A value in which no object has a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
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
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
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

/// An object of a body, with the path that errors name. A missing one has no members.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    members: Option<&'a Map<String, Value>>,
    path: String,
}

impl<'a> Object<'a> {
    /// The body itself.
    ///
    /// # Errors
    /// When it is no object.
    pub(crate) fn body(value: &'a Value) -> Result<Self, Error> {
        match value {
            Value::Object(members) => Ok(Self {
                members: Some(members),
                path: String::new(),
            }),
            other => Err(wrong("(body)", "an object", other)),
        }
    }

    /// Whether it was there at all.
    pub(crate) fn is_there(&self) -> bool {
        self.members.is_some()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// A member as it is, null included.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name)
    }

    /// A member that is not null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.raw(name).filter(|value| !value.is_null())
    }

    pub(crate) fn object(&self, name: &str) -> Result<Self, Error> {
        let path = self.path(name);
        let members = match self.get(name) {
            None => None,
            Some(Value::Object(members)) => Some(members),
            Some(other) => return Err(wrong(&path, "an object", other)),
        };
        Ok(Self { members, path })
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.path(name), "a string", other)),
        }
    }

    /// # Errors
    /// When it is missing, too.
    pub(crate) fn required_text(&self, name: &str) -> Result<&'a str, Error> {
        let text = self.text(name)?;
        text.ok_or_else(|| Error::MissingMember {
            path: self.path(name),
        })
    }

    /// One of several words, compared without case as ARM does; given back as it is published.
    pub(crate) fn word(
        &self,
        name: &str,
        words: &'static [&'static str],
    ) -> Result<Option<&'static str>, Error> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
        word.copied().map(Some).ok_or_else(|| Error::Invalid {
            target: self.path(name),
            rule: format!(
                "must be one of {}, not {}",
                words.join(", "),
                repeated(text)
            ),
        })
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong(&self.path(name), "true or false", other)),
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
            Some(other) => Err(wrong(&self.path(name), "a whole number", other)),
        }
    }

    /// An array of objects; none when it is missing.
    pub(crate) fn objects(&self, name: &str) -> Result<Option<Vec<Self>>, Error> {
        let path = self.path(name);
        let items = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(&path, "an array", other)),
        };
        let objects = items.iter().enumerate().map(|(index, item)| {
            let path = format!("{path}[{index}]");
            match item {
                Value::Object(members) => Ok(Self {
                    members: Some(members),
                    path,
                }),
                other => Err(wrong(&path, "an object", other)),
            }
        });
        objects.collect::<Result<_, _>>().map(Some)
    }

    /// All members, with their values.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let members = self.members.into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), value))
    }
}

fn wrong(path: &str, wanted: &'static str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::WrongType {
        path: path.to_owned(),
        wanted,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_body_that_could_be_read_in_two_ways_is_refused() {
        assert!(refusal(br#"{"a":{"b":1,"b":2}}"#).contains("\"b\" stands twice"));
        assert!(refusal(b"{\"a\":\xff}").contains("not UTF-8 from byte 5"));
        assert!(refusal(b"{").contains("line 1 column 1"));
        assert!(refusal("[".repeat(100_000).as_bytes()).contains("recursion limit"));
        assert_eq!(read(b"\xef\xbb\xbf{}").unwrap(), serde_json::json!({}));
    }

    #[test]
    fn members_are_looked_at_by_type_and_named_by_path() {
        let body =
            serde_json::json!({ "a": { "n": 1, "w": "PASS", "list": [{}, 2], "nil": null } });
        let object = Object::body(&body).unwrap().object("a").unwrap();
        assert_eq!(object.integer("n").unwrap(), Some(1));
        assert_eq!(object.word("w", &["Fail", "Pass"]).unwrap(), Some("Pass"));
        assert_eq!(object.text("nil").unwrap(), None);
        for (error, expect) in [
            (object.text("n").unwrap_err(), "a.n"),
            (object.objects("list").unwrap_err(), "a.list[1]"),
            (object.required_text("x").unwrap_err(), "a.x"),
            (
                object.word("w", &["Fail"]).unwrap_err(),
                "must be one of Fail",
            ),
        ] {
            assert!(error.to_string().contains(expect), "{error}");
        }
    }

    proptest! {
        #[test]
        fn reading_agrees_with_serde_where_no_member_is_twice(text in "[\\[\\]{}:,\"a0-9. ntrue-]{0,30}") {
            if let Ok(value) = read(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
