//! Reading a journal back: the fold of all segments, and what is wrong with them.
//!
//! Constraints: never panic, whatever the bytes; never skip anything without saying so; keep every
//! record whose checksum holds, also behind damage; what a newer program wrote is refused, not
//! guessed at.
//!
//! Reading changes nothing on disk.

use super::JournalOpenError;
use super::contents::LogContents;
use super::file_names::segment_name;
use super::fold::{LogFold, RecordVisitor};
use super::storage::Storage;
use super::survey::{FolderSurvey, read_bytes};
use std::collections::BTreeMap;

/// Numbers above this are refused: so many are left that none is ever reached by counting.
const NUMBERS_MAX: u64 = u64::MAX / 2;

/// Reads all segments. Events are not parsed.
pub(crate) fn read(
    storage: &dyn Storage,
    visit: RecordVisitor<'_>,
) -> Result<LogContents, JournalOpenError> {
    fold(storage, FolderSurvey::of(storage)?, visit)
}

/// As [`read`], by one who is about to write: files that are not what their names say get other names.
pub(crate) fn read_to_write(storage: &dyn Storage) -> Result<LogContents, JournalOpenError> {
    let mut survey = FolderSurvey::of(storage)?;
    survey.set_aside(storage)?;
    let found = fold(storage, survey, &mut |_, _| {})?;
    let used_up = |what| JournalOpenError::NumbersUsedUp {
        path: storage.describe(),
        what,
    };
    if found.newest > NUMBERS_MAX {
        return Err(used_up("segments"));
    }
    if found.next_sequence > NUMBERS_MAX {
        return Err(used_up("events"));
    }
    Ok(found)
}

fn fold(
    storage: &dyn Storage,
    survey: FolderSurvey,
    visit: RecordVisitor<'_>,
) -> Result<LogContents, JournalOpenError> {
    let limits = survey.limits();
    // Older segments are history: the manifest says so once a newer one has all that counts.
    let needed = survey.manifest.map_or(0, |found| found.manifest.oldest);
    let mut fold = LogFold::new(survey.manifest.map(|found| found.manifest), visit);
    fold.report_files(survey.damage);
    let mut buffer = Vec::new();
    let mut ahead = survey.segments.range(needed..).skip(1);
    for (segment, file) in survey.segments.range(needed..) {
        if let Some((_, next)) = ahead.next() {
            storage.will_read(&next.name);
        }
        let limit = limits.get(segment).copied();
        let bytes = file.length.min(limit.unwrap_or(u64::MAX));
        let unread = read_bytes(storage, &file.name, bytes, &mut buffer)?;
        fold.segment(*segment, &buffer, file.length, limit)?;
        if let Some((from, to)) = unread {
            fold.report_unread(*segment, from, to);
        }
    }
    drop(buffer);
    let (mut lengths, mut names) = (BTreeMap::new(), BTreeMap::new());
    let mut created = BTreeMap::new();
    for (segment, file) in survey.segments {
        created.extend(file.head.map(|head| (segment, head.created)));
        lengths.insert(segment, file.length);
        if file.name != segment_name(segment) {
            names.insert(segment, file.name);
        }
    }
    let mut found = fold.finish(lengths, survey.manifest);
    found.names = names;
    found.created = created;
    found.needed = needed;
    Ok(found)
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "damage_tests.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "missing_tests.rs"]
mod missing_tests;
