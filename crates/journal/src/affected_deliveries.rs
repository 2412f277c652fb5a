//! Which deliveries stood in damage, as far as its bytes and the records around it tell.

use super::frame;
use super::index::LogIndex;
use super::record::JournalRecord;
use super::report::{DamageKind, DamagedRange, LostDelivery};
use crate::ledger::DeliverySettlement;
use std::collections::{BTreeMap, BTreeSet};

/// At most so many are reported one by one.
const LOST_MAX: usize = 10_000;

/// Deliveries that may be lost. What is known of them comes record by record.
#[derive(Default)]
pub(super) struct AffectedDeliveries {
    /// By sequence and lane.
    deliveries: BTreeMap<(u64, u32), AffectedDelivery>,
    /// Sequences whose event can be read: so all its lanes are known.
    read: BTreeSet<u64>,
    /// Which lanes were counted behind how many damages.
    counted: BTreeMap<u32, usize>,
    /// By lane, deliveries that were made in damage, as counts behind it tell, and have no end elsewhere.
    unseen: BTreeMap<u32, u64>,
    /// Whether the present group is the first of a start.
    in_first_group: bool,
    /// How many damages a start has found before.
    examined: usize,
    /// How many damages there were when the present group began.
    group_behind: Option<usize>,
    /// How many damages the last checkpoint stands behind that was read whole: it has the counts of all lanes.
    checked: Option<usize>,
    /// Lanes that are younger than that.
    young: BTreeSet<u32>,
    /// No event before this sequence was read, for segments are gone: which damage that is.
    gone_before: Option<(u64, usize)>,
    /// Deliveries of events in damage that are known to have ended.
    ended: BTreeSet<(u32, u64)>,
}

struct AffectedDelivery {
    /// Which damage it stands in.
    damage: usize,
    made_by: MadeBy,
    /// Id and source of its event.
    event: Option<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MadeBy {
    Matching,
    Replaying,
    /// It was counted when it was made.
    Carrying,
}

impl AffectedDeliveries {
    /// Looks at damaged bytes, those of a segment from `from` to `to`: a record whose checksum does
    /// not hold may have its head still.
    pub(super) fn scan(&mut self, bytes: &[u8], from: usize, to: usize, damage: usize) {
        let mut at = from;
        while let Some(frame) = frame::unchecked(&bytes[..to.min(bytes.len())], at) {
            at += frame.len();
            let (event, lanes, made_by) = match JournalRecord::decode(&frame) {
                Ok(JournalRecord::Event { event, lanes }) => {
                    (event, lanes.iter().collect(), MadeBy::Matching)
                }
                Ok(JournalRecord::Copy { event, lanes }) => {
                    let lanes = lanes.iter().map(|open| open.lane);
                    (event, lanes.collect::<Vec<_>>(), MadeBy::Carrying)
                }
                // A damaged kind makes other numbers of these.
                Ok(JournalRecord::Replay {
                    event,
                    lane,
                    replay_of,
                }) if replay_of < event.sequence => (event, vec![lane], MadeBy::Replaying),
                _ => continue,
            };
            let parsed = event.parse_plain();
            let whole = parsed.is_some();
            let name = parsed
                .map(|event| (event.id().to_owned(), event.source().to_owned()))
                .or_else(|| {
                    Some((
                        member(event.content, "id")?,
                        member(event.content, "source")?,
                    ))
                });
            if whole && made_by == MadeBy::Carrying {
                // What is damaged stands before the content, and may be the sequence. Counts tell what is lost of it.
                continue;
            }
            if whole {
                self.read.insert(event.sequence);
            }
            for lane in lanes.into_iter().take(LOST_MAX) {
                let affected = AffectedDelivery {
                    damage,
                    made_by,
                    event: name.clone(),
                };
                self.deliveries.insert((event.sequence, lane), affected);
            }
        }
    }

