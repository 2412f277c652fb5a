//! Dead letters that are kept here: listed, and replayed.

use crate::Router;
use crate::clock::Timestamp;
use crate::event::Event;
use std::pin::Pin;

pub use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_router::dead_letters::DeadLetterCursor;
pub use twinroute_router::dead_letters::{DeadLetterQuery, DeadLetterQueryText, DeadLetterView};
pub use twinroute_router::history::{HistoryQuery, HistoryQueryText};
pub use twinroute_router::replay::{
    HistoryReplay, ReplayError, ReplayRequest, ReplayState, ReplayStatus,
};

/// How many dead letters a page has unless said otherwise.
const PAGE: usize = 100;

/// Which dead letters are meant: all that is set must hold.
#[derive(Clone, Debug, Default)]
struct LetterFilter {
    instance: Option<String>,
    endpoint: Option<String>,
    reason: Option<DeadLetterReason>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    event_type: Option<String>,
    filter: Option<String>,
}

impl LetterFilter {
    fn text(&self) -> DeadLetterQueryText {
        let time = |time: Option<Timestamp>| time.map(Timestamp::rfc3339).unwrap_or_default();
        let reason = self.reason.map(DeadLetterReason::as_str);
        DeadLetterQueryText {
            instance: self.instance.clone().unwrap_or_default(),
            endpoint: self.endpoint.clone().unwrap_or_default(),
            reason: reason.unwrap_or_default().to_owned(),
            since: time(self.since),
            until: time(self.until),
            event_type: self.event_type.clone().unwrap_or_default(),
            filter: self.filter.clone().unwrap_or_default(),
        }
    }

    fn query(&self) -> Result<DeadLetterQuery, ReplayError> {
        self.text().parse().map_err(ReplayError::Request)
    }
}

/// Something that is to be done with dead letters, all of them unless a choice is made; `.await` does it.
///
/// ```
/// use twinroute::dead_letters::DeadLetterReason;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|batch: Vec<Delivery>| async move {
/// #     Ok(batch.iter().map(|_| DeliveryOutcome::reject("it fits no page")).collect())
/// # });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// router.accept(event).ack(AckLevel::Delivered).await?;
///
/// let page = router.dead_letters().endpoint("archive").reason(DeadLetterReason::Rejected).most(10).await?;
/// assert_eq!((page.dead_letters.len(), &*page.dead_letters[0].id), (1, "1"));
/// assert_eq!(page.next, None);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done before `.await`"]
#[derive(Debug)]
pub struct LetterRequest<'a, W> {
    router: &'a Router,
    letters: LetterFilter,
    what: W,
}

/// Dead letters are listed: `.await` gives a page of them.
#[derive(Debug)]
pub struct LetterListing {
    after: Option<DeadLetterPlace>,
    most: usize,
}

/// Dead letters are delivered after all: `.await` begins, and resolves when all were put back or the replay stopped
/// itself. Dropping that future leaves the replay running.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|batch: Vec<Delivery>| async move {
/// #     Ok(batch.iter().map(|_| DeliveryOutcome::reject("it fits no page")).collect())
/// # });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// router.accept(event).ack(AckLevel::Delivered).await?;
///
/// let replay = router.replay().endpoint("archive").most(10).await?;
/// assert_eq!(replay.replayed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LetterReplay(ReplayRequest);

impl<W> LetterRequest<'_, W> {
    /// Of this instance.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.letters.instance = Some(name.into());
        self
    }

    /// Of this endpoint.
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.letters.endpoint = Some(name.into());
        self
    }

    /// That died of this.
    pub fn reason(mut self, reason: DeadLetterReason) -> Self {
        self.letters.reason = Some(reason);
        self
    }

    /// That died at or after this.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.letters.since = Some(time);
        self
    }

    /// That died before this.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.letters.until = Some(time);
        self
    }

    /// With events of this type.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.letters.event_type = Some(event_type.into());
        self
    }

    /// With events that a route with this filter would match.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.letters.filter = Some(filter.into());
        self
    }
}

