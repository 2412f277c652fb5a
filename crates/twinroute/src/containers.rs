//! Wiring: endpoints with their sinks and their dead-letter containers.

use anyhow::Context as _;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::sync::Arc;
use twinroute_credential::identity::Identities;
use twinroute_credential::login::LoginMethod;
use twinroute_model::clock::{Clock, SystemClock, Timestamp};
use twinroute_model::dead_letter::DeadLetter;
use twinroute_model::endpoint::location::{Access, Location};
use twinroute_model::endpoint::{Access as Door, Destination, Endpoint, Identity};
use twinroute_model::event::Limits;
use twinroute_model::settings::EndpointSettings;
use twinroute_outgoing::Outgoing;
use twinroute_retry::dead_letter::container::{Client, Container};
use twinroute_retry::dead_letter::fault::{Kind, StoreFault};
use twinroute_retry::dead_letter::read::{self, ReadBack};
use twinroute_router::sink::{
    Connect, ConnectError, DeadLetterStore, EndpointFault, FaultKind, Letter, Reason, Sink,
    StoredLetter, StoredPage,
};
use twinroute_sinks::connect::Connector;

/// What a blob of several events may hold.
const READ_LIMITS: Limits = Limits {
    event_bytes_max: Limits::EVENT_BYTES_CEILING,
    batch_events_max: 5_000,
};

/// Makes what a lane needs: the sink of an endpoint, and the container of its dead letters.
pub(crate) struct Endpoints {
    sinks: Connector,
    identities: Identities,
    clock: Arc<dyn Clock>,
    http: Client,
}

impl Endpoints {
    /// With the machine's clock, connecting as `outgoing` says. Endpoints with an identity log in as
    /// `login`; without one they wait. `event_bytes_max` bounds the blobs that are read.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(
        login: Option<LoginMethod>,
        outgoing: &Outgoing,
        event_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = outgoing.http().build().context("an HTTP client")?;
        let identities = match login {
            None => Identities::none(),
            Some(login) => Identities::new(login, Arc::new(http.clone()), Arc::clone(&clock)),
        };
        let sinks = Connector::new(Arc::clone(&clock), outgoing.clone());
        Ok(Self {
            sinks: sinks.with_identities(identities.clone()),
            identities,
            clock,
            http: Client::new(Arc::new(http), event_bytes_max),
        })
    }
}

impl Connect for Endpoints {
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        self.sinks.connect(endpoint, settings)
    }

    fn dead_letters(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        let Some(dead_letter) = &endpoint.dead_letter else {
            return Ok(None);
        };
        let refused = |reason: String| ConnectError {
            endpoint: endpoint.name.to_string(),
            reason: format!("dead letters: {reason}"),
        };
        let location = Location::of(dead_letter).map_err(|error| refused(error.to_string()))?;
        let client = &self.http;
        let container = match location.access() {
            Access::Sas { .. } => Container::with_sas(client, location),
            Access::Identity => {
                let tokens = self.identities.tokens(identity(endpoint));
                let opened = tokens.map_err(|missing| missing.to_string());
                let opened = opened.and_then(|tokens| {
                    Container::with_credential(client, location, Arc::new(tokens))
                        .map_err(|error| error.to_string())
                });
                match opened {
                    Ok(container) => Ok(container),
                    Err(reason) => return Ok(Some(Arc::new(Waiting(reason)))),
                }
            }
        };
        let container = container.map_err(|error| refused(error.to_string()))?;
        let clock = Arc::clone(&self.clock);
        Ok(Some(Arc::new(Store { container, clock })))
    }
}

/// The identity that an endpoint logs in with; one with keys has no other than the system-assigned.
fn identity(endpoint: &Endpoint) -> &Identity {
    match &endpoint.destination {
        Destination::EventHub(Door::Identity { identity, .. })
        | Destination::ServiceBus(Door::Identity { identity, .. }) => identity,
        _ => &Identity::SystemAssigned,
    }
}

/// A container as lanes see it.
struct Store {
    container: Container,
    clock: Arc<dyn Clock>,
}

impl DeadLetterStore for Store {
    fn put<'a>(&'a self, letter: Letter<'a>) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let put = async move { self.container.put(&letter, self.clock.now()).await };
        put.map(|put| put.map(drop).map_err(fault)).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.container
            .location()
            .sas()
            .and_then(|sas| sas.expires_at)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        marker: Option<&'a str>,
    ) -> BoxFuture<'a, Result<StoredPage, EndpointFault>> {
        let page = |page: twinroute_retry::dead_letter::container::Page| StoredPage {
            names: page.blobs.into_iter().map(|blob| blob.name).collect(),
            next: page.next,
        };
        let list = async move { self.container.list(prefix, marker, self.clock.now()).await };
        list.map(move |listed| listed.map(page).map_err(fault))
            .boxed()
    }

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredLetter>, EndpointFault>> {
        async move {
            let blob = self
                .container
                .read(name, self.clock.now())
                .await
                .map_err(fault)?;
            let invalid = |reason: String| EndpointFault {
                kind: FaultKind::Unsupported,
                after: None,
                reason: Reason::new("not-a-dead-letter", format!("blob {name}: {reason}")),
            };
            let events = read::parse(&blob.content, &blob.metadata, &READ_LIMITS);
            let events = events.map_err(|problem| invalid(problem.to_string()))?;
            let events = events.into_iter().map(|event| event.map(stored));
            let events: Result<Vec<_>, _> = events.collect();
            events.map_err(|problem| invalid(problem.to_string()))
        }
        .boxed()
    }
}

fn stored(read: ReadBack) -> StoredLetter {
    let known = read.known;
    // What other programs wrote says nothing of our reasons and times.
    let about = known.reason.map(|reason| DeadLetter {
        reason,
        attempts: known.attempts.unwrap_or_default(),
        died_at: known
            .last_attempt_at
            .or(known.accepted_at)
            .unwrap_or(Timestamp::from_unix_millis(0)),
        last_attempt_at: known.last_attempt_at,
        outcome: known.outcome.unwrap_or_default().into(),
    });
    StoredLetter {
        event: read.event,
        about,
    }
}

fn fault(fault: StoreFault) -> EndpointFault {
    let kind = match fault.kind {
        Kind::SasExpired | Kind::SasNotYetValid | Kind::Refused => FaultKind::Unauthorized,
        Kind::ContainerMissing | Kind::BlobMissing => FaultKind::Gone,
        Kind::Throttled => FaultKind::Throttled,
        Kind::Unavailable => FaultKind::Unreachable,
        Kind::Invalid => FaultKind::Unsupported,
    };
    EndpointFault {
        kind,
        after: fault.retry_after,
        reason: Reason::new(fault.kind.as_str(), fault.message),
    }
}

/// Stands in for a `deadLetterUri` that cannot be reached as it is: dead letters wait.
struct Waiting(String);

impl DeadLetterStore for Waiting {
    fn put<'a>(&'a self, _letter: Letter<'a>) -> BoxFuture<'a, Result<(), EndpointFault>> {
        let reason = format!(
            "`deadLetterUri`: {}; dead letters stay here until then, or until the endpoint has a SAS in \
             `deadLetterSecret`",
            self.0
        );
        let fault = EndpointFault {
            kind: FaultKind::Unauthorized,
            after: None,
            reason: Reason::new("no-identity", reason),
        };
        ready(Err(fault)).boxed()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}