    /// Takes note of what a whole record behind `damage` says of them, before the index does.
    pub(super) fn hear(
        &mut self,
        record: &JournalRecord<'_>,
        index: &mut LogIndex,
        damage: &[DamagedRange],
    ) {
        if let JournalRecord::Group(group) = record {
            self.in_first_group = group.number == 0;
            self.group_behind = Some(damage.len());
        }
        // Of one that is damaged nobody knows which lanes it had.
        if matches!(record, JournalRecord::Checkpoint { .. })
            && self.group_behind == Some(damage.len())
        {
            self.checked = self.group_behind;
            self.young.clear();
        }
        if !damage.iter().any(DamagedRange::may_take_records) {
            return;
        }
        match record {
            JournalRecord::Counts { lane, ledger } => {
                self.counted.insert(*lane, damage.len());
                if self.in_first_group {
                    // A start has counted what it found to be lost.
                    self.examined = damage.len();
                    self.unseen.remove(lane);
                    return;
                }
                let seen = index.lanes.get(lane).map_or(0, |lane| lane.ledger.made());
                *self.unseen.entry(*lane).or_default() += ledger.made().saturating_sub(seen);
            }
            JournalRecord::Binding { lane, .. } if !index.lanes.contains_key(lane) => {
                self.young.insert(*lane);
            }
            JournalRecord::Copy { event, .. } => {
                let sequence = event.sequence;
                self.deliveries.retain(|(known, _), _| *known != sequence);
            }
            JournalRecord::Replay {
                lane, replay_of, ..
            } => self.end(
                (*lane, *replay_of),
                DeliverySettlement::Replayed,
                index,
                damage,
            ),
            JournalRecord::Settle { lane, settlements } => {
                for (sequence, settlement) in settlements {
                    self.end((*lane, *sequence), *settlement, index, damage);
                }
            }
            _ => {}
        }
    }

    /// A delivery came to its end. If its event stood in damage it is counted here, for the index does
    /// not know that it was made.
    fn end(
        &mut self,
        of: (u32, u64),
        settlement: DeliverySettlement,
        index: &mut LogIndex,
        damage: &[DamagedRange],
    ) {
        let (lane, sequence) = of;
        if index.is_open(sequence, lane) || self.ended.contains(&of) {
            return;
        }
        let (place, made_by) = match self.deliveries.remove(&(sequence, lane)) {
            Some(affected) => (affected.damage, affected.made_by),
            None if self.read.contains(&sequence) => return,
            None => match self.place_of(sequence, damage) {
                Some(place) => (place, MadeBy::Matching),
                None => return,
            },
        };
        self.ended.insert(of);
        let counted = self.counted.get(&lane);
        if counted.is_none_or(|counted| *counted <= place) {
            count(made_by, lane, index);
        } else if made_by != MadeBy::Carrying
            && let Some(unseen) = self.unseen.get_mut(&lane)
        {
            *unseen = unseen.saturating_sub(1);
        }
        if let Some(lane) = index.lanes.get_mut(&lane) {
            lane.ledger.settle(settlement);
        }
    }

    /// Segments are gone before all others, which this damage is: no event before `first` was read.
    pub(super) fn nothing_before(&mut self, first: u64, place: usize) {
        self.gone_before.get_or_insert((first, place));
    }

    /// The damage that a sequence stood in.
    fn place_of(&self, sequence: u64, damage: &[DamagedRange]) -> Option<usize> {
        let holds = |damage: &DamagedRange| {
            let sequences = damage.sequences.as_ref();
            sequences.is_some_and(|range| range.contains(&sequence))
        };
        let before = self.gone_before.filter(|(first, _)| sequence < *first);
        let place = damage.iter().position(holds);
        place.or(before.map(|(_, place)| place))
    }

    /// Whether all counts behind this damage are known: then they tell what is lost of it.
    fn is_counted(&self, place: usize, index: &LogIndex) -> bool {
        let mut old = index.lanes.keys().filter(|lane| !self.young.contains(lane));
        let counted = |lane| self.counted.get(lane).is_some_and(|count| *count > place);
        self.checked.is_some_and(|checked| place < checked) && old.all(counted)
    }

    /// Names deliveries whose records could be made out in the damage, as far as that fits what is known otherwise;
    /// gives the sequences that need no other name.
    fn name_seen(
        &mut self,
        index: &mut LogIndex,
        damage: &[DamagedRange],
        next_sequence: u64,
        lost: &mut LostSummary,
    ) -> BTreeSet<u64> {
        let mut known = std::mem::take(&mut self.read);
        // Damaged bytes may say anything: what they say must fit what is known otherwise.
        for ((sequence, number), affected) in std::mem::take(&mut self.deliveries) {
            let stood_in = &damage[affected.damage];
            let quarantined = stood_in.kind == DamageKind::Quarantined;
            let may_be = stood_in.sequences.as_ref().is_none_or(|range| {
                affected.made_by == MadeBy::Carrying || range.contains(&sequence)
            });
            let open = index.is_open(sequence, number);
            let lane = index.lanes.get(&number).filter(|_| may_be);
            let Some(name) = lane.map(|lane| lane.name.clone()) else {
                known.remove(&sequence);
                continue;
            };
            if open || !quarantined || sequence >= next_sequence {
                continue;
            }
            let counted = self.counted.get(&number);
            let is_counted = counted.is_some_and(|counted| *counted > affected.damage);
            if !is_counted {
                count(affected.made_by, number, index);
            }
            let is_new = affected.damage >= self.examined;
            if is_new && (!is_counted || affected.made_by == MadeBy::Carrying) {
                *self.unseen.entry(number).or_default() += 1;
            }
            known.insert(sequence);
            lost.name(LostDelivery {
                sequence,
                lane: Some((number, name)),
                event: affected.event,
            });
        }
        known
    }

