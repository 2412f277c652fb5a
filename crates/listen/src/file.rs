//! Small files that are read again when they changed: certificates, keys, tokens.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use twinroute_model::secret::Secret;

/// Bytes of such a file.
const BYTES_MAX: u64 = 1 << 20;

/// What changes when a file is written or replaced. A symbolic link is followed, since Kubernetes
/// replaces mounted secrets by pointing one elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Nothing where the file cannot be looked at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Reads a text that may be secret. Blocks on the file system.
pub(crate) fn read(path: &Path) -> io::Result<(Secret, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // Of a text that outgrows its place a copy stays behind, which nobody zeroes.
    let bytes = usize::try_from(metadata.size().min(BYTES_MAX)).unwrap_or(0);
    let mut text = String::with_capacity(bytes);
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    let text = Secret::new(text);
    if text.expose().len() as u64 > BYTES_MAX {
        return Err(io::Error::other(
            "it has more than 1 MiB, which is the limit",
        ));
    }
    Ok((text, metadata))
}
