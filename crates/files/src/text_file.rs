//! Small files of text that others write and that may be secret: keys, tokens, certificates.
//!
//! No more is read than the caller allows, and what was read is zeroed when it is dropped, whatever came of it.

use crate::file_permissions::{FileExposure, file_exposure};
use std::error::Error;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use twinroute_model::secret::Secret;
use zeroize::Zeroizing;

/// Why such a file cannot be used. What it holds is not shown.
#[derive(Debug)]
pub struct TextFileError {
    /// What it is to its reader, such as `key file`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: TextFileFault,
}

/// What is wrong with a file of text. Prints as a sentence without the file's name at its head.
#[derive(Debug, thiserror::Error)]
pub enum TextFileFault {
    /// The system does not give it.
    #[error("cannot read it")]
    Unreadable(#[source] io::Error),
    /// It holds more than a text of its kind.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// It holds no text.
    #[error("is not UTF-8 text")]
    NotText,
    /// Others may use it; what to do about it.
    #[error("{0}")]
    Exposed(FileExposure),
}

impl fmt::Display for TextFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, path) = (self.what, self.path.display());
        write!(formatter, "{what} {path}: {}", self.fault)
    }
}

impl Error for TextFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

impl TextFileError {
    /// What is wrong with it and what the system says, without the file's name.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.source() {
            Some(cause) => format!("{}: {cause}", self.fault),
            None => self.fault.to_string(),
        }
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(&self.fault, TextFileFault::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a text of at most `bytes_max` bytes that everybody may read, such as a certificate; `what` is for the error.
/// Blocks on the file system.
///
/// # Errors
/// Naming the file, unless it holds such a text.
pub fn read_text(what: &'static str, path: &Path, bytes_max: u64) -> Result<Secret, TextFileError> {
    let text = open(path).and_then(|(file, metadata)| whole(file, &metadata, bytes_max));
    match text {
        Ok(text) => Ok(Secret::new(text.as_str())),
        Err(fault) => Err(error(what, path, fault)),
    }
}

/// Reads a secret of at most `bytes_max` bytes, refusing a file that others may use. What stands around a text that
/// somebody pasted is no part of it ([`Secret::pasted`]). `what` is for the error. Blocks on the file system.
///
/// # Errors
/// Naming the file and the way out, unless it holds such a text for this process alone.
pub fn read_secret(
    what: &'static str,
    path: &Path,
    bytes_max: u64,
) -> Result<Secret, TextFileError> {
    let text = open(path).and_then(|(file, metadata)| match file_exposure(path, &metadata) {
        Some(exposure) => Err(TextFileFault::Exposed(exposure)),
        None => whole(file, &metadata, bytes_max),
    });
    match text {
        Ok(text) => Ok(Secret::pasted(&text)),
        Err(fault) => Err(error(what, path, fault)),
    }
}

fn error(what: &'static str, path: &Path, fault: TextFileFault) -> TextFileError {
    let path = path.to_owned();
    TextFileError { what, path, fault }
}

/// The metadata is the opened file's: another one may stand at the path by now.
fn open(path: &Path) -> Result<(File, Metadata), TextFileFault> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    opened.map_err(TextFileFault::Unreadable)
}

fn whole(
    file: File,
    metadata: &Metadata,
    bytes_max: u64,
) -> Result<Zeroizing<String>, TextFileFault> {
    /// More than `read_to_string` reads ahead to find the end.
    const SPARE_BYTES: usize = 64;
    // Of a text that outgrows its room a copy stays behind, which nobody zeroes. A pipe does not say its size.
    let bytes = match metadata.len() {
        0 => bytes_max,
        bytes => bytes.min(bytes_max),
    };
    let room = usize::try_from(bytes).unwrap_or_default() + SPARE_BYTES;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let read = file.take(bytes_max + 1).read_to_string(&mut text);
    match read {
        Ok(_) if text.len() as u64 > bytes_max => Err(TextFileFault::TooLarge(bytes_max)),
        Ok(_) => Ok(text),
        // The limit may cut a character in two.
        Err(_) if metadata.len() > bytes_max => Err(TextFileFault::TooLarge(bytes_max)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(TextFileFault::NotText),
        Err(error) => Err(TextFileFault::Unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    const BYTES_MAX: u64 = 16;

    type ReadFile = fn(&'static str, &Path, u64) -> Result<Secret, TextFileError>;

    fn check(read: ReadFile, content: &[u8], mode: u32) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match read("token file", &path, BYTES_MAX) {
            Ok(text) => format!("{:?}", text.expose()),
            Err(error) => error.to_string().replace(path.to_str().unwrap(), "/t"),
        }
    }

    #[test]
    fn secret_is_bounded_trimmed_and_for_this_process_alone() {
        for (content, mode, expect) in [
            (&b"hush-hush"[..], 0o600, r#""hush-hush""#),
            (b"\xef\xbb\xbf \"hush\"\r\n", 0o400, r#""hush""#),
            (b"", 0o600, r#""""#),
            (b"0123456789abcdef", 0o600, r#""0123456789abcdef""#),
            (
                b"0123456789abcdef\n",
                0o600,
                "token file /t: is larger than 16 bytes",
            ),
            (
                b"0123456789abcdef\xc3\xa4",
                0o600,
                "token file /t: is larger than 16 bytes",
            ),
            (b"\xff\xfe", 0o600, "token file /t: is not UTF-8 text"),
            (
                b"hush-hush",
                0o660,
                "token file /t: has mode 0660, so its group may use it; run: chmod 0600 /t",
            ),
            // Not one word about what it holds, since it is not read.
            (
                b"\xff\xfe",
                0o604,
                "token file /t: has mode 0604, so everybody may use it; run: chmod 0600 /t (of a Kubernetes \
                 secret, set defaultMode: 0400)",
            ),
        ] {
            assert_eq!(check(read_secret, content, mode), expect);
        }
    }

    #[test]
    fn text_for_everybody_is_bounded_and_stays_as_it_is() {
        for (content, expect) in [
            (&b" pem \n"[..], r#"" pem \n""#),
            (
                b"0123456789abcdef0",
                "token file /t: is larger than 16 bytes",
            ),
            (b"\xff", "token file /t: is not UTF-8 text"),
        ] {
            assert_eq!(check(read_text, content, 0o644), expect);
        }
    }

    #[test]
    fn file_that_is_not_there_is_told_apart_from_one_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        let error = read_secret("key file", &path, BYTES_MAX).unwrap_err();
        assert!(error.is_not_found());
        let expect = format!("key file {}: cannot read it", path.display());
        assert_eq!(error.to_string(), expect);
        let reason = "cannot read it: No such file or directory (os error 2)";
        assert_eq!(error.reason(), reason);
        assert!(
            !read_text("key file", folder.path(), 16)
                .unwrap_err()
                .is_not_found()
        );
    }

    /// A shell hands a secret over so: `--token-file <(pass show token)`.
    #[test]
    fn pipe_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"of-a-pipe\n").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let secret = read_secret("token file", Path::new(&path), BYTES_MAX).unwrap();
        assert_eq!(secret.expose(), "of-a-pipe");
    }
}
