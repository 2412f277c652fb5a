//! What a router is made of, before it runs.

use crate::clock::Clock;
use crate::definitions::{CustomDestination, DefinitionKeeper, Definitions, Route, TableHandle};
use crate::event::Event;
use crate::name::{EndpointName, InstanceName, RouteId};
use crate::sink::{Connect, EndpointSink, OwnKinds, Sink, SinkSetup};
use crate::trace::SpanQueue;
use crate::{BuildError, DuplicateWindow, Error, IntoMappedEvent, Router};
use std::sync::Arc;
use std::time::Duration;

/// Collects what a router is made of. All that is wrong is said by [`RouterBuilder::start`].
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let router = Router::builder()
///     .sink("archive", sink)
///     .route("warm", "archive", "$body.temperature > 20")
///     .default_instance("plant-2")
///     .memory_bytes_max(64 << 20)
///     .start()
///     .await?;
/// assert_eq!(router.default_instance().as_str(), "plant-2");
/// assert_eq!(router.status().journal.bytes_max, 64 << 20);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs before `start`"]
pub struct RouterBuilder {
    inner: twinroute_router::RouterBuilder,
    definitions: Definitions,
    routes: Vec<(String, String, String)>,
    default_instance: String,
    kinds: OwnKinds,
    #[cfg(feature = "journal")]
    journal: Option<crate::JournalOptions>,
}

impl Router {
    /// Starts to build a router.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::new()
    }
}

impl RouterBuilder {
    fn new() -> Self {
        Self {
            inner: twinroute_router::Router::builder().duration_metrics(),
            definitions: Definitions::default(),
            routes: Vec::new(),
            default_instance: "default".to_owned(),
            kinds: OwnKinds::default(),
            #[cfg(feature = "journal")]
            journal: None,
        }
    }

    fn with(
        mut self,
        change: impl FnOnce(twinroute_router::RouterBuilder) -> twinroute_router::RouterBuilder,
    ) -> Self {
        self.inner = change(self.inner);
        self
    }

    /// Keeps events on disk: a folder, or [`JournalOptions`](crate::JournalOptions). What was accepted outlives the
    /// process and the machine's power. Without it events are kept in memory.
    #[cfg(feature = "journal")]
    pub fn journal(mut self, journal: impl Into<crate::JournalOptions>) -> Self {
        self.journal = Some(journal.into());
        self
    }

    /// Adds an endpoint of the program's own: a [`Sink`](crate::Sink), or a [`SinkSetup`] with its settings and its store
    /// of dead letters. No two may have one name, which has 3 to 49 letters, digits and hyphens.
    pub fn sink(self, name: &str, sink: impl Into<SinkSetup>) -> Self {
        let EndpointSink {
            sink,
            settings,
            store,
        } = sink.into().into_parts();
        self.with(|inner| {
            let inner = inner.sink_with(name, sink, settings);
            match store {
                None => inner,
                Some(store) => inner.dead_letters_of(name, store),
            }
        })
    }

    /// Adds a route: events that match the filter go to the endpoint.
    ///
    /// The filter language is that of Azure Digital Twins event routes, such as `type = 'microsoft.iot.telemetry' AND
    /// $body.temperature > 20`; `true` matches all.
    pub fn route(mut self, name: &str, endpoint: &str, filter: &str) -> Self {
        let route = (name.to_owned(), endpoint.to_owned(), filter.to_owned());
        self.routes.push(route);
        self
    }

    /// Starts with these definitions, beside the sinks and routes that are added one by one.
    pub fn definitions(mut self, definitions: Definitions) -> Self {
        self.definitions = definitions;
        self
    }

    /// Has the program change or drop every event before it is matched: the function gives an `Event`, an
    /// `Option<Event>`, or a `Result` of one of them. An error, or a panic, refuses the batch. The status counts what was
    /// changed and what was dropped. The function must not block.
    pub fn map_event<M: IntoMappedEvent>(
        self,
        map: impl Fn(Event) -> M + Send + Sync + 'static,
    ) -> Self {
        self.with(|inner| inner.map_event(map))
    }

    /// Keeps the order of events with the same key; of those of the same twin unless set. The function must not block.
    pub fn partition_by<K: AsRef<str>>(
        self,
        key: impl Fn(&Event) -> K + Send + Sync + 'static,
    ) -> Self {
        self.with(|inner| inner.partition_by(key))
    }

