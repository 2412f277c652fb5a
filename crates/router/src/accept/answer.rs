//! What accepting events means: acknowledgement levels, answers and refusals.

use crate::delivery::EndpointResult;
use std::collections::BTreeMap;
use std::time::Duration;
use twinroute_model::name::EndpointName;

/// When an accepted batch is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckLevel {
    /// Once it is queued in memory. A crash may lose it.
    #[default]
    Memory,
    /// Once a quorum of the log has it that several routers share. Less than [`Self::Durable`]: it may be in memory there.
    Replicated,
    /// Once it is on disk; in a shared log, on those of a quorum.
    Durable,
    /// Once every endpoint has it or it has been dead-lettered.
    Delivered,
}

impl AckLevel {
    /// The word in configuration and in the header `twinroute-ack`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Replicated => "replicated",
            Self::Durable => "durable",
            Self::Delivered => "delivered",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Memory,
            Self::Replicated,
            Self::Durable,
            Self::Delivered,
        ]
        .into_iter()
        .find(|level| level.as_str() == word)
    }
}

/// A batch that was accepted, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedBatch {
    /// Events in it.
    pub events: usize,
    /// Of these, repeats of events that were accepted before, or stand before them in the batch. Nothing
    /// was made of them.
    pub duplicates: usize,
    /// Of the others, events that the program changed before they were matched.
    pub changed: usize,
    /// Events that the program dropped before they were matched. Nothing was made of them.
    pub dropped: usize,
    /// Deliveries made of the rest.
    pub deliveries: usize,
    /// Events of it that matched no route.
    pub unmatched: usize,
    /// Generation of the table that matched them.
    pub generation: u64,
    /// At level `delivered`, what became of the deliveries by the end or the deadline; empty else.
    pub outcomes: BTreeMap<EndpointName, EndpointResult>,
    /// Whether an event repeats one of an earlier batch, of whose deliveries this answer knows nothing.
    pub repeats_earlier: bool,
}

impl AcceptedBatch {
    /// Whether deliveries were still waiting at the deadline.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open() > 0
    }

    /// Deliveries that were still waiting at the deadline.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.outcomes.values().map(|outcomes| outcomes.open).sum()
    }

    /// This batch and a later one as if they were one.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.events += later.events;
        self.duplicates += later.duplicates;
        self.changed += later.changed;
        self.dropped += later.dropped;
        self.deliveries += later.deliveries;
        self.unmatched += later.unmatched;
        self.generation = later.generation;
        self.repeats_earlier |= later.repeats_earlier;
        for (name, outcomes) in later.outcomes {
            let own = self.outcomes.entry(name).or_default();
            own.delivered += outcomes.delivered;
            own.dead_lettered += outcomes.dead_lettered;
            own.discarded += outcomes.discarded;
            own.open += outcomes.open;
        }
        self
    }

    /// Whether the end of every delivery of every event in it is known.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        !self.is_open() && !self.repeats_earlier
    }
}

