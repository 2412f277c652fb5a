//! The members of an event's data that filters ask for, read in one pass.
//!
//! [`Paths`] joins the `$body` paths of all filters of a table into one tree of names.
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

use crate::value::Value;

/// A place in the data: the number of its node in [`Paths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The data as a whole.
    pub(crate) const ROOT: Self = Self(0);
}

/// The tree of all asked-for paths. A parent has a smaller number than its children.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
struct Node {
    parent: Slot,
    /// Sorted by name.
    members: Vec<(Box<str>, Slot)>,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![Node {
                parent: Slot::ROOT,
                members: Vec::new(),
            }],
        }
    }

    /// The slot of a path below `$body`, its names joined by dots; new if nobody asked before.
    pub(crate) fn intern(&mut self, path: &str) -> Slot {
        let mut slot = Slot::ROOT;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            slot = self.intern_member(slot, name);
        }
        slot
    }

    fn intern_member(&mut self, parent: Slot, name: &str) -> Slot {
        match self.position(parent, name.as_bytes()) {
            Ok(index) => self.node(parent).members[index].1,
            Err(index) => {
                let number = u32::try_from(self.nodes.len()).expect("a table has fewer paths");
                let slot = Slot(number);
                self.nodes.push(Node {
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
    pub(crate) fn member(&self, parent: Slot, name: &[u8]) -> Option<Slot> {
        let index = self.position(parent, name).ok()?;
        Some(self.node(parent).members[index].1)
    }

    fn position(&self, parent: Slot, name: &[u8]) -> Result<usize, usize> {
        self.node(parent)
            .members
            .binary_search_by(|(member, _)| member.as_bytes().cmp(name))
    }

    fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot.0 as usize]
    }
}

/// What was found of a set of [`Paths`]; sorted by slot.
#[derive(Debug, Default)]
pub(crate) struct Extracted<'json> {
    found: Vec<Found<'json>>,
}

#[derive(Debug)]
struct Found<'json> {
    slot: Slot,
    /// Which visit this was; they are counted from 1.
    visit: u32,
    /// The visit of the object around it.
    parent_visit: u32,
    value: Scalar<'json>,
}

#[derive(Debug)]
enum Scalar<'json> {
    Plain(Value<'json>),
    Text(Cow<'json, str>),
}

impl Extracted<'_> {
    /// The value at `slot`.
    pub(crate) fn get(&self, slot: Slot) -> Option<Value<'_>> {
        let index = self
            .found
            .binary_search_by_key(&slot, |found| found.slot)
            .ok()?;
        match &self.found[index].value {
            Scalar::Plain(value) => Some(*value),
            Scalar::Text(text) => Some(Value::Text(text)),
        }
    }
}

/// Reads what `paths` ask for from `json`; nothing at all if that is no JSON.
pub(crate) fn extract<'json>(paths: &Paths, json: &'json str) -> Extracted<'json> {
    let extracted = Walk::extract(paths, json, Care::Quick);
    let extracted = extracted.or_else(|_| Walk::extract(paths, json, Care::Careful));
    extracted.unwrap_or_default()
}

/// How values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Each value at once. A number beyond a double and half a surrogate pair are JSON, but no
    /// value of ours, and end the reading.
    Quick,
    /// The text of each value first, so that one filter's odd value does not hide the others'.
    Careful,
}

struct Walk<'paths, 'json> {
    paths: &'paths Paths,
    care: Care,
    found: Vec<Found<'json>>,
    visits: u32,
}

