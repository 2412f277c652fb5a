//! The store on disk: one redb file, each value sealed for its key.
//!
//! Layout, version 1. Table `meta`: `format` -> the version; `key` -> an empty value, sealed, by which a wrong
//! key is known before anything is read. Table `records`: a resource's key -> the sealed JSON of its id, body
//! and secrets. Table `operations`: an operation's id -> its sealed JSON. A change is one transaction, which
//! redb makes durable as a whole or not at all.

use super::operation::ArmOperation;
use super::record::ResourceRecord;
use super::state::StoreChange;
use super::stored_record::StoredRecord;
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use std::fs;
use std::path::{Path, PathBuf};
use twinroute_files::folder::{folder_of, sync_folder};
use twinroute_files::private_file::{make_private_folder, open_private_file};
use twinroute_files::replace::{move_into_place, sibling};
use twinroute_model::seal::{SealError, SealKey};
use zeroize::Zeroizing;

const FORMAT: &[u8] = b"1";

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const OPERATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("operations");

/// Bytes of pages that redb keeps in memory; everything is in memory here anyway.
const CACHE_BYTES: usize = 4 << 20;

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("store {}: cannot {step}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// At which step.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The database refuses.
    #[error("store {}: {step} failed", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// At which step.
        step: &'static str,
        /// Why.
        source: Box<redb::Error>,
    },
    /// Another process has it open.
    #[error("store {}: another process has it open; only one may", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("store {}: has format {found:?}; this version reads \"1\"", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// The key does not fit, or a value was changed.
    #[error("store {}: {place} {reason}", path.display())]
    Sealed {
        /// Which.
        path: PathBuf,
        /// Which value.
        place: String,
        /// Why.
        reason: SealError,
    },
    /// What was sealed is nothing that this version writes.
    #[error("store {}: {place} cannot be read", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Which value.
        place: String,
    },
}

/// The open file. One process at a time has it.
pub(crate) struct StoreFile {
    database: Database,
    key: SealKey,
    path: PathBuf,
}

