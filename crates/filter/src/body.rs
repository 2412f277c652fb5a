//! The members of an event's data that filters ask for, read in one pass.
//!
//! [`BodyPaths`] joins the `$body` paths of all filters of a table into one tree of names.
//! [`extract`] walks the JSON text once along that tree: what no filter asks for is skipped,
//! nothing is built for it, and strings are borrowed from the text unless they hold escapes.
//!
//! Where a member occurs twice in one object the last one counts, as it does for most readers of
//! JSON.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::value::FieldValue;

/// A place in the data: the number of its node in [`BodyPaths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BodySlot(u32);

impl BodySlot {
    /// The data as a whole.
    pub(crate) const ROOT: Self = Self(0);
}

/// The tree of all asked-for paths. A parent has a smaller number than its children.
#[derive(Debug, Clone)]
pub(crate) struct BodyPaths {
    nodes: Vec<PathNode>,
}

#[derive(Debug, Clone)]
struct PathNode {
    parent: BodySlot,
    /// Sorted by name.
    members: Vec<(Box<str>, BodySlot)>,
}

impl BodyPaths {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![PathNode {
                parent: BodySlot::ROOT,
                members: Vec::new(),
            }],
        }
    }

    /// The slot of a path below `$body`, its names joined by dots; new if nobody asked before.
    pub(crate) fn intern(&mut self, path: &str) -> BodySlot {
        let mut slot = BodySlot::ROOT;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            slot = self.intern_member(slot, name);
        }
        slot
    }

    fn intern_member(&mut self, parent: BodySlot, name: &str) -> BodySlot {
        match self.position(parent, name.as_bytes()) {
            Ok(index) => self.node(parent).members[index].1,
            Err(index) => {
                let number = u32::try_from(self.nodes.len()).expect("a table has fewer paths");
                let slot = BodySlot(number);
                self.nodes.push(PathNode {
                    parent,
                    members: Vec::new(),
                });
                self.nodes[parent.0 as usize]
                    .members
                    .insert(index, (name.into(), slot));
                slot
            }
        }
    }

    /// The slot of a member, if some path goes through it.
    pub(crate) fn member(&self, parent: BodySlot, name: &[u8]) -> Option<BodySlot> {
        let index = self.position(parent, name).ok()?;
        Some(self.node(parent).members[index].1)
    }

    fn position(&self, parent: BodySlot, name: &[u8]) -> Result<usize, usize> {
        self.node(parent)
            .members
            .binary_search_by(|(member, _)| member.as_bytes().cmp(name))
    }

    fn node(&self, slot: BodySlot) -> &PathNode {
        &self.nodes[slot.0 as usize]
    }
}

/// What was found of a set of [`BodyPaths`]; sorted by slot.
#[derive(Debug, Default)]
pub(crate) struct ExtractedValues<'json> {
    found: Vec<FoundValue<'json>>,
}

#[derive(Debug)]
struct FoundValue<'json> {
    slot: BodySlot,
    /// Which visit this was; they are counted from 1.
    visit: u32,
    /// The visit of the object around it.
    parent_visit: u32,
    value: ScalarValue<'json>,
}

#[derive(Debug)]
enum ScalarValue<'json> {
    Plain(FieldValue<'json>),
    Text(Cow<'json, str>),
}

impl ExtractedValues<'_> {
    /// The value at `slot`.
    pub(crate) fn get(&self, slot: BodySlot) -> Option<FieldValue<'_>> {
        let index = self
            .found
            .binary_search_by_key(&slot, |found| found.slot)
            .ok()?;
        match &self.found[index].value {
            ScalarValue::Plain(value) => Some(*value),
            ScalarValue::Text(text) => Some(FieldValue::Text(text)),
        }
    }
}

/// Reads what `paths` ask for from `json`; nothing at all if that is no JSON.
pub(crate) fn extract<'json>(paths: &BodyPaths, json: &'json str) -> ExtractedValues<'json> {
    let extracted = BodyWalk::extract(paths, json, ReadCare::Quick);
    let extracted = extracted.or_else(|_| BodyWalk::extract(paths, json, ReadCare::Careful));
    extracted.unwrap_or_default()
}

/// How values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadCare {
    /// Each value at once. A number beyond a double and half a surrogate pair are JSON, but no
    /// value of ours, and end the reading.
    Quick,
    /// The text of each value first, so that one filter's odd value does not hide the others'.
    Careful,
}

struct BodyWalk<'paths, 'json> {
    paths: &'paths BodyPaths,
    care: ReadCare,
    found: Vec<FoundValue<'json>>,
    visits: u32,
}

