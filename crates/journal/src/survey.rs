//! The files of a journal, before anything in them counts: which segments there are and under which
//! names, and which files only look like segments.
//!
//! Constraints: a file is what its first record says, not what its name says; what is no segment is set
//! aside under another name, and never removed. Looking changes nothing: [`FolderSurvey::set_aside`] does.
//!
//! Files that are set aside are called `quarantine-NNNNNNNNNNNNNNNN.seg`, or `misnamed-…` where they hold
//! another segment whole: those are taken back when that segment is not there.

use super::JournalOpenError;
use super::file_names::{MISNAMED, QUARANTINED, aside_of, free_name, segment_name, segment_of};
use super::frame;
use super::manifest::FoundManifest;
use super::record::{JournalRecord, SegmentHead};
use super::report::{DamageKind, DamagedRange};
use super::storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Enough for the first record.
const HEAD_BYTES: u64 = 128;

/// A segment's file.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    /// Its name at present.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) length: u64,
    /// Its first record, if that can be read.
    pub(crate) head: Option<SegmentHead>,
}

/// What stands in a journal's folder.
#[derive(Debug, Default)]
pub(crate) struct FolderSurvey {
    /// The segments there are.
    pub(crate) segments: BTreeMap<u64, SegmentFile>,
    /// What the manifest says.
    pub(crate) manifest: Option<FoundManifest>,
    /// Files that are not what their names say.
    pub(crate) damage: Vec<DamagedRange>,
    /// Files that are to get another name.
    moves: Vec<FileMove>,
}

/// A file that is to get another name.
#[derive(Debug)]
struct FileMove {
    from: String,
    to: String,
    /// The segment that it is, if it is one.
    segment: Option<u64>,
}

/// A file that holds another segment than its name says.
struct MisnamedFile {
    /// What its name says.
    named: u64,
    file: SegmentFile,
    holds: u64,
    is_aside: bool,
}

/// What a file with a segment's name is.
enum FoundFile {
    File(SegmentFile),
    /// No file, or one that the disk does not give back.
    Unreadable,
}

/// Whether an error is the file's, not the system's: another file may be read all the same.
pub(crate) fn is_of_the_file(error: &io::Error) -> bool {
    const OF_THE_FILE: [rustix::io::Errno; 6] = [
        rustix::io::Errno::IO,
        rustix::io::Errno::LOOP,
        rustix::io::Errno::ISDIR,
        rustix::io::Errno::NXIO,
        rustix::io::Errno::BADMSG,
        rustix::io::Errno::OVERFLOW,
    ];
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    ) || OF_THE_FILE
        .iter()
        .any(|known| error.raw_os_error() == Some(known.raw_os_error()))
}

impl FolderSurvey {
    /// Looks at all files.
    pub(crate) fn of(storage: &dyn Storage) -> Result<Self, JournalOpenError> {
        let names = storage.list();
        let names = names.map_err(|error| JournalOpenError::io(storage, "listing", error))?;
        let manifest = match FoundManifest::read(storage) {
            Ok(manifest) => manifest,
            Err(error) if is_of_the_file(&error) => None,
            Err(error) => return Err(JournalOpenError::io(storage, "reading its manifest", error)),
        };
        let mut survey = Self {
            manifest,
            ..Self::default()
        };
        let taken: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let (mut headless, mut strays) = (BTreeMap::new(), Vec::new());
        for name in &names {
            let is_aside = name.starts_with(MISNAMED);
            let Some(named) = segment_of(name).or_else(|| aside_of(name)) else {
                continue;
            };
            match inspect_file(storage, name)? {
                FoundFile::Unreadable if is_aside => {}
                FoundFile::Unreadable => survey.foreign(named, name, &taken),
                FoundFile::File(file) => match file.head.map(|head| head.id) {
                    Some(holds) if holds == named && !is_aside => {
                        survey.segments.insert(named, file);
                    }
                    Some(holds) => strays.push(MisnamedFile {
                        named,
                        file,
                        holds,
                        is_aside,
                    }),
                    None if is_aside => {}
                    None => drop(headless.insert(named, file)),
                },
            }
        }
        survey.place_strays(strays, &mut headless, &taken);
        survey.place_headless(storage, headless, &taken)?;
        Ok(survey)
    }

    /// Files that hold another segment than their name says are that segment, unless it is there.
    fn place_strays(
        &mut self,
        strays: Vec<MisnamedFile>,
        headless: &mut BTreeMap<u64, SegmentFile>,
        taken: &BTreeSet<&str>,
    ) {
        let oldest = self.manifest.map_or(0, |found| found.manifest.oldest);
        for stray in strays {
            let MisnamedFile { named, holds, .. } = stray;
            let is_needed = holds >= oldest && !self.segments.contains_key(&holds);
            if is_needed {
                if let Some(file) = headless.remove(&holds) {
                    self.foreign(holds, &file.name, taken);
                }
                self.damage.push(damage(DamageKind::Misnamed, named, holds));
                self.moves.push(FileMove {
                    from: stray.file.name.clone(),
                    to: free_name(MISNAMED, named, taken),
                    segment: Some(holds),
                });
                self.segments.insert(holds, stray.file);
            } else if !stray.is_aside {
                self.damage.push(damage(DamageKind::Foreign, named, named));
                self.moves.push(FileMove {
                    from: stray.file.name,
                    to: free_name(MISNAMED, named, taken),
                    segment: None,
                });
            }
        }
    }

