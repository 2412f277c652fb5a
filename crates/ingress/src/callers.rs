//! The tables `[[ingress.callers]]`: who sends, by which credentials, what they may send and how fast.

use bytesize::ByteSize;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use twinroute_model::secret::Secret;

/// Callers in all. Each is a label of metrics.
const CALLERS_MAX: usize = 256;

/// Keys, tokens or subjects of one caller: two are enough to change one.
const CREDENTIALS_MAX: usize = 8;

/// Prefixes of one caller, of each kind.
const PREFIXES_MAX: usize = 100;

/// Bytes of a prefix.
const PREFIX_BYTES_MAX: usize = 2048;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;

/// Bytes a second, and at once.
const RATE_BYTES_MAX: ByteSize = ByteSize::gib(1);

/// One caller.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSettings {
    /// What it goes by, in answers, in the log and on metrics.
    pub name: String,
    /// Access keys that are its own.
    #[serde(default)]
    pub keys: Vec<Secret>,
    /// Names of tokens of `[ingress.access]`, or what signed tokens say whom they were given to.
    #[serde(default)]
    pub tokens: Vec<String>,
    /// Names that its client certificate has: the common name, or one of its alternative names.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// How the `source` of its events begins; any, when empty.
    #[serde(default)]
    pub sources: Vec<String>,
    /// How the `type` of its events begins; any, when empty.
    #[serde(default)]
    pub types: Vec<String>,
    /// Events that it may send a second, over time.
    pub events_per_second: Option<NonZeroU32>,
    /// Events that it may send at once; as many as a second has when not set.
    pub events_burst: Option<NonZeroU32>,
    /// Bytes of bodies that it may send a second, over time.
    pub bytes_per_second: Option<ByteSize>,
    /// Bytes of bodies that it may send at once; as many as a second has when not set.
    pub bytes_burst: Option<ByteSize>,
}

/// What stands beside callers in `[ingress]` and bears on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallerContext<'a> {
    pub(crate) access_keys: &'a [Secret],
    /// Whether bearer tokens are taken.
    pub(crate) tokens: bool,
    /// Whether certificates of clients are asked for.
    pub(crate) certificates: bool,
}

