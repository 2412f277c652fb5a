//! Who may attach: shared access keys, tokens put to `$cbs`, and what they cover.

use crate::identity::Issuer;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use std::sync::{Mutex, MutexGuard, PoisonError};
use twinroute_model::clock::Timestamp;
use twinroute_model::sas::ServiceBusToken;

/// Audiences of Microsoft Entra tokens; clients ask for them with or without a trailing slash.
const JWT_AUDIENCES: [&str; 2] = [
    "https://eventhubs.azure.net",
    "https://servicebus.azure.net",
];
/// Tokens one connection may hold; each has a path of its own.
const GRANTS_MAX: usize = 1_000;

/// A rule with two keys, both valid, as the service has it.
#[derive(Debug)]
pub(crate) struct AccessRule {
    name: String,
    keys: Mutex<Keys>,
}

#[derive(Clone, Debug)]
struct Keys {
    both: [Key; 2],
    /// Keys that there have been.
    count: u64,
}

#[derive(Clone, Debug)]
struct Key {
    text: String,
    /// Tells keys apart that came one after the other.
    number: u64,
}

/// One of the two keys of a rule or topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// The first one.
    Primary,
    /// The second one.
    Secondary,
}

impl KeySlot {
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Primary => 0,
            Self::Secondary => 1,
        }
    }
}

/// A key as the service makes one; no two are the same.
pub(crate) fn made_key(number: u64) -> String {
    BASE64.encode(format!("regenerated key number {number}"))
}

/// The numbers of the keys that are good now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveKeys([u64; 2]);

/// By what a grant was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The key of this number: void once that is replaced.
    Key(u64),
    /// An Entra token, which no key matters to.
    Token,
}

impl Proof {
    fn holds(self, live: LiveKeys) -> bool {
        match self {
            Self::Key(number) => live.0.contains(&number),
            Self::Token => true,
        }
    }
}

