//! What opening a journal found.

use super::record::Hole;
use std::fmt;
use std::ops::RangeInclusive;

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
    /// A record is whole, but what it holds is no event.
    Unreadable,
}

/// A stretch of the log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub kind: DamageKind,
    /// The segment; of several, the first.
    pub segment: u64,
    /// Where it begins in the segment's file.
    pub from: u64,
    /// Where it ends; of missing segments, their last number.
    pub to: u64,
    /// The events that stood there, as far as that can be told. Those that were settled before have
    /// lost nothing.
    pub sequences: Option<RangeInclusive<u64>>,
}

impl fmt::Display for Damage {
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
            DamageKind::Missing => write!(formatter, "segments {segment} to {to}: missing")?,
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

impl Damage {
    pub(crate) fn place(&self) -> Hole {
        Hole {
            segment: self.segment,
            from: self.from,
            to: self.to,
        }
    }
}

/// A lane's deliveries that damage took or brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The lane's number.
    pub lane: u32,
    /// Deliveries known to be gone; counted as discarded with the reason "lost".
    pub lost: u64,
    /// Deliveries whose settlement is gone: they are delivered once more, and counted once more.
    pub again: u64,
}

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
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
    /// What could not be read.
    pub damage: Vec<Damage>,
    /// What that did to the counts.
    pub corrections: Vec<Correction>,
}

impl Report {
    /// What is to be noted so that the next open does not tell it again.
    pub(crate) fn holes(&self) -> Vec<Hole> {
        let cut = self.damage.iter();
        cut.filter(|damage| damage.kind == DamageKind::Cut)
            .map(Damage::place)
            .collect()
    }

    /// Whether everything that was ever synced is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let cut = |damage: &Damage| damage.kind == DamageKind::Cut;
        self.damage.iter().all(cut) && self.corrections.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} segments, {} bytes, {} records; {} events with {} deliveries are open; {}",
            self.segments,
            self.bytes,
            self.records,
            self.events_open,
            self.deliveries_open,
            if self.closed {
                "closed in order"
            } else {
                "not closed in order"
            }
        )?;
        for damage in &self.damage {
            writeln!(formatter, "{damage}")?;
        }
        for correction in &self.corrections {
            writeln!(
                formatter,
                "lane {}: {} deliveries lost, {} delivered again",
                correction.lane, correction.lost, correction.again
            )?;
        }
        if self.damage.is_empty() && self.corrections.is_empty() {
            writeln!(formatter, "no damage")?;
        }
        Ok(())
    }
}