/// A batch that was refused, whole: nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// There is no such instance in the table.
    #[error("instance {name}: not in the table; known are: {known}")]
    UnknownInstance {
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// The journal would pass its limit.
    #[error(
        "the journal is full: {bytes} of {bytes_max} bytes are waiting to be delivered; \
         try again in {} s", retry_after.as_secs()
    )]
    Full {
        /// Bytes held.
        bytes: u64,
        /// Bytes it may hold.
        bytes_max: u64,
        /// When there is likely to be room, from the rate at which it drains.
        retry_after: Duration,
    },
    /// The batch alone is larger than the journal's limit.
    #[error("the batch has {bytes} bytes; the journal holds at most {bytes_max}")]
    TooLarge {
        /// Bytes of the batch.
        bytes: u64,
        /// Bytes the journal may hold.
        bytes_max: u64,
    },
    /// An endpoint is at its cap, and its settings say that events for it are refused then.
    #[error(
        "endpoint {endpoint}: its queue is full, and when_full = \"refuse\" refuses what matches it; \
         try again in {} s", retry_after.as_secs()
    )]
    EndpointFull {
        /// The endpoint.
        endpoint: String,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The journal in use cannot give that acknowledgement.
    #[error("acknowledgement level {level:?} is not available: {reason}")]
    AckUnavailable {
        /// The level asked for.
        level: &'static str,
        /// Why, and what to use instead.
        reason: &'static str,
    },
    /// The journal takes nothing, or did not get the batch to disk.
    #[error("the journal did not take the batch: {reason}")]
    Journal {
        /// Why.
        reason: String,
    },
    /// The log that several routers share has not answered. The events may stand there all the same, or may yet.
    #[error(
        "the cluster's log has not answered for {} s; the batch may be accepted all the same: send it again, and it may \
         be delivered twice", .0.as_secs()
    )]
    Unanswered(Duration),
    /// The router has more to do than it can, and the producer waited as long as it may.
    #[error(
        "twinroute has more to do than it can: the request waited {} ms for its turn; \
         try again in {} s", waited.as_millis(), retry_after.as_secs()
    )]
    Overloaded {
        /// How long it waited.
        waited: Duration,
        /// When to come back.
        retry_after: Duration,
    },
    /// It repeats an event that was on its way to the journal and did not get there.
    #[error(
        "an event of the batch was on its way to the journal with another request, which failed; \
         send the batch again"
    )]
    FirstFailed,
    /// The program that embeds the router made no event of one.
    #[error("event {index}: the program cannot accept it: {reason}")]
    Mapping {
        /// Its place in the batch, from 0.
        index: usize,
        /// Why.
        reason: String,
    },
    /// The router is stopping.
    #[error("twinroute is stopping and accepts no more events")]
    Stopping,
}

/// When to come back to a journal that takes nothing, or to what starts in place of a router that stops.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// When to come back after another request failed with the same event.
const FIRST_FAILED_RETRY: Duration = Duration::from_secs(1);

impl AcceptError {
    /// The word for answers and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownInstance { .. } => "UnknownInstance",
            Self::Full { .. } => "JournalFull",
            Self::TooLarge { .. } => "BatchTooLarge",
            Self::EndpointFull { .. } => "EndpointFull",
            Self::AckUnavailable { .. } => "AckUnavailable",
            Self::Journal { .. } => "JournalUnavailable",
            Self::Unanswered(_) => "JournalUnanswered",
            Self::Overloaded { .. } => "Overloaded",
            Self::FirstFailed => "FirstFailed",
            Self::Mapping { .. } => "MappingFailed",
            Self::Stopping => "Stopping",
        }
    }

    /// Whether the same batch may be accepted later, as it is.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::EndpointFull { .. }
            | Self::Journal { .. }
            | Self::Unanswered(_)
            | Self::Overloaded { .. }
            | Self::FirstFailed
            | Self::Stopping => true,
            Self::UnknownInstance { .. }
            | Self::TooLarge { .. }
            | Self::AckUnavailable { .. }
            | Self::Mapping { .. } => false,
        }
    }

    /// How long to wait before the batch is brought again, where that may help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. }
            | Self::EndpointFull { retry_after, .. }
            | Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::FirstFailed => Some(FIRST_FAILED_RETRY),
            Self::Journal { .. } | Self::Unanswered(_) | Self::Stopping => Some(UNAVAILABLE_RETRY),
            Self::UnknownInstance { .. }
            | Self::TooLarge { .. }
            | Self::AckUnavailable { .. }
            | Self::Mapping { .. } => None,
        }
    }

    /// The status for a producer that came over HTTP.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::UnknownInstance { .. } => 404,
            Self::TooLarge { .. } => 413,
            Self::AckUnavailable { .. } => 400,
            Self::Mapping { .. } => 422,
            Self::Full { .. }
            | Self::EndpointFull { .. }
            | Self::Journal { .. }
            | Self::Unanswered(_)
            | Self::Overloaded { .. }
            | Self::FirstFailed
            | Self::Stopping => 503,
        }
    }
}
