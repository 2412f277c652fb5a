//! What the tests share: a sink that does as it is told, a router, a server.

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use twinroute_admin::client::{AdminAnswer, AdminClient};
use twinroute_admin::{AdminServer, ChangeListeners, MetricsRecorder};
use twinroute_journal::DiskJournal;
use twinroute_journal::storage::FolderStorage;
use twinroute_listen::{HttpLimits, ListenAddress, ListeningSocket, SocketSettings};
use twinroute_model::clock::SystemClock;
use twinroute_model::event::{self, Event, EventParts};
use twinroute_router::accept::AckLevel;
use twinroute_router::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use twinroute_router::{Router, RouterBuilder};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Answers as it was told last, and keeps the ids of what it took.
#[derive(Clone)]
pub(crate) struct ScriptedSink(Arc<Mutex<(DeliveryOutcome, Vec<String>)>>);

impl ScriptedSink {
    pub(crate) fn new(outcome: DeliveryOutcome) -> Self {
        Self(Arc::new(Mutex::new((outcome, Vec::new()))))
    }

    pub(crate) fn tell(&self, outcome: DeliveryOutcome) {
        self.0.lock().unwrap().0 = outcome;
    }

    /// The ids of what it took, sorted.
    pub(crate) fn taken(&self) -> Vec<String> {
        let mut taken = self.0.lock().unwrap().1.clone();
        taken.sort();
        taken
    }
}

pub(crate) fn rejects() -> DeliveryOutcome {
    DeliveryOutcome::Reject(FailureReason::new("too-large", "as the test says"))
}

/// For so long, as it says itself.
pub(crate) fn away(after: Option<Duration>) -> DeliveryOutcome {
    DeliveryOutcome::Unavailable(EndpointFault {
        kind: FaultKind::Unreachable,
        after,
        reason: FailureReason::new("away", "as the test says"),
    })
}

impl Sink for ScriptedSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 10,
            bytes_max: 1 << 20,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move {
            let mut outcomes = self.0.lock().unwrap();
            let outcome = outcomes.0.clone();
            if outcome == DeliveryOutcome::Delivered {
                let ids = batch.iter().map(|one| one.event.id().to_owned());
                outcomes.1.extend(ids);
            }
            vec![outcome; batch.len()]
        }
        .boxed()
    }
}

/// A router with one sink, `grid-1`, in the instance `demo`, which gets everything.
pub(crate) fn builder(sink: &ScriptedSink) -> RouterBuilder {
    Router::builder()
        .default_instance("demo")
        .sink("grid-1", sink.clone())
        .route("all", "grid-1", "true")
}

/// The same with its journal in a folder.
pub(crate) fn builder_on_disk(sink: &ScriptedSink, folder: &Path) -> RouterBuilder {
    let storage = FolderStorage::create(&folder.join("journal")).unwrap();
    let settings = twinroute_journal::JournalSettings {
        segment_bytes: 1 << 20,
        ..twinroute_journal::JournalSettings::default()
    };
    let (disk, recovered) =
        DiskJournal::open(settings, Arc::new(storage), Arc::new(SystemClock)).unwrap();
    builder(sink)
        .journal_on_disk(disk, recovered)
        .replay_notes(folder.join("replays"))
}

pub(crate) struct TestServer {
    pub(crate) router: Router,
    pub(crate) address: ListenAddress,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl TestServer {
    pub(crate) fn start(builder: RouterBuilder) -> Self {
        Self::start_at(
            "127.0.0.1:0",
            builder,
            MetricsRecorder::none(),
            ChangeListeners::Local,
        )
    }

    pub(crate) fn start_at(
        address: &str,
        builder: RouterBuilder,
        metrics: MetricsRecorder,
        changes: ChangeListeners,
    ) -> Self {
        let listener =
            ListeningSocket::bind(&address.parse().unwrap(), &SocketSettings::default()).unwrap();
        Self::start_on(listener, builder, |router| {
            AdminServer::new(router, metrics).changes(changes)
        })
    }

    pub(crate) fn start_on(
        listener: ListeningSocket,
        builder: RouterBuilder,
        admin: impl FnOnce(Router) -> AdminServer,
    ) -> Self {
        let router = builder.build().unwrap();
        let address = listener.address().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let admin = admin(router.clone());
        let task = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            admin
                .serve(vec![listener], &HttpLimits::default(), stopped)
                .await;
        });
        Self {
            router,
            address,
            stop,
            task,
        }
    }

    pub(crate) fn client(&self) -> AdminClient {
        AdminClient::plain(self.address.clone())
    }

    pub(crate) async fn get(&self, path: &str) -> AdminAnswer {
        self.client().get(path, PATIENCE).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> AdminAnswer {
        let json = body.to_string();
        self.client().post(path, json, PATIENCE).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> AdminAnswer {
        self.client().delete(path, PATIENCE).await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        json(&answer)
    }

    /// The one endpoint, as `/status` shows it.
    pub(crate) async fn endpoint(&self) -> Value {
        self.json("/status").await["instances"][0]["endpoints"][0].clone()
    }

    pub(crate) async fn accept(&self, events: Vec<Event>) {
        let level = self.router.default_level();
        self.router.accept(None, events, level).await.unwrap();
        self.router.settled().await;
    }

    /// Accepts without waiting for what becomes of it.
    pub(crate) async fn queue(&self, events: Vec<Event>) {
        let level = AckLevel::Memory;
        self.router.accept(None, events, level).await.unwrap();
    }

    /// Sends a request as it is.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let ListenAddress::Tcp(address) = &self.address else {
            panic!("a TCP server");
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let lines = answer.lines().filter(|line| !line.starts_with("date: "));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

pub(crate) fn json(answer: &AdminAnswer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

pub(crate) fn error(answer: &AdminAnswer) -> String {
    let json = json(answer);
    let (code, message) = (&json["error"]["code"], &json["error"]["message"]);
    format!(
        "{} {}: {}",
        answer.status,
        code.as_str().unwrap(),
        message.as_str().unwrap()
    )
}

pub(crate) fn event(id: usize) -> Event {
    typed(id, "microsoft.iot.telemetry")
}

pub(crate) fn typed(id: usize, event_type: &str) -> Event {
    let parts = EventParts::new(
        &id.to_string(),
        &format!("host/digitaltwins/t{id}"),
        event_type,
    );
    parts.build(&event::EventLimits::default()).unwrap()
}

pub(crate) fn events(count: usize) -> Vec<Event> {
    (1..=count).map(event).collect()
}