    /// What is lost. Counts as made what nobody has counted yet.
    pub(super) fn lost(
        mut self,
        index: &mut LogIndex,
        damage: &[DamagedRange],
        next_sequence: u64,
        tail: Option<LogTail>,
    ) -> LostSummary {
        let mut lost = LostSummary::default();
        let known = self.name_seen(index, damage, next_sequence, &mut lost);
        let mut uncounted = Vec::new();
        let mut is_counted = true;
        // Without any counts what was carried into the last segment is not counted elsewhere either.
        let mut only_last = self.checked.is_some();
        for (place, damage) in damage.iter().enumerate() {
            let takes = damage.takes_records();
            if takes && !self.is_counted(place, index) {
                is_counted = false;
                only_last &= tail.is_some_and(|tail| damage.segment == tail.last);
            }
            for sequence in damage.quarantined_sequences() {
                if known.contains(&sequence) || index.events.get(sequence).is_some() {
                    continue;
                }
                let unnamed = LostDelivery {
                    sequence,
                    lane: None,
                    event: None,
                };
                if self.is_counted(place, index) {
                    lost.name(unnamed);
                } else {
                    uncounted.push(unnamed);
                }
            }
        }
        lost.unknown = match tail {
            None => uncounted.len() as u64,
            Some(tail) if is_counted && !tail.is_short => 0,
            Some(tail) => {
                let most = if only_last {
                    tail.fresh_open
                } else {
                    tail.open
                };
                tail.made.saturating_sub(index.made).min(most)
            }
        };
        lost.most = self.unseen;
        if lost.unknown > 0 {
            uncounted.into_iter().for_each(|unnamed| lost.name(unnamed));
        }
        lost
    }
}

/// What the manifest counts, of all lanes, where it is no older than the log.
#[derive(Clone, Copy)]
pub(super) struct LogTail {
    /// Deliveries that were ever made.
    pub(super) made: u64,
    /// Those that are open.
    pub(super) open: u64,
    /// Those that are open, of events that were accepted into the last segment.
    pub(super) fresh_open: u64,
    /// The last segment.
    pub(super) last: u64,
    /// Whether the log ends before it should.
    pub(super) is_short: bool,
}

/// What damage took.
#[derive(Default)]
pub(super) struct LostSummary {
    pub(super) named: Vec<LostDelivery>,
    /// How many more than are reported one by one.
    pub(super) more: u64,
    /// By lane, deliveries that were made in damage and have no end elsewhere: no more are lost.
    pub(super) most: BTreeMap<u32, u64>,
    /// Deliveries of which nobody knows for which lanes they were, and that no counts tell of.
    pub(super) unknown: u64,
}

impl LostSummary {
    fn name(&mut self, delivery: LostDelivery) {
        if self.named.len() < LOST_MAX {
            self.named.push(delivery);
        } else {
            self.more += 1;
        }
    }
}

fn count(made_by: MadeBy, lane: u32, index: &mut LogIndex) {
    match made_by {
        MadeBy::Matching => index.count_made(lane, false),
        MadeBy::Replaying => index.count_made(lane, true),
        MadeBy::Carrying => {}
    }
}

/// The text of a member of damaged JSON, where no other can be meant: its name stands there once, and
/// the text has no escapes.
fn member(json: &[u8], name: &str) -> Option<String> {
    const TEXT_BYTES_MAX: usize = 256;
    let name = format!("\"{name}\"");
    let mut found = json.windows(name.len()).enumerate();
    let (at, _) = found.find(|(_, bytes)| *bytes == name.as_bytes())?;
    if found.any(|(_, bytes)| bytes == name.as_bytes()) {
        return None;
    }
    let rest = json[at + name.len()..].trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest
        .iter()
        .take(TEXT_BYTES_MAX)
        .position(|byte| *byte == b'"')?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    (!text.contains(['\\', '\0'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_damaged_json_is_reported_when_it_can_be_no_other() {
        for (json, expect) in [
            (r#"{"id":"a","data":{"#, Some("a")),
            ("{ \"id\" : \"a b\", \"x\u{0}", Some("a b")),
            (r#"{"id":"a","data":{"id":"b"}}"#, None),
            (r#"{"id":"a\u0062"}"#, None),
            (r#"{"id":7}"#, None),
            (r#"{"id":"a"#, None),
            (r#"{"source":"a"}"#, None),
        ] {
            assert_eq!(member(json.as_bytes(), "id").as_deref(), expect, "{json}");
        }
    }
}
