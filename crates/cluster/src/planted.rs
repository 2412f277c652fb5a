//! Faults that are planted to see that the simulation finds them. Without the feature `simulation` there are none, and
//! what asks for one costs nothing.

/// A fault of ours, as it could have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlantedFault {
    /// A lease is claimed while its owner may still hold it.
    ClaimWithoutWait,
    /// An owner goes on sending when its lease has ended, until the log refuses it.
    SendPastLease,
    /// A lease is counted from when its renewal was answered.
    LeaseFromAnswer,
    /// A lease is counted by the clock that is set.
    LeaseOnWallTime,
    /// A claim writes no epoch record.
    NoEpochRecord,
    /// Settlements are appended without the sequence that is expected.
    UnfencedSettlements,
    /// A group of settlements is appended again under another message id.
    SettlementNewId,
    /// A group of events is appended again under another message id, with the number it had.
    GroupNewId,
    /// A group of events whose answer was lost is formed again, as the next one.
    GroupRenumbered,
    /// A group whose answer was lost is dropped.
    GroupDropped,
    /// The next group is appended before the one in flight was answered.
    TwoInFlight,
    /// Producers are answered before the log has their group.
    EarlyAnswer,
    /// A dead letter takes effect before it is recorded.
    DeadLetterNotAwaited,
    /// What must wait until it is recorded hears at once that it is.
    SettlementNotAwaited,
    /// A checkpoint counts as recorded when the log has answered, before the fold has come to it.
    CheckpointBeforeFold,
    /// The log is trimmed up to where it was folded, whatever is open.
    TrimPastOpen,
    /// The log is trimmed up to its end, however far it was folded.
    TrimPastFold,
    /// The log is trimmed before the checkpoint stands within it.
    TrimBeforeCheckpoint,
    /// The log is trimmed before the checkpoint beside it is written.
    TrimBeforeCursor,
    /// A partition is handed over with sends in flight.
    HandOverInFlight,
    /// A partition is handed over before its last outcomes are recorded.
    HandOverUnsettled,
    /// Damage is logged and gone over.
    DamageIgnored,
    /// What a router was acknowledged is remembered by itself alone.
    AcknowledgedForgotten,
}

impl PlantedFault {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::ClaimWithoutWait,
        Self::SendPastLease,
        Self::LeaseFromAnswer,
        Self::LeaseOnWallTime,
        Self::NoEpochRecord,
        Self::UnfencedSettlements,
        Self::SettlementNewId,
        Self::GroupNewId,
        Self::GroupRenumbered,
        Self::GroupDropped,
        Self::TwoInFlight,
        Self::EarlyAnswer,
        Self::DeadLetterNotAwaited,
        Self::SettlementNotAwaited,
        Self::CheckpointBeforeFold,
        Self::TrimPastOpen,
        Self::TrimPastFold,
        Self::TrimBeforeCheckpoint,
        Self::TrimBeforeCursor,
        Self::HandOverInFlight,
        Self::HandOverUnsettled,
        Self::DamageIgnored,
        Self::AcknowledgedForgotten,
    ];

    /// Why it does no harm, if the design makes it so.
    #[must_use]
    pub const fn harmless(self) -> Option<&'static str> {
        match self {
            Self::SettlementNewId => {
                Some("of appends behind one expected record the log takes one, whatever their ids")
            }
            Self::GroupNewId => Some("the fold counts a group of one number once"),
            Self::CheckpointBeforeFold => Some(
                "an append behind the expected record that was answered stands where the fold comes to it",
            ),
            _ => None,
        }
    }
}

/// Which faults are planted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlantedFaults(#[cfg(any(test, feature = "simulation"))] Option<PlantedFault>);

impl PlantedFaults {
    /// This one.
    #[cfg(any(test, feature = "simulation"))]
    #[must_use]
    pub const fn of(fault: PlantedFault) -> Self {
        Self(Some(fault))
    }

    /// Whether this one is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has(self, fault: PlantedFault) -> bool {
        self.0 == Some(fault)
    }

    /// None is.
    #[cfg(not(any(test, feature = "simulation")))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn has(self, _fault: PlantedFault) -> bool {
        false
    }
}
