//! Mending a journal that nobody has open: damaged bytes are set aside, everything live is carried
//! forward, damaged segments go.

use super::commit_failure::CommitFailure;
use super::contents::LogContents;
use super::file_names::segment_name;
use super::group::GroupWork;
use super::inspect::InspectError;
use super::keys::EventSealing;
use super::log::SegmentLog;
use super::recover;
use super::report::{DamageKind, DamagedRange, JournalReport, counted};
use super::start;
use super::storage::Storage;
use super::{JournalOpenError, JournalSettings};
use crate::ledger::{DeliverySettlement, DiscardReason};
use std::io::{self, Write};
use std::sync::Arc;
use twinroute_model::clock::Clock;

/// Repairs the journal in `storage` and writes to `out` what it found and what it did.
///
/// Damaged bytes are saved as `quarantine-SEGMENT-OFFSET.bin` beside the segments, durable before
/// anything is removed. What is lost is counted as discarded with the reason "lost". A journal
/// without damage is left as it is. Gives what was found.
///
/// Without a key in `sealing`, sealed events are carried forward as they are, whether they can be opened or not.
///
/// # Errors
/// When another process has it, a newer program wrote it, the system refuses, or there is no room
/// for what is carried forward; then nothing that can be read is lost, and it can be tried again.
pub fn repair(
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    sealing: &EventSealing,
    out: &mut impl Write,
) -> Result<JournalReport, InspectError> {
    let lock = storage.lock();
    let _lock = lock.map_err(|error| JournalOpenError::locking(&*storage, error))?;
    let mut found = recover::read_to_write(&*storage)?;
    found.check_events(&*storage, sealing)?;
    start::remove_left_overs(&*storage)?;
    let report = found.report.clone();
    let said = write!(out, "{report}");
    said.map_err(InspectError::Write)?;
    let broken = |damage: &&DamagedRange| damage.kind != DamageKind::Cut;
    let damage: Vec<DamagedRange> = report.damage.iter().filter(broken).cloned().collect();
    if damage.is_empty() && report.is_whole() {
        writeln!(out, "nothing to repair").map_err(InspectError::Write)?;
        return Ok(report);
    }
    start::sync_end(&*storage, &found)?;
    let segment_bytes = found.segments.values().max().copied().unwrap_or_default();
    start::trim_history(&mut found, segment_bytes, &*storage);
    for damage in &damage {
        if let Some((name, bytes)) = save(&*storage, damage)? {
            let bytes = counted(bytes, "byte", "bytes");
            writeln!(out, "{name}: {bytes} saved").map_err(InspectError::Write)?;
        }
    }
    let done = carry_forward(found, &damage, &storage, &clock)?;
    writeln!(
        out,
        "{} carried forward, {} removed",
        counted(done.events, "event", "events"),
        counted(done.segments, "segment", "segments")
    )
    .map_err(InspectError::Write)?;
    Ok(report)
}

/// Saves damaged bytes, durable; of segments that are gone there are none.
fn save(
    storage: &dyn Storage,
    damage: &DamagedRange,
) -> Result<Option<(String, u64)>, JournalOpenError> {
    let in_a_file = matches!(
        damage.kind,
        DamageKind::Quarantined | DamageKind::Unreadable | DamageKind::ReadError
    );
    if !in_a_file || damage.to <= damage.from {
        return Ok(None);
    }
    let name = format!("quarantine-{:016x}-{}.bin", damage.segment, damage.from);
    let copy = || -> io::Result<u64> {
        let segment = segment_name(damage.segment);
        let end = damage.to.min(storage.len(&segment)?);
        let bytes = end.saturating_sub(damage.from);
        let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        storage.read_at(&segment, &mut buffer, damage.from)?;
        // One of that name is from a repair that did not come to its end.
        if storage.list()?.contains(&name) {
            storage.remove(&name)?;
        }
        storage.create(&name, bytes)?;
        storage.write_at(&name, &buffer, 0)?;
        storage.sync_data(&name)?;
        storage.sync_dir()?;
        Ok(bytes)
    };
    let bytes =
        copy().map_err(|error| JournalOpenError::io(storage, format!("saving {name}"), error))?;
    Ok(Some((name, bytes)))
}

/// What was done.
struct RepairSummary {
    events: u64,
    segments: u64,
}

fn carry_forward(
    found: LogContents,
    damage: &[DamagedRange],
    storage: &Arc<dyn Storage>,
    clock: &Arc<dyn Clock>,
) -> Result<RepairSummary, JournalOpenError> {
    let last = damage.iter().map(DamagedRange::last_segment);
    let last = last.max().unwrap_or(0);
    let mut work = GroupWork::<()> {
        reported_cuts: found.report.reported_cuts(),
        next_sequence: found.next_sequence,
        ..GroupWork::default()
    };
    for sequence in damage.iter().filter_map(DamagedRange::unreadable) {
        if let Some(live) = found.index.events.get(sequence) {
            let lanes = live.open.as_slice().iter().map(|open| open.lane);
            let lost = DeliverySettlement::Discarded(DiscardReason::Lost);
            let lost = lanes.map(|lane| (lane, sequence, lost));
            work.updates.settled.extend(lost);
        }
    }
    let segments_before: Vec<u64> = found.segments.keys().copied().collect();
    // Segments as long as those that are there.
    let segment_bytes = found.segments.values().max().copied().unwrap_or_default();
    let settings = JournalSettings {
        segment_bytes,
        ..JournalSettings::default()
    };
    let (mut log, _) = start::prepare(found, settings, storage, clock);
    let refused = |error| JournalOpenError::io(&**storage, "carrying forward", error);
    let failed = |failure: CommitFailure| refused(io::Error::other(failure));
    log.commit(&work).map_err(failed)?;
    log.copying.empty_to = last;
    // What cannot be read of them is saved.
    log.kept.clear();
    let to_carry = events_up_to(&log, last);
    // Each group carries forward or removes; two that do neither are the last.
    let mut idle = 0;
    let oldest = |log: &SegmentLog| log.segments.keys().next().copied();
    while idle < 2 && oldest(&log).is_some_and(|first| first <= last) {
        let before = (events_up_to(&log, last), log.segments.len());
        let work = GroupWork::<()> {
            next_sequence: work.next_sequence,
            ..GroupWork::default()
        };
        log.commit(&work).map_err(failed)?;
        let progress = before != (events_up_to(&log, last), log.segments.len());
        idle = if progress { 0 } else { idle + 1 };
    }
    let close = GroupWork::<()> {
        next_sequence: work.next_sequence,
        close: true,
        ..GroupWork::default()
    };
    log.commit(&close).map_err(failed)?;
    if events_up_to(&log, last) > 0 {
        return Err(refused(io::Error::other("some events cannot be read")));
    }
    let gone = segments_before.iter();
    let gone = gone.filter(|segment| !log.segments.contains_key(*segment));
    Ok(RepairSummary {
        events: to_carry,
        segments: gone.count() as u64,
    })
}

/// Live events that stand in segments up to this one.
fn events_up_to(log: &SegmentLog, last: u64) -> u64 {
    let index = log.index.lock();
    let shares = index.shares.range(..=last);
    shares.map(|(_, share)| share.events).sum()
}
