//! Azure's destinations: Event Grid topics, Event Hubs, Service Bus topics, containers of dead letters, identities, and
//! Azure's own definitions as a source.
//!
//! [`Azure::connector`] makes what the daemon has: the same folder of definitions does the same in both.
//!
//! ```no_run
//! # #[cfg(feature = "watch")]
//! # async fn run() -> Result<(), twinroute::Error> {
//! use twinroute::azure::Azure;
//! use twinroute::definitions::FolderSource;
//! use twinroute::prelude::*;
//!
//! let router = Router::builder().journal("data").connect(Azure::connector()?).start().await?;
//! let definitions = FolderSource::new("definitions", router.default_instance().clone());
//! let _followed = router.follow(definitions).await?;
//! # Ok(())
//! # }
//! ```

mod definitions;

pub use definitions::{AzureDefinitions, AzureDefinitionsError};
pub use twinroute_arm::source::{AzureSettings, AzureStatus, SourceError};
pub use twinroute_credential::login::LoginMethod;
pub use twinroute_credential::settings::CredentialSettings;
pub use twinroute_credential::token::{CachedToken, TokenError, TokenSource};
pub use twinroute_model::secret::Secret;
pub use twinroute_outgoing::proxy::{ProxyAddress, ProxyTable};
pub use twinroute_outgoing::{OutgoingConnections, Settings as OutgoingSettings};

use crate::clock::{Clock, SystemClock};
use crate::event::EventLimits;
use crate::settings::EndpointSettings;
use crate::sink::{Connect, ConnectError, DeadLetterStore};
use std::sync::Arc;
use twinroute_credential::identity::IdentitySet;
use twinroute_model::endpoint::location::{ContainerAccess, ContainerLocation};
use twinroute_model::endpoint::{Endpoint, EndpointDestination, EndpointIdentity, NamespaceAccess};
use twinroute_retry::dead_letter::blob_store::{BlobStore, WaitingStore};
use twinroute_retry::dead_letter::container::{ContainerClient, LetterContainer};
use twinroute_router::sink::Sink;
use twinroute_sinks::connect::AzureConnector;

/// How to reach Azure.
///
/// ```
/// use twinroute::azure::{Azure, LoginMethod};
///
/// let login = LoginMethod::AzureCli { tenant_id: None };
/// let connector = Azure::default().login(login).into_connector();
/// assert!(connector.is_ok());
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made before `into_connector`"]
pub struct Azure {
    login: Option<LoginMethod>,
    outgoing: Option<OutgoingConnections>,
    event_bytes_max: usize,
}

impl Default for Azure {
    fn default() -> Self {
        Self {
            login: Some(LoginMethod::ManagedIdentity { client_id: None }),
            outgoing: None,
            event_bytes_max: EventLimits::default().event_bytes_max,
        }
    }
}

/// Why there is no way to Azure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AzureError {
    /// Authorities or proxies cannot be used.
    #[error("outgoing connections")]
    Outgoing(#[from] twinroute_outgoing::Error),
    /// No HTTP client can be made.
    #[error("no HTTP client can be made")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Azure {
    /// Sinks for the endpoints of definitions, and containers for their dead letters. Endpoints with an identity log in
    /// as the managed identity of the machine; connections go through the proxies of the environment, and trust the
    /// authorities that the machine trusts. Connects to nothing yet.
    ///
    /// # Errors
    /// Authorities or proxies that cannot be used.
    pub fn connector() -> Result<AzureConnect, AzureError> {
        Self::default().into_connector()
    }

    /// Logs in otherwise where an endpoint has an identity in place of keys.
    pub fn login(mut self, login: LoginMethod) -> Self {
        self.login = Some(login);
        self
    }

    /// Has endpoints with an identity wait.
    pub fn without_login(mut self) -> Self {
        self.login = None;
        self
    }

    /// Connects otherwise: with authorities or proxies of the program's own.
    pub fn outgoing(mut self, outgoing: OutgoingConnections) -> Self {
        self.outgoing = Some(outgoing);
        self
    }

    /// The largest event whose dead letter is read back from a container; 1 MiB unless set.
    pub fn event_bytes_max(mut self, bytes: usize) -> Self {
        self.event_bytes_max = bytes;
        self
    }

    /// As [`Self::connector`], as set.
    ///
    /// # Errors
    /// Those of [`Self::connector`].
    pub fn into_connector(self) -> Result<AzureConnect, AzureError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let outgoing = match self.outgoing {
            Some(outgoing) => outgoing,
            None => OutgoingConnections::of_environment()?,
        };
        let http = outgoing.http().build();
        let http = http.map_err(|error| AzureError::Http(Box::new(error)))?;
        let identities = match self.login {
            None => IdentitySet::none(),
            Some(login) => IdentitySet::new(login, Arc::new(http.clone()), Arc::clone(&clock)),
        };
        let sinks = AzureConnector::new(Arc::clone(&clock), outgoing);
        Ok(AzureConnect {
            sinks: sinks.with_identities(identities.clone()),
            identities,
            clock,
            http: ContainerClient::new(Arc::new(http), self.event_bytes_max),
        })
    }
}

/// Makes what the endpoints of definitions need: their sinks, and the containers of their dead letters.
///
/// ```
/// # #[cfg(feature = "watch")] {
/// use twinroute::azure::Azure;
/// use twinroute::definitions::FolderSource;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let folder = tempfile::tempdir()?;
/// std::fs::create_dir_all(folder.path().join("endpoints"))?;
/// let hub = r#"{"properties":{"endpointType":"EventHub","authenticationType":"KeyBased","connectionStringPrimaryKey":
///     "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0;EntityPath=hub"}}"#;
/// std::fs::write(folder.path().join("endpoints/hub.json"), hub)?;
///
/// // Nothing connects before an event goes to the endpoint.
/// let router = Router::builder().connect(Azure::connector()?).start().await?;
/// let definitions = FolderSource::new(folder.path(), router.default_instance().clone());
/// let _followed = router.follow(definitions).await?;
/// assert_eq!(router.status().instances[0].endpoints[0].endpoint_type, "EventHub");
/// # Ok(())
/// # }
/// # }
/// ```
pub struct AzureConnect {
    sinks: AzureConnector,
    identities: IdentitySet,
    clock: Arc<dyn Clock>,
    http: ContainerClient,
}

impl std::fmt::Debug for AzureConnect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AzureConnect")
            .finish_non_exhaustive()
    }
}

impl Connect for AzureConnect {
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
        EndpointDestination::EventHub(NamespaceAccess::Identity { identity, .. })
        | EndpointDestination::ServiceBus(NamespaceAccess::Identity { identity, .. }) => identity,
        _ => &EndpointIdentity::SystemAssigned,
    }
}
