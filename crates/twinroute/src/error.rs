//! One error for all that a program does with a router.

use std::fmt;
use std::io;
use std::time::Duration;
use twinroute_model::event::{EventProblem, InvalidEvent};
use twinroute_router::BuildError;
use twinroute_router::accept::AcceptError;
use twinroute_router::replay::ReplayError;
use twinroute_router::source::DefinitionFaults;

/// Why something did not work. The functions of this crate give more special errors where there is one kind alone;
/// all of them become this with `?`.
///
/// It shows itself in words, with its causes, also where a program's `main` ends with it.
///
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let error = twinroute::Error::from(Event::from_json("{}").unwrap_err());
/// assert_eq!((error.http_status(), error.is_retryable()), (400, false));
/// # Ok(())
/// # }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No router could be built.
    #[error("the router cannot be built")]
    Build(#[from] BuildError),
    /// The journal on disk does not open.
    #[cfg(feature = "journal")]
    #[error("the router cannot be built")]
    Journal(#[from] twinroute_journal::JournalOpenError),
    /// Definitions are wrong; the table stayed as it was.
    #[error(transparent)]
    Definitions(#[from] DefinitionFaults),
    /// There is no such route.
    #[error("route {instance}/{route}: not found")]
    UnknownRoute {
        /// The instance.
        instance: String,
        /// The route.
        route: String,
    },
    /// Dead letters are not listed or replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The history does not answer.
    #[cfg(feature = "journal")]
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A batch was refused, whole.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// There is no way to Azure.
    #[cfg(feature = "azure")]
    #[error(transparent)]
    Azure(#[from] crate::azure::AzureError),
    /// Something is no event.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<EventProblem> for Error {
    fn from(problem: EventProblem) -> Self {
        Self::Event(problem.into())
    }
}

impl Error {
    /// Whether the same may work later, as it is.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Accept(refused) => refused.is_retryable(),
            Self::Replay(ReplayError::TooMany) => true,
            _ => false,
        }
    }

    /// How long to wait before it is tried again, where that may help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Accept(refused) => refused.retry_after(),
            _ => None,
        }
    }

    /// The status for a producer that came over HTTP; 500 where it is no producer's fault.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Accept(refused) => refused.http_status(),
            Self::Event(invalid) if invalid.problem.is_too_large() => 413,
            Self::Event(_) | Self::Definitions(_) | Self::Replay(ReplayError::Request(_)) => 400,
            Self::UnknownRoute { .. } | Self::Replay(ReplayError::UnknownEndpoint(_)) => 404,
            Self::Replay(ReplayError::TooMany) => 409,
            #[cfg(feature = "journal")]
            Self::Journal(_) => 500,
            #[cfg(feature = "journal")]
            Self::History(error) => error.http_status(),
            #[cfg(feature = "azure")]
            Self::Azure(_) => 500,
            Self::Build(_) | Self::Io(_) | Self::Replay(_) => 500,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Why the history does not answer.
#[cfg(feature = "journal")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// Something that is asked for is not understood.
    #[error("{0}")]
    Request(String),
    /// The journal is in memory, which keeps nothing that is settled.
    #[error(
        "there is no history: start the router with a journal on disk, and have it keep settled events with `keep_bytes`"
    )]
    NoJournal,
    /// The journal's folder cannot be read.
    #[error("the history cannot be read")]
    Unreadable(#[from] twinroute_journal::JournalOpenError),
}

#[cfg(feature = "journal")]
impl HistoryError {
    /// The status for whoever asked over HTTP.
    pub(crate) fn http_status(&self) -> u16 {
        match self {
            Self::Request(_) => 400,
            Self::NoJournal => 404,
            Self::Unreadable(_) => 500,
        }
    }
}
