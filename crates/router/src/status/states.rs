//! The states that a status shows, and their words.

use crate::sink::FaultKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use twinroute_model::endpoint::ProvisioningState;

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointState {
    /// It takes what it is sent, as far as that is known.
    Healthy,
    /// Somebody paused it.
    Paused,
    /// Events wait for it in the journal, and nothing defines it.
    Undefined,
    /// Its definition came without its secret.
    WaitingForSecret,
    /// Its provisioning state is one in which nothing is sent.
    Provisioning(ProvisioningState),
    /// It takes nothing just now.
    Fault(FaultKind),
    /// It was removed, and ends.
    Removed,
    /// The router stopped.
    Stopped,
}

impl EndpointState {
    /// All states.
    pub fn all() -> impl Iterator<Item = Self> {
        let provisioning = ProvisioningState::ALL.into_iter();
        let provisioning = provisioning.filter(|state| state.waiting_word().is_some());
        [
            Self::Healthy,
            Self::Paused,
            Self::Undefined,
            Self::WaitingForSecret,
        ]
        .into_iter()
        .chain(provisioning.map(Self::Provisioning))
        .chain([Self::Removed, Self::Stopped])
        .chain(FaultKind::ALL.into_iter().map(Self::Fault))
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Paused => "paused",
            Self::Undefined => "undefined",
            Self::WaitingForSecret => "waiting-for-secret",
            Self::Provisioning(state) => match state.waiting_word() {
                Some(word) => word,
                // One in which it is sent to is not shown.
                None => "healthy",
            },
            Self::Fault(kind) => kind.as_str(),
            Self::Removed => "removed",
            Self::Stopped => "stopped",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::all().find(|state| state.as_str() == word)
    }

    /// The kind of fault that holds it back, if one does.
    #[must_use]
    pub const fn fault(self) -> Option<FaultKind> {
        match self {
            Self::Fault(kind) => Some(kind),
            _ => None,
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Compares with its word.
impl PartialEq<str> for EndpointState {
    fn eq(&self, word: &str) -> bool {
        self.as_str() == word
    }
}

impl PartialEq<&str> for EndpointState {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

/// As its word.
impl Serialize for EndpointState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EndpointState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&word).ok_or_else(|| unknown("endpoint", &word))
    }
}

/// How the store of an endpoint's dead letters is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LetterStoreState {
    /// There is none: they are kept here.
    #[default]
    Local,
    /// It takes what it is given, as far as that is known.
    Ok,
    /// It takes nothing just now.
    Fault(FaultKind),
}

impl LetterStoreState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ok => "ok",
            Self::Fault(kind) => kind.as_str(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let faults = FaultKind::ALL.into_iter().map(Self::Fault);
        let mut all = [Self::Local, Self::Ok].into_iter().chain(faults);
        all.find(|state| state.as_str() == word)
    }
}

impl fmt::Display for LetterStoreState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// As its word.
impl Serialize for LetterStoreState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for LetterStoreState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&word).ok_or_else(|| unknown("dead-letter store", &word))
    }
}

fn unknown<E: serde::de::Error>(whose: &str, word: &str) -> E {
    E::custom(format_args!(
        "{word:?} is no state of {whose}s that this version knows"
    ))
}

/// Whether producers wait for the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdmissionState {
    /// Whoever comes is let in at once, or soon.
    #[default]
    Open,
    /// Producers wait.
    Slowed,
    /// Some waited as long as they may and were answered 503.
    Refusing,
}

/// Where a router keeps its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalKind {
    /// Nothing outlives the process.
    Memory,
    /// What is acknowledged as durable outlives it.
    Disk,
    /// Several routers share it.
    Cluster,
}

impl JournalKind {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Cluster => "cluster",
        }
    }
}

impl AdmissionState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Slowed => "slowed",
            Self::Refusing => "refusing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_endpoints_has_a_word_of_its_own() {
        let mut words: Vec<&str> = EndpointState::all().map(EndpointState::as_str).collect();
        assert_eq!(words.len(), 19);
        for word in &words {
            assert_eq!(EndpointState::parse(word).unwrap(), *word);
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 19);
        assert_eq!(EndpointState::parse("deleting"), None);
    }
}
