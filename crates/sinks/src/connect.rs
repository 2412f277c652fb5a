//! Makes the sink of an endpoint.

use crate::amqp::connection::Target;
use crate::amqp::{AmqpSink, Manner, PLAIN_NEEDS_KEY, Routing};
use crate::event_grid::{Clients, EventGrid};
use crate::{event_hubs, service_bus};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twinroute_model::clock::Clock;
use twinroute_model::endpoint::{Access, ConnectionString, Credential, Destination, Endpoint};
use twinroute_model::settings::{AmqpAuth, EndpointSettings};
use twinroute_router::sink::{
    BatchLimits, Connect, ConnectError, Delivery, EndpointFault, FaultKind, Outcome, Reason, Sink,
};

/// Makes sinks; one serves all endpoints.
///
/// ```no_run
/// use std::sync::Arc;
/// use twinroute_model::clock::SystemClock;
/// use twinroute_sinks::{connect::Connector, tls};
///
/// let connector = Connector::new(Arc::new(SystemClock), tls::platform()?);
/// # Ok::<(), tls::Error>(())
/// ```
pub struct Connector {
    clock: Arc<dyn Clock>,
    tls: Arc<ClientConfig>,
    clients: Clients,
    made: AtomicU64,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Sinks that tell the time by `clock` and trust what `tls` trusts; see
    /// [`crate::tls::platform`].
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, tls: Arc<ClientConfig>) -> Self {
        Self {
            clock,
            clients: Clients::new(Arc::clone(&tls)),
            tls,
            made: AtomicU64::new(0),
        }
    }

    fn amqp(
        &self,
        endpoint: &Endpoint,
        access: &Access,
        settings: &EndpointSettings,
        routing: Routing,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        let (primary, secondary) = match access {
            Access::Keys { primary, secondary } => (primary, secondary.as_ref()),
            Access::Identity { .. } => return Ok(Arc::new(IdentityUnavailable)),
        };
        // Link and container names must differ between sinks of one broker.
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let container_id = format!("twinroute-{}-{process}-{number}", endpoint.name);
        let target = |connection_string: &ConnectionString| {
            let no_key = matches!(connection_string.credential(), Credential::Signature(_));
            if settings.amqp_auth == AmqpAuth::Plain && no_key {
                return Err(ConnectError {
                    endpoint: endpoint.name.to_string(),
                    reason: PLAIN_NEEDS_KEY.to_owned(),
                });
            }
            Ok(Target::new(
                connection_string.clone(),
                settings.amqp_auth,
                container_id.clone(),
                Arc::clone(&self.tls),
                Arc::clone(&self.clock),
            ))
        };
        let targets = std::iter::once(primary)
            .chain(secondary)
            .map(target)
            .collect::<Result<Vec<_>, _>>()?;
        let manner = Manner {
            routing,
            batched: settings.batch,
            attempt_timeout: settings.attempt_timeout,
            in_flight_max: settings.batches_in_flight_max,
        };
        Ok(Arc::new(AmqpSink::new(targets, manner)))
    }
}

impl Connect for Connector {
    /// Makes the sink; nothing is opened or spawned before its first batch, which must be sent from
    /// within a tokio runtime.
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        match &endpoint.destination {
            Destination::EventGrid(topic) => {
                let clock = Arc::clone(&self.clock);
                EventGrid::new(topic, settings, clock, &self.clients)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>)
                    .map_err(|reason| ConnectError {
                        endpoint: endpoint.name.to_string(),
                        reason,
                    })
            }
            Destination::EventHub(access) => {
                self.amqp(endpoint, access, settings, event_hubs::routing(settings))
            }
            Destination::ServiceBus(access) => {
                self.amqp(endpoint, access, settings, service_bus::routing(settings))
            }
            Destination::Waiting(waiting) => Err(ConnectError {
                endpoint: endpoint.name.to_string(),
                reason: waiting.missing.clone(),
            }),
        }
    }
}

/// Stands in for endpoints that ask for a managed identity: their events stay queued and the
/// endpoint shows why.
#[derive(Debug)]
struct IdentityUnavailable;

impl Sink for IdentityUnavailable {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<Outcome>> {
        let outcomes = vec![Outcome::Unavailable(no_identity()); batch.len()];
        std::future::ready(outcomes).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        std::future::ready(Err(no_identity())).boxed()
    }
}

fn no_identity() -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unsupported,
        after: None,
        reason: Reason::new(
            "identity",
            "managed identity is not yet available; use a connection string",
        ),
    }
}
