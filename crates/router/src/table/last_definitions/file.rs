//! The file of last definitions.
//!
//! A sealed file ([`twinroute_files::sealed_file`]) with the head `TWRLASTD` and version 1. Inside is JSON, `{"endpoints": [...]}`; each endpoint has `instance`, `name`, `definition` (the ARM body with its secrets),
//! `settings` where they are not the default ones, and `removedAt` (milliseconds since the Unix epoch) and
//! `removedIn` (milliseconds of journal time) where nothing defines it any more.

use crate::delivery::LaneKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use twinroute_files::sealed_file::{SealedFile, SealedFileError};
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::{self, Endpoint, RevealedEndpoint};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::seal::SealKey;
use twinroute_model::settings::EndpointSettings;
use zeroize::Zeroizing;

const HEAD: &[u8; 9] = b"TWRLASTD\x01";

/// What the content is sealed for.
const CONTEXT: &[u8] = b"last definitions of endpoints";

/// Where the last definitions of endpoints are kept, and the key they are sealed with.
///
/// The folder must be there. The file has mode 0600.
#[derive(Clone, Debug)]
pub struct LastDefinitions {
    /// The file.
    pub path: PathBuf,
    /// The key.
    pub key: SealKey,
}

/// When nothing defined an endpoint any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointRemoval {
    /// As the clock was then.
    pub(crate) at: Timestamp,
    /// In journal time; files of earlier versions do not have it, and then the grace time begins when it is
    /// found.
    pub(crate) time: Option<Duration>,
}

/// What an endpoint's lane is made of.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeptDefinition {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) settings: Arc<EndpointSettings>,
    /// Since when nothing defines it.
    pub(crate) removed_at: Option<EndpointRemoval>,
}

impl KeptDefinition {
    /// What remains of the grace time, at a moment of journal time: no clock that is set makes it longer or
    /// shorter.
    pub(crate) fn left(&self, grace: Duration, now: Duration) -> Duration {
        let removed_in = self.removed_at.and_then(|removal| removal.time);
        let gone = removed_in.map_or(Duration::ZERO, |removed| now.saturating_sub(removed));
        grace.saturating_sub(gone)
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LastDefinitionsError {
    #[error(transparent)]
    File(#[from] SealedFileError),
    #[error("holds what cannot be read: line {line}, column {column}")]
    Content { line: usize, column: usize },
}

/// What a file held.
#[derive(Default)]
pub(super) struct FoundDefinitions {
    pub(super) kept: BTreeMap<LaneKey, KeptDefinition>,
    /// Endpoints whose definition cannot be read.
    pub(super) unreadable: Vec<String>,
}

#[derive(Serialize)]
struct WrittenDefinitions<'a> {
    endpoints: Vec<WrittenEndpoint<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEndpoint<'a> {
    instance: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a EndpointSettings>,
    definition: RevealedEndpoint<'a>,
}

#[derive(Deserialize)]
struct StoredDefinitions<'a> {
    #[serde(borrow)]
    endpoints: Vec<StoredEndpoint<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEndpoint<'a> {
    instance: String,
    name: String,
    removed_at: Option<i64>,
    removed_in: Option<u64>,
    #[serde(borrow)]
    settings: Option<&'a RawValue>,
    #[serde(borrow)]
    definition: &'a RawValue,
}

impl LastDefinitions {
    /// Seals the file with `new` instead of `self.key`; what is sealed with it already stays. Gives whether there
    /// is a file that could be opened. Blocks on the file system.
    ///
    /// What opens with neither key is of no use to anybody here, and stays.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn reseal(&self, new: &SealKey) -> io::Result<bool> {
        self.file().reseal(new)
    }

    fn file(&self) -> SealedFile<'_> {
        SealedFile {
            path: &self.path,
            key: &self.key,
            head: HEAD,
            context: CONTEXT,
        }
    }

    /// Reads what is kept; `None` where there is no file.
    pub(super) fn load(&self) -> Result<Option<FoundDefinitions>, LastDefinitionsError> {
        let Some(plain) = self.file().read()? else {
            return Ok(None);
        };
        let content: StoredDefinitions<'_> =
            serde_json::from_slice(&plain).map_err(|error| LastDefinitionsError::Content {
                line: error.line(),
                column: error.column(),
            })?;
        let mut found = FoundDefinitions::default();
        for stored in &content.endpoints {
            match stored.read() {
                Some((key, kept)) => drop(found.kept.insert(key, kept)),
                None => found
                    .unreadable
                    .push(format!("{}/{}", stored.instance, stored.name)),
            }
        }
        Ok(Some(found))
    }

    /// Writes all of it; it is on disk when this returns.
    pub(super) fn store(&self, kept: &BTreeMap<LaneKey, KeptDefinition>) -> io::Result<()> {
        let default = EndpointSettings::default();
        let endpoints = kept.iter().map(|((instance, name), kept)| WrittenEndpoint {
            instance: instance.as_str(),
            name: name.as_str(),
            removed_at: kept.removed_at.map(|removal| removal.at.unix_millis()),
            removed_in: kept.removed_at.and_then(|removal| {
                let millis = removal.time?.as_millis();
                u64::try_from(millis).ok()
            }),
            settings: Some(&*kept.settings).filter(|settings| **settings != default),
            definition: RevealedEndpoint(&kept.endpoint),
        });
        let written = WrittenDefinitions {
            endpoints: endpoints.collect(),
        };
        let mut plain = Zeroizing::new(Vec::new());
        serde_json::to_writer(&mut *plain, &written)?;
        self.file().write(&plain)
    }

    /// As [`SealedFile::set_aside`].
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        self.file().set_aside()
    }
}

impl StoredEndpoint<'_> {
    fn read(&self) -> Option<(LaneKey, KeptDefinition)> {
        let name = EndpointName::new(&self.name).ok()?;
        let endpoint = endpoint::restore(&name, self.definition.get()).ok()?;
        let settings: EndpointSettings = match self.settings {
            Some(settings) => serde_json::from_str(settings.get()).ok()?,
            None => EndpointSettings::default(),
        };
        settings.check().ok()?;
        let kept = KeptDefinition {
            endpoint: Arc::new(endpoint),
            settings: Arc::new(settings),
            removed_at: self.removed_at.map(|at| EndpointRemoval {
                at: Timestamp::from_unix_millis(at),
                time: self.removed_in.map(Duration::from_millis),
            }),
        };
        Some(((InstanceName::new(&self.instance).ok()?, name), kept))
    }
}
