//! Starting and stopping the servers.

use crate::access::KeySlot;
use crate::faults::Faults;
use crate::listener::{self, RunningServer};
use crate::settings::{PortPlace, Settings};
use crate::store::{SettingsError, Store};
use crate::tls_proxy::{TlsError, TlsProxy};
use crate::{blob, grid, identity, server};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::sas::blob::container_sas;

/// Running stand-ins on 127.0.0.1.
///
/// Dropping it stops the servers without waiting for their end; the ports are free once the tasks
/// have been dropped by the runtime.
#[derive(Debug)]
pub struct Emulator {
    store: Arc<Store>,
    amqp: RunningServer,
    http: RunningServer,
    blob: RunningServer,
    identity: Option<RunningServer>,
    fronts: Option<Box<Fronts>>,
}

/// TLS before the others.
#[derive(Debug)]
struct Fronts {
    tls: TlsProxy,
    amqp: RunningServer,
    blob: RunningServer,
    identity: Option<RunningServer>,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings contradict themselves.
    #[error("the settings cannot be served")]
    Settings(#[from] SettingsError),
    /// TLS was asked for and cannot be had.
    #[error("TLS cannot be served")]
    TlsProxy(#[from] TlsError),
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

/// An emulator whose servers were stopped: its entities and its ports.
#[derive(Debug)]
pub struct Stopped {
    store: Arc<Store>,
    ports: Ports,
    tls: Option<TlsProxy>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    amqp: u16,
    http: u16,
    blob: u16,
    identity: u16,
    amqp_tls: u16,
    blob_tls: u16,
    identity_tls: u16,
}

impl Emulator {
    /// Binds the ports and serves until shut down.
    ///
    /// Where TLS is asked for, it blocks on the file system for a moment.
    ///
    /// # Errors
    /// [`StartError`] when the settings contradict themselves or a port is taken.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let mut ports = Ports {
            amqp: settings.amqp_port,
            http: settings.http_port,
            blob: settings.blob_port,
            identity: settings
                .identity
                .as_ref()
                .map_or(0, |identity| identity.port),
            ..Ports::default()
        };
        let mut tls = None;
        if let Some(wanted) = &settings.tls {
            ports.amqp_tls = wanted.amqp_port;
            ports.blob_tls = wanted.blob_port;
            ports.identity_tls = wanted.identity_port;
            tls = Some(TlsProxy::open(&wanted.folder)?);
        }
        let store = Arc::new(Store::new(settings, clock)?);
        Stopped { store, ports, tls }.restart().await
    }

    /// Drops every connection at once, frees the ports and keeps what was stored.
    pub async fn shutdown(self) -> Stopped {
        let mut ports = Ports {
            amqp: self.amqp.address().port(),
            http: self.http.address().port(),
            blob: self.blob.address().port(),
            ..Ports::default()
        };
        let store = Arc::clone(&self.store);
        let mut tls = None;
        let mut servers = vec![self.amqp, self.http, self.blob];
        if let Some(fronts) = self.fronts {
            let fronts = *fronts;
            ports.amqp_tls = fronts.amqp.address().port();
            ports.blob_tls = fronts.blob.address().port();
            ports.identity_tls =
                (fronts.identity.as_ref()).map_or(0, |front| front.address().port());
            servers.extend([fronts.amqp, fronts.blob]);
            servers.extend(fronts.identity);
            tls = Some(fronts.tls);
        }
        if let Some(identity) = self.identity {
            ports.identity = identity.address().port();
            servers.push(identity);
        }
        // All are told before one is waited for.
        servers.iter_mut().for_each(RunningServer::ask_to_stop);
        for server in servers {
            server.stop().await;
        }
        Stopped { store, ports, tls }
    }

    /// The entities, their messages, keys and faults.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The script of faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.store.faults()
    }