/// A place among all dead letters, where a page ends and the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterPlace(DeadLetterCursor);

/// Some dead letters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetterResults {
    /// Ordered by instance, endpoint and acceptance.
    pub dead_letters: Vec<DeadLetterView>,
    /// Where the next page begins; none when there are no more. A page may be short and yet not the last.
    pub next: Option<DeadLetterPlace>,
}

impl LetterRequest<'_, LetterListing> {
    /// Goes on where a page ended.
    pub fn after(mut self, place: DeadLetterPlace) -> Self {
        self.what.after = Some(place);
        self
    }

    /// No more than so many; 100 unless set.
    pub fn most(mut self, dead_letters: usize) -> Self {
        self.what.most = dead_letters;
        self
    }

    async fn read(self) -> Result<DeadLetterResults, ReplayError> {
        let query = self.letters.query()?;
        let after = self.what.after.map(|place| place.0);
        let inner = self.router.inner();
        let page = inner
            .dead_letters(&query, after.as_ref(), self.what.most)
            .await;
        Ok(DeadLetterResults {
            dead_letters: page.dead_letters,
            next: page.next.parse().ok().map(DeadLetterPlace),
        })
    }
}

impl<'a> IntoFuture for LetterRequest<'a, LetterListing> {
    type Output = Result<DeadLetterResults, ReplayError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl<'a> LetterRequest<'a, LetterReplay> {
    /// Those with these sequences only ([`DeadLetterView::sequence`]), of one endpoint; at most 10,000.
    pub fn sequences(mut self, sequences: impl IntoIterator<Item = u64>) -> Self {
        self.what.0.sequences = sequences.into_iter().collect();
        self
    }

    /// Reads them from the endpoint's store instead of those kept here: names that begin with this.
    pub fn container_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.what.0.container_prefix = Some(prefix.into());
        self
    }

    /// Events a second, at most: 0.1 to 10,000; 100 unless set.
    pub fn per_second(mut self, events: f64) -> Self {
        self.what.0.per_second = events;
        self
    }

    /// No more than so many.
    pub fn most(mut self, dead_letters: u64) -> Self {
        self.what.0.most = Some(dead_letters);
        self
    }

    /// Begins, and does not wait for the end.
    ///
    /// # Errors
    /// Why it was not begun.
    pub async fn begin(mut self) -> Result<RunningReplay<'a>, ReplayError> {
        self.what.0.query = self.letters.text();
        RunningReplay::begin(self.router, self.what.0).await
    }
}

impl<'a> IntoFuture for LetterRequest<'a, LetterReplay> {
    type Output = Result<ReplayStatus, ReplayError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.begin().await?.ended().await) })
    }
}

/// A replay that was begun. It goes on when this is dropped.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|batch: Vec<Delivery>| async move {
/// #     Ok(batch.iter().map(|_| DeliveryOutcome::reject("it fits no page")).collect())
/// # });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// router.accept(event).ack(AckLevel::Delivered).await?;
///
/// let running = router.replay().per_second(500.0).begin().await?;
/// assert!(running.status().replayed <= 1);
/// assert_eq!(running.ended().await.replayed, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RunningReplay<'a> {
    router: &'a Router,
    begun: ReplayStatus,
}

