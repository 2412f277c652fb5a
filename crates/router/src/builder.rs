//! What a router is made of, before it runs.

use crate::duplicates::DuplicateWindow;
use crate::durable::Durable;
use crate::expiry::WARNING_BEFORE;
use crate::last_definitions::{Last, LastDefinitions};
use crate::live::Live;
use crate::plan::Custom;
use crate::replay::Replays;
use crate::router::Router;
use crate::sink::{Connect, ConnectError, DeadLetterStore, Sink};
use crate::source::{Definitions, Faults};
use crate::unreadable::{UnreadableLanes, UnreadableSettings};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::endpoint::Endpoint;
use twinroute_model::name::{EndpointName, InstanceName, InvalidName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::settings::EndpointSettings;
use twinroute_retry::journal::{Disk, Journal, Recovered};

/// Collects what a router is made of.
pub struct Builder {
    connect: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    default_instance: Result<InstanceName, InvalidName>,
    journal_bytes_max: u64,
    disk: Option<(Disk, Recovered)>,
    last_definitions: Option<LastDefinitions>,
    replay_notes: Option<PathBuf>,
    duplicates: Option<DuplicateWindow>,
    removed_grace: Duration,
    expiry_warning: Duration,
    unreadable: UnreadableSettings,
    custom: Vec<(String, Custom)>,
    definitions: Definitions,
    routes: Vec<(String, String, String)>,
}

/// Why no router could be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A name is not allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The definitions cannot become a table.
    #[error(transparent)]
    Definitions(#[from] Faults),
    /// The folder for notes about replays cannot be made.
    #[error("folder {}: cannot be made", folder.display())]
    ReplayNotes {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Refuses every endpoint: for routers that bring all their sinks along.
struct NoConnect;

impl Connect for NoConnect {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Err(ConnectError {
            endpoint: endpoint.name.to_string(),
            reason: format!(
                "this router has no protocol client for {}; give the builder one with `connect`",
                endpoint.endpoint_type()
            ),
        })
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            connect: Arc::new(NoConnect),
            clock: Arc::new(SystemClock),
            default_instance: InstanceName::new("default"),
            journal_bytes_max: 256 << 20,
            disk: None,
            last_definitions: None,
            replay_notes: None,
            duplicates: None,
            removed_grace: Duration::from_secs(5 * 60),
            expiry_warning: WARNING_BEFORE,
            unreadable: UnreadableSettings::default(),
            custom: Vec::new(),
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
        self.clock = Arc::new(clock);
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
    /// (`queue_bytes_max`): then an endpoint that is away never keeps others from being served.
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
    pub fn journal_on_disk(mut self, disk: Disk, recovered: Recovered) -> Self {
        self.journal_bytes_max = disk.bytes_max();
        self.disk = Some((disk, recovered));
        self
    }

    /// Keeps, sealed, how endpoints are defined, so that the queue of one that is removed is delivered by its last
    /// definition after a restart too, within what is left of the grace time, and then goes to its own dead-letter
    /// store. Of use only with [`Self::journal_on_disk`]. Endpoints with a sink of the program's own are not kept.
    ///
    /// Blocks on the disk at the start and whenever definitions of endpoints change. A file that cannot be read is
    /// renamed and told of, in the log and as a warning of the table; one that cannot be written too.
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
    /// The window begins anew with each router, also when the journal is on disk.
    #[must_use]
    pub fn duplicate_window(mut self, window: DuplicateWindow) -> Self {
        self.duplicates = Some(window);
        self
    }

    /// How long the lane of a removed endpoint may finish what it has; 5 minutes unless set.
    #[must_use]
    pub fn removed_grace(mut self, grace: Duration) -> Self {
        self.removed_grace = grace;
        self
    }

    /// How long before its end a credential or a certificate is warned about; 7 days unless set.
    #[must_use]
    pub fn expiry_warning(mut self, before: Duration) -> Self {
        self.expiry_warning = before;
        self
    }

    /// How deliveries are kept that cannot be read; see [`Router::keep_unreadable`].
    #[must_use]
    pub fn unreadable(mut self, settings: UnreadableSettings) -> Self {
        self.unreadable = settings;
        self
    }

    /// Adds an endpoint with a sink of the program's own to the default instance.
    #[must_use]
    pub fn sink(self, endpoint: &str, sink: impl Sink) -> Self {
        self.sink_with(endpoint, sink, EndpointSettings::default())
    }

    /// As [`Self::sink`], with settings.
    #[must_use]
    pub fn sink_with(
        mut self,
        endpoint: &str,
        sink: impl Sink,
        settings: EndpointSettings,
    ) -> Self {
        self.custom.push((
            endpoint.to_owned(),
            Custom {
                sink: Arc::new(sink),
                store: None,
                settings: Arc::new(settings),
            },
        ));
        self
    }

    /// Gives the endpoint that was added last by [`Self::sink`] or [`Self::sink_with`] a store for its
    /// dead letters. Without one they are kept by the journal.
    #[must_use]
    pub fn dead_letters(mut self, store: impl DeadLetterStore) -> Self {
        if let Some((_, custom)) = self.custom.last_mut() {
            custom.store = Some(Arc::new(store));
        }
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
    /// Everything that is wrong with names, definitions and filters.
    pub fn build(self) -> Result<Router, BuildError> {
        let default_instance = self.default_instance?;
        let mut custom = BTreeMap::new();
        for (name, sink) in self.custom {
            custom.insert(EndpointName::new(&name)?, sink);
        }
        let mut definitions = self.definitions;
        for (id, endpoint, filter) in self.routes {
            let endpoint_name = EndpointName::new(&endpoint)?;
            let route = Route {
                id: RouteId::new(&id)?,
                endpoint_name,
                filter,
            };
            definitions
                .default_instance(&default_instance)
                .routes
                .push(route);
        }
        let (journal, durable) = match self.disk {
            None => (Journal::memory(self.journal_bytes_max), None),
            Some((disk, recovered)) => {
                let last = self.last_definitions.map(Last::open);
                let durable = Durable::new(disk.clone(), recovered, last);
                (Journal::Disk(disk), Some(durable))
            }
        };
        let live = Live::new(
            self.connect,
            self.clock,
            default_instance,
            custom,
            self.removed_grace,
            self.journal_bytes_max,
            durable,
            UnreadableLanes::new(&self.unreadable),
        );
        live.apply(&definitions)?;
        let replays = match self.replay_notes {
            None => Replays::default(),
            Some(folder) => Replays::noted(folder.clone())
                .map_err(|source| BuildError::ReplayNotes { folder, source })?,
        };
        Ok(Router::start(
            live,
            journal,
            replays,
            self.duplicates,
            self.expiry_warning,
        ))
    }
}
