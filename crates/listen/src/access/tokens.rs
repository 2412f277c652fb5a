//! Tokens that stand for themselves.
//!
//! What is kept of a token is a keyed hash under a key that is made at the start and kept nowhere: a
//! comparison takes the same time whatever is presented, and memory holds nothing worth reading.

use super::caller::{AuthenticatedCaller, CallerRole};
use super::gate_error::GateError;
use super::settings::{TOKEN_BYTES, TokenSettings, is_token};
use arc_swap::ArcSwapOption;
use ring::hmac;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_files::file_stamp::FileStamp;
use twinroute_files::text_file::read_secret;

/// How often files are checked, at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a token's file, with what stands around the token.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) struct TokenFile {
    key: hmac::Key,
    entries: Arc<[TokenEntry]>,
    /// When files were checked last.
    checked_at: Mutex<Instant>,
}

struct TokenEntry {
    name: String,
    role: CallerRole,
    file: Option<WatchedTokens>,
    /// Nothing while the file holds no token.
    tag: ArcSwapOption<Vec<u8>>,
}

struct WatchedTokens {
    path: PathBuf,
    seen: Mutex<Option<FileStamp>>,
}

impl TokenFile {
    /// Reads variables and files. Blocks on the file system.
    pub(super) fn new(settings: &[TokenSettings]) -> Result<Self, GateError> {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| GateError::Random)?;
        let entries: Vec<_> = settings
            .iter()
            .map(|token| TokenEntry::new(token, &key))
            .collect::<Result<_, _>>()?;
        for (position, entry) in entries.iter().enumerate() {
            let tag = entry.tag.load();
            let same = |other: &&TokenEntry| *other.tag.load() == *tag;
            if let Some(other) = entries[..position].iter().find(same) {
                return Err(GateError::Same {
                    name: entry.name.clone(),
                    other: other.name.clone(),
                });
            }
        }
        Ok(Self {
            key,
            entries: entries.into(),
            checked_at: Mutex::new(Instant::now()),
        })
    }

    /// Whom a token stands for. Dropping the future loses nothing.
    pub(super) async fn find(&self, token: &str) -> Option<AuthenticatedCaller> {
        self.read_changed().await;
        let fits = |entry: &&TokenEntry| {
            let tag = entry.tag.load();
            let tag = tag.as_ref();
            tag.is_some_and(|tag| hmac::verify(&self.key, token.as_bytes(), tag).is_ok())
        };
        let entry = self.entries.iter().find(fits)?;
        Some(AuthenticatedCaller {
            name: entry.name.clone(),
            role: entry.role,
        })
    }

    /// Reads files that changed, on a thread that may block.
    async fn read_changed(&self) {
        if self.entries.iter().all(|entry| entry.file.is_none()) {
            return;
        }
        {
            let mut checked_at = self
                .checked_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if checked_at.elapsed() < CHECK_INTERVAL {
                return;
            }
            *checked_at = Instant::now();
        }
        let (entries, key) = (Arc::clone(&self.entries), self.key.clone());
        let read_changed = move || entries.iter().for_each(|entry| entry.reload(&key));
        if let Err(error) = tokio::task::spawn_blocking(read_changed).await {
            tracing::error!(%error, "token files not checked");
        }
    }
}

impl TokenEntry {
    fn new(settings: &TokenSettings, key: &hmac::Key) -> Result<Self, GateError> {
        let name = &settings.name;
        let mut file = None;
        let tag = if let Some(path) = &settings.token_file {
            let seen = Mutex::new(FileStamp::of(path));
            let path = path.clone();
            let tag = read(&path, key).map_err(|reason| GateError::File {
                name: name.clone(),
                path: path.clone(),
                reason,
            })?;
            file = Some(WatchedTokens { path, seen });
            tag
        } else if let Some(variable) = &settings.token_env {
            let value = std::env::var(variable).unwrap_or_default();
            tag(&value, key).ok_or_else(|| GateError::Variable {
                name: name.clone(),
                variable: variable.clone(),
            })?
        } else {
            let token = settings.token.as_ref();
            let token = token.and_then(|token| tag(token.expose(), key));
            token.ok_or_else(|| GateError::Settings(format!("token of {name:?} {TOKEN_BYTES}")))?
        };
        Ok(Self {
            name: name.clone(),
            role: settings.role,
            file,
            tag: ArcSwapOption::from_pointee(tag),
        })
    }

    /// A file that went away or holds no token any more lets nobody in: that is how a token is withdrawn.
    fn reload(&self, key: &hmac::Key) {
        let Some(WatchedTokens { path, seen }) = &self.file else {
            return;
        };
        let found = FileStamp::of(path);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return;
        }
        *seen = found;
        let name = &self.name;
        let read = read(path, key);
        let path = path.display();
        match read {
            Ok(tag) => {
                self.tag.store(Some(Arc::new(tag)));
                tracing::info!(name, %path, "token read again");
            }
            Err(reason) => {
                self.tag.store(None);
                tracing::warn!(name, %path, reason, "token withdrawn until its file holds one");
            }
        }
    }
}

fn read(path: &Path, key: &hmac::Key) -> Result<Vec<u8>, String> {
    let token = read_secret("token file", path, FILE_BYTES_MAX);
    let token = token.map_err(|error| error.reason())?;
    tag(token.expose(), key).ok_or_else(|| TOKEN_BYTES.to_owned())
}

fn tag(token: &str, key: &hmac::Key) -> Option<Vec<u8>> {
    let sign = || hmac::sign(key, token.as_bytes()).as_ref().to_vec();
    is_token(token).then(sign)
}
