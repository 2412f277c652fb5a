//! Environment variables that count for more than the file: `TWINROUTE_INGRESS__LISTEN=0.0.0.0:8080`.
//!
//! Two underscores stand for the dot between tables and keys. Only names that begin with a table of the configuration
//! are read; others, such as those of secrets and of commands, are none of this.

use std::borrow::Cow;
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// What all of them begin with.
const PREFIX: &str = "TWINROUTE_";

/// Tables that a variable may name. Names of endpoints are written in ways that variables have no letters for.
const TABLES: [&str; 12] = [
    "ingress",
    "admin",
    "table",
    "azure",
    "identity",
    "secrets",
    "management",
    "journal",
    "cluster",
    "audit",
    "outgoing",
    "tracing",
];
const LOG: &str = "log";

/// A key that a variable sets.
#[derive(Clone, Debug)]
pub(crate) struct ConfigOverride {
    pub(crate) variable: String,
    path: Vec<String>,
    value: String,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigOverrides {
    pub(crate) all: Vec<ConfigOverride>,
    /// Keys whose value was taken in another type already.
    taken: BTreeSet<String>,
}

impl ConfigOverride {
    /// `ingress.listen`.
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl ConfigOverrides {
    /// Those among `variables`.
    pub(crate) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all: Vec<_> = variables.into_iter().filter_map(one).collect();
        all.sort_by(|one, other| one.variable.cmp(&other.variable));
        Self {
            all,
            taken: BTreeSet::new(),
        }
    }

    /// Those of this process.
    pub(crate) fn of_environment() -> Self {
        let variables = std::env::vars_os();
        Self::of(variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// The name of the variable that a key, or the table that it stands in, comes from.
    pub(crate) fn variable_of(&self, key: &str) -> Option<&str> {
        let mut all = self.all.iter();
        let found = all.find(|one| {
            let own = one.key();
            key.strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        found.map(|one| one.variable.as_str())
    }

    /// Values as TOML, which the tables then borrow from.
    pub(super) fn texts(&self) -> Vec<String> {
        self.all
            .iter()
            .map(|one| format!("value = {}", one.value))
            .collect()
    }

    /// Puts them into a configuration. A value that is TOML counts as such, any other as a text.
    pub(super) fn put_in<'a>(&self, texts: &'a [String], root: &mut DeTable<'a>) {
        for (one, text) in self.all.iter().zip(texts) {
            let parsed = DeTable::parse(text).ok();
            let parsed = parsed.and_then(|table| table.into_inner().remove("value"));
            let value = parsed.map_or_else(|| text_value(&one.value), Spanned::into_inner);
            set(root, &one.path, value);
        }
    }

    /// Takes the value of a variable in another type, if what was read as one was to be another: a text for a number, a
    /// list for a text with commas. False when it was done before, or the key is none of a variable.
    pub(super) fn take_otherwise(
        &mut self,
        key: &str,
        message: &str,
        root: &mut DeTable<'_>,
    ) -> bool {
        let Some(one) = self.all.iter().find(|one| one.key() == key) else {
            return false;
        };
        let value = if message.contains("expected a sequence") {
            let parts = one
                .value
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            DeValue::Array(
                parts
                    .map(|part| spanned(text_value(part)))
                    .collect::<DeArray<'_>>(),
            )
        } else {
            text_value(&one.value)
        };
        if !self.taken.insert(key.to_owned()) {
            return false;
        }
        set(root, &one.path, value);
        true
    }
}

fn one((variable, value): (String, String)) -> Option<ConfigOverride> {
    let path: Vec<String> = variable
        .strip_prefix(PREFIX)?
        .split("__")
        .map(str::to_lowercase)
        .collect();
    let table = path.first().filter(|_| path.len() > 1)?;
    let is_known = TABLES.contains(&table.as_str()) || table == LOG;
    (is_known && path.iter().all(|part| !part.is_empty())).then_some(ConfigOverride {
        variable,
        path,
        value,
    })
}

fn text_value<'a>(text: &str) -> DeValue<'a> {
    DeValue::String(Cow::Owned(text.to_owned()))
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn set<'a>(table: &mut DeTable<'a>, path: &[String], value: DeValue<'a>) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let key = spanned(Cow::Owned(first.clone()));
    if rest.is_empty() {
        table.remove(first.as_str());
        table.insert(key, spanned(value));
        return;
    }
    if !matches!(
        table.get(first.as_str()).map(Spanned::get_ref),
        Some(DeValue::Table(_))
    ) {
        table.remove(first.as_str());
        table.insert(key, spanned(DeValue::Table(DeTable::new())));
    }
    if let Some(DeValue::Table(inner)) = table.get_mut(first.as_str()).map(Spanned::get_mut) {
        set(inner, rest, value);
    }
}