impl AccessRule {
    pub(crate) fn new(name: &str, primary: &str, secondary: &str) -> Self {
        let key = |text: &str, number| Key {
            text: text.to_owned(),
            number,
        };
        Self {
            name: name.to_owned(),
            keys: Mutex::new(Keys {
                both: [key(primary, 0), key(secondary, 1)],
                count: 2,
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set(&self, primary: &str, secondary: &str) {
        self.replace(KeySlot::Primary, primary.to_owned());
        self.replace(KeySlot::Secondary, secondary.to_owned());
    }

    /// Replaces one key; the other one stays good.
    pub(crate) fn replace(&self, slot: KeySlot, text: String) {
        let mut keys = self.lock();
        let number = keys.count;
        keys.count += 1;
        keys.both[slot.index()] = Key { text, number };
    }

    pub(crate) fn key(&self, slot: KeySlot) -> String {
        self.lock().both[slot.index()].text.clone()
    }

    pub(crate) fn live(&self) -> LiveKeys {
        let keys = self.lock();
        LiveKeys([keys.both[0].number, keys.both[1].number])
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a SASL PLAIN response `\0name\0key` lets a connection do, if it names this rule and one of its
    /// keys.
    pub(crate) fn plain(&self, response: &[u8]) -> Option<PlainGrant> {
        let mut parts = response.split(|byte| *byte == 0).skip(1);
        let (name, key) = (parts.next()?, parts.next()?);
        let keys = self.keys();
        let mut known = keys.both.iter().filter(|_| name == self.name.as_bytes());
        let key = known.find(|known| key == known.text.as_bytes())?;
        Some(PlainGrant(Proof::Key(key.number)))
    }

    fn keys(&self) -> Keys {
        self.lock().clone()
    }

    /// Checks a token that was put for `audience`.
    ///
    /// The body decides its kind: azure-servicebus (Python) puts signatures with the type `jwt`.
    pub(crate) fn check(
        &self,
        token: &str,
        audience: &str,
        issuer: Option<&Issuer>,
        now: Timestamp,
    ) -> Result<Grant, String> {
        let keys = self.keys();
        let path = normal_path(audience);
        if !token.starts_with("SharedAccessSignature ") {
            let expiry = bearer(issuer, token, &JWT_AUDIENCES, now)?;
            return Ok(Grant {
                path,
                expiry,
                proof: Proof::Token,
            });
        }
        let parsed = ServiceBusToken::parse(token).map_err(|refusal| refusal.to_string())?;
        if parsed.key_name() != self.name {
            return Err(format!("there is no rule {}", parsed.key_name()));
        }
        let [first, second] = &keys.both;
        let signed = |key: &Key| parsed.verify(&key.text, now).map(|()| key.number);
        let number = signed(first)
            .or_else(|_| signed(second))
            .map_err(|why| why.to_string())?;
        if !covers(&normal_path(&parsed.resource()), &path) {
            return Err(format!("the signature does not cover {audience}"));
        }
        Ok(Grant {
            path,
            expiry: parsed.expiry(),
            proof: Proof::Key(number),
        })
    }
}

/// What one token lets a connection do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grant {
    path: String,
    expiry: Timestamp,
    proof: Proof,
}

/// What SASL PLAIN lets a connection do: everything, until its key is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainGrant(Proof);

/// The tokens of one connection.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Set when no tokens are required.
    everything: bool,
    plain: Option<PlainGrant>,
    list: Vec<Grant>,
}

impl Grants {
    pub(crate) fn new(everything: bool) -> Self {
        Self {
            everything,
            ..Self::default()
        }
    }

    pub(crate) fn add_plain(&mut self, grant: PlainGrant) {
        self.plain = Some(grant);
    }

    pub(crate) fn add(&mut self, grant: Grant) -> Result<(), String> {
        self.list.retain(|known| known.path != grant.path);
        if self.list.len() >= GRANTS_MAX {
            return Err("too many tokens on one connection".to_owned());
        }
        self.list.push(grant);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.plain.is_none() && self.list.is_empty()
    }

    /// Whether a live token covers `address`. `$management` of the namespace needs any live token.
    pub(crate) fn allow(&self, address: &str, now: Timestamp, live: LiveKeys) -> bool {
        let path = normal_path(address);
        self.everything
            || self.plain.is_some_and(|plain| plain.0.holds(live))
            || self.list.iter().any(|grant| {
                grant.expiry > now
                    && grant.proof.holds(live)
                    && (path.is_empty() || covers(&grant.path, &path))
            })
    }
}

/// The path of an address in lower case, without scheme, host, port and a last `$management`.
pub(crate) fn normal_path(address: &str) -> String {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    let path = path.trim_matches('/').to_ascii_lowercase();
    path.strip_suffix("$management")
        .unwrap_or(&path)
        .trim_end_matches('/')
        .to_owned()
}

fn covers(granted: &str, path: &str) -> bool {
    path.strip_prefix(granted)
        .is_some_and(|rest| granted.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// When a token of Microsoft Entra for one of `audiences` ends. Without an issuer at hand its signature is
/// not checked.
pub(crate) fn bearer(
    issuer: Option<&Issuer>,
    token: &str,
    audiences: &[&str],
    now: Timestamp,
) -> Result<Timestamp, String> {
    if let Some(issuer) = issuer {
        return issuer.check(token, audiences, now);
    }
    let expiry = jwt_expiry(token, audiences)?;
    if expiry <= now {
        return Err("the token has expired".to_owned());
    }
    Ok(expiry)
}

fn jwt_expiry(token: &str, audiences: &[&str]) -> Result<Timestamp, String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        aud: String,
        exp: i64,
    }
    let malformed = || "the token is malformed".to_owned();
    let payload = token.split('.').nth(1).ok_or_else(malformed)?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|_| malformed())?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    if !audiences.contains(&claims.aud.trim_end_matches('/')) {
        return Err(format!("the audience {} is not served here", claims.aud));
    }
    Ok(Timestamp::from_unix_millis(
        claims.exp.saturating_mul(1_000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::sas::service_bus_token;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_unix_millis(1_700_003_600_000);

    #[test]
    fn a_token_covers_what_lies_below_its_audience() {
        let rule = AccessRule::new("Root", "one", "two");
        let mut grants = Grants::default();
        let audience = "sb://127.0.0.1:5672/Hub";
        let token = service_bus_token(audience, "Root", "two", LATER);
        grants
            .add(rule.check(&token, audience, None, NOW).unwrap())
            .unwrap();
        for (address, allowed) in [
            ("hub", true),
            ("amqps://127.0.0.1:5672/hub/Partitions/1", true),
            ("hub/ConsumerGroups/$Default/Partitions/0", true),
            ("$management", true),
            ("hubs", false),
            ("other", false),
        ] {
            assert_eq!(
                grants.allow(address, NOW, rule.live()),
                allowed,
                "{address}"
            );
        }
        assert!(!grants.allow("hub", LATER, rule.live()));
        rule.replace(KeySlot::Primary, "uno".to_owned());
        assert!(
            grants.allow("hub", NOW, rule.live()),
            "signed with the other"
        );
        assert!(
            rule.check(&token, "sb://127.0.0.1:5672/other", None, NOW)
                .is_err()
        );
        assert!(rule.check(&token, audience, None, LATER).is_err());
        rule.replace(KeySlot::Secondary, "dos".to_owned());
        assert!(!grants.allow("hub", NOW, rule.live()));
        assert!(rule.check(&token, audience, None, NOW).is_err());
    }

    #[test]
    fn entra_tokens_are_read_for_audience_and_expiry() {
        let rule = AccessRule::new("Root", "one", "two");
        let token = |aud: &str| {
            let claims = format!(r#"{{"aud":"{aud}","exp":1700003600}}"#);
            format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
        };
        assert!(
            rule.check(
                &token("https://eventhubs.azure.net/"),
                "sb://h/x",
                None,
                NOW
            )
            .is_ok()
        );
        assert!(
            rule.check(&token("https://storage.azure.com"), "sb://h/x", None, NOW)
                .is_err()
        );
        assert!(
            rule.check(
                &token("https://servicebus.azure.net"),
                "sb://h/x",
                None,
                LATER
            )
            .is_err()
        );
        assert!(rule.check("nonsense", "sb://h/x", None, NOW).is_err());
    }

    #[test]
    fn plain_needs_the_rule_and_one_of_its_keys() {
        let rule = AccessRule::new("Root", "one", "two");
        let known = |response| rule.plain(response).is_some();
        assert!(known(b"\0Root\0two"));
        assert!(!known(b"\0Root\0three") && !known(b"\0Toor\0two"));
        assert!(!known(b"\0Root") && !known(b""));
    }
}
