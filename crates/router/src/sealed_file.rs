//! A file whose content is sealed as a whole.
//!
//! It is written beside its place and renamed over it, so that no half of one is found, with mode 0600.
//!
//! Layout: a head of 9 bytes, which says what it is and in which version, and a sealed value
//! ([`twinroute_model::seal`]).

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use twinroute_model::seal::{SealError, SealKey};
use zeroize::Zeroizing;

/// Bytes of a file.
const BYTES_MAX: u64 = 256 << 20;

/// A file, what it is, and the key it is sealed with.
#[derive(Clone, Copy, Debug)]
pub struct SealedFile<'a> {
    /// The file. Its folder is made, with mode 0700, where there is none.
    pub path: &'a Path,
    /// The key.
    pub key: &'a SealKey,
    /// What it begins with.
    pub head: &'static [u8; 9],
    /// What it is sealed for: it opens for nothing else.
    pub context: &'a [u8],
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedFileError {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is larger than any that is written.
    #[error("is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// Its head is another one.
    #[error("is no file of ours, or of a later version")]
    Foreign,
    /// It does not open.
    #[error("{0}")]
    Sealed(SealError),
}

impl SealedFile<'_> {
    /// What it holds; `None` where there is no file. Blocks on the file system.
    ///
    /// # Errors
    /// [`SealedFileError`].
    pub fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, SealedFileError> {
        let file = match fs::File::open(self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(SealedFileError::TooLarge);
        }
        let sealed = bytes
            .strip_prefix(self.head)
            .ok_or(SealedFileError::Foreign)?;
        let plain = self.key.open(self.context, sealed);
        plain.map(Some).map_err(SealedFileError::Sealed)
    }

    /// Replaces it; on disk when this returns. Blocks on the file system.
    ///
    /// # Errors
    /// When it would be larger than 256 MiB, or the system refuses. Then it is as it was.
    pub fn write(&self, plain: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(self.context, plain);
        let sealed = sealed.map_err(io::Error::other)?;
        if (self.head.len() + sealed.len()) as u64 > BYTES_MAX {
            let text = format!("it would be larger than {BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let folder = self.folder();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
        let draft = self.beside(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        // Of one that was there already too.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(self.head)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&draft, self.path)?;
        fs::File::open(folder)?.sync_all()
    }

    /// Seals it with `new` instead of its key; what is sealed with that already stays. Gives whether there is a file
    /// that could be opened. Blocks on the file system.
    ///
    /// What opens with neither key stays: nobody here can use it.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn reseal(&self, new: &SealKey) -> io::Result<bool> {
        let fresh = SealedFile { key: new, ..*self };
        match fresh.read() {
            Ok(found) => return Ok(found.is_some()),
            Err(SealedFileError::Io(error)) => return Err(error),
            Err(_) => {}
        }
        match self.read() {
            Ok(Some(plain)) => fresh.write(&plain).map(|()| true),
            Err(SealedFileError::Io(error)) => Err(error),
            Ok(None) | Err(_) => Ok(false),
        }
    }

    /// Renames it to the first free one of the names `<path>.unreadable-1` to `-9`, and gives that: nothing is lost
    /// so. Blocks on the file system.
    ///
    /// # Errors
    /// When there are nine already, or the system refuses.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        const ASIDE_MAX: usize = 9;
        for number in 1..=ASIDE_MAX {
            let aside = self.beside(&format!(".unreadable-{number}"));
            // Fails where there is one, which a rename would replace.
            match fs::hard_link(self.path, &aside) {
                Ok(()) => {
                    fs::remove_file(self.path)?;
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

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.to_owned().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }

    fn folder(&self) -> &Path {
        let folder = self.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }
}
