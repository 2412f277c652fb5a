//! `authorizationPolicies` of a service: named keys with rights.
//!
//! They are never on a GET; `listkeys` gives them, and the answer to a PUT what was sent in it (recorded of Azure).

use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::json::ArmObject;
use crate::store::masks::KeptSecrets;
use crate::store::record::ResourceRecord;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};
use twinroute_model::secret::Secret;
use zeroize::Zeroizing;

/// Rights, as the service writes them.
const RIGHTS: [&str; 6] = [
    "ServiceConfig",
    "EnrollmentRead",
    "EnrollmentWrite",
    "DeviceConnect",
    "RegistrationStatusRead",
    "RegistrationStatusWrite",
];

/// The policy that every service begins with.
const OWNER: &str = "provisioningserviceowner";

/// Policies of one service.
const POLICIES_MAX: usize = 100;

/// Characters of a policy's name.
const NAME_MAX: usize = 64;

/// Bytes of a key as it is sent.
const KEY_BYTES_MAX: usize = 512;

/// Bytes of a key that is made here.
const KEY_BYTES: usize = 32;

const MEMBER: &str = "authorizationPolicies";
const KEYS: [&str; 2] = ["primaryKey", "secondaryKey"];

/// A policy as it is sent.
#[derive(Clone, Debug)]
pub(super) struct KeyPolicy {
    name: String,
    rights: String,
    /// In the order of [`KEYS`].
    keys: [Option<Secret>; 2],
}

/// Reads the list; none if it is not there. A mask keeps the key of `present` under the same name.
pub(super) fn read(
    properties: &ArmObject<'_>,
    present: Option<&ResourceRecord>,
    kept: &mut KeptSecrets,
) -> Result<Option<Vec<KeyPolicy>>, Error> {
    let present = present.map(stored).unwrap_or_default();
    let Some(given) = properties.objects(MEMBER)? else {
        return Ok(None);
    };
    if given.len() > POLICIES_MAX {
        let rule = format!("has at most {POLICIES_MAX} policies");
        return Err(Error::invalid(properties.path(MEMBER), rule));
    }
    let mut policies: Vec<KeyPolicy> = Vec::new();
    for policy in &given {
        let name = policy.required_text("keyName")?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+@=:".contains(&byte);
        if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(legal) {
            let rule = format!("has 1 to {NAME_MAX} letters, digits and -._+@=:");
            return Err(Error::invalid(policy.path("keyName"), rule));
        }
        let twice = |other: &KeyPolicy| other.name.eq_ignore_ascii_case(name);
        if policies.iter().any(twice) {
            return Err(Error::invalid(
                policy.path("keyName"),
                "stands in the list twice",
            ));
        }
        policies.push(KeyPolicy {
            name: name.to_owned(),
            rights: rights(policy)?,
            keys: [
                key(policy, 0, &present, kept)?,
                key(policy, 1, &present, kept)?,
            ],
        });
    }
    Ok(Some(policies))
}

/// Rights are one text, in the order that the caller gave.
fn rights(policy: &ArmObject<'_>) -> Result<String, Error> {
    let text = policy.required_text("rights")?;
    let mut rights: Vec<&str> = Vec::new();
    for word in text.split(',').map(str::trim) {
        let known = RIGHTS.iter().find(|known| known.eq_ignore_ascii_case(word));
        let known = known.ok_or_else(|| {
            let rule = format!(
                "must be some of {}, with commas between them",
                RIGHTS.join(", ")
            );
            Error::invalid(policy.path("rights"), rule)
        })?;
        if !rights.contains(known) {
            rights.push(known);
        }
    }
    Ok(rights.join(", "))
}

/// A key of a policy, by its place in [`KEYS`].
fn key(
    policy: &ArmObject<'_>,
    place: usize,
    present: &[KeyPolicy],
    kept: &mut KeptSecrets,
) -> Result<Option<Secret>, Error> {
    let member = KEYS[place];
    let Some(text) = policy.text(member)? else {
        return Ok(None);
    };
    let secret = Secret::new(text);
    if secret.is_masked() {
        let name = policy.text("keyName")?.unwrap_or_default();
        let mut all = present.iter().enumerate();
        let same = all.find(|(_, other)| other.name.eq_ignore_ascii_case(name));
        let stored = same.and_then(|(index, same)| Some((index, same.keys[place].as_ref()?)));
        let (index, stored) = stored.ok_or_else(|| {
            let rule = "is a mask and no key; send the key, or leave it out to have one made";
            Error::invalid(policy.path(member), rule)
        })?;
        kept.add(pointer(index, member), stored);
        return Ok(Some(stored.clone()));
    }
    if text.len() > KEY_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let rule = format!("must be a key in base64 of at most {KEY_BYTES_MAX} characters");
        return Err(Error::invalid(policy.path(member), rule));
    }
    Ok(Some(secret))
}