    /// A file without a first record is a segment if its number is one that there may be, since a crash
    /// leaves such a one right behind the newest; or if any record in it is valid.
    fn place_headless(
        &mut self,
        storage: &dyn Storage,
        headless: BTreeMap<u64, SegmentFile>,
        taken: &BTreeSet<&str>,
    ) -> Result<(), JournalOpenError> {
        let listed = self.manifest.map_or(0, |found| found.manifest.newest);
        let mut newest = self.segments.keys().next_back().copied().unwrap_or(0);
        newest = newest.max(listed);
        for (number, file) in headless {
            let may_be = number > 0 && number <= newest.saturating_add(1);
            if may_be || holds_records(storage, number, &file)? {
                newest = newest.max(number);
                self.segments.insert(number, file);
            } else {
                self.foreign(number, &file.name, taken);
            }
        }
        Ok(())
    }

    fn foreign(&mut self, named: u64, name: &str, taken: &BTreeSet<&str>) {
        self.damage.push(damage(DamageKind::Foreign, named, named));
        self.moves.push(FileMove {
            from: name.to_owned(),
            to: free_name(QUARANTINED, named, taken),
            segment: None,
        });
    }

    /// Gives files that are not what their names say other names. A crash on the way leaves what the
    /// next survey finds again.
    pub(crate) fn set_aside(&mut self, storage: &dyn Storage) -> Result<(), JournalOpenError> {
        if self.moves.is_empty() {
            return Ok(());
        }
        let rename = |from: &str, to: &str| {
            if from == to {
                return Ok(());
            }
            let renamed = storage.rename(from, to);
            renamed
                .map_err(|error| JournalOpenError::io(storage, format!("renaming {from}"), error))
        };
        let sync = || {
            let synced = storage.sync_dir();
            synced.map_err(|error| JournalOpenError::io(storage, "sync of the folder", error))
        };
        for FileMove { from, to, .. } in &self.moves {
            // One that is aside already stays there until all others are out of its way.
            if segment_of(from).is_some() {
                rename(from, to)?;
            }
        }
        sync()?;
        for FileMove { from, to, segment } in std::mem::take(&mut self.moves) {
            let Some(segment) = segment else { continue };
            let now = if segment_of(&from).is_some() {
                to
            } else {
                from
            };
            rename(&now, &segment_name(segment))?;
            if let Some(file) = self.segments.get_mut(&segment) {
                file.name = segment_name(segment);
            }
        }
        sync()
    }

    /// Where segments end that a later one knows the end of.
    pub(crate) fn limits(&self) -> BTreeMap<u64, u64> {
        let mut limits = BTreeMap::new();
        for (segment, file) in &self.segments {
            let Some(head) = file.head else { continue };
            let previous = head.previous_segment.min(*segment);
            for (between, _) in self.segments.range(previous..*segment) {
                let end = if *between == previous {
                    head.previous_end
                } else {
                    0
                };
                limits.insert(*between, end);
            }
        }
        limits
    }
}

fn damage(kind: DamageKind, segment: u64, to: u64) -> DamagedRange {
    DamagedRange {
        kind,
        segment,
        from: 0,
        to,
        sequences: None,
    }
}

/// Whether any record in the file is one of this segment, also one that this program does not know.
fn holds_records(
    storage: &dyn Storage,
    segment: u64,
    file: &SegmentFile,
) -> Result<bool, JournalOpenError> {
    let mut bytes = Vec::new();
    read_bytes(storage, &file.name, file.length, &mut bytes)?;
    Ok(frame::find(&bytes, 0, segment).is_some())
}

/// The bytes that a disk reads at once where it does not give all of them back.
const SECTOR_BYTES: usize = 4 << 10;

/// Fills `buffer` with the beginning of a file. Sectors that the disk does not give back are zeros; gives
/// where they begin and end.
pub(crate) fn read_bytes(
    storage: &dyn Storage,
    name: &str,
    bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<Option<(u64, u64)>, JournalOpenError> {
    let refused = |error| JournalOpenError::io(storage, format!("reading {name}"), error);
    buffer.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
    match storage.read_at(name, buffer, 0) {
        Ok(()) => return Ok(None),
        Err(error) if is_of_the_file(&error) => {}
        Err(error) => return Err(refused(error)),
    }
    let mut unread: Option<(u64, u64)> = None;
    let mut at = 0_u64;
    for sector in buffer.chunks_mut(SECTOR_BYTES) {
        let end = at + sector.len() as u64;
        if let Err(error) = storage.read_at(name, sector, at) {
            if !is_of_the_file(&error) {
                return Err(refused(error));
            }
            sector.fill(0);
            unread = Some((unread.map_or(at, |(from, _)| from), end));
        }
        at = end;
    }
    Ok(unread)
}

fn inspect_file(storage: &dyn Storage, name: &str) -> Result<FoundFile, JournalOpenError> {
    let read = || -> io::Result<SegmentFile> {
        let length = storage.len(name)?;
        let mut bytes = vec![0; usize::try_from(length.min(HEAD_BYTES)).unwrap_or(0)];
        storage.read_at(name, &mut bytes, 0)?;
        Ok(SegmentFile {
            name: name.to_owned(),
            length,
            head: head(&bytes),
        })
    };
    match read() {
        Ok(file) => Ok(FoundFile::File(file)),
        Err(error) if is_of_the_file(&error) => Ok(FoundFile::Unreadable),
        Err(error) => Err(JournalOpenError::io(
            storage,
            format!("reading {name}"),
            error,
        )),
    }
}

/// The first record, if it is a segment's: it says itself of which, and its checksum that it is right.
fn head(bytes: &[u8]) -> Option<SegmentHead> {
    let stated = match JournalRecord::decode(&frame::unchecked(bytes, 0)?) {
        Ok(JournalRecord::Segment(segment)) => segment.id,
        _ => return None,
    };
    match JournalRecord::decode(&frame::read(bytes, 0, stated)?) {
        Ok(JournalRecord::Segment(segment)) => Some(segment),
        _ => None,
    }
}
