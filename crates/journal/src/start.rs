//! From what was read back to a log that is written to again.

use super::JournalOpenError;
use super::commit_failure::CommitFailure;
use super::compact::CompactionState;
use super::contents::LogContents;
use super::file_names::{is_left_over, segment_name};
use super::group::GroupWork;
use super::inbox::WriterInbox;
use super::index::SharedIndex;
use super::log::{ActiveSegment, SegmentLog};
use super::manifest::ManifestFile;
use super::prepare::NextSegment;
use super::recovered::{self, RecoveredJournal};
use super::retention::SegmentRetention;
use super::settings::JournalSettings;
use super::storage::Storage;
use super::time::JournalTime;
use super::totals::UsageTotals;
use super::unlink::is_lacking;
use std::sync::Arc;
use std::time::Instant;
use twinroute_model::clock::Clock;

/// A torn group is cleared in strides of this many bytes.
const CLEAR_STRIDE: usize = 64 << 10;

/// A log behind what was read, and what that was. The first group begins a new segment.
pub(super) fn prepare(
    found: LogContents,
    settings: JournalSettings,
    storage: &Arc<dyn Storage>,
    clock: &Arc<dyn Clock>,
) -> (SegmentLog, RecoveredJournal) {
    let (id, end) = found.end;
    let blank = found.blank();
    let manifest = ManifestFile::new(storage, found.manifest);
    let time = Arc::new(JournalTime::after(found.index.time, clock));
    let recovered = RecoveredJournal {
        lanes: recovered::lanes(&found.index, time.now()),
        next_sequence: found.next_sequence,
        lost_unknown: recovered::lost_unknown(&found.index),
        report: found.report,
    };
    let mut index = found.index;
    index.synced = found.end;
    let totals = UsageTotals::on_disk(settings.bytes_max);
    totals.take(index.held());
    let mut retention = SegmentRetention::new(&settings, found.needed, found.created);
    retention.ends.insert(id, end);
    let log = SegmentLog {
        storage: Arc::clone(storage),
        clock: Arc::clone(clock),
        time,
        segment_bytes: settings.segment_bytes,
        index: SharedIndex::new(index),
        totals: Arc::new(totals),
        segments: found.segments,
        active: ActiveSegment {
            id,
            end,
            length: end,
            sealed: true,
        },
        synced: found.synced,
        groups: 0,
        buffer: Vec::new(),
        copying: CompactionState::default(),
        next: NextSegment::new(storage, settings.retry_delay),
        counted: None,
        stuck: None,
        newest: found.newest,
        blank,
        kept: found.kept,
        manifest,
        retention,
        table: None,
    };
    (log, recovered)
}

/// Begins a new segment behind what was read, with all counts in it.
pub(super) fn start(
    found: LogContents,
    settings: JournalSettings,
    storage: &Arc<dyn Storage>,
    clock: &Arc<dyn Clock>,
    inbox: &mut WriterInbox,
) -> Result<(SegmentLog, RecoveredJournal), JournalOpenError> {
    let last = ResumedSegment::of(&found);
    let torn = found.torn();
    let (mut log, recovered) = prepare(found, settings, storage, clock);
    let mut work = GroupWork::<()> {
        reported_cuts: recovered.report.reported_cuts(),
        next_sequence: recovered.next_sequence,
        ..GroupWork::default()
    };
    let mut begun = log.commit(&work);
    if let (Err(failure), Some((id, length, end))) = (&begun, torn)
        && failure.is_no_room()
        && is_cleared(&**storage, id, end)
    {
        // All the room there is. What was torn is gone, so there is nothing to be reported again.
        log.blank = Some((id, length));
        work.reported_cuts.retain(|cut| cut.segment != id);
        begun = log.commit(&work);
    }
    match begun {
        Ok(()) => {}
        Err(CommitFailure::Sync { source, .. }) => {
            return Err(JournalOpenError::io(
                &**storage,
                "sync of a new segment",
                source,
            ));
        }
        Err(failure @ CommitFailure::Write { .. }) => {
            inbox.refused(&failure, Instant::now() + settings.retry_delay);
            inbox.work.reported_cuts = work.reported_cuts;
            last.resume(&mut log);
        }
    }
    if log.has_chores() {
        inbox.lazy_at = Some(Instant::now() + settings.settle_delay);
    }
    inbox.disk_bytes = log.disk_bytes() + log.next.bytes();
    inbox.segments = log.segments.len();
    inbox.history_bytes = log.history_bytes();
    Ok((log, recovered))
}

