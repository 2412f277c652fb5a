//! Looking at a journal that nobody has open: nothing is changed.

use super::JournalOpenError;
use super::frame::FramePlace;
use super::keys::EventSealing;
use super::record::{AcceptedEvent, CutRange, GroupHead, JournalRecord, LaneState, SegmentHead};
use super::recover;
use super::report::JournalReport;
use super::storage::{FolderStorage, Storage};
use super::time::TimeRecord;
use crate::ledger::Ledger;
use std::io::{self, Write};
use std::path::Path;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It does not open.
    #[error(transparent)]
    Open(#[from] JournalOpenError),
    /// What was found cannot be written out.
    #[error("the dump cannot be written")]
    Write(#[source] io::Error),
}

/// Reads the whole journal in the folder `path` and says what is in it and what is wrong with it.
///
/// Without a key in `sealing`, sealed events are not opened: the report says where they are, and that their records
/// are whole.
///
/// # Errors
/// When there is none, another process has it, a newer program wrote it, or the key is another.
pub fn verify(path: &Path, sealing: &EventSealing) -> Result<JournalReport, JournalOpenError> {
    let (storage, _lock) = hold(path)?;
    let mut found = recover::read(&storage, &mut |_, _| {})?;
    found.check_events(&storage, sealing)?;
    Ok(found.report)
}

/// Writes one line for each record of the journal in the folder `path`, then the report.
///
/// Events are shown by their length, not their content.
///
/// # Errors
/// As [`verify`], and when `out` does not take it.
pub fn dump(path: &Path, out: &mut impl Write) -> Result<JournalReport, InspectError> {
    let (storage, _lock) = hold(path)?;
    let mut written = Ok(());
    let found = recover::read(&storage, &mut |place, record| {
        if written.is_ok() {
            written = line(out, place, record);
        }
    })?;
    written
        .and_then(|()| write!(out, "{}", found.report))
        .map_err(InspectError::Write)?;
    Ok(found.report)
}

/// Opens a folder that nobody else has, for reading.
pub(crate) fn hold(
    path: &Path,
) -> Result<(FolderStorage, Box<dyn std::any::Any + Send + Sync>), JournalOpenError> {
    let storage = FolderStorage::existing(path).map_err(|source| JournalOpenError::Io {
        path: path.display().to_string(),
        step: "opening".to_owned(),
        source,
    })?;
    let lock = storage
        .lock()
        .map_err(|error| JournalOpenError::locking(&storage, error))?;
    Ok((storage, lock))
}

fn line(out: &mut impl Write, place: FramePlace, record: &JournalRecord<'_>) -> io::Result<()> {
    write!(out, "{:016x} {:>10} ", place.segment, place.offset)?;
    match record {
        JournalRecord::Segment(segment) => segment_line(out, segment),
        JournalRecord::Group(group) => group_line(out, group),
        JournalRecord::Binding {
            lane,
            instance,
            endpoint,
        } => writeln!(out, "binding lane={lane} endpoint={instance}/{endpoint}"),
        JournalRecord::Counts { lane, ledger } => counts_line(out, *lane, ledger),
        JournalRecord::State { lane, state } => state_line(out, *lane, state),
        JournalRecord::Checkpoint {
            oldest_segment,
            next_sequence,
        } => writeln!(
            out,
            "checkpoint oldest-segment={oldest_segment} next-sequence={next_sequence}"
        ),
        JournalRecord::Event { event, lanes } => {
            let lanes: Vec<u32> = lanes.iter().collect();
            event_line(out, "event", event, &format!("lanes={lanes:?}"))
        }
        JournalRecord::Copy { event, lanes } => {
            let lanes: Vec<u32> = lanes.iter().map(|open| open.lane).collect();
            event_line(out, "copy", event, &format!("lanes={lanes:?}"))
        }
        JournalRecord::Replay {
            event,
            lane,
            replay_of,
        } => event_line(
            out,
            "replay",
            event,
            &format!("lane={lane} replay-of={replay_of}"),
        ),
        JournalRecord::Dead {
            lane,
            letter,
            sequences,
        } => dead_line(out, *lane, letter, sequences),
        JournalRecord::Settle { lane, settlements } => {
            writeln!(out, "settle lane={lane} {settlements:?}")
        }
        JournalRecord::Attempt {
            sequence,
            lane,
            attempts,
            due,
        } => writeln!(
            out,
            "attempt {sequence} lane={lane} attempts={attempts} due={}",
            time(*due, "now")
        ),
        JournalRecord::Extent { length, listed } => {
            writeln!(out, "extent length={length} listed={listed}")
        }
        JournalRecord::Time(time) => time_line(out, time),
        JournalRecord::AcceptedIn { time } => writeln!(out, "accepted-in time={time}"),
        JournalRecord::Lost { deliveries } => writeln!(out, "lost deliveries={deliveries}"),
        JournalRecord::ReportedCut(CutRange { segment, from, to }) => {
            writeln!(out, "hole segment={segment} from={from} to={to}")
        }
        JournalRecord::Closed { next_sequence } => {
            writeln!(out, "closed next-sequence={next_sequence}")
        }
        other => history_line(out, other),
    }
}

/// Records that only the history needs.
fn history_line(out: &mut impl Write, record: &JournalRecord<'_>) -> io::Result<()> {
    match record {
        JournalRecord::Clock { at } => writeln!(out, "clock at={}", at.rfc3339()),
        JournalRecord::Origin {
            generation,
            instance,
            caller,
            address,
        } => {
            let address = address.map_or_else(|| "unknown".to_owned(), |one| one.to_string());
            writeln!(
                out,
                "origin generation={generation} instance={instance:?} caller={caller:?} address={address}"
            )
        }
        JournalRecord::Table {
            generation,
            content,
        } => writeln!(out, "table generation={generation} bytes={}", content.len()),
        JournalRecord::Failed {
            lane,
            fault,
            text,
            sequences,
        } => writeln!(
            out,
            "failed lane={lane} {sequences:?} fault={fault:?} outcome={text:?}"
        ),
        JournalRecord::Unmatched { event } => event_line(out, "unmatched", event, "lanes=[]"),
        _ => Ok(()),
    }
}

fn state_line(out: &mut impl Write, lane: u32, state: &LaneState) -> io::Result<()> {
    let since = time(state.still_since, "no");
    let LaneState { paused, still, .. } = state;
    writeln!(
        out,
        "state lane={lane} paused={paused} still={still:?} still-since={since}"
    )
}

fn time(time: Option<Timestamp>, none: &str) -> String {
    time.map_or(none.to_owned(), Timestamp::rfc3339)
}

fn time_line(out: &mut impl Write, time: &TimeRecord) -> io::Result<()> {
    let TimeRecord {
        now,
        boot,
        since_boot,
    } = time;
    writeln!(
        out,
        "time now={now} boot={boot:016x} since-boot={since_boot}"
    )
}

fn dead_line(
    out: &mut impl Write,
    lane: u32,
    letter: &DeadLetter,
    sequences: &[u64],
) -> io::Result<()> {
    writeln!(
        out,
        "dead lane={lane} {sequences:?} reason={} attempts={} died={} last-attempt={} outcome={:?}",
        letter.reason,
        letter.attempts,
        letter.died_at.rfc3339(),
        time(letter.last_attempt_at, "never"),
        letter.outcome
    )
}

fn counts_line(out: &mut impl Write, lane: u32, ledger: &Ledger) -> io::Result<()> {
    writeln!(
        out,
        "counts lane={lane} matched={} replayed={} delivered={} dead-lettered={} \
         dead-replayed={} discarded={}",
        ledger.matched,
        ledger.replayed,
        ledger.delivered,
        ledger.dead_lettered,
        ledger.dead_replayed,
        ledger.discarded_all()
    )
}

fn event_line(
    out: &mut impl Write,
    what: &str,
    event: &AcceptedEvent<'_>,
    lanes: &str,
) -> io::Result<()> {
    write!(
        out,
        "{what} {} accepted={} {lanes} bytes={}",
        event.sequence,
        event.accepted_at.rfc3339(),
        event.content.len()
    )?;
    if let Some(twin) = event.twin {
        write!(out, " twin={twin:016x}")?;
    }
    if let Some(stamp) = event.stamp {
        write!(out, " sealed={}:{}", stamp.key, stamp.count)?;
    }
    writeln!(out)
}

fn segment_line(out: &mut impl Write, segment: &SegmentHead) -> io::Result<()> {
    writeln!(
        out,
        "segment {} first-sequence={} created={} previous={}:{}",
        segment.id,
        segment.first_sequence,
        segment.created.rfc3339(),
        segment.previous_segment,
        segment.previous_end
    )
}

fn group_line(out: &mut impl Write, group: &GroupHead) -> io::Result<()> {
    writeln!(
        out,
        "group {} synced={}:{} bytes={} first-sequence={} events={}",
        group.number,
        group.synced_segment,
        group.synced_offset,
        group.bytes,
        group.first_sequence,
        group.events
    )
}
