//! The history: which events were accepted and what became of them, as far as the journal on disk keeps it.
//!
//! ```
//! use twinroute::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), twinroute::Error> {
//! # let folder = tempfile::tempdir()?;
//! # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
//! let journal = JournalOptions::new(folder.path()).keep_bytes(64 << 20);
//! let router = Router::builder().journal(journal).sink("archive", sink).route("all", "archive", "true").start().await?;
//! # let event = Event::builder().id("17").source("press-7").event_type("t").build()?;
//! router.accept(event).ack(AckLevel::Delivered).await?;
//!
//! let page = router.history().endpoint("archive").id("17").await?;
//! for delivery in &page.deliveries {
//!     println!("{} {}: {}", delivery.endpoint, delivery.id, delivery.outcome.as_str());
//! }
//! // Once more.
//! let replay = router.replay_history().id("17").to("archive").await?;
//! assert_eq!((page.deliveries.len(), replay.replayed), (1, 1));
//! # router.stop(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! An event is there as soon as it is on disk; what became of its deliveries follows within 50 ms, with the next events.

use crate::Router;
use crate::clock::Timestamp;
use crate::dead_letters::{HistoryReplay, ReplayError, ReplayRequest, ReplayStatus, RunningReplay};
pub use crate::error::HistoryError;
use crate::event::Event;
use std::pin::Pin;
use twinroute_journal::history::HistoryCursor;
use twinroute_router::history::{DeliveryRow, EventHistory, HistoryQuery, HistoryQueryText};

/// How many deliveries a page has unless said otherwise.
const PAGE: usize = 100;

/// What became of a delivery, as the history has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HistoryOutcome {
    /// It waits for its first attempt.
    Queued,
    /// It failed alone and waits for its next attempt.
    Retrying,
    /// It is a dead letter that is kept here.
    DeadLetter,
    /// It arrived.
    Delivered,
    /// It stands in its endpoint's store of dead letters.
    DeadLettered,
    /// It was a dead letter, and a replay took its place.
    Replayed,
    /// It was discarded.
    Discarded,
    /// No route matched its event: there is no delivery.
    Unmatched,
    /// The journal does not say.
    Unknown,
}

impl HistoryOutcome {
    /// All outcomes.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Retrying,
        Self::DeadLetter,
        Self::Delivered,
        Self::DeadLettered,
        Self::Replayed,
        Self::Discarded,
        Self::Unmatched,
        Self::Unknown,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retrying => "retrying",
            Self::DeadLetter => "dead-letter",
            Self::Delivered => "delivered",
            Self::DeadLettered => "dead-lettered",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Unmatched => "unmatched",
            Self::Unknown => "unknown",
        }
    }

    fn of(word: &str) -> Self {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == word);
        known.unwrap_or(Self::Unknown)
    }
}

/// A delivery of the past, or an event that no route matched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastDelivery {
    /// Its event's place in the order of acceptance; nothing where no route matched it.
    pub sequence: Option<u64>,
    /// `id` of its event.
    pub id: String,
    /// `source` of its event.
    pub source: String,
    /// `type` of its event.
    pub event_type: String,
    /// When its event was accepted.
    pub accepted_at: Option<Timestamp>,
    /// The instance; empty where that is not known.
    pub instance: String,
    /// The endpoint; empty where no route matched.
    pub endpoint: String,
    /// The routes to it that matched, where the table of then is kept.
    pub routes: Vec<String>,
    /// What became of it.
    pub outcome: HistoryOutcome,
    /// Why it is a dead letter, or was discarded; empty else.
    pub reason: String,
    /// When it came to its end, where it did.
    pub settled_at: Option<Timestamp>,
    /// Attempts, the one that delivered it included.
    pub attempts: u32,
    /// What the last attempt that failed came to; empty where none did.
    pub last_outcome: String,
    /// Whether a replay made it.
    pub is_replay: bool,
}

impl From<DeliveryRow> for PastDelivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            sequence: Some(row.sequence).filter(|sequence| *sequence > 0),
            outcome: HistoryOutcome::of(&row.outcome),
            id: row.id,
            source: row.source,
            event_type: row.event_type,
            accepted_at: Timestamp::parse_rfc3339(&row.accepted_at),
            instance: row.instance,
            endpoint: row.endpoint,
            routes: row.routes,
            reason: row.reason,
            settled_at: Timestamp::parse_rfc3339(&row.settled_at),
            attempts: row.attempts,
            last_outcome: row.last_outcome,
            is_replay: row.replay,
        }
    }
}

/// A place in the history, where a page ends and the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPlace(HistoryCursor);

/// Some deliveries of the past.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PastDeliveryPage {
    /// In the order of acceptance.
    pub deliveries: Vec<PastDelivery>,
    /// Where the next page begins; nothing when all was looked at. A page may be short, or empty, and yet not the last.
    pub next: Option<PastPlace>,
}

/// Some events of the past.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PastEventPage {
    /// In the order of acceptance, as they were accepted.
    pub events: Vec<Event>,
    /// Where the next page begins; nothing when all was looked at. A page may be short, or empty, and yet not the last.
    pub next: Option<PastPlace>,
}

/// Something that is to be done with the history, all of it unless a choice is made; `.await` does it.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let folder = tempfile::tempdir()?;
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("17").source("press-7").event_type("t").build()?;
/// let journal = JournalOptions::new(folder.path()).keep_bytes(64 << 20);
/// let builder = Router::builder().journal(journal).sink("archive", sink);
/// let router = builder.route("all", "archive", "true").start().await?;
/// router.accept(event).await?;
/// let page = router.history().twin("press-7").most(10).events().await?;
/// assert_eq!((page.events.len(), page.events[0].id()), (1, "17"));
/// # router.stop(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done before `.await`"]
#[derive(Debug)]
pub struct HistoryRequest<'a, W> {
    router: &'a Router,
    query: HistoryQueryText,
    what: W,
}

