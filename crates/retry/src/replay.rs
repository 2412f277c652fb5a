//! Notes about replays that are under way, so that they go on after a restart.
//!
//! A note is a small file that is replaced as a whole. Losing the newest repeats what came after the one
//! before it: a duplicate, never a loss.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// A folder of notes, one a replay.
#[derive(Clone, Debug)]
pub struct Notes {
    folder: PathBuf,
}

impl Notes {
    /// Notes in `folder`, made if it is not there.
    ///
    /// # Errors
    /// What the system says; of every method here.
    pub fn create(folder: PathBuf) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.json"))
    }

    /// Writes a note, in place of the one before. Blocks.
    pub fn write(&self, number: u64, note: &str) -> io::Result<()> {
        let new = self.path(number).with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path(number))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes a note. Blocks.
    pub fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All notes, oldest first. Blocks.
    pub fn read(&self) -> io::Result<Vec<(u64, String)>> {
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
        let notes = Notes::create(folder.path().join("replays")).unwrap();
        notes.write(12, "first").unwrap();
        notes.write(12, "second").unwrap();
        notes.write(3, "other").unwrap();
        let again = Notes::create(folder.path().join("replays")).unwrap();
        assert_eq!(
            again.read().unwrap(),
            [(3, "other".to_owned()), (12, "second".to_owned())]
        );
        again.remove(12).unwrap();
        again.remove(12).unwrap();
        assert_eq!(again.read().unwrap().len(), 1);
    }
}
