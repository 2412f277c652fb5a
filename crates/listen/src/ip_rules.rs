//! From which addresses connections are taken: rules in the manner of the Device Provisioning Service.
//!
//! The first rule whose mask holds the address decides; where none does, the connection is taken. Who wants to
//! let in a few alone ends the list with a rule that rejects all.
//! Source: Azure IoT Hub Device Provisioning Service, "IP connection filters": without rules everybody is taken,
//! the order decides, at most 100 rules, names of at most 128 characters that ignore case.
//!
//! A rejected connection is closed when it is accepted, before a byte of it is read and before any TLS: it costs
//! next to nothing and takes no place among the connections that are open. An address that came as IPv4 in IPv6
//! (RFC 4291 §2.5.5.2) is one of IPv4. Unix sockets have no address and are not looked at.

use crate::address::ListenAddress;
use crate::peer::ClientPeer;
use ipnet::{IpNet, Ipv4Net};
use metrics::{Counter, counter, describe_counter};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Rules of one server.
const RULES_MAX: usize = 100;

/// Characters of a rule's name.
const NAME_CHARS_MAX: usize = 128;

/// One rule of `ip_rules`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpRule {
    /// What it goes by, in the log and on metrics.
    #[serde(alias = "filterName")]
    pub name: String,
    /// What becomes of who it is about.
    pub action: IpRuleAction,
    /// Whom it is about: addresses such as `10.1.0.0/16`, `2001:db8::/32` or `10.1.2.3`.
    #[serde(alias = "ipMask")]
    pub ip_mask: IpMask,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IpRuleAction {
    /// It is taken.
    #[serde(alias = "Accept")]
    Accept,
    /// It is closed.
    #[serde(alias = "Reject")]
    Reject,
}

/// Why a text is no mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// Neither an address nor a block.
    #[error(
        "must be an address or a block of them, such as 10.1.2.3, 10.1.0.0/16 or 2001:db8::/32"
    )]
    NotBlock,
    /// An address within a block, where the block's first should stand.
    #[error("has bits behind its length; write {0}")]
    BitsBehind(IpNet),
}

/// A block of addresses, of IPv4 where it is one of IPv4 in IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpMask(IpNet);

impl IpMask {
    /// Reads a block in CIDR notation, or one address. The one reader of such masks, of whatever source.
    ///
    /// # Errors
    /// What is wrong, with the way out.
    pub fn parse(text: &str) -> Result<Self, MaskError> {
        let block = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| MaskError::NotBlock)?,
        };
        if block.trunc() != block {
            return Err(MaskError::BitsBehind(block.trunc()));
        }
        Ok(Self(canonical(block)))
    }

    fn is_all(self) -> bool {
        self.0.prefix_len() == 0
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(block: IpNet) -> IpNet {
    let IpNet::V6(six) = block else {
        return block;
    };
    let length = six.prefix_len().checked_sub(96);
    let four = six.addr().to_ipv4_mapped().zip(length);
    four.and_then(|(address, length)| Ipv4Net::new(address, length).ok())
        .map_or(block, IpNet::V4)
}

impl<'de> Deserialize<'de> for IpMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.trim())
            .map_err(|error| serde::de::Error::custom(format_args!("ip_mask {text:?}: {error}")))
    }
}

impl IpRule {
    /// Checks the rules of a server that listens on `addresses`. Returns warnings.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check<'a>(
        rules: &[Self],
        addresses: impl IntoIterator<Item = &'a ListenAddress>,
    ) -> Result<Vec<String>, String> {
        if rules.len() > RULES_MAX {
            return Err(format!("ip_rules has more than {RULES_MAX} entries"));
        }
        let mut names = HashSet::new();
        let mut warnings = Vec::new();
        for (position, rule) in rules.iter().enumerate() {
            let name = &rule.name;
            let length = name.chars().count();
            if !(1..=NAME_CHARS_MAX).contains(&length) || name.chars().any(char::is_control) {
                return Err(format!(
                    "ip_rules[{position}].name must have 1 to {NAME_CHARS_MAX} characters, none of them a \
                     control character"
                ));
            }
            if !names.insert(name.to_lowercase()) {
                return Err(format!(
                    "ip_rules[{position}].name {name:?} is taken by another; names ignore case"
                ));
            }
            let mut before = rules[..position].iter();
            if let Some(other) = before.find(|other| other.ip_mask.0.contains(&rule.ip_mask.0)) {
                warnings.push(format!(
                    "ip_rules: {name:?} never applies: {:?} before it has all of its addresses",
                    other.name
                ));
            }
        }
        let accepts = rules.iter().any(|rule| rule.action == IpRuleAction::Accept);
        let rejects_some = rules.iter().any(|rule| rule.ip_mask.is_all());
        if accepts || rejects_some {
            warnings.extend(open_families(rules, addresses));
        }
        Ok(warnings)
    }
}

