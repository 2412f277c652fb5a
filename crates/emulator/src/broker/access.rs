//! Who may attach: shared access keys, tokens put to `$cbs`, and what they cover.

use super::settings::{AccessRights, BrokerSettings};
use crate::access_key::KeySlot;
use crate::amqp::state::AmqpError;
use crate::identity::{self, TokenIssuer};
use crate::lock::lock;
use std::sync::Mutex;
use twinroute_model::clock::Timestamp;
use twinroute_model::sas::ServiceBusToken;

/// Audiences of Microsoft Entra tokens; clients ask for them with or without a trailing slash.
const JWT_AUDIENCES: [&str; 2] = [
    "https://eventhubs.azure.net",
    "https://servicebus.azure.net",
];
/// Tokens one connection may hold; each has a path of its own.
const GRANTS_MAX: usize = 1_000;

/// The rules of the namespace: one that may do everything, and others.
#[derive(Debug)]
pub(crate) struct AccessRules {
    /// The first is the root rule.
    all: Vec<AccessRule>,
}

/// A rule with two keys, both valid, as the service has it.
#[derive(Debug)]
pub(crate) struct AccessRule {
    name: String,
    rights: AccessRights,
    keys: Mutex<[RuleKey; 2]>,
}

/// What a link needs its token for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessClaim {
    Send,
    Listen,
    /// One of the two: such as `$management`.
    Either,
}

impl AccessClaim {
    fn is_among(self, rights: AccessRights) -> bool {
        match self {
            Self::Send => rights.send,
            Self::Listen => rights.listen,
            Self::Either => rights.send || rights.listen,
        }
    }
}

#[derive(Clone, Debug)]
struct RuleKey {
    text: String,
    /// Tells keys apart that came one after the other.
    number: u64,
}

/// The numbers of the keys that are good now, by rule.
#[derive(Clone, Debug)]
pub(crate) struct LiveKeys(Vec<[u64; 2]>);

/// By what a grant was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrantProof {
    /// The key of this number and its rule: void once that is replaced.
    Key { rule: usize, number: u64 },
    /// An Entra token, which no key matters to.
    Token,
}

impl GrantProof {
    fn holds(self, live: &LiveKeys) -> bool {
        match self {
            Self::Key { rule, number } => live.0[rule].contains(&number),
            Self::Token => true,
        }
    }
}

impl AccessRules {
    /// # Errors
    /// The name that two rules have.
    pub(crate) fn new(settings: &BrokerSettings) -> Result<Self, String> {
        let name = &settings.shared_access_key_name;
        let first = &settings.shared_access_key;
        let second = &settings.secondary_shared_access_key;
        let mut all = vec![AccessRule::new(name, AccessRights::ALL, first, second)];
        for rule in &settings.access_rules {
            if all.iter().any(|known| known.name == rule.name) {
                return Err(rule.name.clone());
            }
            let (first, second) = (&rule.key, &rule.secondary_key);
            all.push(AccessRule::new(&rule.name, rule.rights, first, second));
        }
        Ok(Self { all })
    }

    /// The rule that may do everything.
    pub(crate) fn root(&self) -> &AccessRule {
        &self.all[0]
    }

    pub(crate) fn rule(&self, name: &str) -> Option<&AccessRule> {
        self.all.iter().find(|rule| rule.name == name)
    }

    pub(crate) fn live(&self) -> LiveKeys {
        LiveKeys(self.all.iter().map(AccessRule::live).collect())
    }

    /// What a SASL PLAIN response `\0name\0key` lets a connection do, if it names a rule and one of its keys.
    pub(crate) fn plain(&self, response: &[u8]) -> Option<PlainGrant> {
        let mut parts = response.split(|byte| *byte == 0).skip(1);
        let (name, key) = (parts.next()?, parts.next()?);
        let mut all = self.all.iter().enumerate();
        let (rule, found) = all.find(|(_, rule)| name == rule.name.as_bytes())?;
        let keys = lock(&found.keys);
        let number = keys
            .iter()
            .find(|known| key == known.text.as_bytes())?
            .number;
        Some(PlainGrant {
            rights: found.rights,
            proof: GrantProof::Key { rule, number },
        })
    }