impl StoreFile {
    /// Opens the file at `path`; makes it, with mode 0600, where there is none.
    pub(crate) fn open(path: &Path, key: SealKey) -> Result<Self, StoreError> {
        let failed = |step| {
            move |source| StoreError::Io {
                path: path.to_owned(),
                step,
                source,
            }
        };
        let folder = folder_of(path);
        make_private_folder(folder).map_err(failed("make its folder"))?;
        let file = open_private_file(path).map_err(failed("open it"))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create_file(file).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::Locked {
                path: path.to_owned(),
            },
            other => StoreError::Database {
                path: path.to_owned(),
                step: "opening",
                source: Box::new(other.into()),
            },
        })?;
        sync_folder(folder).map_err(failed("sync its folder"))?;
        let disk = Self {
            database,
            key,
            path: path.to_owned(),
        };
        disk.prepare()?;
        Ok(disk)
    }

    fn database(&self, step: &'static str) -> impl Fn(redb::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Database {
            path: path.clone(),
            step,
            source: Box::new(source),
        }
    }

    /// Makes the tables of a new file; checks format and key of one that was there.
    fn prepare(&self) -> Result<(), StoreError> {
        let failed = self.database("preparing its tables");
        let sealed = self.seal("key", b"")?;
        let prepared = (|| -> Result<_, redb::Error> {
            let transaction = self.database.begin_write()?;
            let found = {
                let mut meta = transaction.open_table(META)?;
                transaction.open_table(RECORDS)?;
                transaction.open_table(OPERATIONS)?;
                let format = meta.get("format")?.map(|value| value.value().to_vec());
                let key = meta.get("key")?.map(|value| value.value().to_vec());
                if format.is_none() {
                    meta.insert("format", FORMAT)?;
                    meta.insert("key", sealed.as_slice())?;
                }
                format.zip(key)
            };
            transaction.commit()?;
            Ok(found)
        })();
        let Some((format, key)) = prepared.map_err(failed)? else {
            return Ok(());
        };
        if format != FORMAT {
            return Err(StoreError::Format {
                path: self.path.clone(),
                found: String::from_utf8_lossy(&format).into_owned(),
            });
        }
        self.open_value("key", &key).map(drop)
    }

    /// Seals all that is in the file at `path` with `new` instead of `old`: into a file of its own, which takes the
    /// place of the other at once. So nothing that is sealed with the old key is left in it. Does nothing to one
    /// that is sealed with `new`. Gives how many values there are.
    ///
    /// Whatever interrupts it leaves a file that opens with one of the two.
    pub(crate) fn reseal(path: &Path, old: &SealKey, new: &SealKey) -> Result<usize, StoreError> {
        let source = match Self::open(path, new.clone()) {
            Err(StoreError::Sealed { .. }) => Self::open(path, old.clone())?,
            opened => {
                let mut values = 0;
                opened?.load(|_| values += 1)?;
                return Ok(values);
            }
        };
        let failed = |step| {
            move |source| StoreError::Io {
                path: path.to_owned(),
                step,
                source,
            }
        };
        let draft = sibling(path, ".next");
        match fs::remove_file(&draft) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove what an earlier change left")(error)),
        }
        let mut changes = Vec::new();
        source.load(|change| changes.push(change))?;
        let copy = Self::open(&draft, new.clone())?;
        copy.commit(&changes)?;
        // Both are held until the one stands for the other, so that nobody writes to what goes.
        move_into_place(&draft, path).map_err(|error| failed(error.step)(error.source))?;
        Ok(changes.len())
    }

    /// Gives everything, as changes to an empty state.
    pub(crate) fn load(&self, mut take: impl FnMut(StoreChange)) -> Result<(), StoreError> {
        let step = "reading";
        let failed = |error: redb::Error| self.database(step)(error);
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(|error| failed(error.into()))?;
        for table in [RECORDS, OPERATIONS] {
            let table = transaction.open_table(table);
            let table = table.map_err(|error| failed(error.into()))?;
            let entries = table.iter().map_err(|error| failed(error.into()))?;
            for entry in entries {
                let (key, value) = entry.map_err(|error| failed(error.into()))?;
                take(self.read(key.value(), value.value())?);
            }
        }
        Ok(())
    }

    fn read(&self, key: &str, sealed: &[u8]) -> Result<StoreChange, StoreError> {
        let plain = self.open_value(key, sealed)?;
        let change = match ResourceRecord::read(&plain) {
            Some(record) if record.id.key() == key => {
                StoredRecord::of(&plain).map(|record| StoreChange::Put(key.into(), record))
            }
            _ => ArmOperation::read(&plain).map(StoreChange::Note),
        };
        change.ok_or_else(|| StoreError::Malformed {
            path: self.path.clone(),
            place: key.to_owned(),
        })
    }

    /// Writes changes in one transaction; on disk when this returns.
    pub(crate) fn commit(&self, changes: &[StoreChange]) -> Result<(), StoreError> {
        let mut records = Vec::new();
        let mut operations = Vec::new();
        for change in changes {
            match change {
                StoreChange::Put(key, record) => {
                    records.push((&**key, Some(self.seal(key, record.written())?)));
                }
                StoreChange::Remove(key) => records.push((key, None)),
                StoreChange::Note(operation) => {
                    let key = operation.id.to_string();
                    let value = self.seal(&key, &operation.write())?;
                    operations.push((key, Some(value)));
                }
                StoreChange::Forget(id) => operations.push((id.to_string(), None)),
            }
        }
        let written = (|| -> Result<_, redb::Error> {
            let transaction = self.database.begin_write()?;
            let operations = operations.iter().map(|(key, value)| (key.as_str(), value));
            write(
                &transaction,
                RECORDS,
                records.iter().map(|(key, value)| (*key, value)),
            )?;
            write(&transaction, OPERATIONS, operations)?;
            transaction.commit()?;
            Ok(())
        })();
        written.map_err(self.database("writing"))
    }

    fn seal(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.key
            .seal(key.as_bytes(), plain)
            .map_err(|reason| self.sealed(key, reason))
    }

    fn open_value(&self, key: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.key
            .open(key.as_bytes(), sealed)
            .map_err(|reason| self.sealed(key, reason))
    }

    fn sealed(&self, place: &str, reason: SealError) -> StoreError {
        StoreError::Sealed {
            path: self.path.clone(),
            place: place.to_owned(),
            reason,
        }
    }
}

/// Puts values into a table, sealed; takes away those that are none.
fn write<'a>(
    transaction: &WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    entries: impl Iterator<Item = (&'a str, &'a Option<Vec<u8>>)>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(table)?;
    for (key, value) in entries {
        match value {
            Some(value) => drop(table.insert(key, value.as_slice())?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}
