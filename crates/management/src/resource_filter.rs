//! `$filter` of a list of resources, as far as az and the SDKs send it.
//!
//! Source: Azure REST reference, "Resources - List": comparisons with `eq` and `ne` of `resourceType`, `name`,
//! `location`, `resourceGroup`, `tagName` and `tagValue`, `substringof`, joined by `and` and `or`.

use crate::store::record::ResourceRecord;
use serde_json::Value;

/// Bytes of a filter.
const BYTES_MAX: usize = 4 << 10;

/// Members that can be compared.
const MEMBERS: &[&str] = &[
    "resourceType",
    "name",
    "location",
    "resourceGroup",
    "tagName",
    "tagValue",
];

/// Alternatives of comparisons that must all hold; none at all takes every resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceFilter(Vec<Vec<FilterComparison>>);

#[derive(Debug, PartialEq, Eq)]
struct FilterComparison {
    member: &'static str,
    how: ComparisonKind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ComparisonKind {
    Equal,
    NotEqual,
    Contains,
}

impl ResourceFilter {
    /// # Errors
    /// What is not understood, and what is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("has more than {BYTES_MAX} bytes"));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut words = words(text)?.into_iter().peekable();
        let mut alternatives = vec![Vec::new()];
        loop {
            let comparison = comparison(&mut words)?;
            alternatives
                .last_mut()
                .expect("there is one from the start")
                .push(comparison);
            match words.next().as_deref() {
                None => return Ok(Self(alternatives)),
                Some(word) if word.eq_ignore_ascii_case("and") => {}
                Some(word) if word.eq_ignore_ascii_case("or") => alternatives.push(Vec::new()),
                Some(_) => return Err(not_understood()),
            }
        }
    }

    pub(crate) fn takes(&self, record: &ResourceRecord) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|all| all.iter().all(|comparison| comparison.holds(record)))
    }
}

impl FilterComparison {
    fn holds(&self, record: &ResourceRecord) -> bool {
        let wanted = self.text.to_ascii_lowercase();
        let tags = record.body.get("tags").and_then(Value::as_object);
        let mut tags = tags.into_iter().flatten();
        let is = |found: &str| match self.how {
            ComparisonKind::Contains => found.to_ascii_lowercase().contains(&wanted),
            _ => found.eq_ignore_ascii_case(&self.text),
        };
        let found = match self.member {
            "resourceType" => is(&record.id.kind.type_name()),
            "name" => is(&record.id.name),
            "location" => is(record.text("location").unwrap_or_default()),
            "resourceGroup" => is(&record.id.group),
            "tagName" => tags.any(|(name, _)| is(name)),
            _ => tags.any(|(_, value)| value.as_str().is_some_and(is)),
        };
        found != (self.how == ComparisonKind::NotEqual)
    }
}

fn not_understood() -> String {
    format!(
        "must be comparisons such as resourceType eq 'Microsoft.DigitalTwins/digitalTwinsInstances', with eq, ne or \
         substringof('text', name), of {}, joined by and / or",
        MEMBERS.join(", ")
    )
}

fn member(word: Option<String>) -> Result<&'static str, String> {
    let word = word.ok_or_else(not_understood)?;
    let mut known = MEMBERS.iter();
    known
        .find(|known| known.eq_ignore_ascii_case(&word))
        .copied()
        .ok_or_else(not_understood)
}

/// A text in quotes, of which the opening one is kept by [`words`].
fn text(word: Option<String>) -> Result<String, String> {
    let word = word.ok_or_else(not_understood)?;
    let text = word.strip_prefix('\'').ok_or_else(not_understood)?;
    Ok(text.to_owned())
}

fn comparison(words: &mut impl Iterator<Item = String>) -> Result<FilterComparison, String> {
    let first = words.next().ok_or_else(not_understood)?;
    let expect = |words: &mut dyn Iterator<Item = String>, sign: &str| match words.next() {
        Some(word) if word == sign => Ok(()),
        _ => Err(not_understood()),
    };
    if first.eq_ignore_ascii_case("substringof") {
        expect(words, "(")?;
        let text = text(words.next())?;
        expect(words, ",")?;
        let member = member(words.next())?;
        expect(words, ")")?;
        let how = ComparisonKind::Contains;
        return Ok(FilterComparison { member, how, text });
    }
    let member = member(Some(first))?;
    let how = match words.next().as_deref() {
        Some(word) if word.eq_ignore_ascii_case("eq") => ComparisonKind::Equal,
        Some(word) if word.eq_ignore_ascii_case("ne") => ComparisonKind::NotEqual,
        _ => return Err(not_understood()),
    };
    let text = text(words.next())?;
    Ok(FilterComparison { member, how, text })
}

/// Words, signs, and texts with their opening quote; a quote within a text is doubled (OData 4.01).
fn words(filter: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut letters = filter.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' => {}
            '(' | ')' | ',' => words.push(letter.to_string()),
            '\'' => {
                let mut text = String::from('\'');
                loop {
                    match letters.next() {
                        Some('\'') if letters.next_if_eq(&'\'').is_some() => text.push('\''),
                        Some('\'') => break,
                        Some(letter) => text.push(letter),
                        None => return Err("has a quote that does not end".to_owned()),
                    }
                }
                words.push(text);
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) = letters.next_if(|next| !" (),'".contains(*next)) {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::id::{ResourceId, ResourceKind};
    use proptest::prelude::*;
    use serde_json::{Map, json};
    use std::collections::BTreeMap;

    #[test]
    fn what_az_sends_is_understood() {
        let id = ResourceId::top(ResourceKind::Instance, "s", "Rg", "it's");
        let body = json!({ "location": "westus2", "tags": { "env": "prod" } });
        let Value::Object(body) = body else {
            unreachable!("it is an object");
        };
        let record = ResourceRecord::new(id, body, BTreeMap::new());
        for (filter, expect) in [
            ("", true),
            (
                "resourceType eq 'microsoft.digitaltwins/DIGITALTWINSINSTANCES'",
                true,
            ),
            (
                "resourceType eq 'Microsoft.Devices/provisioningServices'",
                false,
            ),
            ("name eq 'it''s' and resourceGroup eq 'rg'", true),
            ("name eq 'x' or location eq 'WestUS2'", true),
            ("name ne 'x' and name ne 'it''s'", false),
            ("tagName eq 'env' and tagValue eq 'prod'", true),
            ("tagname eq 'env' and tagvalue eq 'test'", false),
            ("substringof('T''', name)", true),
        ] {
            let parsed = ResourceFilter::parse(filter).unwrap();
            assert_eq!(parsed.takes(&record), expect, "{filter}");
        }
        let bare = ResourceId::top(ResourceKind::Instance, "s", "g", "n");
        let bare = ResourceRecord::new(bare, Map::new(), BTreeMap::new());
        let tagged = ResourceFilter::parse("tagName eq 'env'").unwrap();
        assert!(!tagged.takes(&bare));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "name",
            "name eq",
            "name eq x",
            "name gt 'x'",
            "size eq 'x'",
            "name eq 'x",
            "name eq 'x' name eq 'y'",
            "substringof(name, 'x')",
            "name eq 'x' and",
        ] {
            assert!(ResourceFilter::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_panics(text in "[a-z' (),]{0,40}") {
            drop(ResourceFilter::parse(&text));
        }
    }
}