impl<'paths, 'json> BodyWalk<'paths, 'json> {
    fn extract(
        paths: &'paths BodyPaths,
        json: &'json str,
        care: ReadCare,
    ) -> Result<ExtractedValues<'json>, serde_json::Error> {
        let mut walk = Self {
            paths,
            care,
            found: Vec::new(),
            visits: 0,
        };
        let mut reader = serde_json::Deserializer::from_str(json);
        let seed = SlotReader {
            walk: &mut walk,
            slot: BodySlot::ROOT,
            parent_visit: 0,
        };
        seed.deserialize(&mut reader)?;
        reader.end()?;
        walk.settle();
        Ok(ExtractedValues { found: walk.found })
    }

    fn push(&mut self, slot: BodySlot, parent_visit: u32, value: ScalarValue<'json>) -> u32 {
        // More finds than places: members repeat. Dropping what is overwritten keeps this bounded.
        if self.found.len() > 2 * self.paths.nodes.len() + 16 {
            self.settle();
        }
        self.visits += 1;
        self.found.push(FoundValue {
            slot,
            visit: self.visits,
            parent_visit,
            value,
        });
        self.visits
    }

    /// Sorts the finds and drops those that a repeated member has overwritten.
    fn settle(&mut self) {
        let total = self.found.len();
        self.found
            .sort_unstable_by_key(|found| (found.slot, Reverse(found.visit)));
        self.found.dedup_by_key(|found| found.slot);
        if self.found.len() == total {
            return;
        }
        // What was found inside an earlier occurrence of a repeated member is gone with it.
        let mut kept: Vec<FoundValue<'json>> = Vec::with_capacity(self.found.len());
        for found in self.found.drain(..) {
            let parent = self.paths.node(found.slot).parent;
            let parent = kept.binary_search_by_key(&parent, |kept| kept.slot);
            let alive = parent.is_ok_and(|index| kept[index].visit == found.parent_visit);
            if alive || found.slot == BodySlot::ROOT {
                kept.push(found);
            }
        }
        self.found = kept;
    }
}

/// Reads the value at one slot.
struct SlotReader<'walk, 'paths, 'json> {
    walk: &'walk mut BodyWalk<'paths, 'json>,
    slot: BodySlot,
    parent_visit: u32,
}

impl<'json> SlotReader<'_, '_, 'json> {
    fn read_careful(self, text: &'json str) -> Result<(), serde_json::Error> {
        match text.as_bytes().first() {
            Some(b'"') => serde_json::Deserializer::from_str(text).deserialize_bytes(self),
            Some(b'-' | b'0'..=b'9') => match text.parse::<i64>() {
                Ok(value) => self.put(FieldValue::Int(value)),
                // Infinite if it is larger than a double can be.
                Err(_) => self.put(FieldValue::Double(text.parse().unwrap_or(f64::NAN))),
            },
            _ => serde_json::Deserializer::from_str(text).deserialize_any(self),
        }
    }

    fn put<E>(self, value: FieldValue<'json>) -> Result<(), E> {
        self.walk
            .push(self.slot, self.parent_visit, ScalarValue::Plain(value));
        Ok(())
    }
}

impl<'json> DeserializeSeed<'json> for SlotReader<'_, '_, 'json> {
    type Value = ();

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<(), D::Error> {
        match self.walk.care {
            ReadCare::Quick => reader.deserialize_any(self),
            ReadCare::Careful => {
                let text = <&RawValue>::deserialize(reader)?.get();
                self.read_careful(text).map_err(D::Error::custom)
            }
        }
    }
}

impl<'json> Visitor<'json> for SlotReader<'_, '_, 'json> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(FieldValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(FieldValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(FieldValue::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(FieldValue::Double(value as f64), FieldValue::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(FieldValue::Double(value))
    }

    fn visit_borrowed_str<E>(self, text: &'json str) -> Result<(), E> {
        self.put(FieldValue::Text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let text = ScalarValue::Text(Cow::Owned(text.to_owned()));
        self.walk.push(self.slot, self.parent_visit, text);
        Ok(())
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.visit_str(&String::from_utf8_lossy(bytes))
    }

    fn visit_seq<A: SeqAccess<'json>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.put(FieldValue::Array)
    }

    fn visit_map<A: MapAccess<'json>>(self, mut members: A) -> Result<(), A::Error> {
        let Self {
            walk,
            slot,
            parent_visit,
        } = self;
        let visit = walk.push(slot, parent_visit, ScalarValue::Plain(FieldValue::Object));
        if walk.paths.node(slot).members.is_empty() {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some(member) = members.next_key_seed(MemberName {
            paths: walk.paths,
            slot,
        })? {
            match member {
                Some(slot) => {
                    members.next_value_seed(SlotReader {
                        walk,
                        slot,
                        parent_visit: visit,
                    })?;
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Reads a member's name as the slot that asks for it.
struct MemberName<'paths> {
    paths: &'paths BodyPaths,
    slot: BodySlot,
}

impl<'json> DeserializeSeed<'json> for MemberName<'_> {
    type Value = Option<BodySlot>;

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<Option<BodySlot>, D::Error> {
        // As bytes, because a name may hold half a surrogate pair.
        reader.deserialize_bytes(self)
    }
}

impl Visitor<'_> for MemberName<'_> {
    type Value = Option<BodySlot>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Option<BodySlot>, E> {
        Ok(self.paths.member(self.slot, name))
    }
}

/// A member of the object at `path` whose name is `name` but for case; for explanations.
pub(crate) fn member_like(json: &str, path: &[&str], name: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    NameLikeness { path, name }
        .deserialize(&mut reader)
        .ok()
        .flatten()
}

#[derive(Clone, Copy)]
struct NameLikeness<'a> {
    path: &'a [&'a str],
    name: &'a str,
}

impl<'json> DeserializeSeed<'json> for NameLikeness<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'json> Visitor<'json> for NameLikeness<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'json>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut like = None;
        while let Some(member) = members.next_key::<Cow<'_, str>>()? {
            match self.path.split_first() {
                Some((first, path)) if *member == **first => {
                    like = members.next_value_seed(NameLikeness { path, ..self })?;
                    continue;
                }
                None if member.to_lowercase() == self.name.to_lowercase() => {
                    like = Some(member.into_owned());
                }
                _ => {}
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(like)
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
