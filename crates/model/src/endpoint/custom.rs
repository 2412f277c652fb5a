//! A destination of the embedding program's own kind, of which the management API knows nothing.

use crate::secret::Secret;
use std::collections::BTreeMap;

/// Names a kind of sink that the embedding program has, and says what one of them is made of.
///
/// Definitions with it are made by the program's own sources: neither the management API nor files can hold one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomDestination {
    /// The kind, as the program named it; shown as the endpoint's type.
    pub kind: String,
    /// Where it is, for people: host and port. May be empty; holds no secret.
    pub address: String,
    /// What its sink is made of. Values are never shown; when one changes the endpoint gets a new sink.
    pub properties: BTreeMap<String, Secret>,
}

impl CustomDestination {
    /// One of a kind, without properties.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            address: String::new(),
            properties: BTreeMap::new(),
        }
    }

    /// Says where it is, for people.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets a property.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// A property's value, which may be a secret.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(Secret::expose)
    }
}