impl CallerSettings {
    /// Checks all callers.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub(crate) fn check(all: &[Self], beside: CallerContext<'_>) -> Result<(), String> {
        if all.len() > CALLERS_MAX {
            return Err(format!("callers has more than {CALLERS_MAX} entries"));
        }
        let mut names = HashSet::new();
        let mut taken = HashMap::new();
        for key in beside.access_keys {
            taken.insert(("keys", key.expose()), "access_keys".to_owned());
        }
        for (position, caller) in all.iter().enumerate() {
            let at = |rule: String| format!("callers[{position}].{rule}");
            text("name", &caller.name, NAME_BYTES_MAX).map_err(at)?;
            if !names.insert(&caller.name) {
                return Err(at(format!("name {:?} is taken by another", caller.name)));
            }
            caller.check_credentials(beside).map_err(at)?;
            for (kind, credential) in caller.credentials() {
                let owner = format!("callers[{position}]");
                if let Some(other) = taken.insert((kind, credential), owner) {
                    return Err(at(format!(
                        "{kind}: one is in {other} too; one caller has it"
                    )));
                }
            }
            caller.check_prefixes().map_err(at)?;
            caller.check_rates().map_err(at)?;
        }
        Ok(())
    }

    fn credentials(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let keys = self.keys.iter().map(|key| ("keys", key.expose()));
        let tokens = self.tokens.iter().map(|name| ("tokens", name.as_str()));
        let subjects = self.subjects.iter().map(|name| ("subjects", name.as_str()));
        keys.chain(tokens).chain(subjects)
    }

    fn check_credentials(&self, beside: CallerContext<'_>) -> Result<(), String> {
        if self.credentials().next().is_none() {
            return Err("keys, tokens or subjects must say how it shows who it is".to_owned());
        }
        for (key, count) in [
            ("keys", self.keys.len()),
            ("tokens", self.tokens.len()),
            ("subjects", self.subjects.len()),
        ] {
            if count > CREDENTIALS_MAX {
                return Err(format!("{key} has more than {CREDENTIALS_MAX} entries"));
            }
        }
        let mut keys = self.keys.iter();
        if keys.any(|key| key.expose().is_empty() || key.is_masked()) {
            return Err("keys must hold the secret itself, not a mask or nothing".to_owned());
        }
        let named =
            |key: &str, names: &[String]| names.iter().try_for_each(|name| text(key, name, 512));
        named("tokens", &self.tokens)?;
        named("subjects", &self.subjects)?;
        if !self.tokens.is_empty() && !beside.tokens {
            return Err("tokens: no token is accepted; set [ingress.access]".to_owned());
        }
        if !self.subjects.is_empty() && !beside.certificates {
            return Err(
                "subjects: no certificate of a client is asked for; set client_ca in [ingress.tls]"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn check_prefixes(&self) -> Result<(), String> {
        for (key, prefixes) in [("sources", &self.sources), ("types", &self.types)] {
            if prefixes.len() > PREFIXES_MAX {
                return Err(format!("{key} has more than {PREFIXES_MAX} entries"));
            }
            prefixes
                .iter()
                .try_for_each(|prefix| text(key, prefix, PREFIX_BYTES_MAX))?;
        }
        Ok(())
    }

    /// That an event may be larger than all that the caller may ever send at once: it could never pass.
    pub(crate) fn too_narrow_for(&self, event_bytes_max: ByteSize) -> Option<String> {
        let (key, burst) = match (self.bytes_burst, self.bytes_per_second) {
            (Some(burst), _) => ("bytes_burst", burst),
            (None, per_second) => ("bytes_per_second", per_second?),
        };
        (burst < event_bytes_max).then(|| {
            format!(
                "callers: {}: {key} is {burst}, and an event may have {event_bytes_max}: one that is larger than \
                 {burst} is refused whenever it comes; set bytes_burst to event_bytes_max or more",
                self.name
            )
        })
    }

    fn check_rates(&self) -> Result<(), String> {
        if self.events_burst.is_some() && self.events_per_second.is_none() {
            return Err("events_burst means nothing without events_per_second".to_owned());
        }
        if self.bytes_burst.is_some() && self.bytes_per_second.is_none() {
            return Err("bytes_burst means nothing without bytes_per_second".to_owned());
        }
        for (key, size) in [
            ("bytes_per_second", self.bytes_per_second),
            ("bytes_burst", self.bytes_burst),
        ] {
            if size.is_some_and(|size| !(ByteSize::b(1)..=RATE_BYTES_MAX).contains(&size)) {
                return Err(format!("{key} must be 1 B to 1 GiB"));
            }
        }
        Ok(())
    }
}

fn text(key: &str, value: &str, bytes_max: usize) -> Result<(), String> {
    if (1..=bytes_max).contains(&value.len()) && !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "{key} must have 1 to {bytes_max} bytes and no control characters"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[derive(Deserialize)]
    struct CallerTable {
        callers: Vec<CallerSettings>,
    }

    fn check(callers: &[&str], expect: Expect) {
        let entries: Vec<_> = callers
            .iter()
            .map(|caller| format!("{{ {caller} }}"))
            .collect();
        let text = format!("callers = [{}]", entries.join(", "));
        let taken = [Secret::new("c2hhcmVk")];
        let beside = CallerContext {
            access_keys: &taken,
            tokens: true,
            certificates: false,
        };
        let said = match toml::from_str::<CallerTable>(&text) {
            Ok(table) => CallerSettings::check(&table.callers, beside).err(),
            Err(error) => Some(error.message().to_owned()),
        };
        expect.assert_eq(&said.unwrap_or_default());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key_and_shows_no_secret() {
        const KEY: &str = "name = 'a', keys = ['a2V5']";
        let with = |more: &str| format!("{KEY}, {more}");
        check(&[KEY, "name = 'b', tokens = ['t']"], expect![[""]]);
        check(
            &[&with("events_per_second = 10, bytes_per_second = '1 MiB'")],
            expect![[""]],
        );
        check(
            &["name = 'a'"],
            expect!["callers[0].keys, tokens or subjects must say how it shows who it is"],
        );
        check(
            &[KEY, "name = 'a', tokens = ['t']"],
            expect![[r#"callers[1].name "a" is taken by another"#]],
        );
        check(
            &[KEY, "name = 'b', keys = ['bmV3', 'a2V5']"],
            expect!["callers[1].keys: one is in callers[0] too; one caller has it"],
        );
        check(
            &["name = 'b', keys = ['c2hhcmVk']"],
            expect!["callers[0].keys: one is in access_keys too; one caller has it"],
        );
        check(
            &["name = 'b', keys = ['***']"],
            expect!["callers[0].keys must hold the secret itself, not a mask or nothing"],
        );
        check(
            &["name = 'b', subjects = ['cn']"],
            expect![
                "callers[0].subjects: no certificate of a client is asked for; set client_ca in [ingress.tls]"
            ],
        );
        check(
            &[&with("sources = ['']")],
            expect!["callers[0].sources must have 1 to 2048 bytes and no control characters"],
        );
        check(
            &[&with("events_burst = 10")],
            expect!["callers[0].events_burst means nothing without events_per_second"],
        );
        check(
            &[&with("bytes_burst = '1 MiB'")],
            expect!["callers[0].bytes_burst means nothing without bytes_per_second"],
        );
        check(
            &[&with("bytes_per_second = '2 GiB'")],
            expect!["callers[0].bytes_per_second must be 1 B to 1 GiB"],
        );
        check(
            &[&with("events_per_second = 0")],
            expect!["invalid value: integer `0`, expected a nonzero u32"],
        );
        check(
            &[&with("event_rate = 1")],
            expect![
                "unknown field `event_rate`, expected one of `name`, `keys`, `tokens`, `subjects`, `sources`, `types`, `events_per_second`, `events_burst`, `bytes_per_second`, `bytes_burst`"
            ],
        );
    }
}
