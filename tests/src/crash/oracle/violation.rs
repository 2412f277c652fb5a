//! What can be wrong with a run.

use crate::crash::history::{Endpoint, EventId, Ledger};
use std::fmt;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, matched, and nowhere to be found: neither delivered nor a dead letter.
    Lost(Endpoint, EventId),
    /// Arrived where it was not to, or was never accepted.
    Invented(Endpoint, String),
    /// Arrived with other attributes or another payload.
    Altered(Endpoint, EventId),
    /// The post was not acknowledged, and some of it was accepted while this was not.
    Torn(Endpoint, EventId),
    /// First arrived after a later event of its twin.
    OutOfOrder {
        /// Where.
        endpoint: Endpoint,
        /// What came late.
        late: EventId,
        /// What came before it.
        before: EventId,
    },
    /// Arrived twice while nothing was wrong.
    Repeated(Endpoint, EventId),
    /// Arrived in the calm end where all of its time was settled before, and where nothing is replayed.
    Stray(Endpoint, EventId),
    /// A dead letter is not as it should be.
    Letter {
        /// Whose.
        endpoint: Endpoint,
        /// Where it is.
        place: String,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// The sum is wrong.
    Unbalanced {
        /// Whose.
        endpoint: Endpoint,
        /// The place of the snapshot.
        snapshot: usize,
        /// What it reported.
        ledger: Ledger,
    },
    /// A count is not that of what happened by then.
    Miscounted {
        /// Whose.
        endpoint: Endpoint,
        /// The place of the snapshot.
        snapshot: usize,
        /// Which count.
        what: &'static str,
        /// What it reported.
        reported: u64,
        /// What it must be at least.
        least: u64,
        /// What it can be at most.
        most: u64,
    },
    /// The last snapshot shows deliveries that are not settled, or dead letters that are not uploaded.
    Pending(Endpoint, Ledger),
    /// More became dead letters than were refused.
    ExcessDeadLetters {
        /// By whom.
        endpoint: Endpoint,
        /// Dead letters of events that it could have taken.
        letters: u64,
        /// Refusals in all.
        refusals: u64,
    },
    /// The run itself did not go as it must.
    Failed(String),
}

/// What is wrong with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Its event was not posted, not accepted, or does not match.
    Unknown,
    /// It is not what was posted.
    Altered,
    /// Its name is not that of its event, its hour and its endpoint, or it is where no letters of that
    /// endpoint belong.
    Misplaced,
    /// Nothing refused its event.
    Unfounded,
    /// Its event arrived while nothing was wrong.
    Delivered,
    /// There is another one of its event, and nothing was wrong in between.
    Repeated,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unknown => "of an event that was never accepted for this endpoint",
            Self::Altered => "not what was posted",
            Self::Misplaced => "not where it belongs",
            Self::Unfounded => "of an event that nothing refused",
            Self::Delivered => "of an event that arrived, with nothing wrong in between",
            Self::Repeated => "the second one of its event, without a reason",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(endpoint, event) => write!(out, "lost: event {event} for {endpoint}"),
            Self::Invented(endpoint, id) => write!(out, "invented: event {id:?} at {endpoint}"),
            Self::Altered(endpoint, event) => write!(out, "altered: event {event} at {endpoint}"),
            Self::Torn(endpoint, event) => write!(
                out,
                "torn: event {event} for {endpoint} is missing, while later ones of its batch were \
                 accepted"
            ),
            Self::OutOfOrder {
                endpoint,
                late,
                before,
            } => write!(
                out,
                "out of order: event {late} came to {endpoint} after event {before} of the same twin"
            ),
            Self::Repeated(endpoint, event) => write!(
                out,
                "repeated: event {event} at {endpoint}, with nothing wrong in between"
            ),
            Self::Stray(endpoint, event) => {
                write!(out, "stray: event {event} at {endpoint}, settled before")
            }
            Self::Letter {
                endpoint,
                place,
                wrong,
            } => write!(out, "dead letter of {endpoint}, {place}: {wrong}"),
            Self::Unbalanced {
                endpoint,
                snapshot,
                ledger,
            } => write!(
                out,
                "unbalanced: snapshot {snapshot} of {endpoint}: {ledger:?}"
            ),
            Self::Miscounted {
                endpoint,
                snapshot,
                what,
                reported,
                least,
                most,
            } => write!(
                out,
                "miscounted: snapshot {snapshot} of {endpoint}: {what} is {reported}, not {least} to \
                 {most}"
            ),
            Self::Pending(endpoint, ledger) => write!(out, "pending: {endpoint}: {ledger:?}"),
            Self::ExcessDeadLetters {
                endpoint,
                letters,
                refusals,
            } => write!(
                out,
                "excess dead letters: {endpoint} has {letters} dead letters of events that it could have \
                 taken, and refused {refusals} times"
            ),
            Self::Failed(what) => write!(out, "failed: {what}"),
        }
    }
}
