//! Sinks against a scripted broker over memory: time is paused, so nothing here waits in earnest.

use super::batch::MessageRouting;
use super::entity::AmqpEntity;
use super::sink::{AmqpSink, SendSettings};
use super::target::{AmqpTarget, DialTarget};
use broker::TestBroker;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use twinroute_model::clock::{Clock, ManualClock, Timestamp};
use twinroute_model::endpoint::ConnectionString;
use twinroute_model::secret::Secret;
use twinroute_model::settings::{AmqpAuth, PartitionKey};
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::sink::Delivery;

#[path = "../../tests/broker/mod.rs"]
pub(crate) mod broker;
pub(crate) use broker::deliveries::{delivery, short};

/// The key of the primary connection string; must be seen nowhere.
pub(crate) const PRIMARY_KEY: &str = "primary-key-text";
/// The key of the secondary one.
pub(crate) const SECONDARY_KEY: &str = "secondary-key-text";

const OPEN: u8 = 0;
const BLACK_HOLE: u8 = 1;
const REFUSE: u8 = 2;

/// The wire between sinks and a broker; it can be cut, swallow everything, or refuse connections.
pub(crate) struct TestWire {
    broker: Mutex<Arc<TestBroker>>,
    state: Arc<AtomicU8>,
    /// Pumps and connections; dropped to cut.
    tasks: Mutex<JoinSet<()>>,
}

impl TestWire {
    pub(crate) fn to(broker: &Arc<TestBroker>) -> Arc<Self> {
        Arc::new(Self {
            broker: Mutex::new(Arc::clone(broker)),
            state: Arc::new(AtomicU8::new(OPEN)),
            tasks: Mutex::default(),
        })
    }

    /// Ends all connections as a crash of the broker does, and waits until both sides have seen it.
    pub(crate) async fn cut(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.shutdown().await;
        // Time is paused: it moves only when no task has anything left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// From now on bytes vanish in both directions.
    pub(crate) fn swallow(&self) {
        self.state.store(BLACK_HOLE, Ordering::SeqCst);
    }

    pub(crate) fn refuse(&self) {
        self.state.store(REFUSE, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }

    /// Puts another broker behind the wire.
    pub(crate) fn restart(&self, broker: &Arc<TestBroker>) {
        *self.broker.lock().unwrap() = Arc::clone(broker);
        self.heal();
    }

    fn dial(&self) -> std::io::Result<DuplexStream> {
        if self.state.load(Ordering::SeqCst) == REFUSE {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (client, near) = tokio::io::duplex(1 << 20);
        let (far, server) = tokio::io::duplex(1 << 20);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        let broker = Arc::clone(&self.broker.lock().unwrap());
        let mut tasks = self.tasks.lock().unwrap();
        tasks.spawn(pump(near_read, far_write, Arc::clone(&self.state)));
        tasks.spawn(pump(far_read, near_write, Arc::clone(&self.state)));
        tasks.spawn(broker.serve(server));
        Ok(client)
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: Arc<AtomicU8>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.load(Ordering::SeqCst) == BLACK_HOLE {
            continue;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}

pub(crate) fn no_tls() -> OutgoingConnections {
    let config = rustls::ClientConfig::builder_with_provider(twinroute_outgoing::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    OutgoingConnections::direct(Arc::new(config))
}

pub(crate) fn target(wire: &Arc<TestWire>, key: &str, auth: AmqpAuth) -> AmqpTarget {
    let text = format!(
        "Endpoint=sb://ns.example;SharedAccessKeyName=send;SharedAccessKey={key};EntityPath=hub"
    );
    let parsed = ConnectionString::parse(&Secret::new(text)).unwrap();
    let clock = ManualClock::new(Timestamp::from_unix_millis(1_700_000_000_000));
    target_of(wire, AmqpEntity::Keys(parsed), auth, Arc::new(clock))
}

pub(crate) fn target_of(
    wire: &Arc<TestWire>,
    entity: AmqpEntity,
    auth: AmqpAuth,
    clock: Arc<dyn Clock>,
) -> AmqpTarget {
    let container = "twinroute-test".to_owned();
    let mut target = AmqpTarget::new(entity, auth, container, no_tls(), clock);
    let wire = Arc::clone(wire);
    target.dial = DialTarget::Memory(Arc::new(move || wire.dial()));
    target
}

pub(crate) fn manner() -> SendSettings {
    SendSettings {
        routing: MessageRouting::EventHubs(PartitionKey::None),
        batched: true,
        attempt_timeout: Duration::from_secs(30),
        in_flight_max: 4,
    }
}

pub(crate) fn sink(wire: &Arc<TestWire>, manner: SendSettings) -> AmqpSink {
    AmqpSink::new(vec![target(wire, PRIMARY_KEY, AmqpAuth::Cbs)], manner)
}

pub(crate) fn deliveries(ids: std::ops::Range<usize>) -> Vec<Delivery> {
    ids.map(|id| delivery(id, 16)).collect()
}
