//! What a lane holds of the journal, and what may be taken from it when the journal is full.

/// What a lane has of a journal in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneRoom {
    /// Bytes of what it has not settled.
    pub(crate) bytes: u64,
    /// Whether its endpoint is defined: then it has a share.
    pub(crate) has_share: bool,
    /// Whether its endpoint's settings keep everything, whoever else needs the room.
    pub(crate) keeps_all: bool,
}

/// What may be taken from a lane, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionKind {
    /// Its oldest dead letter that is kept here.
    DeadLetter,
    /// The oldest in its queue, if its endpoint is why that waits.
    Queued,
    /// Its oldest dead letter that is on its way to its store.
    Uploading,
}

impl EvictionKind {
    pub(crate) const ALL: [Self; 3] = [Self::DeadLetter, Self::Queued, Self::Uploading];
}

/// What was taken from a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EvictedDelivery {
    pub(crate) sequence: u64,
    /// Bytes of its event.
    pub(crate) bytes: u64,
}
