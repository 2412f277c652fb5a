//! Request bodies: typed looks into them.
//!
//! Whatever a member is for, absent, null and empty are one, as in [`twinroute_model::body`].

use super::error::Error;
use serde_json::{Map, Value};
use twinroute_model::json::{JsonDocument, json_type};
use twinroute_model::pasted;
use twinroute_model::secret::repeated;
use twinroute_model::words;

/// Reads a body.
///
/// # Errors
/// [`Error::NotJson`] with line and column.
pub(crate) fn read(bytes: &[u8]) -> Result<JsonDocument, Error> {
    JsonDocument::read(bytes).map_err(|error| Error::NotJson {
        reason: error.to_string(),
    })
}

/// An object of a body, with the path that errors name. A missing one has no members.
#[derive(Clone, Debug)]
pub(crate) struct ArmObject<'a> {
    members: Option<&'a Map<String, Value>>,
    path: String,
}

impl<'a> ArmObject<'a> {
    /// The body itself.
    ///
    /// # Errors
    /// When it is no object.
    pub(crate) fn body(document: &'a JsonDocument) -> Result<Self, Error> {
        match document.value() {
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

    /// A text without what pasting puts around it; nothing when it is absent, null or empty.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        let text = self.exact_text(name)?.map(pasted::clean);
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A text as it was given, which may be empty.
    pub(crate) fn exact_text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.path(name), "a string", other)),
        }
    }

    /// As [`Self::exact_text`].
    ///
    /// # Errors
    /// When it is missing, too.
    pub(crate) fn required_exact_text(&self, name: &str) -> Result<&'a str, Error> {
        self.exact_text(name)?.ok_or_else(|| self.missing(name))
    }

    /// # Errors
    /// When it is missing or empty, too.
    pub(crate) fn required_text(&self, name: &str) -> Result<&'a str, Error> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// As [`Self::word`].
    ///
    /// # Errors
    /// When it is missing or empty, too.
    pub(crate) fn required_word(
        &self,
        name: &str,
        published: &'static [&'static str],
    ) -> Result<&'static str, Error> {
        self.word(name, published)?
            .ok_or_else(|| self.missing(name))
    }

    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingMember {
            path: self.path(name),
        }
    }

    /// One of several words, compared without case as ARM does; given back as it is published.
    pub(crate) fn word(
        &self,
        name: &str,
        published: &'static [&'static str],
    ) -> Result<Option<&'static str>, Error> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let word = published
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text));
        word.copied().map(Some).ok_or_else(|| Error::Invalid {
            target: self.path(name),
            rule: format!(
                "must be one of {}, not {}{}",
                published.join(", "),
                repeated(text),
                words::hint(text, published.iter().copied())
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

    /// Members that are not `known`, with a value.
    pub(crate) fn unknown(&self, known: &[&str]) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let unknown = |name: &str| !known.contains(&name);
        let members = self
            .members()
            .filter(|(name, value)| unknown(name) && !value.is_null());
        members.collect::<Vec<_>>().into_iter()
    }

    /// All members, with their values.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let members = self.members.into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), value))
    }
}

fn wrong(path: &str, wanted: &'static str, found: &Value) -> Error {
    Error::WrongType {
        path: path.to_owned(),
        wanted,
        found: json_type(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_looked_at_by_type_and_named_by_path() {
        let body = serde_json::json!({ "a": { "n": 1, "w": "PASS", "list": [{}, 2], "nil": null, "empty": " " } });
        let body = JsonDocument::new(body);
        let object = ArmObject::body(&body).unwrap().object("a").unwrap();
        assert_eq!(object.integer("n").unwrap(), Some(1));
        assert_eq!(object.word("w", &["Fail", "Pass"]).unwrap(), Some("Pass"));
        assert_eq!(object.text("nil").unwrap(), None);
        assert_eq!(object.text("empty").unwrap(), None);
        assert_eq!(object.exact_text("empty").unwrap(), Some(" "));
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
}
