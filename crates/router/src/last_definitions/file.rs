//! The file of last definitions.
//!
//! Written as a whole beside the file and renamed over it, so that no half of one is found.
//!
//! Layout: `TWRLASTD` (8 bytes), version 1 (1 byte), a sealed value ([`twinroute_model::seal`]). Inside is JSON,
//! `{"endpoints": [...]}`; each endpoint has `instance`, `name`, `definition` (the ARM body with its secrets),
//! `settings` where they are not the default ones, and `removedAt` (milliseconds since the Unix epoch) where
//! nothing defines it any more.

use super::Kept;
use crate::plan::LaneKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::{self, Revealed};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::seal::{SealError, SealKey};
use twinroute_model::settings::EndpointSettings;
use zeroize::Zeroizing;

const HEAD: &[u8; 9] = b"TWRLASTD\x01";

/// What the content is sealed for.
const CONTEXT: &[u8] = b"last definitions of endpoints";

/// Some 200,000 endpoints.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Files that could not be read and are kept beside.
const ASIDE_MAX: usize = 9;

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

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("is no file of ours, or of a later version")]
    Foreign,
    #[error("{0}")]
    Sealed(SealError),
    #[error("holds what cannot be read: line {line}, column {column}")]
    Content { line: usize, column: usize },
}

/// What a file held.
#[derive(Default)]
pub(super) struct Found {
    pub(super) kept: BTreeMap<LaneKey, Kept>,
    /// Endpoints whose definition cannot be read.
    pub(super) unreadable: Vec<String>,
}

#[derive(Serialize)]
struct Written<'a> {
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
    settings: Option<&'a EndpointSettings>,
    definition: Revealed<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    endpoints: Vec<StoredEndpoint<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredEndpoint<'a> {
    instance: String,
    name: String,
    removed_at: Option<i64>,
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
        let fresh = Self {
            path: self.path.clone(),
            key: new.clone(),
        };
        match fresh.open() {
            Ok(found) => return Ok(found.is_some()),
            Err(Error::Io(error)) => return Err(error),
            Err(_) => {}
        }
        match self.open() {
            Ok(Some(plain)) => {
                fresh.seal(&plain)?;
                Ok(true)
            }
            Err(Error::Io(error)) => Err(error),
            Ok(None) | Err(_) => Ok(false),
        }
    }

    /// Reads what is kept; `None` where there is no file.
    pub(super) fn load(&self) -> Result<Option<Found>, Error> {
        let Some(plain) = self.open()? else {
            return Ok(None);
        };
        let content: Content<'_> =
            serde_json::from_slice(&plain).map_err(|error| Error::Content {
                line: error.line(),
                column: error.column(),
            })?;
        let mut found = Found::default();
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
    pub(super) fn store(&self, kept: &BTreeMap<LaneKey, Kept>) -> io::Result<()> {
        let default = EndpointSettings::default();
        let endpoints = kept.iter().map(|((instance, name), kept)| WrittenEndpoint {
            instance: instance.as_str(),
            name: name.as_str(),
            removed_at: kept.removed_at.map(Timestamp::unix_millis),
            settings: Some(&*kept.settings).filter(|settings| **settings != default),
            definition: Revealed(&kept.endpoint),
        });
        let written = Written {
            endpoints: endpoints.collect(),
        };
        let mut plain = Zeroizing::new(Vec::new());
        serde_json::to_writer(&mut *plain, &written)?;
        self.seal(&plain)
    }

    /// Renames the file to the first free name beside it, and gives that; nothing is lost so.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        for number in 1..=ASIDE_MAX {
            let aside = self.beside(&format!(".unreadable-{number}"));
            // Fails where there is one, which a rename would replace.
            match fs::hard_link(&self.path, &aside) {
                Ok(()) => {
                    fs::remove_file(&self.path)?;
                    fs::File::open(self.folder())?.sync_all()?;
                    return Ok(aside);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{ASIDE_MAX} files that could not be read are there already; remove those that nobody needs"
        )))
    }

    fn open(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let sealed = bytes.strip_prefix(HEAD).ok_or(Error::Foreign)?;
        let plain = self.key.open(CONTEXT, sealed).map_err(Error::Sealed)?;
        Ok(Some(plain))
    }

    fn seal(&self, plain: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(CONTEXT, plain).map_err(io::Error::other)?;
        if (HEAD.len() + sealed.len()) as u64 > FILE_BYTES_MAX {
            let text = format!("it would be larger than {FILE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let draft = self.beside(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(HEAD)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        fs::File::open(self.folder())?.sync_all()
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }

    fn folder(&self) -> &Path {
        let folder = self.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }
}

impl StoredEndpoint<'_> {
    fn read(&self) -> Option<(LaneKey, Kept)> {
        let name = EndpointName::new(&self.name).ok()?;
        let endpoint = endpoint::restore(&name, self.definition.get()).ok()?;
        let settings: EndpointSettings = match self.settings {
            Some(settings) => serde_json::from_str(settings.get()).ok()?,
            None => EndpointSettings::default(),
        };
        settings.check().ok()?;
        let kept = Kept {
            endpoint: Arc::new(endpoint),
            settings: Arc::new(settings),
            removed_at: self.removed_at.map(Timestamp::from_unix_millis),
        };
        Some(((InstanceName::new(&self.instance).ok()?, name), kept))
    }
}
