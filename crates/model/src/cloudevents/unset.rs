//! Members of a JSON object that are null, and so unset: the object without them.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The text of a JSON object without its members that are null, but for one named `kept`. Every byte of the other
/// members stays, and so do the blanks around them.
///
/// A text that is no JSON object comes back as it is.
pub(super) fn without_nulls(json: &str, kept: Option<&str>) -> String {
    let Ok(RawMembers(members)) = serde_json::from_str::<RawMembers<'_>>(json) else {
        return json.to_owned();
    };
    let places: Vec<RawMember> = members
        .iter()
        .map(|(name, value)| {
            let value_at = value.as_ptr() as usize - json.as_ptr() as usize;
            RawMember {
                place: name_start(json.as_bytes(), value_at)..value_at + value.len(),
                is_unset: *value == "null" && Some(&**name) != kept,
            }
        })
        .collect();
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return json.to_owned();
    };
    let mut text = json[..first.place.start].to_owned();
    let mut is_first = true;
    for (index, member) in places.iter().enumerate() {
        if member.is_unset {
            continue;
        }
        if !is_first {
            // From the member before, whether that stays or goes: the comma and the blanks around it.
            text.push_str(&json[places[index - 1].place.end..member.place.start]);
        }
        text.push_str(&json[member.place.clone()]);
        is_first = false;
    }
    text.push_str(&json[last.place.end..]);
    text
}

struct RawMember {
    /// From the quote of its name to the end of its value.
    place: Range<usize>,
    is_unset: bool,
}

/// Where the name of a member begins whose value begins at `value_at`.
fn name_start(json: &[u8], value_at: usize) -> usize {
    let before = |at: usize, is_end: &dyn Fn(usize) -> bool| {
        let mut at = at;
        loop {
            at -= 1;
            if is_end(at) {
                return at;
            }
        }
    };
    let closing = before(value_at, &|at| json[at] == b'"');
    // The name's own quotes are escaped; an odd number of backslashes stands before each.
    before(closing, &|at| {
        let escapes = json[..at].iter().rev().take_while(|byte| **byte == b'\\');
        json[at] == b'"' && escapes.count() % 2 == 0
    })
}

/// All members in their order: name and text of the value.
struct RawMembers<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = RawMembers<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            members.push((name, map.next_value::<&'de RawValue>()?.get()));
        }
        Ok(RawMembers(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn null_data_and_attributes_are_cut_and_all_else_stays() {
        for (json, expect) in [
            (r#"{"a":1,"b":null}"#, r#"{"a":1}"#),
            (r#"{"b":null,"a":1}"#, r#"{"a":1}"#),
            (r#"{"b":null}"#, r#"{}"#),
            (r#"{ "b" : null }"#, r#"{  }"#),
            (r#"{}"#, r#"{}"#),
            (
                "{ \"a\" : 1.10 ,\n \"b\": null ,\t\"c\":[null] , \"d\":null}",
                "{ \"a\" : 1.10 ,\t\"c\":[null]}",
            ),
            (
                r#"{"x\"null\\":null,"a\\\"":"null"}"#,
                r#"{"a\\\"":"null"}"#,
            ),
            (r#"{"data":null,"subject":null}"#, r#"{"data":null}"#),
            ("[null]", "[null]"),
        ] {
            assert_eq!(without_nulls(json, Some("data")), expect, "{json}");
        }
        assert_eq!(without_nulls(r#"{"data":null,"a":1}"#, None), r#"{"a":1}"#);
    }

    proptest! {
        #[test]
        fn the_other_members_are_the_same(
            names in prop::collection::btree_map(any::<String>(), 0..3_u8, 0..8),
            pretty: bool,
        ) {
            let value = |kind: u8| match kind {
                0 => Value::Null,
                1 => serde_json::json!({"n": null, "t": "\"null\""}),
                _ => Value::from("null"),
            };
            let all: Map<String, Value> =
                names.iter().map(|(name, kind)| (name.clone(), value(*kind))).collect();
            let json = match pretty {
                true => serde_json::to_string_pretty(&all),
                false => serde_json::to_string(&all),
            };
            let cut = without_nulls(&json.unwrap(), None);
            let set = all.into_iter().filter(|(_, value)| !value.is_null()).collect();
            prop_assert_eq!(serde_json::from_str::<Value>(&cut).unwrap(), Value::Object(set));
        }
    }
}
