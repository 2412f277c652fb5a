//! The key that stored secrets are sealed with: from the environment, from a file, or made once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use twinroute_files::file_error::FileError;
use twinroute_files::replace::{OWNER_ONLY, move_into_place, replace_file, sibling};
use twinroute_files::text_file::{TextFileError, read_secret};
use twinroute_model::seal::{SealError, SealKey};
use twinroute_model::secret::Secret;

/// A key has 44, with what may stand around it.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// Behind the name of a file, that of the key that is to take its place.
const NEXT: &str = ".next";

/// The same of the key before it.
const OLD: &str = ".old";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, or others may read it.
    #[error(transparent)]
    Read(#[from] TextFileError),
    /// The file cannot be made or replaced.
    #[error("key file")]
    Write(#[from] FileError),
    /// Another key is about to take its place.
    #[error(
        "key file {}: a change of the key was interrupted; finish it with `twinroute management \
         rotate-key`", path.display()
    )]
    Rotating {
        /// Which.
        path: PathBuf,
    },
    /// There is none that another could take the place of.
    #[error("key file {}: there is no such file, so there is nothing to rotate", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// What it holds is no key.
    #[error("{place}: {reason}")]
    Malformed {
        /// The file or the variable.
        place: String,
        /// Why.
        reason: SealError,
    },
}

/// Reads a key from an environment variable's value; `name` is for the error.
///
/// # Errors
/// [`KeyError::Malformed`].
pub fn from_variable(name: &str, value: &Secret) -> Result<SealKey, KeyError> {
    SealKey::parse(value).map_err(|reason| KeyError::Malformed {
        place: format!("environment variable {name}"),
        reason,
    })
}

/// Reads the key in `path`; makes one, with mode 0600, where there is no file.
///
/// Blocks on the file system. A new key is on disk, folder included, when this returns.
///
/// # Errors
/// [`KeyError`]; a file that others may read is refused, and one that a [`KeyRotation`] left between two keys.
pub fn load_or_make(path: &Path) -> Result<SealKey, KeyError> {
    if sibling(path, NEXT).exists() {
        let path = path.to_owned();
        return Err(KeyError::Rotating { path });
    }
    load(path, make)
}

/// Two keys of one file: what was sealed with the old one is to be sealed with the new one, and then the new one
/// takes its place.
///
/// The new one stands beside the file, as `<name>.next`, until [`KeyRotation::finish`]. Whoever is interrupted begins
/// again, and gets the same two keys.
#[derive(Debug)]
pub struct KeyRotation {
    /// In the file.
    pub old: SealKey,
    /// Beside it.
    pub new: SealKey,
    path: PathBuf,
}

impl KeyRotation {
    /// Makes a new key beside the one in `path`, or takes the one that an interrupted rotation made.
    ///
    /// Blocks on the file system. Both keys are on disk when this returns.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn begin(path: &Path) -> Result<Self, KeyError> {
        let missing = |path: &Path| {
            let path = path.to_owned();
            Err(KeyError::Missing { path })
        };
        Ok(Self {
            old: load(path, missing)?,
            new: load(&sibling(path, NEXT), make)?,
            path: path.to_owned(),
        })
    }

    /// Puts the new key in the file's place, and the old one beside it, as `<name>.old`; gives that path. One that
    /// stood there goes. In this order, so that the file always holds a key.
    ///
    /// Blocks on the file system.
    ///
    /// # Errors
    /// [`KeyError::Write`].
    pub fn finish(&self) -> Result<PathBuf, KeyError> {
        let at = |step| FileError::at(&self.path, step);
        let old = sibling(&self.path, OLD);
        match fs::remove_file(&old) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("remove the key before it")(error).into()),
        }
        fs::hard_link(&self.path, &old).map_err(at("keep it"))?;
        move_into_place(&sibling(&self.path, NEXT), &self.path)?;
        Ok(old)
    }
}

/// Reads a key; where there is no file, once `absent` has made one.
fn load(
    path: &Path,
    absent: impl FnOnce(&Path) -> Result<(), KeyError>,
) -> Result<SealKey, KeyError> {
    let read = || read_secret("key file", path, FILE_BYTES_MAX);
    let text = match read() {
        Err(error) if error.is_not_found() => {
            absent(path)?;
            read()?
        }
        read => read?,
    };
    SealKey::parse(&text).map_err(|reason| malformed(path, reason))
}

/// Makes a new key, which is on disk when this returns.
fn make(path: &Path) -> Result<(), KeyError> {
    let text = SealKey::generate().map_err(|reason| malformed(path, reason))?;
    replace_file(path, OWNER_ONLY, &[text.expose().as_bytes(), b"\n"])?;
    Ok(())
}

fn malformed(path: &Path, reason: SealError) -> KeyError {
    let place = format!("key file {}", path.display());
    KeyError::Malformed { place, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/store.key");
        let made = load_or_make(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let sealed = made.seal(b"x", b"plain").unwrap();
        let read = load_or_make(&path).unwrap();
        assert_eq!(read.open(b"x", &sealed).unwrap().as_slice(), b"plain");
    }

    #[test]
    fn a_rotation_that_is_interrupted_goes_on_with_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        let error = KeyRotation::begin(&path).unwrap_err();
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        let sealed = load_or_make(&path).unwrap().seal(b"x", b"old").unwrap();
        let first = KeyRotation::begin(&path).unwrap();
        let new = first.new.seal(b"x", b"new").unwrap();
        // Here it dies, and whoever starts is told.
        drop(first);
        let error = load_or_make(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("`twinroute management rotate-key`"),
            "{error}"
        );
        let second = KeyRotation::begin(&path).unwrap();
        assert_eq!(second.old.open(b"x", &sealed).unwrap().as_slice(), b"old");
        assert_eq!(second.new.open(b"x", &new).unwrap().as_slice(), b"new");
        assert!(second.new.open(b"x", &sealed).is_err());
        // It dies once more, when the old key is kept and the new one is not in its place yet.
        fs::hard_link(&path, folder.path().join("store.key.old")).unwrap();
        let old = second.finish().unwrap();
        assert_eq!(
            load_or_make(&path)
                .unwrap()
                .open(b"x", &new)
                .unwrap()
                .as_slice(),
            b"new"
        );
        assert_eq!(
            load_or_make(&old)
                .unwrap()
                .open(b"x", &sealed)
                .unwrap()
                .as_slice(),
            b"old"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_file_that_others_may_read_or_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        load_or_make(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_make(&path).unwrap_err().to_string();
        let expect = format!(
            "so everybody may use it; run: chmod 0600 {}",
            path.display()
        );
        assert!(error.contains(&expect), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "c2VjcmV0").unwrap();
        let error = load_or_make(&path).unwrap_err().to_string();
        assert!(
            error.contains("is not a key: 32 bytes") && !error.contains("c2VjcmV0"),
            "{error}"
        );
        let error = from_variable("KEY", &"x".into()).unwrap_err().to_string();
        assert!(
            error.starts_with("environment variable KEY: is not a key"),
            "{error}"
        );
    }
}
