//! A file whose content is sealed as a whole.
//!
//! It is for its owner alone, and is replaced as a whole ([`crate::replace`]).
//!
//! Layout: a head of 9 bytes, which says what it is and in which version, and a sealed value
//! ([`twinroute_model::seal`]).

use crate::folder::{folder_of, sync_folder};
use crate::replace::{OWNER_ONLY, replace_file, sibling};
use std::fs;
use std::io::{self, Read as _};
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
    /// When it would be larger than 256 MiB, or as [`replace_file`]; callers name the file.
    pub fn write(&self, plain: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(self.context, plain);
        let sealed = sealed.map_err(io::Error::other)?;
        if (self.head.len() + sealed.len()) as u64 > BYTES_MAX {
            let text = format!("it would be larger than {BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let replaced = replace_file(self.path, OWNER_ONLY, &[self.head, &sealed]);
        replaced.map_err(|error| error.source)
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
            let aside = sibling(self.path, &format!(".unreadable-{number}"));
            // Fails where there is one, which a rename would replace.
            match fs::hard_link(self.path, &aside) {
                Ok(()) => {
                    fs::remove_file(self.path)?;
                    sync_folder(folder_of(self.path))?;
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
}
