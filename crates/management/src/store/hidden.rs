//! Secrets in members that nobody knows: taken out of what is shown, and found again by their masks.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use twinroute_model::secret::Secret;

/// Takes what looks like a secret out of the value of `member`, which stands at `pointer`, and puts it into `secrets`;
/// what may be a mask of one of `present`, too.
pub(super) fn hide(
    secrets: &mut BTreeMap<String, Secret>,
    present: Option<&BTreeMap<String, Secret>>,
    member: &str,
    value: &mut Value,
    pointer: &str,
) {
    let mut hidden = HiddenTexts { secrets, present };
    hidden.hide(value, pointer, looks_secret(member));
}

/// A member's name within a JSON pointer (RFC 6901 §3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Texts that look like secrets, as they are taken out of a value by their pointers.
struct HiddenTexts<'a> {
    secrets: &'a mut BTreeMap<String, Secret>,
    present: Option<&'a BTreeMap<String, Secret>>,
}

impl HiddenTexts<'_> {
    fn hide(&mut self, value: &mut Value, pointer: &str, by_name: bool) {
        match value {
            Value::String(text) if by_name || holds_secret(text) || self.is_mask(text, pointer) => {
                let secret = Secret::new(std::mem::take(text));
                self.secrets.insert(pointer.to_owned(), secret);
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.hide(item, &format!("{pointer}/{at}"), by_name);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    let pointer = format!("{pointer}/{}", escaped(name));
                    self.hide(value, &pointer, by_name || looks_secret(name));
                }
            }
            _ => {}
        }
    }

    /// Whether a read may have shown this in place of what is stored there, or elsewhere in the same list.
    fn is_mask(&self, text: &str, pointer: &str) -> bool {
        let stored = self.present.into_iter().flat_map(BTreeMap::keys);
        let mut stored =
            stored.filter(|stored| without_indexes(stored).eq(without_indexes(pointer)));
        Secret::new(text).is_masked() && stored.next().is_some()
    }
}

/// Whether a member that nobody knows is, by its name, not for everybody: a read shows what is kept.
fn looks_secret(name: &str) -> bool {
    const WORDS: [&str; 9] = [
        "secret",
        "password",
        "passphrase",
        "token",
        "credential",
        "connectionstring",
        "sharedaccess",
        "sas",
        "key",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a text is, by its form, a connection string or a signed URL.
fn holds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "sharedaccesskey=",
        "sharedaccesssignature=",
        "accountkey=",
        "sig=",
        "password=",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// The parts of a pointer that are no places in lists.
fn without_indexes(pointer: &str) -> impl Iterator<Item = &str> {
    let is_index = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    pointer
        .split('/')
        .filter(move |part| part.is_empty() || !is_index(part))
}

/// Where `before` has what stands at `pointer` in `body`: items of lists are found again where they were moved to.
pub(super) fn counterpart(
    body: &Value,
    before: &Map<String, Value>,
    pointer: &str,
) -> Option<String> {
    let mut parts = pointer.strip_prefix('/')?.split('/');
    let first = parts.next()?;
    let name = unescaped(first);
    let (mut new, mut old) = (body.get(&name)?, before.get(&name)?);
    let mut place = format!("/{first}");
    for part in parts {
        let (next, found) = match (new, old) {
            (Value::Array(items), Value::Array(before)) => {
                let index = part.parse().ok()?;
                let found = same_item(items, before, index)?;
                place = format!("{place}/{found}");
                (items.get(index), before.get(found))
            }
            (Value::Object(members), Value::Object(before)) => {
                let name = unescaped(part);
                place = format!("{place}/{part}");
                (members.get(&name), before.get(&name))
            }
            _ => return None,
        };
        match (next, found) {
            (Some(next), Some(found)) => (new, old) = (next, found),
            // A member that is read by name holds no secret in the body; the pointer goes on all the same.
            _ => return Some(place),
        }
    }
    Some(place)
}

/// Members that name an item of a list, first of all.
const NAMES: [&str; 6] = [
    "name",
    "id",
    "filterName",
    "keyName",
    "resourceId",
    "hostName",
];

/// Which of `before` is the item at `index`: the one of its name; of those without names the one that is equal, or at
/// the same place of a list that is as long. Nothing when it could be several.
fn same_item(items: &[Value], before: &[Value], index: usize) -> Option<usize> {
    let item = items.get(index)?;
    let name = |item: &Value| {
        let mut names = NAMES.iter();
        names.find_map(|name| Some((*name, item.get(name)?.as_str()?.to_ascii_lowercase())))
    };
    if let Some(name_of_item) = name(item) {
        return only(before, |other| name(other).as_ref() == Some(&name_of_item));
    }
    let same_length = items.len() == before.len();
    if same_length && before.get(index) == Some(item) {
        return Some(index);
    }
    let equal = only(before, |other| other == item);
    equal.or_else(|| same_length.then_some(index))
}

/// The place of the one item that is meant.
fn only(items: &[Value], is_meant: impl Fn(&Value) -> bool) -> Option<usize> {
    let mut places = items.iter().enumerate().filter(|(_, item)| is_meant(item));
    let (place, _) = places.next()?;
    places.next().is_none().then_some(place)
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