    /// Where Event Hubs and Service Bus listen.
    #[must_use]
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp.address()
    }

    /// Where the Event Grid topics listen.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where the blob containers listen.
    #[must_use]
    pub fn blob_address(&self) -> SocketAddr {
        self.blob.address()
    }

    /// Where the identity service and the vault listen, when the settings have them.
    #[must_use]
    pub fn identity_address(&self) -> Option<SocketAddr> {
        self.identity.as_ref().map(|server| server.address())
    }

    /// The URL of Entra: with TLS where it is spoken. The vault is there too.
    #[must_use]
    pub fn authority_url(&self) -> Option<String> {
        let front = self
            .fronts
            .as_ref()
            .and_then(|front| front.identity.as_ref());
        match front {
            Some(front) => Some(format!("https://localhost:{}", front.address().port())),
            None => Some(format!("http://{}", self.identity_address()?)),
        }
    }

    /// Where Event Hubs and Service Bus speak TLS, as `localhost`.
    #[must_use]
    pub fn amqp_tls_port(&self) -> Option<u16> {
        self.fronts
            .as_ref()
            .map(|fronts| fronts.amqp.address().port())
    }

    /// Where the blob containers speak TLS, as `localhost`.
    #[must_use]
    pub fn blob_tls_port(&self) -> Option<u16> {
        self.fronts
            .as_ref()
            .map(|fronts| fronts.blob.address().port())
    }

    /// The PEM file of the authority that clients must trust where TLS is spoken.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.fronts.as_ref().map(|fronts| fronts.tls.ca.as_path())
    }

    /// The https URL of a blob container, as `deadLetterUri` has it.
    #[must_use]
    pub fn container_tls_url(&self, container: &str) -> Option<String> {
        let (account, port) = (&self.store.blobs.name, self.blob_tls_port()?);
        Some(format!("https://localhost:{port}/{account}/{container}"))
    }

    /// The URL of a blob container, without a signature.
    #[must_use]
    pub fn container_url(&self, container: &str) -> String {
        let account = &self.store.blobs.name;
        format!("http://{}/{account}/{container}", self.blob.address())
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
        let (account, key) = (&self.store.blobs.name, self.store.blobs.key());
        let sas = container_sas(account, &key, container, permissions, None, expiry);
        let sas = sas.unwrap_or_else(|refusal| panic!("container {container}: {refusal}"));
        format!("{}?{}", self.container_url(container), sas.expose())
    }

    /// A connection string for the storage account, as the Azure clients take it, with the present key.
    #[must_use]
    pub fn storage_connection_string(&self) -> String {
        let (account, key) = (&self.store.blobs.name, self.store.blobs.key());
        format!(
            "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={};\
             BlobEndpoint=http://{}/{account};",
            key.expose(),
            self.blob.address(),
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
            self.http.address(),
            self.store.grid_topic(topic).path
        )
    }

    /// The first access key of an Event Grid topic.
    ///
    /// # Panics
    /// When the settings have no such topic.
    #[must_use]
    pub fn topic_key1(&self, topic: &str) -> String {
        let [first, _] = self.store.grid_topic(topic).keys();
        first
    }

    /// The second access key of an Event Grid topic.
    ///
    /// # Panics
    /// When the settings have no such topic.
    #[must_use]
    pub fn topic_key2(&self, topic: &str) -> String {
        let [_, second] = self.store.grid_topic(topic).keys();
        second
    }

    /// A connection string for a hub, topic or queue with one of the present keys.
    #[must_use]
    pub fn connection_string(&self, entity: &str, slot: KeySlot) -> String {
        let name = self.store.rules.root().name();
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
        let found = self.store.rules.rule(rule);
        let rule = found.unwrap_or_else(|| panic!("no access rule {rule} in the settings"));
        format!(
            "Endpoint=sb://{};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true",
            self.amqp.address(),
            rule.name(),
            rule.key(slot),
        )
    }
}

impl Stopped {
    /// The entities, their messages, keys and faults.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Serves again on the same ports.
    ///
    /// # Errors
    /// [`StartError::Bind`] when a port was taken meanwhile.
    pub async fn restart(self) -> Result<Emulator, StartError> {
        let amqp = bind(PortPlace::Amqp, self.ports.amqp)?;
        let http = bind(PortPlace::Http, self.ports.http)?;
        let blob = bind(PortPlace::Blob, self.ports.blob)?;
        let store = self.store;
        let amqp = serve(amqp, &store, server::run)?;
        let blob = serve(blob, &store, blob::run)?;
        let identity = match &store.identity {
            Some(_) => Some(serve(
                bind(PortPlace::Identity, self.ports.identity)?,
                &store,
                identity::run,
            )?),
            None => None,
        };
        let fronts = match self.tls {
            Some(tls) => Some(Box::new(Fronts {
                amqp: proxy(
                    bind(PortPlace::AmqpTls, self.ports.amqp_tls)?,
                    &store,
                    &tls,
                    &amqp,
                )?,
                blob: proxy(
                    bind(PortPlace::BlobTls, self.ports.blob_tls)?,
                    &store,
                    &tls,
                    &blob,
                )?,
                identity: match &identity {
                    Some(plain) => {
                        let listener = bind(PortPlace::IdentityTls, self.ports.identity_tls)?;
                        Some(proxy(listener, &store, &tls, plain)?)
                    }
                    None => None,
                },
                tls,
            })),
            None => None,
        };
        if let (Some(service), Some(fronts)) = (&store.identity, &fronts) {
            let front = fronts.identity.as_ref();
            service.set_tls_port(front.map_or(0, |front| front.address().port()));
        }
        Ok(Emulator {
            amqp,
            http: serve(http, &store, grid::run)?,
            blob,
            identity,
            fronts,
            store,
        })
    }
}

/// TLS before `plain`.
fn proxy(
    listener: TcpListener,
    store: &Arc<Store>,
    tls: &TlsProxy,
    plain: &RunningServer,
) -> Result<RunningServer, StartError> {
    let (tls, target, store) = (tls.clone(), plain.address(), Arc::clone(store));
    spawn(listener, |listener, stop| {
        tls.run(listener, target, store, stop)
    })
}

/// Serves with `run` from now on.
fn serve<F>(
    listener: TcpListener,
    store: &Arc<Store>,
    run: impl FnOnce(TcpListener, Arc<Store>, oneshot::Receiver<()>) -> F,
) -> Result<RunningServer, StartError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let store = Arc::clone(store);
    spawn(listener, |listener, stop| run(listener, store, stop))
}

fn spawn<F>(
    listener: TcpListener,
    run: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F,
) -> Result<RunningServer, StartError>
where
    F: Future<Output = ()> + Send + 'static,
{
    RunningServer::spawn(listener, run).map_err(StartError::Address)
}

fn bind(place: PortPlace, port: u16) -> Result<TcpListener, StartError> {
    listener::bind(port).map_err(|source| StartError::Bind {
        place,
        port,
        source,
    })
}
