//! Composes the services of one emulator, and starts and stops their servers.

use crate::access_key::KeySlot;
use crate::blob::{self, BlobAccount};
use crate::broker::message_broker::MessageBroker;
use crate::event_grid::EventGridService;
use crate::faults::ScriptedFaults;
use crate::http_server::{self, HttpAnswer};
use crate::identity::{self, IdentityService};
use crate::inspect::{self, HeldEntities};
use crate::key_vault::{self, EmulatedKeyVault};
use crate::listener::{self, RunningServer};
use crate::server;
use crate::service_context::ServiceContext;
use crate::settings::{PortPlace, Settings};
use crate::settings_error::SettingsError;
use crate::tls_proxy::{TlsProxy, TlsProxyError};
use http::Request;
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::sas::blob::container_sas;

/// Running emulated services on 127.0.0.1.
///
/// Dropping it stops the servers without waiting for their end; the ports are free once the tasks
/// have been dropped by the runtime.
#[derive(Debug)]
pub struct RunningEmulator {
    services: EmulatedServices,
    servers: BTreeMap<PortPlace, RunningServer>,
    tls: Option<TlsProxy>,
}

/// The services, which outlive their servers.
#[derive(Debug)]
struct EmulatedServices {
    broker: Arc<MessageBroker>,
    event_grid: Arc<EventGridService>,
    blobs: Arc<BlobAccount>,
    identity: Option<Arc<IdentityService>>,
    key_vault: Arc<EmulatedKeyVault>,
    faults: Arc<ScriptedFaults>,
    connections_max: usize,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict themselves.
    #[error("the settings cannot be served")]
    Settings(#[from] SettingsError),
    /// TLS was asked for and cannot be had.
    #[error("TLS cannot be served")]
    TlsProxy(#[from] TlsProxyError),
    /// A port could not be bound.
    #[error("port {port} of 127.0.0.1, for {place}, could not be bound")]
    Bind {
        /// What it is for.
        place: PortPlace,
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A bound port has no address.
    #[error("the system does not say which port was bound")]
    Address(#[source] io::Error),
}

/// An emulator whose servers were stopped: its services and its ports.
#[derive(Debug)]
pub struct StoppedEmulator {
    services: EmulatedServices,
    ports: BTreeMap<PortPlace, u16>,
    tls: Option<TlsProxy>,
}

impl RunningEmulator {
    /// Binds the ports and serves until shut down.
    ///
    /// Where TLS is asked for, it blocks on the file system for a moment.
    ///
    /// # Errors
    /// [`StartError`] when the settings contradict themselves or a port is taken.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let ports = settings.ports();
        let tls = settings.tls.as_ref();
        let tls = tls
            .map(|wanted| TlsProxy::open(&wanted.folder))
            .transpose()?;
        let services = EmulatedServices::new(settings, clock)?;
        StoppedEmulator {
            services,
            ports,
            tls,
        }
        .restart()
        .await
    }

    /// Drops every connection at once, frees the ports and keeps what was stored.
    pub async fn shutdown(self) -> StoppedEmulator {
        let mut servers = self.servers;
        let ports = servers.iter();
        let ports = ports.map(|(place, server)| (*place, server.address().port()));
        let ports = ports.collect();
        // All are asked before one is waited for.
        servers.values_mut().for_each(RunningServer::ask_to_stop);
        for server in servers.into_values() {
            server.stop().await;
        }
        StoppedEmulator {
            services: self.services,
            ports,
            tls: self.tls,
        }
    }

    /// Hubs, queues and Service Bus topics with their messages.
    #[must_use]
    pub fn broker(&self) -> &Arc<MessageBroker> {
        &self.services.broker
    }

    /// The Event Grid topics with their events.
    #[must_use]
    pub fn event_grid(&self) -> &Arc<EventGridService> {
        &self.services.event_grid
    }

    /// The blob containers with their blobs.
    #[must_use]
    pub fn blob_account(&self) -> &Arc<BlobAccount> {
        &self.services.blobs
    }

    /// The identity service.
    ///
    /// # Panics
    /// When the settings have none.
    #[must_use]
    pub fn identity(&self) -> &Arc<IdentityService> {
        let identity = self.services.identity.as_ref();
        identity.expect("the settings have an identity service")
    }

    /// The key vault with its secrets.
    #[must_use]
    pub fn key_vault(&self) -> &Arc<EmulatedKeyVault> {
        &self.services.key_vault
    }

    /// The script of faults.
    #[must_use]
    pub fn faults(&self) -> &Arc<ScriptedFaults> {
        &self.services.faults
    }

    /// Where Event Hubs and Service Bus listen.
    #[must_use]
    pub fn amqp_address(&self) -> SocketAddr {
        self.servers[&PortPlace::Amqp].address()
    }

    /// Where the Event Grid topics listen.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.servers[&PortPlace::Http].address()
    }

    /// Where the blob containers listen.
    #[must_use]
    pub fn blob_address(&self) -> SocketAddr {
        self.servers[&PortPlace::Blob].address()
    }

    /// Where the identity service and the vault listen, when the settings have them.
    #[must_use]
    pub fn identity_address(&self) -> Option<SocketAddr> {
        self.address(PortPlace::Identity)
    }

    /// The URL of Entra: with TLS where it is spoken. The vault is there too.
    #[must_use]
    pub fn authority_url(&self) -> Option<String> {
        match self.address(PortPlace::IdentityTls) {
            Some(address) => Some(format!("https://localhost:{}", address.port())),
            None => Some(format!("http://{}", self.identity_address()?)),
        }
    }

    /// Where Event Hubs and Service Bus speak TLS, as `localhost`.
    #[must_use]
    pub fn amqp_tls_port(&self) -> Option<u16> {
        self.address(PortPlace::AmqpTls)
            .map(|address| address.port())
    }

    /// Where the blob containers speak TLS, as `localhost`.
    #[must_use]
    pub fn blob_tls_port(&self) -> Option<u16> {
        self.address(PortPlace::BlobTls)
            .map(|address| address.port())
    }

    /// The PEM file of the authority that clients must trust where TLS is spoken.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|tls| tls.ca.as_path())
    }

    /// The https URL of a blob container, as `deadLetterUri` has it.
    #[must_use]
    pub fn container_tls_url(&self, container: &str) -> Option<String> {
        let (account, port) = (&self.services.blobs.name, self.blob_tls_port()?);
        Some(format!("https://localhost:{port}/{account}/{container}"))
    }

    /// The URL of a blob container, without a signature.
    #[must_use]
    pub fn container_url(&self, container: &str) -> String {
        let account = &self.services.blobs.name;
        format!("http://{}/{account}/{container}", self.blob_address())
    }

    /// The URL of a blob container with a signature, as `deadLetterSecret` has it, made with the present
    /// account key. `permissions` are letters such as `rcwl`.
    ///
    /// # Panics
    /// When a permission does not exist, or the account key is not base64.
    #[must_use]
    pub fn container_sas_url(
        &self,
        container: &str,
        permissions: &str,
        expiry: Timestamp,
    ) -> String {
        let (account, key) = (&self.services.blobs.name, self.services.blobs.key());
        let sas = container_sas(account, &key, container, permissions, None, expiry);
        let sas = sas.unwrap_or_else(|refusal| panic!("container {container}: {refusal}"));
        format!("{}?{}", self.container_url(container), sas.expose())
    }

    /// A connection string for the storage account, as the Azure clients take it, with the present key.
    #[must_use]
    pub fn storage_connection_string(&self) -> String {
        let (account, key) = (&self.services.blobs.name, self.services.blobs.key());
        format!(
            "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={};\
             BlobEndpoint=http://{}/{account};",
            key.expose(),
            self.blob_address(),
        )
    }

    /// A connection string for a hub, as the Azure clients take it, with the present primary key.
    #[must_use]
    pub fn event_hubs_connection_string(&self, hub: &str) -> String {
        self.connection_string(hub, KeySlot::Primary)
    }

    /// A connection string for a Service Bus topic or queue.
    #[must_use]
    pub fn service_bus_connection_string(&self, entity: &str) -> String {
        self.connection_string(entity, KeySlot::Primary)
    }

    /// Where to post events for an Event Grid topic, without the api-version.
    ///
    /// # Panics
    /// When the settings have no such topic.
    #[must_use]
    pub fn topic_endpoint(&self, topic: &str) -> String {
        format!(
            "http://{}{}",
            self.http_address(),
            self.services.event_grid.known(topic).path
        )
    }

    /// The first access key of an Event Grid topic.
    ///
    /// # Panics
    /// When the settings have no such topic.
    #[must_use]
    pub fn topic_key1(&self, topic: &str) -> String {
        let [first, _] = self.services.event_grid.known(topic).keys();
        first
    }

    /// The second access key of an Event Grid topic.
    ///
    /// # Panics
    /// When the settings have no such topic.
    #[must_use]
    pub fn topic_key2(&self, topic: &str) -> String {
        let [_, second] = self.services.event_grid.known(topic).keys();
        second
    }

    /// A connection string for a hub, topic or queue with one of the present keys.
    #[must_use]
    pub fn connection_string(&self, entity: &str, slot: KeySlot) -> String {
        let name = self.services.broker.rules.root().name();
        self.rule_connection_string(name, entity, slot)
    }

    /// A connection string for a hub, topic or queue with one of the present keys of a rule.
    ///
    /// # Panics
    /// When the settings have no such rule.
    #[must_use]
    pub fn rule_connection_string(&self, rule: &str, entity: &str, slot: KeySlot) -> String {
        let namespace = self.namespace_with(rule, slot);
        format!("{namespace};EntityPath={entity}")
    }

    /// A connection string for all hubs, topics and queues with the present primary key of a rule.
    ///
    /// # Panics
    /// When the settings have no such rule.
    #[must_use]
    pub fn namespace_connection_string(&self, rule: &str) -> String {
        self.namespace_with(rule, KeySlot::Primary)
    }

    fn namespace_with(&self, rule: &str, slot: KeySlot) -> String {
        let found = self.services.broker.rules.rule(rule);
        let rule = found.unwrap_or_else(|| panic!("no access rule {rule} in the settings"));
        format!(
            "Endpoint=sb://{};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true",
            self.amqp_address(),
            rule.name(),
            rule.key(slot),
        )
    }

    fn address(&self, place: PortPlace) -> Option<SocketAddr> {
        self.servers.get(&place).map(RunningServer::address)
    }
}

impl StoppedEmulator {
    /// Serves again on the same ports.
    ///
    /// # Errors
    /// [`StartError::Bind`] when a port was taken meanwhile.
    pub async fn restart(self) -> Result<RunningEmulator, StartError> {
        let Self {
            services,
            ports,
            tls,
        } = self;
        let mut servers = BTreeMap::new();
        // In the order of places: a TLS proxy needs the address of the server that it stands before.
        for (place, port) in ports {
            let listener = listener::bind(port).map_err(|source| StartError::Bind {
                place,
                port,
                source,
            })?;
            let running = match (place.plain(), &tls) {
                (Some(plain), Some(tls)) => {
                    let (tls, max) = (tls.clone(), services.connections_max);
                    let target = RunningServer::address(&servers[&plain]);
                    RunningServer::spawn(listener, |listener, stop| {
                        tls.run(listener, target, max, stop)
                    })
                }
                _ => services.serve(place, listener),
            };
            servers.insert(place, running.map_err(StartError::Address)?);
        }
        if let Some(identity) = &services.identity {
            let server = servers.get(&PortPlace::IdentityTls);
            identity.set_tls_port(server.map_or(0, |server| server.address().port()));
        }
        Ok(RunningEmulator {
            services,
            servers,
            tls,
        })
    }
}

impl EmulatedServices {
    fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        let context = ServiceContext::new(clock);
        let identity = settings.identity;
        let identity = identity.map(|identity| IdentityService::new(identity, context.clone()));
        let identity = identity.transpose()?.map(Arc::new);
        let issuer = identity.as_ref().map(|service| Arc::clone(&service.issuer));
        let broker = MessageBroker::new(settings.broker, context.clone(), issuer.clone())?;
        let event_grid = EventGridService::new(&settings.event_grid, context.clone())?;
        Ok(Self {
            broker: Arc::new(broker),
            event_grid: Arc::new(event_grid),
            blobs: Arc::new(BlobAccount::new(settings.blob, context.clone(), issuer)?),
            identity,
            key_vault: Arc::new(EmulatedKeyVault::new(settings.key_vault, context.clone())),
            faults: context.faults,
            connections_max: settings.connections_max,
        })
    }

