//! What a router is made of, before it runs.

use crate::accept::{DuplicateWindow, UnreadableLanes, UnreadableSettings};
use crate::build_error::BuildError;
use crate::cluster_journal::ClusterJournal;
use crate::damage::JournalDamage;
use crate::delivery::MetricLabels;
#[cfg(doc)]
use crate::delivery::REMAINDER;
use crate::descriptions;
use crate::event_journal::EventJournal;
use crate::expiry::WARNING_BEFORE;
use crate::replay::ReplayNotes;
use crate::router::Router;
use crate::sink::{Connect, DeadLetterStore, NoConnect, Sink};
use crate::table::last_definitions::{LastDefinitions, LastEndpoints};
use crate::table::source::Definitions;
use crate::table::{
    CustomEndpoint, CustomEndpoints, LiveParts, LiveTable, RecoveredLanes, RunningLanes,
};
use crate::trace::SpanQueue;
use crate::user_code::{EventHooks, IntoMappedEvent, UserClock, UserSink, UserStore};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use twinroute_journal::{DiskJournal, MemoryJournal, RecoveredJournal};
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName, InvalidName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;
use twinroute_model::words;

/// Endpoints that have metrics of their own, unless set.
const METRICS_ENDPOINTS_MAX: usize = 500;

/// Collects what a router is made of.
pub struct RouterBuilder {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    default_instance: Result<InstanceName, InvalidName>,
    journal_bytes_max: u64,
    disk: Option<(DiskJournal, RecoveredJournal)>,
    cluster: Option<ClusterJournal>,
    last_definitions: Option<LastDefinitions>,
    replay_notes: Option<PathBuf>,
    duplicates: Option<DuplicateWindow>,
    hooks: EventHooks,
    spans: SpanQueue,
    removed_grace: Duration,
    expiry_warning: Duration,
    metrics_endpoints_max: usize,
    has_duration_metrics: bool,
    unreadable: UnreadableSettings,
    sinks: Vec<NamedSink>,
    stores: Vec<NamedStore>,
    definitions: Definitions,
    routes: Vec<(String, String, String)>,
}

/// A sink, and the endpoint it is for.
struct NamedSink {
    endpoint: String,
    sink: UserSink,
    settings: Arc<EndpointSettings>,
}

/// A dead-letter store, and the endpoint it is for.
struct NamedStore {
    of: StoreOf,
    store: UserStore,
}

enum StoreOf {
    Name(String),
    /// Its place among the sinks.
    Place(usize),
}

impl NamedStore {
    fn new(of: StoreOf, store: impl DeadLetterStore) -> Self {
        let store = UserStore::of(store);
        Self { of, store }
    }
}

/// Brings sinks and stores together, in whatever order they were given.
fn custom(sinks: Vec<NamedSink>, stores: Vec<NamedStore>) -> Result<CustomEndpoints, BuildError> {
    let mut custom = BTreeMap::new();
    let mut names = Vec::with_capacity(sinks.len());
    for NamedSink {
        endpoint,
        sink,
        settings,
    } in sinks
    {
        let made = CustomEndpoint {
            sink,
            store: None,
            settings,
        };
        names.push(add_custom(&mut custom, &endpoint, made)?);
    }
    for NamedStore { of, store } in stores {
        let endpoint = match of {
            StoreOf::Place(place) => names
                .get(place)
                .ok_or(BuildError::StoreWithoutSink)?
                .clone(),
            StoreOf::Name(name) => {
                let parsed = EndpointName::new(&name)?;
                let known = names.iter().find(|known| **known == parsed);
                known.cloned().ok_or_else(|| unknown(name, &names))?
            }
        };
        let own = custom.get_mut(&endpoint).expect("its name is among them");
        if own.store.replace(store).is_some() {
            return Err(BuildError::TwoStores(endpoint));
        }
    }
    Ok(custom)
}

