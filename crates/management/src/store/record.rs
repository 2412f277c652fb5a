//! One stored resource: what everybody may see, and its secrets apart from that.
//!
//! A secret is never in `body`, so whatever is rendered from `body` cannot show one.

use super::hidden::{counterpart, escaped, hide};
use super::wiped_json;
use crate::arm::error::Error;
use crate::arm::id::ResourceId;
use crate::arm::json::ArmObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use twinroute_model::clock::Timestamp;
use twinroute_model::secret::Secret;
use zeroize::Zeroizing;

/// A resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourceRecord {
    pub(crate) id: ResourceId,
    /// Members beside `id`, `name` and `type`, without any secret.
    pub(crate) body: Map<String, Value>,
    /// Secrets by the JSON pointer of their place in `body`.
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// A record as it is written, before it is sealed.
#[derive(Deserialize)]
struct ReadRecord {
    id: String,
    body: Map<String, Value>,
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
}

/// The same, borrowed.
#[derive(Serialize)]
struct WrittenRecord<'a> {
    id: String,
    body: &'a Map<String, Value>,
    secrets: BTreeMap<&'a str, &'a str>,
}

impl ResourceRecord {
    pub(crate) fn new(
        id: ResourceId,
        body: Map<String, Value>,
        secrets: BTreeMap<String, Secret>,
    ) -> Self {
        Self { id, body, secrets }
    }

    /// A resource group of which nobody has said anything.
    pub(crate) fn group(id: ResourceId) -> Self {
        let properties = json!({ "provisioningState": "Succeeded" });
        let body = json!({ "location": "westus2", "tags": null, "properties": properties });
        Self::public(id, body)
    }

    /// A resource without secrets; `body` is an object.
    pub(crate) fn public(id: ResourceId, mut body: Value) -> Self {
        let body = body.as_object_mut().map(std::mem::take);
        Self::new(id, body.unwrap_or_default(), BTreeMap::new())
    }

    /// The body as readers see it, before masks and computed members.
    pub(crate) fn render(&self) -> Value {
        let mut body = Map::new();
        body.insert("id".to_owned(), self.id.to_string().into());
        body.insert("name".to_owned(), self.id.name.clone().into());
        body.insert("type".to_owned(), self.id.kind.type_name().into());
        body.extend(self.body.clone());
        Value::Object(body)
    }

    /// As [`Self::render`], with each secret as `mask` shows it.
    pub(crate) fn render_masked(&self, mask: impl Fn(&str, &Secret) -> String) -> Value {
        let mut body = self.render();
        for (pointer, secret) in &self.secrets {
            put(&mut body, pointer, mask(pointer, secret).into());
        }
        body
    }

    /// The body with its secrets. For exports, and for what reads definitions; never for an answer.
    pub(crate) fn reveal(&self) -> Value {
        let mut body = self.render();
        for (pointer, secret) in &self.secrets {
            put(&mut body, pointer, secret.expose().into());
        }
        body
    }

    /// As [`Self::render`], every secret as `***`.
    pub(crate) fn render_hidden(&self) -> Value {
        self.render_masked(|_, _| "***".to_owned())
    }

    /// Keeps a member that nobody knows in the object at `pointer`, to be shown again. What looks like a secret goes
    /// apart and is shown as a mask; a mask keeps what `present` has in its place.
    ///
    /// # Errors
    /// When a mask stands where no secret is stored.
    pub(crate) fn keep_unknown(
        &mut self,
        pointer: &str,
        member: &str,
        value: &Value,
        present: Option<&Self>,
    ) -> Result<(), Error> {
        let pointer = format!("{pointer}/{}", escaped(member));
        let mut value = value.clone();
        let stored = present.map(|present| &present.secrets);
        hide(&mut self.secrets, stored, member, &mut value, &pointer);
        let mut body = Value::Object(std::mem::take(&mut self.body));
        put(&mut body, &pointer, value);
        for (at, secret) in &mut self.secrets {
            let below = at.strip_prefix(&pointer);
            let is_here = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !is_here || !secret.is_masked() {
                continue;
            }
            let stored = present.and_then(|present| {
                let place = counterpart(&body, &present.body, at)?;
                present.secrets.get(&place)
            });
            let stored = stored.filter(|stored| secret.is_mask_of(stored));
            *secret = stored.cloned().ok_or_else(|| {
                let rule = "is a mask, and no secret is stored there; send the secret";
                Error::invalid(at.trim_start_matches('/').replace('/', "."), rule)
            })?;
        }
        if let Value::Object(members) = body {
            self.body = members;
        }
        Ok(())
    }

