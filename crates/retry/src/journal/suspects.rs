//! Which deliveries stood in damage, as far as its bytes and the records around it tell.

use super::frame;
use super::index::Index;
use super::record::Record;
use super::report::{Damage, DamageKind, LostDelivery};
use std::collections::{BTreeMap, BTreeSet};

/// At most so many are told one by one.
const LOST_MAX: usize = 10_000;

/// Deliveries that may be lost. What is known of them comes record by record.
#[derive(Default)]
pub(super) struct Suspects {
    /// By sequence and lane.
    deliveries: BTreeMap<(u64, u32), Suspect>,
    /// Sequences whose event can be read: so all its lanes are known.
    read: BTreeSet<u64>,
    /// Which lanes were counted behind how many damages.
    counted: BTreeMap<u32, usize>,
}

struct Suspect {
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

impl Suspects {
    /// Looks at damaged bytes, those of a segment from `from` to `to`: a record whose checksum does
    /// not hold may have its head still.
    pub(super) fn look(&mut self, bytes: &[u8], from: usize, to: usize, damage: usize) {
        let mut at = from;
        while let Some(frame) = frame::unchecked(&bytes[..to.min(bytes.len())], at) {
            at += frame.len();
            let (event, lanes, made_by) = match Record::decode(&frame) {
                Ok(Record::Event { event, lanes }) => {
                    (event, lanes.iter().collect(), MadeBy::Matching)
                }
                Ok(Record::Copy { event, lanes }) => {
                    let lanes = lanes.iter().map(|open| open.lane);
                    (event, lanes.collect::<Vec<_>>(), MadeBy::Carrying)
                }
                // A damaged kind makes other numbers of these.
                Ok(Record::Replay {
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
            if whole {
                self.read.insert(event.sequence);
            }
            for lane in lanes.into_iter().take(LOST_MAX) {
                let suspect = Suspect {
                    damage,
                    made_by,
                    event: name.clone(),
                };
                self.deliveries.insert((event.sequence, lane), suspect);
            }
        }
    }

    /// Takes note of what a whole record behind `damages` says of them, before the index does.
    pub(super) fn hear(&mut self, record: &Record<'_>, index: &Index, damages: usize) {
        if damages == 0 {
            return;
        }
        match record {
            Record::Counts { lane, .. } => {
                self.counted.insert(*lane, damages);
            }
            Record::Copy { event, .. } => {
                let sequence = event.sequence;
                self.deliveries.retain(|(known, _), _| *known != sequence);
            }
            Record::Replay {
                lane, replay_of, ..
            } => self.end(*lane, *replay_of, index),
            Record::Settle { lane, fates } => {
                for (sequence, _) in fates {
                    self.end(*lane, *sequence, index);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, lane: u32, sequence: u64, index: &Index) {
        if !index.is_open(sequence, lane) {
            self.deliveries.remove(&(sequence, lane));
        }
    }

    /// What is lost, and how many more are. Counts as made what nobody has counted yet.
    pub(super) fn lost(
        mut self,
        index: &mut Index,
        damage: &[Damage],
        next_sequence: u64,
    ) -> (Vec<LostDelivery>, u64) {
        let mut lost = Vec::new();
        let mut more = 0;
        let mut named = BTreeSet::new();
        let mut tell = |delivery: LostDelivery| {
            if lost.len() < LOST_MAX {
                lost.push(delivery);
            } else {
                more += 1;
            }
        };
        // Damaged bytes may say anything: what they say must fit what is known otherwise.
        let deliveries = std::mem::take(&mut self.deliveries);
        for ((sequence, number), suspect) in deliveries {
            let quarantined = damage[suspect.damage].kind == DamageKind::Quarantined;
            let open = index.is_open(sequence, number);
            let Some(lane) = index.lanes.get_mut(&number) else {
                self.read.remove(&sequence);
                continue;
            };
            if open || !quarantined || sequence >= next_sequence {
                continue;
            }
            let counted = self.counted.get(&number);
            if counted.is_none_or(|counted| *counted <= suspect.damage) {
                match suspect.made_by {
                    MadeBy::Matching => lane.ledger.matched += 1,
                    MadeBy::Replaying => lane.ledger.replayed += 1,
                    MadeBy::Carrying => {}
                }
            }
            named.insert(sequence);
            tell(LostDelivery {
                sequence,
                lane: Some((number, lane.name.clone())),
                event: suspect.event,
            });
        }
        for sequence in damage.iter().flat_map(Damage::quarantined_sequences) {
            let known = self.read.contains(&sequence) || named.contains(&sequence);
            if !known && index.events.get(sequence).is_none() {
                tell(LostDelivery {
                    sequence,
                    lane: None,
                    event: None,
                });
            }
        }
        (lost, more)
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
    fn a_member_of_damaged_json_is_told_when_it_can_be_no_other() {
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