impl<'a> RunningReplay<'a> {
    pub(crate) async fn begin(
        router: &'a Router,
        request: ReplayRequest,
    ) -> Result<Self, ReplayError> {
        let begun = router.inner().replay(request).await?;
        Ok(Self { router, begun })
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> ReplayStatus {
        let statuses = self.router.inner().replays();
        let own = statuses
            .into_iter()
            .find(|one| one.number == self.begun.number);
        own.unwrap_or_else(|| self.begun.clone())
    }

    /// Ends it; what it has put back stays.
    pub fn cancel(&self) {
        let _known: bool = self.router.inner().cancel_replay(self.begun.number);
    }

    /// Resolves when it has ended, or when the router stops before that; then it goes on after the next start where the
    /// journal is on disk.
    pub async fn ended(&self) -> ReplayStatus {
        self.router.inner().replay_over(self.begun.number).await;
        self.status()
    }
}

impl Router {
    /// Dead letters that are kept here.
    ///
    /// ```
    /// # async fn list(router: &twinroute::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// use twinroute::dead_letters::DeadLetterReason;
    ///
    /// let page = router.dead_letters().endpoint("archive").reason(DeadLetterReason::Rejected).await?;
    /// for letter in page.dead_letters {
    ///     println!("{} {}", letter.id, letter.outcome);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn dead_letters(&self) -> LetterRequest<'_, LetterListing> {
        LetterRequest {
            router: self,
            letters: LetterFilter::default(),
            what: LetterListing {
                after: None,
                most: PAGE,
            },
        }
    }

    /// One dead letter that is kept here, of an endpoint of the default instance, with its event.
    pub async fn dead_letter(
        &self,
        endpoint: &str,
        sequence: u64,
    ) -> Option<(DeadLetterView, Event)> {
        let found = self.inner().dead_letter(None, endpoint, sequence).await;
        found.map(|(view, event)| (view, Event::clone(&event)))
    }

    /// Delivers dead letters after all, as new deliveries to the endpoints that failed.
    ///
    /// ```
    /// # async fn replay(router: &twinroute::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// let replay = router.replay().endpoint("archive").per_second(500.0).await?;
    /// println!("{} put back", replay.replayed);
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay(&self) -> LetterRequest<'_, LetterReplay> {
        LetterRequest {
            router: self,
            letters: LetterFilter::default(),
            what: LetterReplay(ReplayRequest::default()),
        }
    }

    /// Replays that are under way, and the last that have ended; oldest first.
    #[must_use]
    pub fn replays(&self) -> Vec<ReplayStatus> {
        self.inner().replays()
    }

    /// A running endpoint of the default instance, that of a removed one too while anything of it is left.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<EndpointControl> {
        self.inner().endpoint(None, name).map(EndpointControl)
    }

    /// As [`Self::endpoint`], of any instance.
    #[must_use]
    pub fn endpoint_of(&self, instance: &str, name: &str) -> Option<EndpointControl> {
        self.inner()
            .endpoint(Some(instance), name)
            .map(EndpointControl)
    }
}

/// Steers a running endpoint.
///
/// ```
/// use twinroute::dead_letters::PurgeScope;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let router = Router::builder().sink("archive", sink).route("all", "archive", "true").start().await?;
/// let archive = router.endpoint("archive").expect("it was added");
/// archive.pause();
/// router.accept(event).await?;
/// assert_eq!(archive.purge(PurgeScope::Queued).queued, 1);
/// archive.resume();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EndpointControl(twinroute_router::dead_letters::EndpointHandle);

/// What a purge discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeScope {
    /// What waits to be delivered.
    Queued,
    /// That, and the dead letters that are kept here.
    QueuedAndDeadLetters,
}

/// What a purge discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurgedDeliveries {
    /// Deliveries that waited.
    pub queued: u64,
    /// Dead letters that were kept here.
    pub dead_letters: u64,
}

impl EndpointControl {
    /// Sends nothing from here on, over restarts too where the journal is on disk; events wait and their time to live
    /// stands still.
    pub fn pause(&self) {
        self.0.pause();
    }

    /// Goes on.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// Tries again now whatever waits for its next attempt.
    pub fn retry_now(&self) {
        self.0.retry_now();
    }

    /// Discards what waits, for good. What is in flight goes on.
    pub fn purge(&self, scope: PurgeScope) -> PurgedDeliveries {
        let purged = self.0.purge(scope == PurgeScope::QueuedAndDeadLetters);
        PurgedDeliveries {
            queued: purged.queued,
            dead_letters: purged.dead_letters,
        }
    }
}
