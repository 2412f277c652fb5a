//! Secrets in a folder, such as a mounted one.

use crate::secret_field::{SECRET_BYTES_MAX, SecretField, check_secret};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use twinroute_files::text_file::read_secret;
use twinroute_model::secret::Secret;

/// No folder has more files and folders in it; a mistyped path must not read a disk.
const ENTRIES_MAX: usize = 200_000;

/// By the folder's part of the name in lower case (`hub-1`, `main/hub-1`), and field.
type FoundFiles = HashMap<(String, SecretField), Secret>;

/// Reads `<endpoint>/<field>` and `<instance>/<endpoint>/<field>` under `root`.
///
/// A folder that is not there holds nothing: it may be mounted later.
pub(super) fn read(root: &Path, problems: &mut Vec<String>) -> FoundFiles {
    let mut reader = FolderReader {
        found: HashMap::new(),
        paths: HashMap::new(),
        left: ENTRIES_MAX,
        problems,
    };
    reader.level(root, "", 0);
    reader.found
}

struct FolderReader<'a> {
    found: FoundFiles,
    paths: HashMap<(String, SecretField), PathBuf>,
    left: usize,
    problems: &'a mut Vec<String>,
}

impl FolderReader<'_> {
    fn level(&mut self, folder: &Path, name: &str, depth: usize) {
        let entries = match sorted(folder, &mut self.left) {
            Ok(entries) => entries,
            Err(error) if depth == 0 && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(folder, &error.to_string()),
        };
        for (entry, path) in entries {
            // Follows links: Kubernetes mounts every name as one.
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.problem(&path, &error.to_string());
                    continue;
                }
            };
            if metadata.is_dir() {
                if depth == 2 {
                    self.problem(&path, "is too deep: <instance>/<endpoint>/<field>");
                    continue;
                }
                let entry = entry.to_ascii_lowercase();
                let name = if name.is_empty() {
                    entry
                } else {
                    format!("{name}/{entry}")
                };
                self.level(&path, &name, depth + 1);
            } else if depth == 0 {
                self.problem(
                    &path,
                    "stands in no folder of an endpoint: <endpoint>/<field>",
                );
            } else if let Some(field) = SecretField::of(&entry) {
                self.file(path, (name.to_owned(), field));
            } else {
                self.problem(&path, "has the name of no secret field");
            }
        }
    }

    fn file(&mut self, path: PathBuf, key: (String, SecretField)) {
        if let Some(other) = self.paths.get(&key) {
            let reason = format!("means the same as {}, which is used", other.display());
            return self.problem(&path, &reason);
        }
        let text = read_secret("secret file", &path, SECRET_BYTES_MAX as u64);
        let text = text.map_err(|error| error.reason());
        match text.and_then(|text| check_secret(text.expose())) {
            Ok(secret) => {
                self.found.insert(key.clone(), secret);
                self.paths.insert(key, path);
            }
            Err(reason) => self.problem(&path, &reason),
        }
    }

    fn problem(&mut self, path: &Path, reason: &str) {
        self.problems.push(format!("{}: {reason}", path.display()));
    }
}

/// Visible entries with text for a name, by name.
fn sorted(folder: &Path, left: &mut usize) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        *left = left.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("has more than {ENTRIES_MAX} entries below it"))
        })?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}
