//! What opening a journal found.

use super::record::CutRange;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use twinroute_model::name::{EndpointName, InstanceName};

/// What is wrong with a stretch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It was not known to be synced: the last group, torn. What it held was acknowledged at most
    /// if the disk lost what it had promised to keep.
    Cut,
    /// It was synced, and it is broken now. The records around it were kept.
    Quarantined,
    /// Segment files are gone.
    Missing,
    /// A segment's file is shorter than it was made.
    Short,
    /// The disk does not give back some of a segment's file.
    ReadError,
    /// A segment's file holds another segment, and is used as that.
    Misnamed,
    /// A file has a segment's name and is none: it is set aside under another name.
    Foreign,
    /// The manifest is gone or broken: that newer segments are gone could not be seen.
    Unlisted,
    /// A record is whole, but what it holds is no event.
    Unreadable,
}

/// A stretch of the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// What is wrong.
    pub kind: DamageKind,
    /// The segment; of several, the first; of a file, the one in its name.
    pub segment: u64,
    /// Where it begins in the segment's file.
    pub from: u64,
    /// Where it ends; of missing segments, their last number; of a misnamed file, what it holds.
    pub to: u64,
    /// The events that stood there, as far as that is known. Those that were settled before have
    /// lost nothing.
    pub sequences: Option<RangeInclusive<u64>>,
}

impl fmt::Display for DamagedRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment, from, to, ..
        } = self;
        match self.kind {
            DamageKind::Cut => write!(
                formatter,
                "segment {segment}: the last group is cut at offset {from}; it was not known to be \
                 synced and was possibly acknowledged"
            )?,
            DamageKind::Quarantined => write!(
                formatter,
                "segment {segment}: bytes {from} to {to} were synced and are damaged"
            )?,
            DamageKind::Missing if segment == to => {
                write!(formatter, "segment {segment}: missing")?;
            }
            DamageKind::Missing => write!(formatter, "segments {segment} to {to}: missing")?,
            DamageKind::Short => write!(
                formatter,
                "segment {segment}: its file has {from} of {to} bytes"
            )?,
            DamageKind::ReadError => write!(
                formatter,
                "segment {segment}: the disk does not give back bytes {from} to {to}"
            )?,
            DamageKind::Misnamed => write!(
                formatter,
                "the file of segment {segment} holds segment {to}; it is used as that one"
            )?,
            DamageKind::Foreign => write!(
                formatter,
                "the file with the name of segment {segment} is no segment of this journal that is \
                 needed; a start sets it aside under another name"
            )?,
            DamageKind::Unlisted => write!(
                formatter,
                "the manifest is missing or broken: whether newer segments are missing is not known"
            )?,
            DamageKind::Unreadable => write!(
                formatter,
                "segment {segment}: the record at offset {from} holds no readable event"
            )?,
        }
        match &self.sequences {
            Some(range) if range.start() == range.end() => {
                write!(formatter, "; sequence {}", range.start())
            }
            Some(range) => write!(
                formatter,
                "; sequences {} to {}",
                range.start(),
                range.end()
            ),
            None => Ok(()),
        }
    }
}

impl DamagedRange {
    /// Sequences that may have stood in bytes that were synced and are damaged: no more than fit, for
    /// numbers that a crash left out stand nowhere.
    pub(super) fn quarantined_sequences(&self) -> impl Iterator<Item = u64> {
        /// An event's frame is never shorter.
        const EVENT_BYTES_MIN: u64 = 64;
        let fit = match self.kind {
            DamageKind::Quarantined => (self.to - self.from).div_ceil(EVENT_BYTES_MIN),
            _ => 0,
        };
        let sequences = self.sequences.clone().into_iter().flatten();
        sequences.take(usize::try_from(fit).unwrap_or(usize::MAX))
    }

    /// Whether records may have stood in it, synced or not.
    pub(super) fn may_take_records(&self) -> bool {
        self.kind == DamageKind::Cut || self.takes_records()
    }

