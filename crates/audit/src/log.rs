//! Writing the log: one owner, which adds at the end and never changes what is there.

use super::entry::{AuditEntry, AuditedChange, ChangeAuthor};
use super::file::{self, ChainPlace, FILE_MODE, FILE_REMOVED, HEAD, LOCK};
use super::settings::AuditSettings;
use serde_json::json;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use twinroute_files::folder::sync_folder;
use twinroute_files::private_file::{make_private_folder, open_private_file};
use twinroute_model::clock::Timestamp;

/// Why a change cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk refuses.
    #[error("audit log {}: cannot {step}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("audit log {}: another process has it open; only one may", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// What is on disk is not known any more.
    #[error("audit log {}: a sync failed earlier; restart once the disk works", path.display())]
    Broken {
        /// The folder.
        path: PathBuf,
    },
    /// The process ends.
    #[error("audit log: interrupted")]
    Interrupted,
}

impl AuditError {
    /// The error and its cause on one line.
    #[must_use]
    pub fn error_chain(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            Self::Locked { .. } | Self::Broken { .. } | Self::Interrupted => self.to_string(),
        }
    }
}

/// The open log.
pub(super) struct AuditWriter {
    folder: PathBuf,
    settings: AuditSettings,
    /// The numbers of the files, the last of which is written to.
    files: Vec<u64>,
    file: File,
    bytes: u64,
    place: ChainPlace,
    head: File,
    /// A sync failed: whether what was written is on disk is not known.
    broken: bool,
    _lock: File,
}

/// What was found amiss at the opening.
#[derive(Debug, Default)]
struct LogDamage {
    cut_bytes: u64,
    missing: Option<(u64, u64)>,
    damaged: bool,
}

impl AuditWriter {
    pub(super) fn open(
        folder: &Path,
        settings: &AuditSettings,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let failed = |step| {
            move |source| AuditError::Io {
                path: folder.to_owned(),
                step,
                source,
            }
        };
        make_private_folder(folder).map_err(failed("make it"))?;
        // Locked before anything is read: another process could still be writing its end.
        let lock = open_private_file(&folder.join(LOCK)).map_err(failed("make its lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => AuditError::Locked {
                path: folder.to_owned(),
            },
            TryLockError::Error(source) => failed("lock it")(source),
        })?;
        let mut amiss = LogDamage::default();
        let mut files = file::list(folder).map_err(failed("list its files"))?;
        let mut place = last(folder, &files, &mut amiss).map_err(failed("read its end"))?;
        // Entries that `head` knows of and no file has were cut off. The chain goes on behind them, so
        // that the gap stays visible for ever.
        if let Some(head) = ChainPlace::read(folder)
            && head.n > place.n
        {
            amiss.missing = Some((place.n + 1, head.n));
            place = head;
        }
        let head = open_private_file(&folder.join(HEAD)).map_err(failed("make its head"))?;
        let number = files.last().copied().unwrap_or(1);
        let file =
            open_private_file(&file::path(folder, number)).map_err(failed("open its last file"))?;
        if files.is_empty() {
            files.push(number);
        }
        let bytes = file
            .metadata()
            .map_err(failed("look at its last file"))?
            .len();
        // The folder last: a new file or head must be there after a crash before an entry counts as
        // written.
        sync_folder(folder).map_err(failed("sync its folder"))?;
        let mut log = Self {
            folder: folder.to_owned(),
            settings: settings.clone(),
            files,
            file,
            bytes,
            place,
            head,
            broken: false,
            _lock: lock,
        };
        // What was wrong is an entry itself, of the log that is whole from here on.
        log.tell(&amiss, now)?;
        Ok(log)
    }

    /// Says what was amiss, in the daemon's log and in this one.
    fn tell(&mut self, amiss: &LogDamage, now: Timestamp) -> Result<(), AuditError> {
        let folder = self.folder.display();
        let mut found = json!({});
        if amiss.cut_bytes > 0 {
            let bytes = amiss.cut_bytes;
            tracing::warn!(%folder, bytes, "the audit log ended within a line, which was cut off");
            found["cut_bytes"] = bytes.into();
        }
        if let Some((first, last)) = amiss.missing {
            tracing::error!(%folder, first, last, "entries are missing from the end of the audit log");
            found["missing"] = json!([first, last]);
        }
        if amiss.damaged {
            tracing::error!(%folder, "lines of the audit log were changed; `twinroute audit --verify` says which");
            found["damaged"] = true.into();
        }
        if found == json!({}) {
            return Ok(());
        }
        let change = AuditedChange {
            after: Some(found),
            ..AuditedChange::step("audit/opened", self.folder.display().to_string())
        };
        let entry = AuditEntry::accepted(
            &ChangeAuthor::command("twinroute", "twinroute"),
            &change,
            now,
        );
        self.append(vec![entry], now)
    }

    /// Adds entries; on disk when this returns.
    pub(super) fn append(
        &mut self,
        entries: Vec<AuditEntry>,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        self.write(entries)?;
        self.sync()?;
        self.expire(now)
    }

    /// Adds an entry, which is on disk some time later.
    pub(super) fn append_unsynced(
        &mut self,
        entry: AuditEntry,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        self.write(vec![entry])?;
        self.expire(now)
    }

    fn write(&mut self, entries: Vec<AuditEntry>) -> Result<(), AuditError> {
        if self.broken {
            return Err(AuditError::Broken {
                path: self.folder.clone(),
            });
        }
        let mut buffer = Vec::new();
        let mut place = self.place.clone();
        for entry in entries {
            let (line, behind) = file::line(entry, &place);
            let bytes = self.bytes + (buffer.len() + line.len()) as u64;
            let something = self.bytes > 0 || !buffer.is_empty();
            if something && bytes > self.settings.file_bytes_max.as_u64() {
                self.put(&buffer, place)?;
                buffer.clear();
                self.next_file()?;
            }
            buffer.extend_from_slice(&line);
            place = behind;
        }
        self.put(&buffer, place)
    }

    /// Writes whole lines, after which the log is at `place`.
    fn put(&mut self, lines: &[u8], place: ChainPlace) -> Result<(), AuditError> {
        if let Err(source) = self.file.write_all_at(lines, self.bytes) {
            // What stands behind is written over by the next, or cut off at the next opening.
            drop(self.file.set_len(self.bytes));
            return Err(self.failed("write it", source));
        }
        self.bytes += lines.len() as u64;
        self.place = place;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditError> {
        if let Err(source) = self.file.sync_data() {
            self.broken = true;
            return Err(self.failed("sync it", source));
        }
        // Behind the sync, so that it never tells of an entry that a crash took.
        let head = self.place.write();
        if let Err(source) = self.head.write_all_at(head.as_bytes(), 0) {
            let error = self.failed("write its head", source).error_chain();
            tracing::warn!(
                error,
                "a missing end of the audit log might not be detected"
            );
        }
        Ok(())
    }

    /// Begins the next file.
    fn next_file(&mut self) -> Result<(), AuditError> {
        self.sync()?;
        let number = self.files.last().map_or(1, |last| last + 1);
        let path = file::path(&self.folder, number);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
        let file = options.open(path);
        let file = file.map_err(|source| self.failed("begin its next file", source))?;
        sync_folder(&self.folder).map_err(|source| self.failed("sync its folder", source))?;
        self.file = file;
        self.bytes = 0;
        self.files.push(number);
        Ok(())
    }

    /// Removes the oldest files when there are more than are kept; an entry says so first.
    fn expire(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let kept = usize::try_from(self.settings.files_max).unwrap_or(usize::MAX);
        while kept > 0 && self.files.len() > kept {
            let oldest = self.files[0];
            let first = first(&file::path(&self.folder, self.files[1]));
            let first = first.map_err(|source| self.failed("read its second file", source))?;
            let change = AuditedChange {
                after: Some(json!({ "up_to": first.saturating_sub(1) })),
                ..AuditedChange::step(FILE_REMOVED, file::name(oldest))
            };
            let author = ChangeAuthor::command("twinroute", "twinroute");
            self.write(vec![AuditEntry::accepted(&author, &change, now)])?;
            self.sync()?;
            let removed = std::fs::remove_file(file::path(&self.folder, oldest));
            removed.map_err(|source| self.failed("remove its oldest file", source))?;
            self.files.remove(0);
        }
        Ok(())
    }

    /// For tests: another file to write to; gives the one before.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    fn failed(&self, step: &'static str, source: io::Error) -> AuditError {
        AuditError::Io {
            path: self.folder.clone(),
            step,
            source,
        }
    }
}

