//! Makes the sink of an endpoint.

use crate::amqp::entity::{AmqpEntity, IdentityEntity};
use crate::amqp::{AmqpSink, AmqpTarget, MessageRouting, PLAIN_NEEDS_KEY, SendSettings};
use crate::event_grid::{EventGrid, TopicClients};
use crate::{event_hubs, service_bus};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_credential::identity::{
    EVENT_HUBS_SCOPE, IdentitySet, NoIdentity, SERVICE_BUS_SCOPE,
};
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::{
    ConnectionCredential, Endpoint, EndpointDestination, NamespaceAccess, authority,
};
use twinroute_model::settings::{AmqpAuth, EndpointSettings};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::{
    BatchLimits, Connect, ConnectError, DeadLetterStore, Delivery, DeliveryOutcome, EndpointFault,
    FailureReason, FaultKind, Sink,
};

/// Makes sinks; one serves all endpoints.
///
/// ```no_run
/// use std::sync::Arc;
/// use twinroute_model::clock::SystemClock;
/// use twinroute_outgoing::{Error, OutgoingConnections};
/// use twinroute_sinks::connect::AzureConnector;
///
/// let connector = AzureConnector::new(Arc::new(SystemClock), OutgoingConnections::of_environment()?);
/// # Ok::<(), Error>(())
/// ```
pub struct AzureConnector {
    clock: Arc<dyn Clock>,
    outgoing: OutgoingConnections,
    clients: TopicClients,
    identities: IdentitySet,
    stores: Option<Box<MakeStore>>,
    made: AtomicU64,
}

/// Makes the store of an endpoint's dead letters.
type MakeStore =
    dyn Fn(&Endpoint) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> + Send + Sync;

impl std::fmt::Debug for AzureConnector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl AzureConnector {
    /// Sinks that tell the time by `clock` and connect as `outgoing` says.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, outgoing: OutgoingConnections) -> Self {
        Self {
            clock,
            clients: TopicClients::new(outgoing.clone()),
            outgoing,
            identities: IdentitySet::none(),
            stores: None,
            made: AtomicU64::new(0),
        }
    }

    /// Logs in as `identities` where an endpoint has an identity in place of keys.
    #[must_use]
    pub fn with_identities(mut self, identities: IdentitySet) -> Self {
        self.identities = identities;
        self
    }

    /// Makes the stores of dead letters, for endpoints with a dead-letter container and for those without.
    /// [`AzureConnector`] itself writes to no container: without this an endpoint that has one is refused.
    #[must_use]
    pub fn with_dead_letters(
        mut self,
        stores: impl Fn(&Endpoint) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.stores = Some(Box::new(stores));
        self
    }

    fn amqp(
        &self,
        endpoint: &Endpoint,
        access: &NamespaceAccess,
        settings: &EndpointSettings,
        routing: MessageRouting,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        let entities = match self.entities(access, routing) {
            Ok(entities) => entities,
            Err(MissingIdentity::Identity(missing)) => {
                return Ok(Arc::new(IdentityUnavailable(missing)));
            }
            Err(MissingIdentity::Address) => {
                let reason = "endpointUri must be sb://<host>[:<port>]/".to_owned();
                return Err(refused(endpoint, reason));
            }
        };
        // Link and container names must differ between sinks of one broker.
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let container_id = format!("twinroute-{}-{process}-{number}", endpoint.name);
        let target = |entity: AmqpEntity| {
            let key = match &entity {
                AmqpEntity::Keys(text) => {
                    matches!(text.credential(), ConnectionCredential::Key { .. })
                }
                AmqpEntity::Identity(_) => false,
            };
            if settings.amqp_auth == AmqpAuth::Plain && !key {
                return Err(refused(endpoint, PLAIN_NEEDS_KEY.to_owned()));
            }
            let mut target = AmqpTarget::new(
                entity,
                settings.amqp_auth,
                container_id.clone(),
                self.outgoing.clone(),
                Arc::clone(&self.clock),
            );
            target.transport = settings.amqp_transport;
            Ok(target)
        };
        let targets = entities.into_iter().map(target);
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let manner = SendSettings {
            routing,
            batched: settings.batch,
            attempt_timeout: settings.attempt_timeout,
            in_flight_max: settings.batches_in_flight_max,
        };
        Ok(Arc::new(AmqpSink::new(targets, manner)))
    }

    /// The entity with each credential that it may be opened with.
    fn entities(
        &self,
        access: &NamespaceAccess,
        routing: MessageRouting,
    ) -> Result<Vec<AmqpEntity>, MissingIdentity> {
        let (endpoint_uri, entity_path, identity) = match access {
            NamespaceAccess::Keys { primary, secondary } => {
                let texts = std::iter::once(primary).chain(secondary);
                return Ok(texts.cloned().map(AmqpEntity::Keys).collect());
            }
            NamespaceAccess::Identity {
                endpoint_uri,
                entity_path,
                identity,
            } => (endpoint_uri, entity_path, identity),
        };
        let scope = match routing {
            MessageRouting::EventHubs(_) => EVENT_HUBS_SCOPE,
            MessageRouting::ServiceBus(_) => SERVICE_BUS_SCOPE,
        };
        // First, so that a bad address is refused wherever definitions are checked.
        let address = authority(endpoint_uri).map_err(|_| MissingIdentity::Address)?;
        let tokens = self.identities.tokens(identity);
        let tokens = tokens.map_err(MissingIdentity::Identity)?;
        let place = IdentityEntity::new(address, entity_path, tokens, scope);
        Ok(vec![AmqpEntity::Identity(place)])
    }
}

