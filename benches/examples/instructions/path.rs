//! The whole way of an event in one process: a posted body, the ingress, the router, an Event Grid client, an
//! endpoint that answers 200.
//!
//! What posts and receives allocates nothing once it runs, and takes few instructions. Each round has a hundred
//! events, and the sink is handed them as one batch, so that rounds are alike.

use futures_util::future::BoxFuture;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use twinroute_benches::{BATCH, batch_json, event_json, in_area};
use twinroute_ingress::{IngressServer, Settings};
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_listen::ListeningSocket;
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::Router;
use twinroute_router::sink::{BatchLimits, Connect as _, Delivery, DeliveryOutcome, Sink};
use twinroute_sinks::connect::AzureConnector;

/// Connections that post single events in turns.
const PRODUCERS: usize = 10;
/// Longer than a round takes: a batch goes when it is full.
const LINGER: Duration = Duration::from_secs(1);

/// Where accepted events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathJournal {
    Memory,
    /// Without a history.
    Disk,
    /// With what the history reads in it.
    History,
}

/// The way, with what posts.
pub(crate) struct WholePath {
    pub(crate) router: Router,
    /// Of the runtime, which has a thread of its own.
    pub(crate) runtime: Handle,
    producers: RoundProducers,
    _folder: tempfile::TempDir,
}

impl WholePath {
    pub(crate) fn start(is_batch: bool, journal: PathJournal) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (router, address) = {
            let _inside = runtime.enter();
            let router = router(receiver(), journal, folder.path());
            let mut settings = Settings::default();
            settings.listen = vec!["127.0.0.1:0".parse().expect("an address")];
            let listeners = ListeningSocket::bind_all(&settings.listen, &settings.sockets());
            let listeners = listeners.expect("a free port");
            let address = listeners[0].address().clone();
            let ingress = IngressServer::new(&settings, router.clone(), Arc::new(SystemClock));
            runtime.spawn(async move { ingress.serve(listeners, std::future::pending()).await });
            (router, address)
        };
        let address = address.to_string().parse().expect("an address");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Self {
            router,
            runtime: handle,
            producers: RoundProducers::new(address, is_batch),
            _folder: folder,
        }
    }

    /// Posts and delivers [`BATCH`] events.
    pub(crate) fn round(&mut self) {
        self.producers.post_round();
        self.runtime.block_on(self.router.settled());
    }
}

fn router(receiver: SocketAddr, journal: PathJournal, folder: &Path) -> Router {
    let topic = format!(
        r#"{{"properties":{{"endpointType":"EventGrid","accessKey1":"c2VjcmV0LWtleQ==",
            "TopicEndpoint":"http://{receiver}/api/events"}}}}"#
    );
    let name = EndpointName::new("grid").expect("a legal name");
    let endpoint = endpoint::parse(&name, &topic).expect("a legal endpoint");
    let settings = EndpointSettings::default().with(|own| own.linger = LINGER);
    let outgoing = OutgoingConnections::of_environment().expect("settings");
    let connector = AzureConnector::new(Arc::new(SystemClock), outgoing);
    let sink = connector.connect(&endpoint, &settings).expect("a sink");
    let mut builder = Router::builder()
        .sink_with("grid", EqualBatches(sink), settings)
        .route(
            "updates",
            "grid",
            "type = 'Microsoft.DigitalTwins.Twin.Update'",
        );
    if journal != PathJournal::Memory {
        let storage = FolderStorage::create(&folder.join("journal")).expect("a folder");
        let (disk, recovered) = DiskJournal::open(
            JournalSettings {
                keep_bytes: match journal {
                    PathJournal::History => 256 << 20,
                    PathJournal::Disk | PathJournal::Memory => 0,
                },
                ..JournalSettings::default()
            },
            Arc::new(storage),
            Arc::new(SystemClock),
        )
        .expect("a journal");
        builder = builder.journal_on_disk(disk, recovered);
    }
    builder.build().expect("a valid router")
}

/// A sink that is handed batches of one size.
struct EqualBatches(Arc<dyn Sink>);

impl Sink for EqualBatches {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: BATCH,
            ..self.0.limits()
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        self.0.send(batch)
    }
}

/// Posts the same hundred events over and over.
struct RoundProducers {
    connections: Vec<TcpStream>,
    requests: Vec<Vec<u8>>,
}

impl RoundProducers {
    fn new(address: SocketAddr, is_batch: bool) -> Self {
        let bodies: Vec<Vec<u8>> = if is_batch {
            vec![batch_json().to_vec()]
        } else {
            let event = |number| event_json(number, &in_area(number, 10)).into_bytes();
            (0..BATCH).map(event).collect()
        };
        let kind = if is_batch { "-batch" } else { "" };
        let request = |body: Vec<u8>| {
            let head = format!(
                "POST /events HTTP/1.1\r\nhost: {address}\r\n\
                 content-type: application/cloudevents{kind}+json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            [head.into_bytes(), body].concat()
        };
        let connect = |_| {
            let stream = TcpStream::connect(address).expect("the ingress listens");
            stream.set_nodelay(true).expect("a socket");
            stream
        };
        Self {
            connections: (0..PRODUCERS).map(connect).collect(),
            requests: bodies.into_iter().map(request).collect(),
        }
    }

    fn post_round(&mut self) {
        let mut answer = [0; 1_024];
        for turn in self.requests.chunks(PRODUCERS) {
            for (stream, request) in self.connections.iter_mut().zip(turn) {
                stream.write_all(request).expect("a connection");
            }
            for stream in self.connections.iter_mut().take(turn.len()) {
                let read = stream.read(&mut answer).expect("an answer");
                assert!(answer[..read].starts_with(b"HTTP/1.1 202"), "refused");
            }
        }
    }
}

/// An endpoint that takes everything.
fn receiver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A connection ends with the process.
            std::thread::spawn(move || answer_all(stream).ok());
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 4 << 20];
    loop {
        let mut filled = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| filled < whole) {
            let read = stream.read(&mut buffer[filled..])?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
            if whole.is_none() {
                whole = request_length(&buffer[..filled]);
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// How long a request is whose head is there.
fn request_length(start: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length: ";
    let head = memchr::memmem::find(start, b"\r\n\r\n")? + 4;
    let value = memchr::memmem::find(&start[..head], NAME).map(|at| &start[at + NAME.len()..head]);
    let digits = value
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Some(head + body)
}