    /// Checks a token that was put for `audience`.
    ///
    /// The body decides its kind: azure-servicebus (Python) puts signatures with the type `jwt`. What
    /// Entra's tokens may do is not asked: roles in Azure are not played.
    pub(crate) fn check(
        &self,
        token: &str,
        audience: &str,
        issuer: Option<&TokenIssuer>,
        now: Timestamp,
    ) -> Result<AccessGrant, String> {
        let path = normal_path(audience);
        if !token.starts_with("SharedAccessSignature ") {
            let expiry = identity::check_bearer(issuer, token, &JWT_AUDIENCES, now)?;
            return Ok(AccessGrant {
                path,
                expiry,
                rights: AccessRights::ALL,
                proof: GrantProof::Token,
            });
        }
        let parsed = ServiceBusToken::parse(token).map_err(|refusal| refusal.to_string())?;
        let mut all = self.all.iter().enumerate();
        let (rule, found) = all
            .find(|(_, rule)| rule.name == parsed.key_name())
            .ok_or_else(|| format!("there is no rule {}", parsed.key_name()))?;
        let [first, second] = &*lock(&found.keys);
        let signed = |key: &RuleKey| parsed.verify(&key.text, now).map(|()| key.number);
        let number = signed(first)
            .or_else(|_| signed(second))
            .map_err(|why| why.to_string())?;
        if !covers(&normal_path(&parsed.resource()), &path) {
            return Err(format!("the signature does not cover {audience}"));
        }
        Ok(AccessGrant {
            path,
            expiry: parsed.expiry(),
            rights: found.rights,
            proof: GrantProof::Key { rule, number },
        })
    }
}

impl AccessRule {
    fn new(name: &str, rights: AccessRights, primary: &str, secondary: &str) -> Self {
        let key = |text: &str, number| RuleKey {
            text: text.to_owned(),
            number,
        };
        Self {
            name: name.to_owned(),
            rights,
            keys: Mutex::new([key(primary, 0), key(secondary, 1)]),
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
        let mut keys = lock(&self.keys);
        // Higher than any before it: the newest of all keys is always one of the two.
        let number = keys[0].number.max(keys[1].number) + 1;
        keys[slot.index()] = RuleKey { text, number };
    }

    pub(crate) fn key(&self, slot: KeySlot) -> String {
        lock(&self.keys)[slot.index()].text.clone()
    }

    fn live(&self) -> [u64; 2] {
        lock(&self.keys).each_ref().map(|key| key.number)
    }
}

/// What one token lets a connection do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccessGrant {
    path: String,
    expiry: Timestamp,
    rights: AccessRights,
    proof: GrantProof,
}

/// What SASL PLAIN lets a connection do: what its rule may with every entity, until its key is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainGrant {
    rights: AccessRights,
    proof: GrantProof,
}

/// The tokens of one connection.
#[derive(Debug, Default)]
pub(crate) struct AccessGrants {
    /// Set when no tokens are required.
    everything: bool,
    plain: Option<PlainGrant>,
    list: Vec<AccessGrant>,
}

impl AccessGrants {
    pub(crate) fn new(everything: bool) -> Self {
        Self {
            everything,
            ..Self::default()
        }
    }

    pub(crate) fn add_plain(&mut self, grant: PlainGrant) {
        self.plain = Some(grant);
    }

    pub(crate) fn add(&mut self, grant: AccessGrant) -> Result<(), String> {
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

    /// Whether a live token covers `address` and has the claim. `$management` of the namespace needs any
    /// live token.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn allow(
        &self,
        address: &str,
        claim: AccessClaim,
        now: Timestamp,
        live: &LiveKeys,
    ) -> Result<(), AmqpError> {
        if self.everything {
            return Ok(());
        }
        let path = normal_path(address);
        let plain = self.plain.filter(|plain| plain.proof.holds(live));
        let tokens = self.list.iter().filter(|grant| {
            grant.expiry > now
                && grant.proof.holds(live)
                && (path.is_empty() || covers(&grant.path, &path))
        });
        let plain = plain.map(|plain| plain.rights).into_iter();
        let rights: Vec<AccessRights> = plain.chain(tokens.map(|grant| grant.rights)).collect();
        if rights.iter().any(|rights| claim.is_among(*rights)) {
            return Ok(());
        }
        let text = if rights.is_empty() {
            format!("no live token on this connection covers /{path}")
        } else {
            let text = "the rule that signed its token lacks the claim";
            format!("/{path}: {text} {claim:?}, which this needs")
        };
        Err(AmqpError::new("amqp:unauthorized-access", text))
    }
}

/// The path of an address in lower case, without scheme, host, port and a last `$management`.
fn normal_path(address: &str) -> String {
    let path = path(address).to_ascii_lowercase();
    let path = path.strip_suffix("$management").unwrap_or(&path);
    path.trim_end_matches('/').to_owned()
}

/// The path in an address: the Python clients put whole URIs, the others bare paths.
pub(crate) fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