    /// Whether records that were synced may have stood in it.
    pub(super) fn takes_records(&self) -> bool {
        match self.kind {
            DamageKind::Quarantined | DamageKind::Missing => true,
            DamageKind::Cut
            | DamageKind::Short
            | DamageKind::ReadError
            | DamageKind::Misnamed
            | DamageKind::Foreign
            | DamageKind::Unlisted
            | DamageKind::Unreadable => false,
        }
    }

    /// The event that cannot be read, if that is the damage.
    pub(super) fn unreadable(&self) -> Option<u64> {
        let sequences = self.sequences.as_ref()?;
        (self.kind == DamageKind::Unreadable).then(|| *sequences.start())
    }

    /// Whether it is a cut, of which nothing was known to be on disk.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.kind == DamageKind::Cut
    }

    /// The last segment it is in.
    pub(super) fn last_segment(&self) -> u64 {
        match self.kind {
            DamageKind::Missing => self.to,
            DamageKind::Cut
            | DamageKind::Quarantined
            | DamageKind::Short
            | DamageKind::ReadError
            | DamageKind::Unreadable => self.segment,
            DamageKind::Misnamed | DamageKind::Foreign | DamageKind::Unlisted => 0,
        }
    }

    pub(crate) fn place(&self) -> CutRange {
        CutRange {
            segment: self.segment,
            from: self.from,
            to: self.to,
        }
    }
}

/// A lane's deliveries that damage took or brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerCorrection {
    /// The lane's number.
    pub lane: u32,
    /// What it is for, where that is known.
    pub name: Option<(InstanceName, EndpointName)>,
    /// Deliveries known to be gone; counted as discarded with the reason "lost".
    pub lost: u64,
    /// Deliveries whose settlement is gone: they are delivered once more, and counted once more.
    pub again: u64,
}

/// How many deliveries are lost, by where they were to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostTotal {
    /// The lane's number and, where it is known, what it is for. `None`: nobody can tell any more.
    pub lane: Option<(u32, Option<(InstanceName, EndpointName)>)>,
    /// Deliveries, since the journal was made.
    pub deliveries: u64,
}

/// A delivery that stood in damage and is not settled as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostDelivery {
    /// Its event's sequence.
    pub sequence: u64,
    /// The lane's number and, where it is known, what it is for. `None`: the bytes do not tell for
    /// which lanes the event was, nor which of them had settled it.
    pub lane: Option<(u32, Option<(InstanceName, EndpointName)>)>,
    /// Id and source of the event, where they can still be read.
    pub event: Option<(String, String)>,
}

impl fmt::Display for LostDelivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sequence {}: ", self.sequence)?;
        match &self.lane {
            None => write!(
                formatter,
                "its record cannot be read, nor for which endpoints it was"
            )?,
            Some((number, name)) => {
                write!(formatter, "lost for {}", named(*number, name.as_ref()))?
            }
        }
        match &self.event {
            None => Ok(()),
            Some((id, source)) => write!(formatter, "; event {id:?} of {source:?}"),
        }
    }
}

impl fmt::Display for LostTotal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match &self.lane {
            Some((number, name)) => named(*number, name.as_ref()),
            None => "unknown endpoints".to_owned(),
        };
        let deliveries = counted(self.deliveries, "delivery", "deliveries");
        write!(formatter, "lost in all, {of}: {deliveries}")
    }
}

/// What people call a lane.
fn named(number: u32, name: Option<&(InstanceName, EndpointName)>) -> String {
    match name {
        Some((instance, endpoint)) => format!("{}/{}", instance.as_str(), endpoint.as_str()),
        None => format!("lane {number}, whose name is lost"),
    }
}

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// Segment files.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Valid records in them.
    pub records: u64,
    /// Events that are not settled.
    pub events_open: u64,
    /// Deliveries that are not settled.
    pub deliveries_open: u64,
    /// The sequence that the next event gets.
    pub next_sequence: u64,
    /// Whether the journal was closed in order.
    pub closed: bool,
    /// The first and the last segment that hold sealed events.
    pub sealed: Option<(u64, u64)>,
    /// Whether they were not opened, for want of a key.
    pub sealed_unopened: bool,
    /// What could not be read.
    pub damage: Vec<DamagedRange>,
    /// What stood in damage that was synced once, delivery by delivery.
    pub lost: Vec<LostDelivery>,
    /// How many more did than are reported one by one.
    pub lost_more: u64,
    /// Deliveries that are found to be lost now, and of which nobody can tell for which endpoints they
    /// were.
    pub lost_unknown: u64,
    /// What that did to the counts.
    pub corrections: Vec<LedgerCorrection>,
    /// Everything that was ever lost, as the counts have it from here on.
    pub lost_totals: Vec<LostTotal>,
}

