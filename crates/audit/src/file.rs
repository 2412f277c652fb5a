//! The files of the log and the lines in them.

use super::entry::AuditEntry;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Owner alone: entries name people and show definitions.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Number and hash of the last entry that was synced.
pub(crate) const HEAD: &str = "head";

/// Whose the folder is.
pub(crate) const LOCK: &str = "lock";

/// Stands for the hash before the first entry.
pub(crate) const NOTHING_BEFORE: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// Bytes of a line that is looked at. An entry has two bodies of at most 128 KiB, and texts.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// The operation of an entry that says that a file was removed.
pub(crate) const FILE_REMOVED: &str = "audit/file-removed";

const HASH_MEMBER: &str = ",\"hash\":\"";

/// Where the log is after an entry: its number and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainPlace {
    pub(crate) n: u64,
    pub(crate) hash: String,
}

impl ChainPlace {
    pub(crate) fn start() -> Self {
        Self {
            n: 0,
            hash: NOTHING_BEFORE.to_owned(),
        }
    }

    /// As `head` holds it: always as long.
    pub(crate) fn write(&self) -> String {
        format!("{:020} {}\n", self.n, self.hash)
    }

    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(HEAD)).ok()?;
        let (n, hash) = text.trim_end().split_once(' ')?;
        let n = n.parse().ok()?;
        is_hash(hash).then(|| Self {
            n,
            hash: hash.to_owned(),
        })
    }
}

/// A line, taken apart and found whole.
pub(crate) struct AuditLine {
    pub(crate) entry: AuditEntry,
    pub(crate) previous: String,
    pub(crate) hash: String,
}

#[derive(Deserialize)]
struct ChainedLine {
    previous: String,
    hash: String,
    #[serde(flatten)]
    entry: AuditEntry,
}

/// An entry as a line with its end, and the place behind it.
pub(crate) fn line(mut entry: AuditEntry, before: &ChainPlace) -> (Vec<u8>, ChainPlace) {
    entry.n = before.n + 1;
    let mut text = serde_json::to_string(&entry).expect("texts and values are JSON");
    text.pop();
    write!(text, ",\"previous\":\"{}\"", before.hash).expect("a String takes everything");
    let hash = hash(text.as_bytes());
    writeln!(text, "{HASH_MEMBER}{hash}\"}}").expect("a String takes everything");
    let place = ChainPlace { n: entry.n, hash };
    (text.into_bytes(), place)
}

/// Reads a line without its end.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(line: &[u8]) -> Result<AuditLine, &'static str> {
    let chained: ChainedLine = serde_json::from_slice(line).map_err(|_| "is no entry")?;
    let ChainedLine {
        previous,
        hash: stored_hash,
        entry,
    } = chained;
    let end = format!("{HASH_MEMBER}{stored_hash}\"}}");
    let hashed = line.strip_suffix(end.as_bytes());
    let hashed = hashed.ok_or("does not end with its hash")?;
    if !is_hash(&previous) {
        return Err("has no hash of the entry before");
    }
    if hash(hashed) != stored_hash {
        return Err("was changed: its hash is another");
    }
    Ok(AuditLine {
        entry,
        previous,
        hash: stored_hash,
    })
}

fn is_hash(text: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == NOTHING_BEFORE.len() && text.bytes().all(hexadecimal)
}

fn hash(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(NOTHING_BEFORE.len());
    for byte in digest(&SHA256, bytes).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

pub(crate) fn name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// The numbers of the files in a folder, in order.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(folder)? {
        let found = found?.file_name();
        let number: Option<u64> = found
            .to_str()
            .and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"))
            .and_then(|number| number.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(name(number))
}
