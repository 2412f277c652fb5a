//! Objects of a definition's body, brought to one form before anything reads them.
//!
//! However a body came (PUT, PATCH, a file, a listing of Azure's), a member that is absent, null or empty is one
//! thing; texts are free of what pasting puts around them; words of closed sets are as they are published. So no
//! reader judges these member by member, or otherwise than another.

use crate::endpoint::FieldError;
use crate::json::json_type;
use crate::pasted;
use crate::secret::repeated;
use crate::words;
use serde_json::{Map, Value};

/// How a source writes the names of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberSpelling {
    /// As published. Another case is a slip, which is named.
    Published,
    /// In any case: recorded answers of Azure differ in it.
    AnyCase,
}

/// An object with the path that errors name. One that is absent, null or empty has no members.
#[derive(Clone)]
pub struct BodyObject<'a> {
    path: String,
    members: Vec<(&'a str, &'a Value)>,
    known: &'static [&'static str],
    spelling: MemberSpelling,
}

impl<'a> BodyObject<'a> {
    /// The object at `path`, of which the members `known` are read.
    #[must_use]
    pub fn new(
        path: &str,
        members: Option<&'a Map<String, Value>>,
        known: &'static [&'static str],
        spelling: MemberSpelling,
    ) -> Self {
        let given = members.into_iter().flatten();
        let given = given.filter(|(_, value)| !is_empty(value));
        Self {
            path: path.to_owned(),
            members: given.map(|(name, value)| (name.as_str(), value)).collect(),
            known,
            spelling,
        }
    }

    /// Whether anything is in it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.members.is_empty()
    }

    /// The path of a member.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A member that has a value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let exact = self.members.iter().find(|(given, _)| *given == name);
        let other = || {
            let mut members = self.members.iter();
            members.find(|(given, _)| given.eq_ignore_ascii_case(name))
        };
        let found = match self.spelling {
            MemberSpelling::Published => exact,
            MemberSpelling::AnyCase => exact.or_else(other),
        };
        found.map(|(_, value)| *value)
    }

    /// A text, cleaned; nothing when it is absent, null or empty.
    pub fn text(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<&'a str> {
        match self.get(name)? {
            Value::String(text) => Some(pasted::clean(text)),
            other => {
                errors.push(self.wrong_type(name, "a string", other));
                None
            }
        }
    }

    /// One of several words, in any case; given back as it is published.
    pub fn word(
        &self,
        name: &str,
        published: &[&'static str],
        errors: &mut Vec<FieldError>,
    ) -> Option<&'static str> {
        let text = self.text(name, errors)?;
        let known = published
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text));
        if known.is_none() {
            let rule = not_one_of(text, published);
            errors.push(FieldError::new(&self.path(name), rule));
        }
        known.copied()
    }

    /// An object in it.
    pub fn object(
        &self,
        name: &str,
        known: &'static [&'static str],
        errors: &mut Vec<FieldError>,
    ) -> Self {
        let members = match self.get(name) {
            None => None,
            Some(Value::Object(members)) => Some(members),
            Some(other) => {
                errors.push(self.wrong_type(name, "an object", other));
                None
            }
        };
        Self::new(&self.path(name), members, known, self.spelling)
    }

    fn wrong_type(&self, name: &str, wanted: &str, found: &Value) -> FieldError {
        let rule = format!("must be {wanted}, not {}", json_type(found));
        FieldError::new(&self.path(name), rule)
    }

    /// Members that are not known, with their values.
    pub fn unknown(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let known = |name: &str| {
            self.known.iter().any(|known| match self.spelling {
                MemberSpelling::Published => *known == name,
                MemberSpelling::AnyCase => known.eq_ignore_ascii_case(name),
            })
        };
        let members = self.members.iter().copied();
        members.filter(move |(name, _)| !known(name))
    }

    /// The unknown member that is most likely meant for `name`.
    #[must_use]
    pub fn misspelt(&self, name: &str) -> Option<&'a str> {
        let mut unknown = self.unknown().map(|(given, _)| given);
        unknown.find(|given| words::nearest(given, self.absent()) == Some(name))
    }

    /// Refuses every unknown member by name.
    pub fn refuse_unknown(&self, errors: &mut Vec<FieldError>) {
        for (name, _) in self.unknown() {
            let rule = match words::nearest(name, self.absent()) {
                Some(near) => format!("is not known here; did you mean `{near}`?"),
                None => format!("is not known here; known are {}", self.known.join(", ")),
            };
            errors.push(FieldError::new(&self.path(&quote_name(name)), rule));
        }
    }

    /// Refuses members that are known but for their case: kept as they are, they would be without effect.
    pub fn refuse_other_case(&self, errors: &mut Vec<FieldError>) {
        for (name, _) in self.unknown() {
            let mut known = self.known.iter();
            if let Some(known) = known.find(|known| known.eq_ignore_ascii_case(name)) {
                let rule = format!("is not known here; did you mean `{known}`?");
                errors.push(FieldError::new(&self.path(&quote_name(name)), rule));
            }
        }
    }

    /// Says that a member is missing, unless an unknown one that is meant for it is refused already.
    pub fn missing(&self, name: &str, rule: &str, errors: &mut Vec<FieldError>) {
        let misspelt = self.misspelt(name);
        let path = misspelt.map(|given| self.path(&quote_name(given)));
        if path.is_some_and(|path| errors.iter().any(|error| error.field == path)) {
            return;
        }
        let rule = match misspelt {
            Some(given) => format!("{rule}; did you mean it by `{}`?", quote_name(given)),
            None => rule.to_owned(),
        };
        errors.push(FieldError::new(&self.path(name), rule));
    }

    /// Known members that are not there: what a misspelt one may be meant for.
    fn absent(&self) -> impl Iterator<Item = &'static str> {
        let there = |name: &str| self.members.iter().any(|(given, _)| *given == name);
        let known = self.known.iter().copied();
        known.filter(move |name| !there(name))
    }
}