    /// Serves what a place without TLS is for.
    fn serve(&self, place: PortPlace, listener: TcpListener) -> io::Result<RunningServer> {
        let max = self.connections_max;
        let (broker, blobs) = (Arc::clone(&self.broker), Arc::clone(&self.blobs));
        match (place, &self.identity) {
            (PortPlace::Blob, _) => serve_http(listener, max, move |request| {
                blob::answer(Arc::clone(&blobs), request)
            }),
            (PortPlace::Identity, Some(identity)) => {
                let (identity, vault) = (Arc::clone(identity), Arc::clone(&self.key_vault));
                serve_http(listener, max, move |request| {
                    answer_identity(Arc::clone(&identity), Arc::clone(&vault), request)
                })
            }
            (PortPlace::Http, _) => {
                let held = HeldEntities {
                    broker,
                    event_grid: Arc::clone(&self.event_grid),
                    blobs,
                };
                serve_http(listener, max, move |request| {
                    inspect::answer(held.clone(), request)
                })
            }
            _ => RunningServer::spawn(listener, |listener, stop| {
                server::run(listener, max, stop, broker)
            }),
        }
    }
}

fn serve_http<F>(
    listener: TcpListener,
    connections_max: usize,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> io::Result<RunningServer>
where
    F: Future<Output = HttpAnswer> + Send + 'static,
{
    RunningServer::spawn(listener, |listener, stop| {
        http_server::run(listener, connections_max, stop, answer)
    })
}

/// The vault shares the port of the identity service.
async fn answer_identity(
    identity: Arc<IdentityService>,
    vault: Arc<EmulatedKeyVault>,
    request: Request<Incoming>,
) -> HttpAnswer {
    match key_vault::is_asked(&request) {
        true => key_vault::answer(vault, identity, request).await,
        false => identity::answer(identity, request).await,
    }
}