fn covers(granted: &str, path: &str) -> bool {
    path.strip_prefix(granted)
        .is_some_and(|rest| granted.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::settings::AccessRuleSettings;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use twinroute_model::sas::service_bus_token;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_unix_millis(1_700_003_600_000);

    fn rules() -> AccessRules {
        let rule =
            |name, send, listen| AccessRuleSettings::new(name, AccessRights { send, listen });
        let settings = BrokerSettings {
            shared_access_key_name: "Root".to_owned(),
            shared_access_key: "one".to_owned(),
            secondary_shared_access_key: "two".to_owned(),
            access_rules: vec![rule("writer", true, false), rule("reader", false, true)],
            ..BrokerSettings::default()
        };
        AccessRules::new(&settings).unwrap()
    }

    fn allows(grants: &AccessGrants, address: &str, now: Timestamp, rules: &AccessRules) -> bool {
        let allowed = grants.allow(address, AccessClaim::Either, now, &rules.live());
        allowed.is_ok()
    }

    #[test]
    fn a_key_that_may_only_listen_sends_nothing() {
        let rules = rules();
        for (name, send, listen) in [
            ("Root", true, true),
            ("writer", true, false),
            ("reader", false, true),
        ] {
            let key = rules.rule(name).unwrap().key(KeySlot::Primary);
            let token = service_bus_token("sb://h/hub", name, &key, LATER);
            let mut by_token = AccessGrants::default();
            by_token
                .add(rules.check(&token, "sb://h/hub", None, NOW).unwrap())
                .unwrap();
            let mut by_plain = AccessGrants::default();
            let response = format!("\0{name}\0{key}");
            by_plain.add_plain(rules.plain(response.as_bytes()).unwrap());
            for grants in [by_token, by_plain] {
                let allowed = |claim| grants.allow("hub", claim, NOW, &rules.live());
                assert_eq!(allowed(AccessClaim::Send).is_ok(), send, "{name}");
                assert_eq!(allowed(AccessClaim::Listen).is_ok(), listen, "{name}");
                assert!(allowed(AccessClaim::Either).is_ok(), "{name}");
                if let Err(problem) = allowed(AccessClaim::Send) {
                    assert_eq!(problem.condition, "amqp:unauthorized-access");
                    assert!(problem.description.contains("claim Send"), "{problem:?}");
                }
            }
        }
    }

    #[test]
    fn a_token_covers_what_lies_below_its_audience() {
        let rules = rules();
        let rule = rules.root();
        let mut grants = AccessGrants::default();
        let audience = "sb://127.0.0.1:5672/Hub";
        let token = service_bus_token(audience, "Root", "two", LATER);
        grants
            .add(rules.check(&token, audience, None, NOW).unwrap())
            .unwrap();
        for (address, allowed) in [
            ("hub", true),
            ("amqps://127.0.0.1:5672/hub/Partitions/1", true),
            ("hub/ConsumerGroups/$Default/Partitions/0", true),
            ("$management", true),
            ("hubs", false),
            ("other", false),
        ] {
            assert_eq!(allows(&grants, address, NOW, &rules), allowed, "{address}");
        }
        assert!(!allows(&grants, "hub", LATER, &rules));
        rule.replace(KeySlot::Primary, "uno".to_owned());
        assert!(allows(&grants, "hub", NOW, &rules), "signed with the other");
        assert!(
            rules
                .check(&token, "sb://127.0.0.1:5672/other", None, NOW)
                .is_err()
        );
        assert!(rules.check(&token, audience, None, LATER).is_err());
        rule.replace(KeySlot::Secondary, "dos".to_owned());
        assert!(!allows(&grants, "hub", NOW, &rules));
        assert!(rules.check(&token, audience, None, NOW).is_err());
    }

    #[test]
    fn entra_tokens_are_read_for_audience_and_expiry() {
        let rules = rules();
        let token = |aud: &str| {
            let claims = format!(r#"{{"aud":"{aud}","exp":1700003600}}"#);
            format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
        };
        assert!(
            rules
                .check(
                    &token("https://eventhubs.azure.net/"),
                    "sb://h/x",
                    None,
                    NOW
                )
                .is_ok()
        );
        assert!(
            rules
                .check(&token("https://storage.azure.com"), "sb://h/x", None, NOW)
                .is_err()
        );
        assert!(
            rules
                .check(
                    &token("https://servicebus.azure.net"),
                    "sb://h/x",
                    None,
                    LATER
                )
                .is_err()
        );
        assert!(rules.check("nonsense", "sb://h/x", None, NOW).is_err());
    }

    #[test]
    fn plain_needs_the_rule_and_one_of_its_keys() {
        let rules = rules();
        let known = |response| rules.plain(response).is_some();
        assert!(known(b"\0Root\0two"));
        assert!(!known(b"\0Root\0three") && !known(b"\0Toor\0two"));
        assert!(!known(b"\0Root") && !known(b""));
    }
}