/// What the answer to a PUT shows: what was sent, keys included.
pub(super) fn echo(policies: &[KeyPolicy]) -> Value {
    let view = policies.iter().map(|policy| {
        let mut view = show(&policy.name, &policy.rights);
        for (member, key) in KEYS.iter().zip(&policy.keys) {
            if let Some(key) = key {
                view.insert((*member).to_owned(), key.expose().into());
            }
        }
        Value::Object(view)
    });
    view.collect()
}

fn show(name: &str, rights: &str) -> Map<String, Value> {
    Map::from_iter([
        ("keyName".to_owned(), name.into()),
        ("rights".to_owned(), rights.into()),
    ])
}

/// Puts policies into a record: those that were sent, or else those of before; and the owner's if nothing was
/// before. Keys that were not sent are those of before, or new.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn store(
    record: &mut ResourceRecord,
    sent: Option<Vec<KeyPolicy>>,
    before: Option<&ResourceRecord>,
) -> Result<(), Error> {
    let present = before.map(stored).unwrap_or_default();
    let mut policies = match (sent, before) {
        (Some(sent), _) => sent,
        (None, Some(_)) => present.clone(),
        (None, None) => Vec::new(),
    };
    let is_owner = |policy: &KeyPolicy| policy.name.eq_ignore_ascii_case(OWNER);
    if before.is_none() && !policies.iter().any(is_owner) {
        let owner = KeyPolicy {
            name: OWNER.to_owned(),
            rights: RIGHTS.join(", "),
            keys: [None, None],
        };
        policies.insert(0, owner);
    }
    let mut view = Vec::new();
    for (index, policy) in policies.into_iter().enumerate() {
        let same = |other: &&KeyPolicy| other.name.eq_ignore_ascii_case(&policy.name);
        let kept = present.iter().find(same).map(|other| other.keys.clone());
        let kept = kept.unwrap_or_default();
        for ((member, sent), kept) in KEYS.iter().zip(policy.keys).zip(kept) {
            let key = match sent.or(kept) {
                Some(key) => key,
                None => new_key()?,
            };
            record.secrets.insert(pointer(index, member), key);
        }
        view.push(Value::Object(show(&policy.name, &policy.rights)));
    }
    record
        .properties_mut()
        .insert(MEMBER.to_owned(), view.into());
    Ok(())
}

fn pointer(index: usize, member: &str) -> String {
    format!("/properties/{MEMBER}/{index}/{member}")
}

fn new_key() -> Result<Secret, Error> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let filled = SystemRandom::new().fill(bytes.as_mut());
    filled.map_err(|_| Error::Store {
        reason: "the system gave no random bytes for a key".to_owned(),
    })?;
    Ok(Secret::new(STANDARD.encode(bytes.as_ref())))
}

/// The policies of a record, with their keys.
fn stored(record: &ResourceRecord) -> Vec<KeyPolicy> {
    let response = record.properties().get(MEMBER).and_then(Value::as_array);
    let response = response.into_iter().flatten().enumerate();
    let policies = response.map(|(index, policy)| {
        let text = |member: &str| policy[member].as_str().unwrap_or_default().to_owned();
        KeyPolicy {
            name: text("keyName"),
            rights: text("rights"),
            keys: KEYS.map(|member| record.secrets.get(&pointer(index, member)).cloned()),
        }
    });
    policies.collect()
}

/// POST `listkeys`.
pub(super) fn all_keys(record: &ResourceRecord) -> Value {
    json!({ "value": echo(&stored(record)) })
}

/// POST `keys/{name}/listkeys`.
pub(super) fn keys(record: &ResourceRecord, name: &str) -> Result<Value, Error> {
    let policies = stored(record);
    let found = policies
        .iter()
        .find(|policy| policy.name.eq_ignore_ascii_case(name));
    let found = found.ok_or_else(|| {
let message = format!(
            "The provisioning service '{}' has no authorization policy '{name}'; POST listkeys lists those that it has.",
            record.id.name
        );
Error::service(ServiceRefusal::NotFound, message)
})?;
    let mut view = echo(std::slice::from_ref(found));
    Ok(view[0].take())
}