    /// Makes sinks for the endpoints of definitions.
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.kinds.others(connect);
        self
    }

    /// Makes the sinks of endpoints whose definition names a kind of the program's own,
    /// [`EndpointDestination::Custom`](crate::definitions::EndpointDestination::Custom). An error refuses the definitions.
    ///
    /// ```
    /// use twinroute::definitions::{CustomDestination, Definitions, Endpoint, EndpointDestination};
    /// use twinroute::name::{EndpointName, InstanceName};
    /// use twinroute::prelude::*;
    ///
    /// struct Lines(PathBuf);
    /// # impl Sink for Lines {
    /// #     async fn send(&self, _: &[Delivery]) -> SendResult { Ok(SendOutcome::all_delivered()) }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let router = Router::builder()
    ///     .sinks_of_kind("lines", |wanted| match wanted.property("file") {
    ///         Some(file) => Ok(Lines(file.into())),
    ///         None => Err("`file` is missing"),
    ///     })
    ///     .start()
    ///     .await?;
    /// let archive = CustomDestination::new("lines").with("file", "out.jsonl");
    /// let archive = Endpoint::new(EndpointName::new("archive")?, EndpointDestination::Custom(archive));
    /// let mut definitions = Definitions::default();
    /// definitions.instance_mut(&InstanceName::new("default")?).endpoints.push(archive);
    /// router.apply(definitions).await?;
    /// router.upsert_route("all", "archive", "true").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sinks_of_kind<S: Sink, E: ToString>(
        mut self,
        kind: &str,
        make: impl Fn(&CustomDestination) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self {
        self.kinds.add(kind, make);
        self
    }

    /// Names the instance of events that name none; `default` unless set.
    pub fn default_instance(mut self, name: &str) -> Self {
        self.default_instance = name.to_owned();
        self
    }

    /// Bytes of events that may wait in memory in all, where there is no journal on disk; 256 MiB unless set.
    pub fn memory_bytes_max(self, bytes: u64) -> Self {
        self.with(|inner| inner.journal_bytes_max(bytes))
    }

    /// Knows events that were accepted a short while ago when they come again, and makes nothing of them.
    pub fn duplicate_window(self, window: DuplicateWindow) -> Self {
        self.with(|inner| inner.duplicate_window(window))
    }

    /// Records the spans of traces in a queue, whose other end the program empties; without it none are recorded. A
    /// producer's trace goes on to sinks either way.
    pub fn spans(self, spans: SpanQueue) -> Self {
        self.with(|inner| inner.spans(spans))
    }

    /// How long what waits for an endpoint that was removed may still be delivered; 5 minutes unless set.
    pub fn removed_grace(self, grace: Duration) -> Self {
        self.with(|inner| inner.removed_grace(grace))
    }

    /// Endpoints that have metrics of their own, 500 unless set; those beyond count together, under
    /// [`REMAINDER`](crate::status::REMAINDER).
    pub fn metrics_endpoints_max(self, endpoints: usize) -> Self {
        self.with(|inner| inner.metrics_endpoints_max(endpoints))
    }

    /// Takes wall time from somewhere else than the machine.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|inner| inner.clock(clock))
    }

    /// Opens the journal, delivers what is left in it, and runs.
    ///
    /// Dropping the future before its end starts nothing; a journal that is being opened is closed again.
    ///
    /// # Errors
    /// Everything that is wrong with names, settings, definitions and filters; a journal that does not open; a thread
    /// without a tokio runtime.
    pub async fn start(self) -> Result<Router, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime.into());
        }
        #[cfg(feature = "journal")]
        let this = self.with_opened_journal().await?;
        #[cfg(not(feature = "journal"))]
        let this = self;
        let (inner, definitions) = this.defined()?;
        let built = inner.definitions(definitions.clone()).build()?;
        let table = TableHandle {
            router: built,
            keeper: Arc::new(DefinitionKeeper::new(definitions)),
        };
        Ok(Router { table })
    }

    /// What is built, and all that it is to begin with.
    fn defined(self) -> Result<(twinroute_router::RouterBuilder, Definitions), BuildError> {
        let mut definitions = self.definitions;
        let name = InstanceName::new(&self.default_instance)?;
        let instance = definitions.instance_mut(&name);
        for (name, endpoint, filter) in self.routes {
            instance.routes.push(Route {
                id: RouteId::new(&name)?,
                endpoint_name: EndpointName::new(&endpoint)?,
                filter,
            });
        }
        let inner = self.inner.default_instance(&self.default_instance);
        let inner = inner.connect(self.kinds);
        Ok((inner, definitions))
    }

    #[cfg(feature = "journal")]
    async fn with_opened_journal(mut self) -> Result<Self, Error> {
        let Some(journal) = self.journal.take() else {
            return Ok(self);
        };
        let (disk, recovered) = journal.open().await?;
        Ok(self.with(|inner| {
            let inner = inner.journal_on_disk(disk, recovered);
            inner.replay_notes(journal.replays())
        }))
    }
}
