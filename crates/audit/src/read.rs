//! Reading the log, while it is written to or not, and checking its chain.

use super::entry::AuditEntry;
use super::file::{self, ChainPlace, FILE_REMOVED, LINE_BYTES_MAX, NOTHING_BEFORE};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Problems that are reported of one log.
const PROBLEMS_MAX: usize = 100;

/// One line of the log.
#[derive(Debug)]
pub enum AuditFinding {
    /// An entry, and its line.
    Entry(Box<AuditEntry>, String),
    /// A line that is none, or that was changed.
    Unreadable {
        /// The file.
        file: String,
        /// Which line of it, from 1.
        line: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Gives all lines, oldest first; one that is being written is left out. Blocks on the disk.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn read(folder: &Path, mut each: impl FnMut(AuditFinding)) -> io::Result<()> {
    AuditReader::new(folder).more(&mut each)
}

/// Reads on where it stopped.
#[derive(Debug)]
pub struct AuditReader {
    folder: PathBuf,
    number: u64,
    offset: u64,
    line: u64,
}

impl AuditReader {
    /// From the oldest entry on.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            number: 0,
            offset: 0,
            line: 0,
        }
    }

    /// Gives the lines that came since. Blocks on the disk.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn more(&mut self, each: &mut dyn FnMut(AuditFinding)) -> io::Result<()> {
        for number in file::list(&self.folder)? {
            if number < self.number {
                continue;
            }
            if number > self.number {
                (self.number, self.offset, self.line) = (number, 0, 0);
            }
            self.rest_of_file(each)?;
        }
        Ok(())
    }

    fn rest_of_file(&mut self, each: &mut dyn FnMut(AuditFinding)) -> io::Result<()> {
        let mut file = match File::open(file::path(&self.folder, self.number)) {
            Ok(file) => file,
            // It was the oldest, and is removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut lines = BufReader::new(file);
        loop {
            let mut line = Vec::new();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut lines).take(limit).read_until(b'\n', &mut line)?;
            let whole = line.last() == Some(&b'\n');
            if read == 0 || (!whole && read <= LINE_BYTES_MAX) {
                return Ok(());
            }
            self.offset += read as u64;
            self.line += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            each(match file::parse(text) {
                Ok(parsed) => AuditFinding::Entry(
                    Box::new(parsed.entry),
                    String::from_utf8_lossy(text).into_owned(),
                ),
                Err(reason) => AuditFinding::Unreadable {
                    file: file::name(self.number),
                    line: self.line,
                    reason,
                },
            });
        }
    }
}

/// What a check of the chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Entries that are whole.
    pub entries: u64,
    /// The number of the first; those before it were removed, if it is above 1.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The hash of the last: who keeps it elsewhere can tell later that nothing before it was changed.
    pub hash: String,
    /// What is wrong: at most 100 lines.
    pub problems: Vec<String>,
}

impl AuditReport {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

/// Checks that no entry was changed, removed or inserted, and, where `kept` is the hash of an entry that was kept
/// elsewhere, that this one is still there. Blocks on the disk.
///
/// Whoever may write the files and makes all hashes again, `head` included, is found out by a kept hash alone.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn verify(folder: &Path, kept: Option<&str>) -> io::Result<AuditReport> {
    let head = ChainPlace::read(folder);
    let mut report = AuditReport::default();
    let mut place: Option<ChainPlace> = None;
    let mut removed_up_to = 0;
    // One pass, whatever the log's size: of what was read only the last place is held.
    let (mut head_differs, mut kept_found) = (false, kept.is_none());
    read(folder, |found| match found {
        AuditFinding::Unreadable { file, line, reason } => {
            report.problem(format!("{file} line {line}: {reason}"));
        }
        AuditFinding::Entry(entry, line) => {
            let Ok(parsed) = file::parse(line.as_bytes()) else {
                return;
            };
            match &place {
                None => first(&mut report, entry.n, &parsed.previous),
                Some(before) => follows(&mut report, before, entry.n, &parsed.previous),
            }
            if entry.operation == FILE_REMOVED {
                let up_to = entry
                    .after
                    .as_ref()
                    .and_then(|after| after["up_to"].as_u64());
                removed_up_to = removed_up_to.max(up_to.unwrap_or(0));
            }
            head_differs |= head
                .as_ref()
                .is_some_and(|head| head.n == entry.n && head.hash != parsed.hash);
            kept_found |= kept.is_some_and(|kept| kept.eq_ignore_ascii_case(&parsed.hash));
            report.entries += 1;
            place = Some(ChainPlace {
                n: entry.n,
                hash: parsed.hash,
            });
        }
    })?;
    // The oldest files may be removed by rotation, which says so in an entry; all else is a gap.
    if report.first > 1 && removed_up_to < report.first - 1 {
        let missing = report.first - 1;
        report.problem(format!(
            "entries 1 to {missing} are missing, and no entry says that they were removed"
        ));
    }
    if let Some(place) = place {
        report.last = place.n;
        report.hash = place.hash;
    }
    if let Some(head) = head {
        let last = report.last;
        if head.n > last {
            report.problem(format!(
                "entries {} to {} are missing from the end",
                last + 1,
                head.n
            ));
        }
        if head_differs {
            report.problem(format!("entry {} is another than was written", head.n));
        }
    }
    if !kept_found {
        report.problem("no entry has the hash that was kept".to_owned());
    }
    Ok(report)
}

fn first(report: &mut AuditReport, n: u64, previous: &str) {
    report.first = n;
    if n == 1 && previous != NOTHING_BEFORE {
        report.problem("entry 1: follows on another".to_owned());
    }
}

fn follows(report: &mut AuditReport, before: &ChainPlace, n: u64, previous: &str) {
    if n != before.n + 1 {
        let gap = format!("entry {n}: comes after entry {}", before.n);
        report.problem(gap);
    } else if previous != before.hash {
        report.problem(format!("entry {n}: follows on another entry {}", before.n));
    }
}