/// Warnings about families that a list of those to accept does not close: that is hardly meant.
fn open_families<'a>(
    rules: &[IpRule],
    addresses: impl IntoIterator<Item = &'a ListenAddress>,
) -> Vec<String> {
    let (mut four, mut six) = (false, false);
    for address in addresses {
        match address {
            ListenAddress::Tcp(address) => match address.ip() {
                IpAddr::V4(_) => four = true,
                // The system gives IPv4 to such a socket too.
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (four, six) = (true, true),
                IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => four = true,
                IpAddr::V6(_) => six = true,
            },
            ListenAddress::Unix(_) => {}
        }
    }
    let all = [
        (four, "IPv4", IpNet::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        (six, "IPv6", IpNet::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))),
    ];
    let open = all.into_iter().filter(|(listened, _, zero)| {
        let mut closing = rules.iter();
        *listened
            && !closing.any(|rule| rule.ip_mask.is_all() && rule.ip_mask.0.contains(&zero.addr()))
    });
    open.map(|(_, family, zero)| {
        format!(
            "ip_rules: {family} addresses that no rule matches are accepted; end with a rule that rejects {}/0",
            zero.addr()
        )
    })
    .collect()
}

/// The rules of one server, with their counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IpRules(Arc<[CountedRule]>);

#[derive(Debug)]
struct CountedRule {
    rule: IpRule,
    rejected: Counter,
}

impl IpRules {
    /// Rules that were checked, of the server of that name. Counters go to the `metrics` recorder installed
    /// before.
    #[must_use]
    pub fn new(rules: &[IpRule], server: &'static str) -> Self {
        const NAME: &str = "twinroute_connections_rejected_total";
        describe_counter!(NAME, "Connections closed by a rule of ip_rules");
        let counted = rules.iter().map(|rule| CountedRule {
            rejected: counter!(NAME, "server" => server, "rule" => rule.name.clone()),
            rule: rule.clone(),
        });
        Self(counted.collect())
    }