    /// Whether a PUT that came to `other` would change nothing, `computed` members of `properties` aside.
    pub(crate) fn is_same(&self, other: &Self, computed: &[&str]) -> bool {
        let given = |record: &Self| {
            let mut body = record.body.clone();
            body.remove("systemData");
            // Null and absent are one.
            body.retain(|_, value| !value.is_null());
            if let Some(Value::Object(properties)) = body.get_mut("properties") {
                properties.retain(|name, _| !computed.contains(&name.as_str()));
            }
            body
        };
        self.id == other.id && self.secrets == other.secrets && given(self) == given(other)
    }

    /// The members of `properties`.
    pub(crate) fn properties(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.body
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&NONE)
    }

    pub(crate) fn properties_mut(&mut self) -> &mut Map<String, Value> {
        let properties = self.body.entry("properties").or_insert_with(|| json!({}));
        if !properties.is_object() {
            *properties = json!({});
        }
        properties.as_object_mut().expect("it was made an object")
    }

    /// A text of `properties`.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        self.properties().get(name)?.as_str()
    }

    /// `properties.provisioningState`.
    pub(crate) fn state(&self) -> &str {
        self.property("provisioningState").unwrap_or("Succeeded")
    }

    pub(crate) fn set_state(&mut self, state: &str) {
        self.set_property("provisioningState", state);
    }

    /// Sets a member at the top.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.body.insert(name.to_owned(), value.into());
    }

    /// Sets a member of `properties`.
    pub(crate) fn set_property(&mut self, name: &str, value: impl Into<Value>) {
        let properties = self.properties_mut();
        properties.insert(name.to_owned(), value.into());
    }

    /// A text at the top, such as `location`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// As it is stored; zeroed when it is dropped.
    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        let secrets = self.secrets.iter();
        let written = WrittenRecord {
            id: self.id.to_string(),
            body: &self.body,
            secrets: secrets
                .map(|(pointer, secret)| (pointer.as_str(), secret.expose()))
                .collect(),
        };
        wiped_json::write(&written)
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let written: ReadRecord = serde_json::from_slice(bytes).ok()?;
        let secrets = written.secrets;
        let id = ResourceId::parse(&written.id)?;
        Some(Self::new(id, written.body, secrets))
    }
}

/// Puts a value at a pointer whose last member may not be there yet.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    match body.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            let name = name.replace("~1", "/").replace("~0", "~");
            members.insert(name, value);
        }
        Some(Value::Array(items)) => {
            let item = name.parse().ok().and_then(|at: usize| items.get_mut(at));
            if let Some(item) = item {
                *item = value;
            }
        }
        _ => {}
    }
}

/// `systemData` after a change by `caller`.
pub(crate) fn system_data(before: Option<&ResourceRecord>, caller: &str, now: Timestamp) -> Value {
    let now = now.rfc3339();
    let before = before.and_then(|record| record.body.get("systemData"));
    let kept = |name: &str, new: &str| {
        let text = before.and_then(|before| before.get(name)?.as_str());
        text.unwrap_or(new).to_owned()
    };
    json!({
        "createdBy": kept("createdBy", caller),
        "createdByType": "User",
        "createdAt": kept("createdAt", &now),
        "lastModifiedBy": caller,
        "lastModifiedByType": "User",
        "lastModifiedAt": now,
    })
}

/// `tags` of a body: texts, or null.
///
/// # Errors
/// When a tag is no text.
pub(crate) fn tags(body: &ArmObject<'_>) -> Result<Value, Error> {
    let tags = body.object("tags")?;
    let mut map = Map::new();
    for (name, value) in tags.members() {
        if let Some(text) = tags.exact_text(name)? {
            map.insert(name.to_owned(), text.into());
        } else {
            map.insert(name.to_owned(), value.clone());
        }
    }
    Ok(if tags.is_there() {
        Value::Object(map)
    } else {
        Value::Null
    })
}