/// Removes history that leaves no room for what a start writes: keys, a manifest, a segment.
pub(super) fn trim_history(found: &mut LogContents, segment_bytes: u64, storage: &dyn Storage) {
    while is_lacking(storage, 2 * segment_bytes)
        && let Some((&segment, _)) = found.segments.range(..found.needed).next()
        && !found.kept.contains(&segment)
    {
        let removed = storage.remove(&segment_name(segment));
        if let Err(error) = removed.and_then(|()| storage.sync_dir()) {
            tracing::warn!(segment, %error, "a segment that is done cannot be removed");
            return;
        }
        found.segments.remove(&segment);
    }
}

/// Clears what is left of a group that never counted, up to `end`; whether that went well.
fn is_cleared(storage: &dyn Storage, segment: u64, end: u64) -> bool {
    let name = segment_name(segment);
    let zeros = vec![0; CLEAR_STRIDE];
    let clear = || {
        let mut at = 0;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(CLEAR_STRIDE);
            let stride = &zeros[..left.min(CLEAR_STRIDE)];
            storage.write_at(&name, stride, at)?;
            at += stride.len() as u64;
        }
        storage.sync_data(&name)
    };
    let cleared = clear();
    if let Err(error) = &cleared {
        tracing::warn!(segment, %error, "what a crash left in a new segment cannot be cleared");
    }
    cleared.is_ok()
}

/// The last segment, which is gone on with when there is no room for another one.
struct ResumedSegment {
    id: u64,
    /// Where it may be written, if it may.
    at: Option<u64>,
    length: u64,
}

impl ResumedSegment {
    fn of(found: &LogContents) -> Self {
        let id = found.end.0;
        Self {
            id,
            at: found.append_at,
            length: found.segments.get(&id).copied().unwrap_or_default(),
        }
    }

    /// Has outcomes recorded in what is left of it: they settle events, so that segments go and room
    /// comes back, as they do while a process runs. Events are not written there.
    fn resume(&self, log: &mut SegmentLog) {
        let Some(end) = self.at.filter(|end| *end < self.length) else {
            tracing::error!(
                "the last segment of the journal has no room left either: no outcome can be recorded, and \
                 what is delivered now is delivered again after the next start: make room on the disk"
            );
            return;
        };
        if log.active.id != self.id {
            return;
        }
        log.active = ActiveSegment {
            id: self.id,
            end,
            length: self.length,
            sealed: false,
        };
        tracing::warn!(
            segment = self.id,
            bytes_left = self.length - end,
            "there is no room for another segment of the journal: outcomes are recorded in what is left of \
             the last one, and events are accepted again once that has made room"
        );
    }
}

/// After the death of a process alone, what was read may still be on its way to the disk.
pub(super) fn sync_end(storage: &dyn Storage, found: &LogContents) -> Result<(), JournalOpenError> {
    if found.end.0 == 0 {
        return Ok(());
    }
    let synced = storage.sync_data(&segment_name(found.end.0));
    synced.map_err(|error| JournalOpenError::io(storage, "sync of the last segment", error))
}

/// Removes what was being prepared when the program ended.
pub(super) fn remove_left_overs(storage: &dyn Storage) -> Result<(), JournalOpenError> {
    let names = storage.list();
    let names = names.map_err(|error| JournalOpenError::io(storage, "listing", error))?;
    for name in names.iter().filter(|name| is_left_over(name)) {
        let removed = storage.remove(name);
        removed
            .map_err(|error| JournalOpenError::io(storage, format!("removing {name}"), error))?;
    }
    Ok(())
}