/// Why an entity cannot be opened.
enum MissingIdentity {
    Identity(NoIdentity),
    Address,
}

fn refused(endpoint: &Endpoint, reason: String) -> ConnectError {
    ConnectError {
        endpoint: endpoint.name.to_string(),
        reason,
    }
}

impl Connect for AzureConnector {
    /// Makes the sink; nothing is opened or spawned before its first batch, which must be sent from
    /// within a tokio runtime.
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        match &endpoint.destination {
            EndpointDestination::EventGrid(topic) => {
                let clock = Arc::clone(&self.clock);
                EventGrid::new(topic, settings, clock, &self.clients)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>)
                    .map_err(|reason| refused(endpoint, reason))
            }
            EndpointDestination::EventHub(access) => {
                self.amqp(endpoint, access, settings, event_hubs::routing(settings))
            }
            EndpointDestination::ServiceBus(access) => {
                self.amqp(endpoint, access, settings, service_bus::routing(settings))
            }
            EndpointDestination::Waiting(waiting) => {
                Err(refused(endpoint, waiting.missing.clone()))
            }
            _ => {
                let endpoint_type = endpoint.endpoint_type();
                let reason = format!("endpoints of type {endpoint_type} have no sink here");
                Err(refused(endpoint, reason))
            }
        }
    }

    fn dead_letters(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        match (&self.stores, &endpoint.dead_letter) {
            (Some(make), _) => make(endpoint),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let reason = "deadLetterSecret or deadLetterUri names a container that this program does not \
                              write to: give its Connector a store with `with_dead_letters`, or remove it \
                              to have dead letters kept in the journal";
                Err(refused(endpoint, reason.to_owned()))
            }
        }
    }
}

/// Takes the place of endpoints whose identity is not configured: their events stay queued and the endpoint
/// shows why.
#[derive(Debug)]
struct IdentityUnavailable(NoIdentity);

impl IdentityUnavailable {
    fn fault(&self) -> EndpointFault {
        EndpointFault {
            kind: FaultKind::Unsupported,
            after: None,
            reason: FailureReason::new("identity", self.0.to_string()),
        }
    }
}

impl Sink for IdentityUnavailable {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let outcomes = vec![DeliveryOutcome::Unavailable(self.fault()); batch.len()];
        std::future::ready(outcomes).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        std::future::ready(Err(self.fault())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::clock::SystemClock;
    use twinroute_model::endpoint;
    use twinroute_model::name::EndpointName;

    fn endpoint(dead_letters: &str) -> Endpoint {
        let body = format!(
            r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"k",{dead_letters}
                "TopicEndpoint":"https://t.example/api/events"}}}}"#
        );
        endpoint::parse(&EndpointName::new("alerts").unwrap(), &body).unwrap()
    }

    const CONTAINER: &str = r#""deadLetterSecret":
        "https://a.blob.core.windows.net/dead?sv=2022-11-02&se=2099-01-01T00%3A00%3A00Z&sr=c&sp=w&sig=c2ln","#;

    #[test]
    fn a_dead_letter_container_is_not_ignored_without_a_word() {
        let outgoing = OutgoingConnections::of_environment().unwrap();
        let connector = AzureConnector::new(Arc::new(SystemClock), outgoing);
        assert!(connector.dead_letters(&endpoint("")).unwrap().is_none());
        let refused = connector.dead_letters(&endpoint(CONTAINER)).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "endpoint alerts: deadLetterSecret or deadLetterUri names a container that this program \
             does not write to: give its Connector a store with `with_dead_letters`, or remove it to \
             have dead letters kept in the journal"
        );
        let connector = connector.with_dead_letters(|_| Ok(None));
        assert!(connector.dead_letters(&endpoint(CONTAINER)).is_ok());
    }
}
