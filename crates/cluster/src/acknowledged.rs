//! What routers were acknowledged, as their entries remember it: a log that has forgotten it is noticed even when whoever
//! was acknowledged is dead.
//!
//! A router writes this with its member's entry, twice a second at most and not for each group. So what was acknowledged
//! within the last half second of a life is remembered by nobody but the log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::watch;
use twinroute_journal::partition::{DamagedHistory, GroupOrigin, HistoryDamage, PartitionFold};
use twinroute_journal::{PartitionBounds, PartitionNumber, RouterName};

/// The last group that a life of a router was acknowledged in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcknowledgedGroup {
    /// Which start of the router it was.
    pub incarnation: u64,
    /// Where.
    pub partition: PartitionNumber,
    /// Which of the groups of this life it is, from 1 on without a gap: all before it were acknowledged too.
    pub counter: u64,
    /// Its record.
    pub sequence: u64,
}

/// `incarnation/partition/counter/sequence`.
impl fmt::Display for AcknowledgedGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            incarnation,
            partition,
            counter,
            sequence,
        } = self;
        write!(formatter, "{incarnation}/{partition}/{counter}/{sequence}")
    }
}

/// A text that is no [`AcknowledgedGroup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnreadableGroups;

/// All that a router remembers, with blanks between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcknowledgedText(pub(crate) Vec<AcknowledgedGroup>);

impl fmt::Display for AcknowledgedText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&texts.join(" "))
    }
}

impl FromStr for AcknowledgedText {
    type Err = UnreadableGroups;

    fn from_str(text: &str) -> Result<Self, UnreadableGroups> {
        let group = |text: &str| {
            let mut fields = text.split('/').map(u64::from_str);
            let mut next = || fields.next().and_then(Result::ok);
            let incarnation = next()?;
            let partition = next().and_then(|number| u8::try_from(number).ok())?;
            Some(AcknowledgedGroup {
                incarnation,
                partition: PartitionNumber::new(partition)?,
                counter: next()?,
                sequence: next()?,
            })
        };
        let groups = text.split_ascii_whitespace().map(group);
        groups
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(UnreadableGroups)
    }
}

/// What all routers were acknowledged, as it was at the last look at their entries. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct AcknowledgedView(pub(crate) watch::Receiver<RememberedGroups>);

/// What routers were acknowledged, each with its name.
pub(crate) type RememberedGroups = Arc<[(RouterName, AcknowledgedGroup)]>;

impl AcknowledgedView {
    /// As of now. Whoever then asks the log where it ends must find all of it there.
    pub(crate) fn now(&self) -> RememberedGroups {
        RememberedGroups::clone(&self.0.borrow())
    }
}

/// Whether all that routers remember of a partition is there, which ends at `bounds` by an answer that was asked for
/// after they said so. What the fold has not come to yet is for the next time.
///
/// # Errors
/// The first that is not there.
pub(crate) fn check_acknowledged(
    fold: &PartitionFold,
    partition: PartitionNumber,
    bounds: PartitionBounds,
    remembered: &[(RouterName, AcknowledgedGroup)],
) -> Result<(), HistoryDamage> {
    for (router, group) in remembered {
        let (last, seen) = (bounds.last, group.sequence);
        if group.partition != partition {
            continue;
        }
        if last < seen {
            return Err(DamagedHistory::Shrunk { last, seen }.of(partition));
        }
        if seen <= fold.folded_to() {
            let origin = GroupOrigin {
                router: router.clone(),
                incarnation: group.incarnation,
            };
            fold.has_groups(&origin, group.counter, seen)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_are_written() {
        let group = |partition, counter| AcknowledgedGroup {
            incarnation: 17,
            partition: PartitionNumber::new(partition).unwrap(),
            counter,
            sequence: 9,
        };
        let text = AcknowledgedText(vec![group(0, 1), group(15, 3)]);
        assert_eq!(text.to_string(), "17/00/1/9 17/15/3/9");
        assert_eq!(text.to_string().parse(), Ok(text));
        assert_eq!("".parse(), Ok(AcknowledgedText::default()));
        for wrong in ["17/00/1", "17/16/1/9", "a/00/1/9", "17/00/1/9 x"] {
            assert_eq!(
                wrong.parse::<AcknowledgedText>(),
                Err(UnreadableGroups),
                "{wrong}"
            );
        }
    }
}
