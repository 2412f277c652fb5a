//! Notes about replays that are under way, so that they go on after a restart.
//!
//! A note is a small file that is replaced as a whole. Losing the newest repeats what came after the one
//! before it: a duplicate, never a loss.

use std::fs;
use std::io;
use std::path::PathBuf;
use twinroute_files::private_file::make_private_folder;
use twinroute_files::replace::{OWNER_ONLY, replace_file};

/// A folder of notes, one a replay.
#[derive(Clone, Debug)]
pub(crate) struct ReplayNotes {
    folder: PathBuf,
}

impl ReplayNotes {
    /// Notes in `folder`, made if it is not there.
    ///
    /// # Errors
    /// What the system says; of every method here.
    pub(crate) fn create(folder: PathBuf) -> io::Result<Self> {
        make_private_folder(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.json"))
    }

    /// Writes a note, in place of the one before. Blocks.
    pub(crate) fn write(&self, number: u64, note: &str) -> io::Result<()> {
        let replaced = replace_file(&self.path(number), OWNER_ONLY, &[note.as_bytes()]);
        replaced.map_err(|error| error.source)
    }

    /// Removes a note. Blocks.
    pub(crate) fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All notes, oldest first. Blocks.
    pub(crate) fn read(&self) -> io::Result<Vec<(u64, String)>> {
        let mut notes = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let is_note = path
                .extension()
                .is_some_and(|extension| extension == "json");
            if let Some(number) = stem.and_then(|stem| stem.parse().ok()).filter(|_| is_note) {
                notes.push((number, fs::read_to_string(&path)?));
            }
        }
        notes.sort_unstable();
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_replaced_found_again_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let notes = ReplayNotes::create(folder.path().join("replays")).unwrap();
        notes.write(12, "first").unwrap();
        notes.write(12, "second").unwrap();
        notes.write(3, "other").unwrap();
        let again = ReplayNotes::create(folder.path().join("replays")).unwrap();
        assert_eq!(
            again.read().unwrap(),
            [(3, "other".to_owned()), (12, "second".to_owned())]
        );
        again.remove(12).unwrap();
        again.remove(12).unwrap();
        assert_eq!(again.read().unwrap().len(), 1);
    }
}