impl<'paths, 'json> Walk<'paths, 'json> {
    fn extract(
        paths: &'paths Paths,
        json: &'json str,
        care: Care,
    ) -> Result<Extracted<'json>, serde_json::Error> {
        let mut walk = Self {
            paths,
            care,
            found: Vec::new(),
            visits: 0,
        };
        let mut reader = serde_json::Deserializer::from_str(json);
        let seed = Step {
            walk: &mut walk,
            slot: Slot::ROOT,
            parent_visit: 0,
        };
        seed.deserialize(&mut reader)?;
        reader.end()?;
        walk.settle();
        Ok(Extracted { found: walk.found })
    }

    fn push(&mut self, slot: Slot, parent_visit: u32, value: Scalar<'json>) -> u32 {
        // More finds than places: members repeat. Dropping what is overwritten keeps this bounded.
        if self.found.len() > 2 * self.paths.nodes.len() + 16 {
            self.settle();
        }
        self.visits += 1;
        self.found.push(Found {
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
        let mut kept: Vec<Found<'json>> = Vec::with_capacity(self.found.len());
        for found in self.found.drain(..) {
            let parent = self.paths.node(found.slot).parent;
            let parent = kept.binary_search_by_key(&parent, |kept| kept.slot);
            let alive = parent.is_ok_and(|index| kept[index].visit == found.parent_visit);
            if alive || found.slot == Slot::ROOT {
                kept.push(found);
            }
        }
        self.found = kept;
    }
}

/// Reads the value at one slot.
struct Step<'walk, 'paths, 'json> {
    walk: &'walk mut Walk<'paths, 'json>,
    slot: Slot,
    parent_visit: u32,
}

impl<'json> Step<'_, '_, 'json> {
    fn read_careful(self, text: &'json str) -> Result<(), serde_json::Error> {
        match text.as_bytes().first() {
            Some(b'"') => serde_json::Deserializer::from_str(text).deserialize_bytes(self),
            Some(b'-' | b'0'..=b'9') => match text.parse::<i64>() {
                Ok(value) => self.put(Value::Int(value)),
                // Infinite if it is larger than a double can be.
                Err(_) => self.put(Value::Double(text.parse().unwrap_or(f64::NAN))),
            },
            _ => serde_json::Deserializer::from_str(text).deserialize_any(self),
        }
    }

    fn put<E>(self, value: Value<'json>) -> Result<(), E> {
        self.walk
            .push(self.slot, self.parent_visit, Scalar::Plain(value));
        Ok(())
    }
}

impl<'json> DeserializeSeed<'json> for Step<'_, '_, 'json> {
    type Value = ();

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<(), D::Error> {
        match self.walk.care {
            Care::Quick => reader.deserialize_any(self),
            Care::Careful => {
                let text = <&RawValue>::deserialize(reader)?.get();
                self.read_careful(text).map_err(D::Error::custom)
            }
        }
    }
}

impl<'json> Visitor<'json> for Step<'_, '_, 'json> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Value::Double(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(Value::Double(value))
    }

    fn visit_borrowed_str<E>(self, text: &'json str) -> Result<(), E> {
        self.put(Value::Text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let text = Scalar::Text(Cow::Owned(text.to_owned()));
        self.walk.push(self.slot, self.parent_visit, text);
        Ok(())
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.visit_str(&String::from_utf8_lossy(bytes))
    }

    fn visit_seq<A: SeqAccess<'json>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.put(Value::Array)
    }

    fn visit_map<A: MapAccess<'json>>(self, mut members: A) -> Result<(), A::Error> {
        let Self {
            walk,
            slot,
            parent_visit,
        } = self;
        let visit = walk.push(slot, parent_visit, Scalar::Plain(Value::Object));
        if walk.paths.node(slot).members.is_empty() {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some(member) = members.next_key_seed(Member {
            paths: walk.paths,
            slot,
        })? {
            match member {
                Some(slot) => {
                    members.next_value_seed(Step {
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
struct Member<'paths> {
    paths: &'paths Paths,
    slot: Slot,
}

impl<'json> DeserializeSeed<'json> for Member<'_> {
    type Value = Option<Slot>;

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<Option<Slot>, D::Error> {
        // As bytes, because a name may hold half a surrogate pair.
        reader.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Member<'_> {
    type Value = Option<Slot>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Option<Slot>, E> {
        Ok(self.paths.member(self.slot, name))
    }
}

/// A member of the object at `path` whose name is `name` but for case; for explanations.
pub(crate) fn member_like(json: &str, path: &[&str], name: &str) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Likeness { path, name }
        .deserialize(&mut reader)
        .ok()
        .flatten()
}

#[derive(Clone, Copy)]
struct Likeness<'a> {
    path: &'a [&'a str],
    name: &'a str,
}

impl<'json> DeserializeSeed<'json> for Likeness<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'json>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'json> Visitor<'json> for Likeness<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'json>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut like = None;
        while let Some(member) = members.next_key::<Cow<'_, str>>()? {
            match self.path.split_first() {
                Some((first, path)) if *member == **first => {
                    like = members.next_value_seed(Likeness { path, ..self })?;
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
