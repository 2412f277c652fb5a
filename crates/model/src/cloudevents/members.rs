//! The members of an event in JSON format: found in one walk, their values not yet looked at.

use crate::event::EventLimits;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The members of one event: raw JSON values, not yet looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EventMembers<'a> {
    pub(super) core: [Option<&'a str>; MEMBERS.len()],
    /// Few events have more than two.
    pub(super) extensions: SmallVec<[(Cow<'a, str>, &'a str); 2]>,
    /// More extensions than an event may have, and not kept.
    pub(super) too_many: bool,
    pub(super) duplicate: Option<String>,
    /// Whether a member is null.
    pub(super) has_null: bool,
    /// Whether a member is a string with an escape.
    pub(super) has_escape: bool,
}

pub(super) const MEMBERS: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "dataschema",
    "datacontenttype",
    "data",
    "data_base64",
];
pub(super) const SPECVERSION: usize = 0;
pub(super) const ID: usize = 1;
pub(super) const SOURCE: usize = 2;
pub(super) const TYPE: usize = 3;
pub(super) const SUBJECT: usize = 4;
pub(super) const TIME: usize = 5;
pub(super) const DATASCHEMA: usize = 6;
pub(super) const DATACONTENTTYPE: usize = 7;
pub(super) const DATA: usize = 8;
pub(super) const DATA_BASE64: usize = 9;

impl<'a> EventMembers<'a> {
    /// Takes in one more member.
    pub(super) fn add(&mut self, name: Cow<'a, str>, value: &'a str) {
        self.has_null |= value == "null";
        let twice = match MEMBERS.iter().position(|member| *member == name) {
            Some(member) => self.core[member].replace(value).is_some(),
            None if self.extensions.len() == EventLimits::EXTENSIONS_MAX => {
                self.too_many = true;
                false
            }
            None => {
                let twice = self.extensions.iter().any(|(known, _)| *known == name);
                self.extensions.push((name.clone(), value));
                twice
            }
        };
        if twice && self.duplicate.is_none() {
            self.duplicate = Some(name.into_owned());
        }
    }
}

impl<'de> Deserialize<'de> for EventMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = EventMembers<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = EventMembers::default();
        while let Some(MemberKey(key)) = map.next_key()? {
            let value = map.next_value::<&RawValue>()?.get();
            envelope.has_escape |= value.starts_with('"') && value.contains('\\');
            envelope.add(key, value);
        }
        Ok(envelope)
    }
}

/// A member name, borrowed unless it has escapes.
struct MemberKey<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for MemberKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor).map(MemberKey)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
