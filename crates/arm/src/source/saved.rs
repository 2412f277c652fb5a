//! The last good listing on disk, for a start while the management API is unavailable.
//!
//! Sealed: what a server shows may be more than it should. The overlay's secrets are not in it.
//!
//! A sealed file ([`twinroute_files::sealed_file`]) with the head `TWRAZURE` and version 1, whose context names
//! the instance. Inside is JSON: `{"at": <RFC 3339>, "listing": <Listing>}`.

use super::super::api::base_url;
use super::super::read::InstanceListing;
use super::settings::AzureSettings;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use twinroute_files::sealed_file::{SealedFile, SealedFileError};
use twinroute_model::clock::Timestamp;
use twinroute_model::seal::{SealError, SealKey};

const HEAD: &[u8; 9] = b"TWRAZURE\x01";

/// Where the last good listing is kept, and the key it is sealed with.
#[derive(Clone, Debug)]
pub struct SavedFile {
    /// The file; its folder is made where there is none.
    pub path: PathBuf,
    /// The key.
    pub key: SealKey,
}

/// Why what is saved cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    File(SealedFileError),
    #[error("is of another instance, {0}")]
    Sealed(SealError),
    #[error("holds what cannot be read: line {line}, column {column}")]
    Content { line: usize, column: usize },
}

impl From<SealedFileError> for Error {
    fn from(error: SealedFileError) -> Self {
        match error {
            SealedFileError::Sealed(error) => Self::Sealed(error),
            other => Self::File(other),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SavedContent {
    at: String,
    listing: InstanceListing,
}

/// What the listing of the instance at `path` is sealed for.
pub(super) fn context(base: &Url, path: &str) -> String {
    format!("azure {base}{path}").to_ascii_lowercase()
}

impl SavedFile {
    /// Reads what is saved for `context`; `None` where there is no file.
    pub(super) fn load(
        &self,
        context: &str,
    ) -> Result<Option<(InstanceListing, Option<Timestamp>)>, Error> {
        let Some(plain) = self.file(context).read()? else {
            return Ok(None);
        };
        let content: SavedContent =
            serde_json::from_slice(&plain).map_err(|error| Error::Content {
                line: error.line(),
                column: error.column(),
            })?;
        Ok(Some((
            content.listing,
            Timestamp::parse_rfc3339(&content.at),
        )))
    }

    /// Seals what is saved with `new` instead of `self.key`; what is sealed with it already stays. Gives whether
    /// anything is saved. Blocks on the file system.
    ///
    /// `settings` are those of the source that saved it. What opens with neither key, or for other settings, is of
    /// no use to anybody, and stays.
    ///
    /// # Errors
    /// When the file cannot be written, or not be read.
    pub fn reseal(&self, settings: &AzureSettings, new: &SealKey) -> io::Result<bool> {
        let base = base_url(&settings.management_url).map_err(io::Error::other)?;
        let context = context(&base, &settings.path());
        self.file(&context).reseal(new)
    }

    fn file<'a>(&'a self, context: &'a str) -> SealedFile<'a> {
        SealedFile {
            path: &self.path,
            key: &self.key,
            head: HEAD,
            context: context.as_bytes(),
        }
    }

    /// Saves `listing` for `context`; it is on disk when this returns. Blocks on the file system.
    pub(super) fn store(
        &self,
        context: &str,
        listing: &InstanceListing,
        at: Timestamp,
    ) -> io::Result<()> {
        let content = SavedContent {
            at: at.rfc3339(),
            listing: listing.clone(),
        };
        self.file(context).write(&serde_json::to_vec(&content)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;
    use std::fs;

    fn key(byte: u8) -> SealKey {
        SealKey::new(&[byte; twinroute_model::seal::KEY_BYTES])
    }

    #[test]
    fn another_key_takes_over_and_may_be_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let saved = SavedFile {
            path: folder.path().join("azure.saved"),
            key: key(1),
        };
        let settings: AzureSettings = toml::from_str(
            "subscription = '11111111-1111-1111-1111-111111111111'\nresource_group = 'g'\ninstance = 'i'",
        )
        .unwrap();
        assert!(!saved.reseal(&settings, &key(2)).unwrap());
        let base = base_url(&settings.management_url).unwrap();
        let context = context(&base, &settings.path());
        let listing = InstanceListing {
            instance: RawValue::from_string("{}".to_owned()).unwrap(),
            endpoints: Vec::new(),
            routes: Vec::new(),
        };
        let at = Timestamp::from_unix_millis(5);
        saved.store(&context, &listing, at).unwrap();
        for _ in 0..2 {
            assert!(saved.reseal(&settings, &key(2)).unwrap());
        }
        assert!(matches!(saved.load(&context), Err(Error::Sealed(_))));
        let fresh = SavedFile {
            key: key(2),
            ..saved.clone()
        };
        assert_eq!(fresh.load(&context).unwrap().unwrap().1, Some(at));
        // For another instance it opens with neither, and is left alone.
        let other = AzureSettings {
            instance: "other".to_owned(),
            ..settings
        };
        assert!(!fresh.reseal(&other, &key(3)).unwrap());
        assert!(fresh.load(&context).unwrap().is_some());
    }

    #[test]
    fn what_was_saved_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/azure");
        let file = SavedFile {
            path: path.clone(),
            key: key(1),
        };
        assert!(file.load("a").unwrap().is_none());
        let listing = InstanceListing {
            instance: RawValue::from_string(r#"{"name":"main","x":1.10}"#.to_owned()).unwrap(),
            endpoints: vec![RawValue::from_string(r#"{"name":"hub-1"}"#.to_owned()).unwrap()],
            routes: Vec::new(),
        };
        let at = Timestamp::from_unix_millis(1_774_000_000_000);
        file.store("a", &listing, at).unwrap();
        let (read, saved_at) = file.load("a").unwrap().unwrap();
        assert_eq!(read.instance.get(), listing.instance.get());
        assert_eq!(read.endpoints[0].get(), listing.endpoints[0].get());
        assert_eq!(saved_at, Some(at));

        let good = fs::read(&path).unwrap();
        assert!(!good.windows(5).any(|part| part == b"hub-1"));
        let text = |file: &SavedFile, context| file.load(context).unwrap_err().to_string();
        assert!(text(&file, "b").starts_with("is of another instance, was sealed with"));
        let other = SavedFile {
            path: path.clone(),
            key: key(2),
        };
        assert!(text(&other, "a").contains("another key"));
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(file.load("a").is_err(), "{length}");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(file.load("a").is_err(), "{at}");
        }
    }
}