/// Whether a value is none: null, a text of blanks, or an object without any value.
#[must_use]
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => pasted::clean(text).is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

/// That a word is none of a closed set, and which it may be meant for.
#[must_use]
pub fn not_one_of(word: &str, published: &[&'static str]) -> String {
    let all = match published {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    };
    let near = words::hint(word, published.iter().copied());
    format!("must be {all}, not {}{near}", repeated(word))
}

/// A member's name as an error shows it.
fn quote_name(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    let plain = name.chars().take(CHARS_MAX);
    plain
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[&str] = &["topicEndpoint", "accessKey1", "identity"];

    fn object(value: &Value, spelling: MemberSpelling) -> BodyObject<'_> {
        BodyObject::new("properties", value.as_object(), KNOWN, spelling)
    }

    #[test]
    fn absent_null_and_empty_are_one() {
        for value in [
            json!({}),
            json!({ "identity": null }),
            json!({ "identity": {} }),
            json!({ "identity": { "type": " ", "id": { "x": null } } }),
            json!({ "accessKey1": "\n" }),
        ] {
            let mut errors = Vec::new();
            let read = object(&value, MemberSpelling::Published);
            assert!(!read.is_there(), "{value}");
            assert_eq!(read.text("accessKey1", &mut errors), None);
            assert!(!read.object("identity", &[], &mut errors).is_there());
            assert_eq!(errors, []);
        }
    }

    #[test]
    fn a_slip_is_one_error_that_says_what_was_meant() {
        let value = json!({ "TopicEndpoint": "x", "acessKey1": "y", "more": 1 });
        let read = object(&value, MemberSpelling::Published);
        let mut errors = Vec::new();
        read.refuse_unknown(&mut errors);
        for name in ["topicEndpoint", "accessKey1"] {
            read.missing(name, "required, but missing", &mut errors);
        }
        let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "`properties.TopicEndpoint`: is not known here; did you mean `topicEndpoint`?",
                "`properties.acessKey1`: is not known here; did you mean `accessKey1`?",
                "`properties.more`: is not known here; known are topicEndpoint, accessKey1, identity",
            ]
        );
        let mut errors = Vec::new();
        read.missing("accessKey1", "required, but missing", &mut errors);
        assert_eq!(
            errors[0].rule,
            "required, but missing; did you mean it by `acessKey1`?"
        );
        let any = object(&value, MemberSpelling::AnyCase);
        assert_eq!(any.text("topicEndpoint", &mut errors), Some("x"));
    }

    #[test]
    fn words_are_published_ones_or_the_nearest_is_named() {
        let value = json!({ "identity": " usserAssigned" , "accessKey1": "SYSTEMASSIGNED" });
        let read = object(&value, MemberSpelling::Published);
        let mut errors = Vec::new();
        let words = ["SystemAssigned", "UserAssigned"];
        assert_eq!(
            read.word("accessKey1", &words, &mut errors),
            Some("SystemAssigned")
        );
        assert_eq!(read.word("identity", &words, &mut errors), None);
        assert_eq!(
            errors[0].rule,
            "must be SystemAssigned or UserAssigned, not \"usserAssigned\"; did you mean UserAssigned?"
        );
    }
}
