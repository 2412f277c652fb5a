//! A step on a file that the system refused.

use std::io;
use std::path::{Path, PathBuf};

/// Which file, at which step, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {step}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What was to be done with it, such as `write it`.
    pub step: &'static str,
    /// What the system says.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: what the system says of `step` on `path`.
    pub fn at(path: &Path, step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path: path.to_owned(),
            step,
            source,
        }
    }
}
