//! Wiring: endpoints with their sinks and their dead-letter containers.

use anyhow::Context as _;
use std::sync::Arc;
use twinroute_credential::identity::IdentitySet;
use twinroute_credential::login::LoginMethod;
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::endpoint::location::{ContainerAccess, ContainerLocation};
use twinroute_model::endpoint::{
    Endpoint, EndpointDestination, EndpointIdentity, NamespaceAccess as Door,
};
use twinroute_model::settings::EndpointSettings;
use twinroute_outgoing::OutgoingConnections;
use twinroute_retry::dead_letter::blob_store::{BlobStore, WaitingStore};
use twinroute_retry::dead_letter::container::{ContainerClient, LetterContainer};
use twinroute_router::sink::{Connect, ConnectError, DeadLetterStore, Sink};
use twinroute_sinks::connect::AzureConnector;

/// Makes what a lane needs: the sink of an endpoint, and the container of its dead letters.
pub(crate) struct EndpointConnect {
    sinks: AzureConnector,
    identities: IdentitySet,
    clock: Arc<dyn Clock>,
    http: ContainerClient,
}

impl EndpointConnect {
    /// With the machine's clock, connecting as `outgoing` says. Endpoints with an identity log in as
    /// `login`; without one they wait. `event_bytes_max` bounds the blobs that are read.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(
        login: Option<LoginMethod>,
        outgoing: &OutgoingConnections,
        event_bytes_max: usize,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = outgoing.http().build().context("an HTTP client")?;
        let identities = match login {
            None => IdentitySet::none(),
            Some(login) => IdentitySet::new(login, Arc::new(http.clone()), Arc::clone(&clock)),
        };
        let sinks = AzureConnector::new(Arc::clone(&clock), outgoing.clone());
        Ok(Self {
            sinks: sinks.with_identities(identities.clone()),
            identities,
            clock,
            http: ContainerClient::new(Arc::new(http), event_bytes_max),
        })
    }
}

impl Connect for EndpointConnect {
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
        let location =
            ContainerLocation::of(dead_letter).map_err(|error| refused(error.to_string()))?;
        let client = &self.http;
        let container = match location.access() {
            ContainerAccess::Sas { .. } => LetterContainer::with_sas(client, location),
            ContainerAccess::Identity => {
                let tokens = self.identities.tokens(identity(endpoint));
                let opened = tokens.map_err(|missing| missing.to_string());
                let opened = opened.and_then(|tokens| {
                    LetterContainer::with_credential(client, location, Arc::new(tokens))
                        .map_err(|error| error.to_string())
                });
                match opened {
                    Ok(container) => Ok(container),
                    Err(reason) => return Ok(Some(Arc::new(WaitingStore(reason)))),
                }
            }
        };
        let container = container.map_err(|error| refused(error.to_string()))?;
        let clock = Arc::clone(&self.clock);
        Ok(Some(Arc::new(BlobStore::new(container, clock))))
    }
}

/// The identity that an endpoint logs in with; one with keys has no other than the system-assigned.
fn identity(endpoint: &Endpoint) -> &EndpointIdentity {
    match &endpoint.destination {
        EndpointDestination::EventHub(Door::Identity { identity, .. })
        | EndpointDestination::ServiceBus(Door::Identity { identity, .. }) => identity,
        _ => &EndpointIdentity::SystemAssigned,
    }
}