    /// The name of the rule that keeps `peer` out, counted; nothing where it may come in.
    pub(crate) fn reject(&self, peer: ClientPeer) -> Option<&str> {
        let ClientPeer::Tcp(address) = peer else {
            return None;
        };
        let address = address.ip().to_canonical();
        let mut rules = self.0.iter();
        let first = rules.find(|counted| counted.rule.ip_mask.0.contains(&address))?;
        match first.rule.action {
            IpRuleAction::Accept => None,
            IpRuleAction::Reject => {
                first.rejected.increment(1);
                Some(&first.rule.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[derive(Deserialize)]
    struct IpRuleTable {
        ip_rules: Vec<IpRule>,
    }

    /// Rules as they are written: `accept 10.0.0.0/8`.
    fn rules(lines: &[&str]) -> Result<Vec<IpRule>, String> {
        let entry = |(number, line): (usize, &&str)| {
            let (action, mask) = line.split_once(' ').unwrap();
            format!("{{ name = 'r{number}', action = '{action}', ip_mask = '{mask}' }}")
        };
        let entries: Vec<_> = lines.iter().enumerate().map(entry).collect();
        let text = format!("ip_rules = [{}]", entries.join(", "));
        let table: Result<IpRuleTable, _> = toml::from_str(&text);
        table
            .map(|table| table.ip_rules)
            .map_err(|error| error.message().to_owned())
    }

    fn judge(lines: &[&str], address: &str) -> Option<String> {
        let rules = IpRules::new(&rules(lines).unwrap(), "tests");
        let peer = ClientPeer::Tcp((address.parse::<IpAddr>().unwrap(), 1).into());
        assert_eq!(rules.reject(ClientPeer::Unix), None);
        rules.reject(peer).map(str::to_owned)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let office = [
            "reject 10.1.2.3",
            "accept 10.1.0.0/16",
            "reject 0.0.0.0/0",
            "reject ::/0",
        ];
        for (address, rule) in [
            ("10.1.2.3", Some("r0")),
            ("10.1.2.4", None),
            ("10.2.0.1", Some("r2")),
            ("::ffff:10.1.2.3", Some("r0")),
            ("::ffff:10.1.2.4", None),
            ("2001:db8::1", Some("r3")),
        ] {
            assert_eq!(judge(&office, address).as_deref(), rule, "{address}");
        }
        assert_eq!(judge(&["reject 10.0.0.0/8"], "11.0.0.1"), None);
        assert_eq!(judge(&[], "11.0.0.1"), None);
        let six = ["accept 2001:db8::/32", "reject ::/0"];
        assert_eq!(judge(&six, "2001:db8:1::1"), None);
        assert_eq!(judge(&six, "2001:db9::1").as_deref(), Some("r1"));
        // `::/0` is not about IPv4, which a socket on `[::]` shows as IPv6.
        assert_eq!(judge(&six, "::ffff:10.0.0.1"), None);
        let mapped = ["reject ::ffff:10.0.0.0/104"];
        assert_eq!(judge(&mapped, "10.9.9.9").as_deref(), Some("r0"));
    }

    fn check(lines: &[&str], listen: &str, expect: &Expect) {
        let address: ListenAddress = listen.parse().unwrap();
        let checked = rules(lines).and_then(|rules| IpRule::check(&rules, [&address]));
        let said = checked.map_or_else(|error| error, |warnings| warnings.join("\n"));
        expect.assert_eq(&said);
    }

    #[test]
    fn what_is_wrong_or_hardly_meant_is_named() {
        let listen = "0.0.0.0:8080";
        check(&["reject 10.0.0.0/8"], listen, &expect![""]);
        check(
            &["accept 10.0.0.0/8"],
            listen,
            &expect![
                "ip_rules: IPv4 addresses that no rule matches are accepted; end with a rule that rejects 0.0.0.0/0"
            ],
        );
        check(
            &["accept 10.0.0.0/8", "reject 0.0.0.0/0"],
            "[::]:8080",
            &expect![
                "ip_rules: IPv6 addresses that no rule matches are accepted; end with a rule that rejects ::/0"
            ],
        );
        check(
            &[
                "reject 10.0.0.0/8",
                "accept 10.1.0.0/16",
                "reject 0.0.0.0/0",
            ],
            listen,
            &expect![[r#"ip_rules: "r1" never applies: "r0" before it has all of its addresses"#]],
        );
        check(
            &["drop 10.0.0.0/8"],
            listen,
            &expect![
                "unknown variant `drop`, expected one of `Accept`, `accept`, `Reject`, `reject`"
            ],
        );
        check(
            &["reject 10.0.0.1/8"],
            listen,
            &expect![[r#"ip_mask "10.0.0.1/8": has bits behind its length; write 10.0.0.0/8"#]],
        );
        check(
            &["reject ten"],
            listen,
            &expect![[
                r#"ip_mask "ten": must be an address or a block of them, such as 10.1.2.3, 10.1.0.0/16 or 2001:db8::/32"#
            ]],
        );
        let azure = "ip_rules = [{ filterName = 'a', action = 'Reject', ipMask = '10.0.0.0/8' }, \
                     { name = 'A', action = 'accept', ip_mask = '11.0.0.0/8' }]";
        let rules = toml::from_str::<IpRuleTable>(azure).unwrap().ip_rules;
        let error = IpRule::check(&rules, []).unwrap_err();
        expect![[r#"ip_rules[1].name "A" is taken by another; names ignore case"#]]
            .assert_eq(&error);
    }
}
