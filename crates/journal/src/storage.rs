//! All I/O of the journal, as a trait, and the folder that it is in reality.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the journal's files stand. A simulation implements it too, see [`super::sim`].
///
/// Nothing is durable before the sync that covers it: contents before `sync_data`, names before
/// `sync_dir`. Calls block.
pub trait Storage: Send + Sync + 'static {
    /// Makes this process the only one in the folder until the guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// The names of all files.
    ///
    /// # Errors
    /// Whatever the system says; of every method here.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file of `bytes` zeros whose blocks are taken, so that writing in it needs no more
    /// room and a sync has nothing but data to bring to disk. When that fails, the file is gone
    /// again as far as possible.
    fn create(&self, name: &str, bytes: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. When that fails, any part of them may have been written.
    fn write_at(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset`.
    fn read_at(&self, name: &str, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// A file is read soon. A hint, which may do nothing.
    fn will_read(&self, _name: &str) {}

    /// The length of a file.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Brings what was written to a file to disk. After a failure nothing is known about the file.
    fn sync_data(&self, name: &str) -> io::Result<()>;

    /// Brings creations, renames and removals to disk.
    fn sync_dir(&self) -> io::Result<()>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a file shorter: what is behind `bytes` is not needed any more. It need not be done, and a crash may
    /// undo it.
    fn shorten(&self, _name: &str, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes that new files may take, if that is known. A hint: others take them too.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Whether calls from several threads may come in any order. A simulation says no, so that the
    /// n-th call is always the same one.
    fn is_concurrent(&self) -> bool {
        true
    }

    /// What errors call it.
    fn describe(&self) -> String;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct FolderStorage {
    path: PathBuf,
    open: Mutex<HashMap<String, Arc<File>>>,
}

const LOCK: &str = "lock";

/// Files are for their owner only.
const FILE_MODE: u32 = 0o600;

/// Zeros are written in strides of this many bytes.
const STRIDE: usize = 1 << 20;

impl FolderStorage {
    /// The folder at `path`, created if it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Events stand in it as they came: nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self::at(path))
    }

    /// The folder at `path`, which must be there.
    ///
    /// # Errors
    /// When it is not a folder.
    pub fn existing(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() {
            Ok(Self::at(path))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: Mutex::default(),
        }
    }

    fn open_files(&self) -> MutexGuard<'_, HashMap<String, Arc<File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        // Held while opening: what is opened here beside a removal is either gone or forgotten again.
        let mut open = self.open_files();
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let path = self.path.join(name);
        // What is no file must not be opened: a link leads elsewhere, a pipe blocks.
        if !fs::symlink_metadata(&path)?.is_file() {
            let reason = "it is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = Arc::new(options.open(path)?);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    /// Writes the zeros out. A file that is only said to be that long is there sooner (16 ms for
    /// 43, of 64 MiB on ext4), but then every sync allocates: a third less at 10 to 100 producers.
    fn fill(path: &Path, file: &mut File, bytes: u64) -> io::Result<()> {
        let mut written = 0;
        match fill_past_the_cache(path, bytes, &mut written) {
            Ok(()) => {}
            // Not every file system can.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
        let zeros = vec![0; STRIDE];
        while written < bytes {
            let stride = usize::try_from(bytes - written).unwrap_or(STRIDE);
            let stride = &zeros[..stride.min(STRIDE)];
            file.write_all_at(stride, written)?;
            written += stride.len() as u64;
        }
        file.sync_all()
    }
}

/// Writes zeros past the system's page cache, in whole strides: a tenth of the CPU time, and nothing
/// dirty piles up that a sync of another file would wait for. `written` says how far it came.
#[cfg(target_os = "linux")]
fn fill_past_the_cache(path: &Path, bytes: u64, written: &mut u64) -> io::Result<()> {
    /// What disks and file systems ask buffers to be aligned to, at most.
    const ALIGNED: usize = 4_096;
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path)?;
    let zeros = vec![0; STRIDE + ALIGNED];
    let start = zeros.as_ptr().align_offset(ALIGNED);
    let Some(stride) = zeros.get(start..start.saturating_add(STRIDE)) else {
        return Ok(());
    };
    while *written + STRIDE as u64 <= bytes {
        file.write_all_at(stride, *written)?;
        *written += STRIDE as u64;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill_past_the_cache(_path: &Path, _bytes: u64, _written: &mut u64) -> io::Result<()> {
    Ok(())
}

impl Storage for FolderStorage {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(FILE_MODE)
            .truncate(false)
            .open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                let text = format!("in use by the process with the id {}", holder.trim());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Only for people: a disk without room keeps nobody from the journal.
        let process = format!("{}\n", std::process::id());
        let written = file
            .rewind()
            .and_then(|()| file.write_all(process.as_bytes()))
            .and_then(|()| file.set_len(process.len() as u64));
        if let Err(error) = written {
            tracing::debug!(%error, "the process id cannot be written to the journal's lock");
        }
        Ok(Box::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Our own names are all UTF-8.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)?;
        if let Err(error) = Self::fill(&path, &mut file, bytes) {
            drop(file);
            // The first error is the one to tell.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        self.open_files().insert(name.to_owned(), Arc::new(file));
        Ok(())
    }

    fn write_at(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, name: &str, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file(name)?.read_exact_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn will_read(&self, name: &str) {
        let Ok(file) = self.file(name) else {
            return;
        };
        if let Err(error) = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::WillNeed) {
            tracing::debug!(name, %error, "the file cannot be read ahead");
        }
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut open = self.open_files();
        fs::rename(self.path.join(from), self.path.join(to))?;
        open.remove(to);
        if let Some(file) = open.remove(from) {
            open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn shorten(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.file(name)?.set_len(bytes)
    }

    fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.path);
        found.ok().map(|found| found.f_bavail * found.f_frsize)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = fs::remove_file(self.path.join(name));
        // Behind it, so that nobody opens it again meanwhile and keeps its blocks.
        self.open_files().remove(name);
        removed
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderStorage::create(folder.path()).unwrap();
        let guard = first.lock().unwrap();
        let second = FolderStorage::existing(folder.path()).unwrap();
        let error = second.lock().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let holder = format!("in use by the process with the id {}", std::process::id());
        assert_eq!(error.to_string(), holder);
        drop(guard);
        second.lock().unwrap();
    }

    #[test]
    fn files_are_zeros_and_keep_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let storage = FolderStorage::create(folder.path()).unwrap();
        storage.create("a", 3_000_000).unwrap();
        assert!(storage.create("a", 1).is_err());
        storage.write_at("a", b"text", 2_000_000).unwrap();
        storage.sync_data("a").unwrap();
        storage.rename("a", "b").unwrap();
        storage.sync_dir().unwrap();
        let mut bytes = [1; 6];
        storage.read_at("b", &mut bytes, 1_999_999).unwrap();
        assert_eq!(&bytes, b"\0text\0");
        assert_eq!(storage.len("b").unwrap(), 3_000_000);
        assert_eq!(storage.list().unwrap(), ["b"]);
        storage.remove("b").unwrap();
        assert!(storage.list().unwrap().is_empty());
    }
}