impl JournalReport {
    /// What is to be recorded so that the next open does not report it again.
    pub(crate) fn reported_cuts(&self) -> Vec<CutRange> {
        let cut = self.damage.iter();
        cut.filter(|damage| damage.kind == DamageKind::Cut)
            .map(DamagedRange::place)
            .collect()
    }

    /// Takes note of a sealed event in a segment.
    pub(super) fn note_sealed(&mut self, segment: u64) {
        let (first, last) = self.sealed.unwrap_or((segment, segment));
        self.sealed = Some((first.min(segment), last.max(segment)));
    }

    /// Segments that hold what could not be read.
    pub(crate) fn unread_segments(&self) -> BTreeSet<u64> {
        let unread = |damage: &&DamagedRange| {
            matches!(
                damage.kind,
                DamageKind::Quarantined | DamageKind::Short | DamageKind::ReadError
            )
        };
        let unread = self.damage.iter().filter(unread);
        unread.map(|damage| damage.segment).collect()
    }

    /// Deliveries that were ever lost.
    #[must_use]
    pub fn lost_all(&self) -> u64 {
        self.lost_totals.iter().map(|total| total.deliveries).sum()
    }

    /// Cuts: the last group, torn.
    pub fn cuts(&self) -> impl Iterator<Item = &DamagedRange> {
        let damage = self.damage.iter();
        damage.filter(|damage| damage.kind == DamageKind::Cut)
    }

    /// Whether everything that was ever synced is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let cut = |damage: &DamagedRange| damage.kind == DamageKind::Cut;
        self.damage.iter().all(cut) && self.corrections.is_empty() && self.lost_unknown == 0
    }
}

impl fmt::Display for JournalReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{}, {}, {}; {} with {} {} open; {}",
            counted(self.segments as u64, "segment", "segments"),
            counted(self.bytes, "byte", "bytes"),
            counted(self.records, "record", "records"),
            counted(self.events_open, "event", "events"),
            counted(self.deliveries_open, "delivery", "deliveries"),
            if self.events_open == 1 { "is" } else { "are" },
            if self.closed {
                "closed in order"
            } else {
                "not closed in order"
            }
        )?;
        if let Some((first, last)) = self.sealed {
            if first == last {
                write!(formatter, "segment {first}: events are sealed")?;
            } else {
                write!(formatter, "segments {first} to {last}: events are sealed")?;
            }
            writeln!(
                formatter,
                "{}",
                if self.sealed_unopened {
                    "; their records are whole, but without the key they were not opened"
                } else {
                    ""
                }
            )?;
        }
        for damage in &self.damage {
            writeln!(formatter, "{damage}")?;
        }
        for lost in &self.lost {
            writeln!(formatter, "{lost}")?;
        }
        if self.lost_more > 0 {
            writeln!(formatter, "{} more that are lost", self.lost_more)?;
        }
        for correction in &self.corrections {
            writeln!(
                formatter,
                "{}: {} counted as lost, {} to be delivered again",
                named(correction.lane, correction.name.as_ref()),
                counted(correction.lost, "delivery", "deliveries"),
                correction.again
            )?;
        }
        if self.lost_unknown > 0 {
            let deliveries = counted(self.lost_unknown, "delivery", "deliveries");
            writeln!(
                formatter,
                "{deliveries} counted as lost, for which endpoints is not known"
            )?;
        }
        for total in &self.lost_totals {
            writeln!(formatter, "{total}")?;
        }
        if self.damage.is_empty() && self.corrections.is_empty() {
            writeln!(formatter, "no damage")?;
        }
        Ok(())
    }
}

/// A number and what it counts.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