/// Deliveries are listed: `.await` gives a page of them.
#[derive(Debug)]
pub struct HistorySearch {
    after: Option<PastPlace>,
    most: usize,
}

/// Events go out once more: `.await` begins, and resolves when all were put back or the replay stopped itself. Dropping
/// that future leaves the replay running.
#[derive(Debug)]
pub struct PastReplay {
    to: String,
    per_second: f64,
    most: Option<u64>,
}

impl<W> HistoryRequest<'_, W> {
    /// Of this instance.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.query.instance = name.into();
        self
    }

    /// That went to this endpoint.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.query.endpoint = name.into();
        self
    }

    /// That this route matched.
    pub fn route(mut self, name: impl Into<String>) -> Self {
        self.query.route = name.into();
        self
    }

    /// Of this twin: its id, or host and id as `host/id`.
    pub fn twin(mut self, twin: impl Into<String>) -> Self {
        self.query.twin = twin.into();
        self
    }

    /// Of events with this `id`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.query.id = id.into();
        self
    }

    /// Of events with this `source`.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.query.source = source.into();
        self
    }

    /// Of events with this `type`.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.query.event_type = event_type.into();
        self
    }

    /// That came to this.
    pub fn outcome(mut self, outcome: HistoryOutcome) -> Self {
        self.query.outcome = outcome.as_str().to_owned();
        self
    }

    /// Accepted at or after this.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.query.since = time.rfc3339();
        self
    }

    /// Accepted before this.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.query.until = time.rfc3339();
        self
    }
}

impl HistoryRequest<'_, HistorySearch> {
    /// Goes on where a page ended.
    pub fn after(mut self, place: PastPlace) -> Self {
        self.what.after = Some(place);
        self
    }

    /// About so many and no more: 1 to 10,000; 100 unless set.
    pub fn most(mut self, deliveries: usize) -> Self {
        self.what.most = deliveries;
        self
    }

    /// The events themselves, each once.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn events(self) -> Result<PastEventPage, HistoryError> {
        let most = self.what.most;
        let (history, query, after) = self.parts()?;
        let found = history.export(query, after, most).await?;
        let read = found.events.into_iter();
        let read = read.filter_map(|past| Event::from_json(past.event.get().to_owned()).ok());
        Ok(PastEventPage {
            events: read.collect(),
            next: place(&found.next, found.at_end),
        })
    }

    async fn deliveries(self) -> Result<PastDeliveryPage, HistoryError> {
        let most = self.what.most;
        let (history, query, after) = self.parts()?;
        let found = history.rows(query, after, most).await?;
        Ok(PastDeliveryPage {
            deliveries: found.rows.into_iter().map(PastDelivery::from).collect(),
            next: place(&found.next, found.at_end),
        })
    }

    fn parts(self) -> Result<(EventHistory, HistoryQuery, HistoryCursor), HistoryError> {
        let history = self.router.inner().history();
        let history = history.cloned().ok_or(HistoryError::NoJournal)?;
        let query = self.query.parse().map_err(HistoryError::Request)?;
        let after = self.what.after.map(|place| place.0);
        Ok((history, query, after.unwrap_or_default()))
    }
}

fn place(next: &str, at_end: bool) -> Option<PastPlace> {
    let next = next.parse().ok().filter(|_| !at_end);
    next.map(PastPlace)
}

impl<'a> IntoFuture for HistoryRequest<'a, HistorySearch> {
    type Output = Result<PastDeliveryPage, HistoryError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.deliveries())
    }
}

impl<'a> HistoryRequest<'a, PastReplay> {
    /// To this endpoint (`endpoint`, or `instance/endpoint`), each event once, in place of those that they went to.
    pub fn to(mut self, endpoint: impl Into<String>) -> Self {
        self.what.to = endpoint.into();
        self
    }

    /// Events a second, at most: 0.1 to 10,000; 100 unless set.
    pub fn per_second(mut self, events: f64) -> Self {
        self.what.per_second = events;
        self
    }

    /// No more than so many.
    pub fn most(mut self, events: u64) -> Self {
        self.what.most = Some(events);
        self
    }

    /// Begins, and does not wait for the end.
    ///
    /// # Errors
    /// Why it was not begun.
    pub async fn begin(self) -> Result<RunningReplay<'a>, ReplayError> {
        let Self {
            router,
            query,
            what,
        } = self;
        let request = ReplayRequest {
            history: Some(HistoryReplay { query, to: what.to }),
            per_second: what.per_second,
            most: what.most,
            ..ReplayRequest::default()
        };
        RunningReplay::begin(router, request).await
    }
}

impl<'a> IntoFuture for HistoryRequest<'a, PastReplay> {
    type Output = Result<ReplayStatus, ReplayError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.begin().await?.ended().await) })
    }
}

impl Router {
    /// Searches the history: deliveries, and events that no route matched, as far as the journal on disk keeps them. See
    /// [`JournalOptions::keep_bytes`](crate::JournalOptions::keep_bytes).
    pub fn history(&self) -> HistoryRequest<'_, HistorySearch> {
        let what = HistorySearch {
            after: None,
            most: PAGE,
        };
        HistoryRequest {
            router: self,
            query: HistoryQueryText::default(),
            what,
        }
    }

    /// Delivers events of the history once more: to the endpoints where they came to their end, or to another one.
    pub fn replay_history(&self) -> HistoryRequest<'_, PastReplay> {
        let what = PastReplay {
            to: String::new(),
            per_second: ReplayRequest::default().per_second,
            most: None,
        };
        HistoryRequest {
            router: self,
            query: HistoryQueryText::default(),
            what,
        }
    }
}
