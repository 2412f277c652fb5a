//! Who may attach: shared access keys, tokens put to `$cbs`, and what they cover.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::{Mutex, PoisonError};
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
    both: [String; 2],
    generation: u64,
}

impl AccessRule {
    pub(crate) fn new(name: &str, primary: &str, secondary: &str) -> Self {
        let both = [primary.to_owned(), secondary.to_owned()];
        Self {
            name: name.to_owned(),
            keys: Mutex::new(Keys {
                both,
                generation: 0,
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set(&self, primary: &str, secondary: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.both = [primary.to_owned(), secondary.to_owned()];
        keys.generation += 1;
    }

    pub(crate) fn primary(&self) -> String {
        self.keys().both[0].clone()
    }

    /// Changes with every change of the keys.
    pub(crate) fn generation(&self) -> u64 {
        self.keys().generation
    }

    /// Whether a SASL PLAIN response `\0name\0key` names this rule and one of its keys.
    pub(crate) fn plain(&self, response: &[u8]) -> bool {
        let mut parts = response.split(|byte| *byte == 0).skip(1);
        let (name, key) = (parts.next(), parts.next());
        name == Some(self.name.as_bytes())
            && self
                .keys()
                .both
                .iter()
                .any(|known| key == Some(known.as_bytes()))
    }

    fn keys(&self) -> Keys {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Checks a token that was put for `audience`.
    ///
    /// The body decides its kind: azure-servicebus (Python) puts signatures with the type `jwt`.
    pub(crate) fn check(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Grant, String> {
        let keys = self.keys();
        let path = normal_path(audience);
        if !token.starts_with("SharedAccessSignature ") {
            let expiry = jwt_expiry(token, &JWT_AUDIENCES)?;
            if expiry <= now {
                return Err("the token has expired".to_owned());
            }
            return Ok(Grant {
                path,
                expiry,
                generation: keys.generation,
            });
        }
        let parsed = ServiceBusToken::parse(token).map_err(|refusal| refusal.to_string())?;
        if parsed.key_name() != self.name {
            return Err(format!("there is no rule {}", parsed.key_name()));
        }
        let first = parsed.verify(&keys.both[0], now);
        first
            .or_else(|_| parsed.verify(&keys.both[1], now))
            .map_err(|why| why.to_string())?;
        if !covers(&normal_path(&parsed.resource()), &path) {
            return Err(format!("the signature does not cover {audience}"));
        }
        Ok(Grant {
            path,
            expiry: parsed.expiry(),
            generation: keys.generation,
        })
    }
}

/// What one token lets a connection do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grant {
    path: String,
    expiry: Timestamp,
    generation: u64,
}

/// The tokens of one connection.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Set when no tokens are required.
    everything: bool,
    /// The generation of the keys that SASL PLAIN was checked with.
    plain: Option<u64>,
    list: Vec<Grant>,
}

impl Grants {
    pub(crate) fn new(everything: bool) -> Self {
        Self {
            everything,
            ..Self::default()
        }
    }

    /// SASL PLAIN covers everything until the keys change.
    pub(crate) fn add_plain(&mut self, generation: u64) {
        self.plain = Some(generation);
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
    pub(crate) fn allow(&self, address: &str, now: Timestamp, generation: u64) -> bool {
        let path = normal_path(address);
        self.everything
            || self.plain == Some(generation)
            || self.list.iter().any(|grant| {
                grant.expiry > now
                    && grant.generation == generation
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

/// Reads expiry and audience of a JWT. Its signature is not checked: no issuer is at hand.
pub(crate) fn jwt_expiry(token: &str, audiences: &[&str]) -> Result<Timestamp, String> {
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
            .add(rule.check(&token, audience, NOW).unwrap())
            .unwrap();
        for (address, allowed) in [
            ("hub", true),
            ("amqps://127.0.0.1:5672/hub/Partitions/1", true),
            ("hub/ConsumerGroups/$Default/Partitions/0", true),
            ("$management", true),
            ("hubs", false),
            ("other", false),
        ] {
            assert_eq!(grants.allow(address, NOW, 0), allowed, "{address}");
        }
        assert!(!grants.allow("hub", LATER, 0));
        assert!(!grants.allow("hub", NOW, 1));
        assert!(
            rule.check(&token, "sb://127.0.0.1:5672/other", NOW)
                .is_err()
        );
        assert!(rule.check(&token, audience, LATER).is_err());
        rule.set("three", "four");
        assert!(rule.check(&token, audience, NOW).is_err());
    }

    #[test]
    fn entra_tokens_are_read_for_audience_and_expiry() {
        let rule = AccessRule::new("Root", "one", "two");
        let token = |aud: &str| {
            let claims = format!(r#"{{"aud":"{aud}","exp":1700003600}}"#);
            format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
        };
        assert!(
            rule.check(&token("https://eventhubs.azure.net/"), "sb://h/x", NOW)
                .is_ok()
        );
        assert!(
            rule.check(&token("https://storage.azure.com"), "sb://h/x", NOW)
                .is_err()
        );
        assert!(
            rule.check(&token("https://servicebus.azure.net"), "sb://h/x", LATER)
                .is_err()
        );
        assert!(rule.check("nonsense", "sb://h/x", NOW).is_err());
    }

    #[test]
    fn plain_needs_the_rule_and_one_of_its_keys() {
        let rule = AccessRule::new("Root", "one", "two");
        assert!(rule.plain(b"\0Root\0two"));
        assert!(!rule.plain(b"\0Root\0three"));
        assert!(!rule.plain(b"\0Root"));
        assert!(!rule.plain(b""));
    }
}