/// The place behind the last entry; cuts off what a crash tore.
fn last(folder: &Path, files: &[u64], amiss: &mut LogDamage) -> io::Result<ChainPlace> {
    for (back, number) in files.iter().rev().enumerate() {
        let path = file::path(folder, *number);
        let text = std::fs::read(&path)?;
        let scanned = scan(&text);
        amiss.damaged |= scanned.damaged;
        // Only the last file can have been written to when the process died.
        if back == 0 && scanned.whole < text.len() {
            amiss.cut_bytes = (text.len() - scanned.whole) as u64;
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(scanned.whole as u64)?;
            file.sync_all()?;
        }
        if let Some(place) = scanned.place {
            return Ok(place);
        }
    }
    Ok(ChainPlace::start())
}

struct ScannedFile {
    /// Behind the last line that is whole.
    place: Option<ChainPlace>,
    /// Bytes up to its end.
    whole: usize,
    /// A line before it is not whole: that is no tear.
    damaged: bool,
}

fn scan(text: &[u8]) -> ScannedFile {
    let mut scanned = ScannedFile {
        place: None,
        whole: 0,
        damaged: false,
    };
    let (mut at, mut bad) = (0, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let parsed = line.strip_suffix(b"\n").map(file::parse);
        let Some(Ok(line)) = parsed else {
            bad = true;
            continue;
        };
        scanned.damaged |= bad;
        scanned.place = Some(ChainPlace {
            n: line.entry.n,
            hash: line.hash,
        });
        scanned.whole = at;
    }
    scanned
}

/// The number of the first entry of a file.
fn first(path: &Path) -> io::Result<u64> {
    let mut lines = io::BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    io::BufRead::read_until(&mut lines, b'\n', &mut line)?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let parsed = file::parse(line).map_err(io::Error::other)?;
    Ok(parsed.entry.n)
}
