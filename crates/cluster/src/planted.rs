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
    /// A claim writes no epoch record.
    NoEpochRecord,
    /// Settlements are appended without the sequence that is expected.
    UnfencedSettlements,
    /// A group whose answer was lost is dropped.
    GroupDropped,
    /// The next group is appended before the one in flight was answered.
    TwoInFlight,
    /// Producers are answered before the log has their group.
    EarlyAnswer,
    /// A dead letter takes effect before it is recorded.
    DeadLetterNotAwaited,
    /// The log is trimmed up to where it was folded, whatever is open.
    TrimPastOpen,
    /// The log is trimmed before the checkpoint stands within it.
    TrimBeforeCheckpoint,
    /// A partition is handed over with sends in flight.
    HandOverInFlight,
    /// A partition is handed over before its last outcomes are recorded.
    HandOverUnsettled,
    /// Damage is logged and gone over.
    DamageIgnored,
}

impl PlantedFault {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ClaimWithoutWait,
        Self::SendPastLease,
        Self::LeaseFromAnswer,
        Self::NoEpochRecord,
        Self::UnfencedSettlements,
        Self::GroupDropped,
        Self::TwoInFlight,
        Self::EarlyAnswer,
        Self::DeadLetterNotAwaited,
        Self::TrimPastOpen,
        Self::TrimBeforeCheckpoint,
        Self::HandOverInFlight,
        Self::HandOverUnsettled,
        Self::DamageIgnored,
    ];
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