/// Adds a sink of the program's own whose settings are in range and whose name is free.
pub(crate) fn add_custom(
    custom: &mut CustomEndpoints,
    endpoint: &str,
    made: CustomEndpoint,
) -> Result<EndpointName, BuildError> {
    let endpoint = EndpointName::new(endpoint)?;
    if let Err(rule) = made.settings.check() {
        return Err(BuildError::Settings { endpoint, rule });
    }
    if custom.contains_key(&endpoint) {
        return Err(BuildError::TwoSinks(endpoint));
    }
    custom.insert(endpoint.clone(), made);
    Ok(endpoint)
}

/// The nearest name, or all of them.
pub(crate) fn unknown(endpoint: String, names: &[EndpointName]) -> BuildError {
    let known: Vec<&str> = names.iter().map(EndpointName::as_str).collect();
    let hint = match words::nearest(&endpoint, known.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => "it has none".to_owned(),
        None => format!("there are {}", known.join(", ")),
    };
    BuildError::UnknownEndpoint { endpoint, hint }
}

impl Router {
    /// Starts to build a router.
    #[must_use]
    pub fn builder() -> RouterBuilder {
        RouterBuilder::new()
    }
}

impl RouterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect: Arc::new(NoConnect),
            clock: Arc::new(SystemClock),
            default_instance: InstanceName::new("default"),
            journal_bytes_max: 256 << 20,
            disk: None,
            cluster: None,
            last_definitions: None,
            replay_notes: None,
            duplicates: None,
            hooks: EventHooks::default(),
            spans: SpanQueue::default(),
            removed_grace: Duration::from_secs(5 * 60),
            expiry_warning: WARNING_BEFORE,
            metrics_endpoints_max: METRICS_ENDPOINTS_MAX,
            has_duration_metrics: false,
            unreadable: UnreadableSettings::default(),
            sinks: Vec::new(),
            stores: Vec::new(),
            definitions: Definitions::default(),
            routes: Vec::new(),
        }
    }

    /// Makes sinks for the endpoints of definitions.
    #[must_use]
    pub fn connect(mut self, connect: impl Connect) -> Self {
        self.connect = Arc::new(connect);
        self
    }

    /// Takes wall time from somewhere else than the machine.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(UserClock::new(clock));
        self
    }

    /// Names the default instance; `default` unless set.
    #[must_use]
    pub fn default_instance(mut self, name: &str) -> Self {
        self.default_instance = InstanceName::new(name);
        self
    }

    /// Bytes of events that may wait in all; 256 MiB unless set.
    ///
    /// At this limit events are refused, so it should be well above what one endpoint may hold
    /// (`queue_bytes_max`): then an endpoint that is unavailable never keeps others from being served.
    #[must_use]
    pub fn journal_bytes_max(mut self, bytes: u64) -> Self {
        self.journal_bytes_max = bytes;
        self
    }

    /// Keeps events on disk: what is acknowledged as durable outlives the process and the machine's
    /// power. `recovered` is what opening the journal gave back; it is delivered first.
    ///
    /// The bytes that may wait in all are then the journal's own setting.
    #[must_use]
    pub fn journal_on_disk(mut self, disk: DiskJournal, recovered: RecoveredJournal) -> Self {
        self.journal_bytes_max = disk.bytes_max();
        self.disk = Some((disk, recovered));
        self
    }

    /// Shares a log with other routers: what is acknowledged outlives this router, and the loss of any one node of the log.
    /// Of the partitions that this router owns it delivers what any router has accepted. Replaces
    /// [`Self::journal_on_disk`].
    ///
    /// The bytes that may wait in all are then those of the log.
    #[must_use]
    pub fn journal_in_cluster(mut self, cluster: ClusterJournal) -> Self {
        self.journal_bytes_max = cluster.bytes_max();
        self.cluster = Some(cluster);
        self
    }

    /// Keeps, sealed, how endpoints are defined, so that the queue of one that is removed is delivered by its last
    /// definition after a restart too, within what is left of the grace time, and then goes to its own dead-letter
    /// store. Of use only with [`Self::journal_on_disk`]. Endpoints with a sink of the program's own are not kept.
    ///
    /// Blocks on the disk at the start and whenever definitions of endpoints change. A file that cannot be read is
    /// renamed and reported, in the log and as a warning of the table; one that cannot be written too.
    #[must_use]
    pub fn last_definitions(mut self, file: LastDefinitions) -> Self {
        self.last_definitions = Some(file);
        self
    }

    /// Notes in `folder` which replays are under way, so that they go on after a restart; blocks a little
    /// at the start. Without it they end with the process.
    #[must_use]
    pub fn replay_notes(mut self, folder: PathBuf) -> Self {
        self.replay_notes = Some(folder);
        self
    }

    /// Knows events that were accepted a short while ago when they come again: they are answered as
    /// accepted, and nothing is made of them. Without it repeats are events like others.
    ///
    /// The window begins empty with each router, also when the journal is on disk.
    #[must_use]
    pub fn duplicate_window(mut self, window: DuplicateWindow) -> Self {
        self.duplicates = Some(window);
        self
    }

    /// Has the program change or drop every event before it is matched; the last call counts. Duplicates are known before
    /// that, and what a replay puts back was mapped already. Status counts what was changed and what was dropped.
    ///
    /// It is called where events are accepted, so it must be quick and must not block. When it gives an error or panics,
    /// the batch is refused ([`AcceptError::Mapping`](crate::accept::AcceptError::Mapping)).
    #[must_use]
    pub fn map_event<M: IntoMappedEvent>(
        mut self,
        map: impl Fn(Event) -> M + Send + Sync + 'static,
    ) -> Self {
        self.hooks.map_with(map);
        self
    }

    /// Keeps the order of events with the same key, in place of those of the same twin. Keys of destinations (partitions,
    /// sessions) stay those of twins. It is called as the function of [`Self::map_event`] is, and after it; when it panics
    /// the twin counts.
    #[must_use]
    pub fn partition_by<K: AsRef<str>>(
        mut self,
        key: impl Fn(&Event) -> K + Send + Sync + 'static,
    ) -> Self {
        self.hooks.partition_by(key);
        self
    }

    /// Records the spans of traces in a queue, whose end the program empties and exports; without it none are recorded. A
    /// producer's trace is handed on to sinks either way ([`Delivery::trace_context`](crate::sink::Delivery::trace_context)).
    #[must_use]
    pub fn spans(mut self, spans: SpanQueue) -> Self {
        self.spans = spans;
        self
    }

    /// How long the lane of a removed endpoint may finish what it has; 5 minutes unless set.
    #[must_use]
    pub fn removed_grace(mut self, grace: Duration) -> Self {
        self.removed_grace = grace;
        self
    }

    /// How long before its end a credential is warned about; 7 days unless set.
    #[must_use]
    pub fn expiry_warning(mut self, before: Duration) -> Self {
        self.expiry_warning = before;
        self
    }

    /// Endpoints that have metrics of their own, 500 unless set; those beyond count together, under [`REMAINDER`].
    #[must_use]
    pub fn metrics_endpoints_max(mut self, endpoints: usize) -> Self {
        self.metrics_endpoints_max = endpoints;
        self
    }

    /// Gives durations of deliveries and attempts to the recorder as histograms too. Whoever shows those of the status has
    /// them without.
    #[must_use]
    pub fn duration_metrics(mut self) -> Self {
        self.has_duration_metrics = true;
        self
    }

    /// How deliveries are kept that cannot be read; see [`Router::keep_unreadable`].
    #[must_use]
    pub fn unreadable(mut self, settings: UnreadableSettings) -> Self {
        self.unreadable = settings;
        self
    }

    /// Adds an endpoint with a sink of the program's own to the default instance. No two may have one name.
    #[must_use]
    pub fn sink(self, endpoint: &str, sink: impl Sink) -> Self {
        self.sink_with(endpoint, sink, EndpointSettings::default())
    }

    /// As [`Self::sink`], with settings. They are checked as those in a file are.
    #[must_use]
    pub fn sink_with(
        mut self,
        endpoint: &str,
        sink: impl Sink,
        settings: EndpointSettings,
    ) -> Self {
        self.sinks.push(NamedSink {
            endpoint: endpoint.to_owned(),
            sink: UserSink::of(sink),
            settings: Arc::new(settings),
        });
        self
    }

    /// Gives the endpoint that was added last by [`Self::sink`] or [`Self::sink_with`] a store for its dead letters;
    /// before there is one, the endpoint that is added first. Without one they are kept by the journal.
    /// [`Self::dead_letters_of`] names the endpoint.
    #[must_use]
    pub fn dead_letters(mut self, store: impl DeadLetterStore) -> Self {
        let of = StoreOf::Place(self.sinks.len().saturating_sub(1));
        self.stores.push(NamedStore::new(of, store));
        self
    }

    /// Gives an endpoint with a sink of the program's own a store for its dead letters, before or after it is added.
    #[must_use]
    pub fn dead_letters_of(mut self, endpoint: &str, store: impl DeadLetterStore) -> Self {
        let of = StoreOf::Name(endpoint.to_owned());
        self.stores.push(NamedStore::new(of, store));
        self
    }

    /// Adds a route of the default instance. It is part of the first table only: definitions that are
    /// applied later replace all routes.
    #[must_use]
    pub fn route(mut self, id: &str, endpoint: &str, filter: &str) -> Self {
        self.routes
            .push((id.to_owned(), endpoint.to_owned(), filter.to_owned()));
        self
    }

    /// Starts with these definitions; with none unless set.
    #[must_use]
    pub fn definitions(mut self, definitions: Definitions) -> Self {
        self.definitions = definitions;
        self
    }

    /// Builds the router and starts its lanes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Everything that is wrong with names, definitions and filters; a thread without a runtime.
    pub fn build(self) -> Result<Router, BuildError> {
        if Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let default_instance = self.default_instance?;
        let custom = custom(self.sinks, self.stores)?;
        let mut definitions = self.definitions;
        for (id, endpoint, filter) in self.routes {
            let endpoint_name = EndpointName::new(&endpoint)?;
            let route = Route {
                id: RouteId::new(&id)?,
                endpoint_name,
                filter,
            };
            definitions
                .instance_mut(&default_instance)
                .routes
                .push(route);
        }
        descriptions::describe();
        let (mut damage, mut last) = (JournalDamage::default(), None);
        let disk = self.disk.as_ref().map(|(disk, _)| disk.clone());
        let cluster = self.cluster;
        let disk = disk.filter(|_| cluster.is_none());
        let (journal, recovered) = match self.disk.filter(|_| cluster.is_none()) {
            None if let Some(cluster) = &cluster => (EventJournal::Cluster(cluster.clone()), None),
            None => (
                EventJournal::Memory(MemoryJournal::new(self.journal_bytes_max)),
                None,
            ),
            Some((disk, recovered)) => {
                // Before the lanes take over what was recovered.
                damage = JournalDamage::of(&recovered);
                last = self.last_definitions.map(LastEndpoints::open);
                let recovered = RecoveredLanes::new(disk.clone(), recovered);
                (EventJournal::Disk(disk), Some(recovered))
            }
        };
        let unreadable = UnreadableLanes::new(&self.unreadable);
        let of_unreadable = unreadable.clone();
        let lanes = RunningLanes::new(
            Arc::clone(&self.clock),
            recovered,
            MetricLabels::new(self.metrics_endpoints_max, self.has_duration_metrics),
            move |instance| of_unreadable.setup(instance),
        );
        let lanes = lanes.with_spans(self.spans).with_cluster(cluster);
        let parts = LiveParts {
            connect: self.connect,
            clock: self.clock,
            default_instance,
            removed_grace: self.removed_grace,
            journal_bytes_max: self.journal_bytes_max,
            disk,
        };
        // The first table is applied before anything starts: a router with wrong definitions is none.
        let live = LiveTable::new(parts, custom, lanes, last);
        live.apply(&definitions)?;
        let create = |folder: PathBuf| {
            let created = ReplayNotes::create(folder.clone());
            created.map_err(|source| BuildError::ReplayNotes { folder, source })
        };
        let notes = self.replay_notes.map(create).transpose()?;
        Ok(Router::start(
            live,
            &unreadable,
            (journal, damage),
            notes,
            (self.duplicates, self.hooks),
            self.expiry_warning,
        ))
    }
}
