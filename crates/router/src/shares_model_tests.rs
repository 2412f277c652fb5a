//! Shares of a journal, held against a model under random events, endpoints and outages.

use super::*;

/// Sinks by endpoint name.
#[derive(Clone, Default)]
struct SinksByName(Arc<Mutex<BTreeMap<String, ScriptedSink>>>);

impl SinksByName {
    fn of(&self, name: &str) -> ScriptedSink {
        let mut sinks = self.0.lock().unwrap();
        sinks.entry(name.to_owned()).or_default().clone()
    }
}

impl Connect for SinksByName {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(self.of(endpoint.name.as_str())))
    }
}

/// Routes everything of type `all` to each endpoint, and to each what is for it alone.
fn table(endpoints: &[usize]) -> Definitions {
    let names: Vec<String> = endpoints
        .iter()
        .map(|number| format!("end{number}"))
        .collect();
    let filters: Vec<String> = names
        .iter()
        .map(|name| format!("type = 'all' OR type = '{name}'"))
        .collect();
    let routes: Vec<_> = names
        .iter()
        .zip(&filters)
        .map(|(name, filter)| (name.as_str(), name.as_str(), filter.as_str()))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut definitions = definitions(&names, &routes);
    let settings = names.iter().map(|name| ((*name).to_owned(), short_queue()));
    definitions.settings = crate::table::source::Settings::new(settings);
    definitions
}

#[derive(Clone, Debug)]
enum ShareAct {
    /// So many events of so many bytes, for one endpoint or for all.
    Accept(usize, usize, Option<usize>),
    Down(usize),
    Up(usize),
    Replay,
    Define(usize),
    Remove(usize),
    /// Only where the journal is on disk.
    Restart,
}

/// Endpoints that there may be. The first is always there and never down.
const ENDPOINTS: usize = 5;

fn act() -> impl Strategy<Value = ShareAct> {
    let endpoint = 1..ENDPOINTS;
    prop_oneof![
        12 => (1..5_usize, 100..4_000_usize, proptest::option::of(0..ENDPOINTS))
            .prop_map(|(count, bytes, only)| ShareAct::Accept(count, bytes, only)),
        3 => endpoint.clone().prop_map(ShareAct::Down),
        2 => endpoint.clone().prop_map(ShareAct::Up),
        1 => Just(ShareAct::Replay),
        1 => endpoint.clone().prop_map(ShareAct::Define),
        1 => endpoint.prop_map(ShareAct::Remove),
        1 => Just(ShareAct::Restart),
    ]
}

/// A router and what is expected of it.
struct ShareModel {
    router: Router,
    sinks: SinksByName,
    defined: Vec<usize>,
    sim: Option<SimulatedDisk>,
    id: usize,
    /// Events accepted for the endpoint that is never down.
    expected: u64,
}

const JOURNAL_BYTES: u64 = 48 << 10;

/// What an event takes on disk beside itself, at most: copies of dead letters have their letters with them.
const BESIDE_MAX: u64 = 1_024;

/// What letters of all lanes add to the copy of an event.
const LETTERS_MAX: u64 = 512;

impl ShareModel {
    fn new(sim: Option<SimulatedDisk>) -> Self {
        let defined = vec![0, 1, 2];
        let sinks = SinksByName::default();
        let router = Self::open(&sinks, &defined, sim.as_ref());
        Self {
            router,
            sinks,
            defined,
            sim,
            id: 0,
            expected: 0,
        }
    }

    fn open(sinks: &SinksByName, defined: &[usize], sim: Option<&SimulatedDisk>) -> Router {
        let builder = Router::builder()
            .connect(sinks.clone())
            .removed_grace(Duration::ZERO)
            .definitions(table(defined));
        let builder = match sim {
            None => builder.journal_bytes_max(JOURNAL_BYTES),
            Some(sim) => {
                let (disk, recovered) = open_disk(sim);
                builder.journal_on_disk(disk, recovered)
            }
        };
        builder.build().unwrap()
    }

    fn statuses(&self) -> Vec<EndpointStatus> {
        let status = self.router.status();
        let mut endpoints: Vec<_> = status.instances[0].endpoints.clone();
        endpoints
            .iter()
            .for_each(|one| assert_eq!(one.unaccounted(), 0, "{one:?}"));
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }

    fn discarded(&self) -> BTreeMap<String, u64> {
        let statuses = self.statuses().into_iter();
        statuses
            .map(|one| (one.name.clone(), overflowed(&one)))
            .collect()
    }

    /// What each endpoint has, by its name, in the bytes of the journal in use.
    fn rooms(&self) -> BTreeMap<String, LaneRoom> {
        let held = self.router.parts.disk().map(DiskJournal::holdings);
        let room = |lane: &Arc<Lane>| {
            let mut room = lane.room_taken();
            if let Some(held) = &held {
                let own = held.iter().find(|held| Some(held.lane) == lane.number);
                room.bytes = own.map_or(0, |held| held.bytes);
            }
            (lane.name.to_string(), room)
        };
        self.router
            .parts
            .acceptor
            .live
            .lanes()
            .iter()
            .map(room)
            .collect()
    }

    /// Waits until everything is where it stays.
    async fn rest(&self) {
        let up = |one: &EndpointStatus| one.queued + one.in_flight + one.retrying > 0;
        loop {
            let statuses = self.statuses();
            if !statuses.iter().any(|one| one.state == "healthy" && up(one)) {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        if let Some(disk) = self.router.parts.disk() {
            disk.flush().await.unwrap();
        }
    }

    async fn run(&mut self, act: ShareAct) {
        let before = self.discarded();
        match act {
            ShareAct::Accept(count, bytes, only) => return self.accept(count, bytes, only).await,
            ShareAct::Down(endpoint) => self.set_down(endpoint, true),
            ShareAct::Up(endpoint) => self.set_down(endpoint, false),
            ShareAct::Replay => {
                let request = ReplayRequest {
                    per_second: 10_000.0,
                    most: Some(5),
                    ..ReplayRequest::default()
                };
                let replay = self.router.replay(request).await.unwrap();
                sleep(Duration::from_millis(5)).await;
                let _known = self.router.cancel_replay(replay.number);
            }
            ShareAct::Define(endpoint) if !self.defined.contains(&endpoint) => {
                self.defined.push(endpoint);
                self.router.apply(&table(&self.defined)).unwrap();
            }
            ShareAct::Remove(endpoint) => {
                self.defined.retain(|defined| *defined != endpoint);
                self.router.apply(&table(&self.defined)).unwrap();
            }
            ShareAct::Restart => self.restart().await,
            ShareAct::Define(_) => {}
        }
        self.rest().await;
        for (name, discarded) in self.discarded() {
            let before = before.get(&name).copied().unwrap_or_default();
            assert_eq!(
                discarded, before,
                "{name}: only who needs room has somebody discard"
            );
        }
    }

    /// A paused endpoint is as good as one that is unavailable, and needs no clock.
    fn set_down(&self, endpoint: usize, down: bool) {
        if let Some(handle) = self.router.endpoint(None, &format!("end{endpoint}")) {
            if down {
                handle.pause()
            } else {
                handle.resume()
            }
        }
    }

    async fn restart(&mut self) {
        let Some(sim) = self.sim.clone() else { return };
        self.rest().await;
        let (before, events) = (self.rooms(), self.router.status().journal.events);
        let crashed = sim.fork();
        crashed.power_off();
        crashed.power_on(PowerLossRemains::All);
        self.router = Self::open(&self.sinks, &self.defined, Some(&crashed));
        self.sim = Some(crashed);
        let after = self.rooms();
        for (name, room) in before {
            let found = after.get(&name).map_or(0, |room| room.bytes);
            // Copies that are made at the start have letters with them; of a copy that is copied again, those of
            // lanes that settled it meanwhile are gone.
            let letters = events * LETTERS_MAX;
            let expected = room.bytes.saturating_sub(letters)..=room.bytes + letters;
            assert!(
                expected.contains(&found),
                "{name}: {found} after a restart, {room:?} before"
            );
        }
    }

    async fn accept(&mut self, count: usize, bytes: usize, only: Option<usize>) {
        let event_type = only.map_or("all".to_owned(), |endpoint| format!("end{endpoint}"));
        let first = self.id;
        self.id += count;
        let events: Vec<_> = (first..self.id)
            .map(|id| event_of(id, &event_type, bytes))
            .collect();
        let beside = self.sim.as_ref().map_or(0, |_| BESIDE_MAX);
        let largest = events
            .iter()
            .map(|event| event.size() as u64 + beside)
            .max()
            .unwrap();
        let new: u64 = events
            .iter()
            .map(|event| event.size() as u64 + beside)
            .sum();
        let (before, rooms) = (self.discarded(), self.rooms());
        let used = self.router.parts.acceptor.appender.room.gauge.usage().bytes;
        let own_share = share(
            JOURNAL_BYTES,
            rooms.values().filter(|room| room.has_share).count(),
        );
        let level = self.router.default_level();
        let accepted = self.router.accept(None, events, level).await;
        let now = self.discarded();
        for (name, discarded) in &now {
            let fewer = discarded - before.get(name).copied().unwrap_or_default();
            if fewer == 0 {
                continue;
            }
            assert!(
                used + new > JOURNAL_BYTES,
                "{name} discarded while there was room"
            );
            let room = rooms[name];
            let own = if room.has_share { own_share } else { 0 };
            assert!(
                room.bytes > own,
                "{name} discarded {fewer} within its share"
            );
        }
        match accepted {
            Ok(accepted) => {
                if only.is_none_or(|endpoint| endpoint == 0) {
                    self.expected += accepted.events as u64;
                }
            }
            Err(AcceptError::Full { .. }) => {
                for (name, room) in self.rooms() {
                    let own = if room.has_share { own_share } else { 0 };
                    let spare = JOURNAL_BYTES / 100 + largest;
                    assert!(
                        room.bytes <= own + spare,
                        "refused while {name} has {room:?}"
                    );
                }
            }
            Err(error) => panic!("{error}"),
        }
        self.rest().await;
        // Compaction copies dead letters with what is known of them, whoever has how much.
        let usage = self.router.parts.acceptor.appender.room.gauge.usage();
        let beside = self.sim.as_ref().map_or(0, |_| usage.events * LETTERS_MAX);
        assert!(usage.bytes <= JOURNAL_BYTES + beside, "{usage:?}");
    }

    async fn finish(&self) {
        self.rest().await;
        let status = endpoint_status(&self.router, "end0");
        assert_eq!((status.discarded, status.dead_letters.all()), (0, 0));
        assert_eq!(
            status.delivered, self.expected,
            "a healthy endpoint gets everything"
        );
    }
}

fn open_disk(sim: &SimulatedDisk) -> (DiskJournal, RecoveredJournal) {
    let settings = JournalSettings {
        segment_bytes: 16 << 10,
        bytes_max: JOURNAL_BYTES,
        commit_window: Duration::ZERO,
        settle_delay: Duration::from_millis(1),
        ..JournalSettings::default()
    };
    DiskJournal::open(settings, Arc::new(sim.clone()), Arc::new(SystemClock)).unwrap()
}

fn all_of(acts: Vec<ShareAct>, sim: Option<SimulatedDisk>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(sim.is_none())
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut model = ShareModel::new(sim);
        for act in acts {
            model.run(act).await;
        }
        model.finish().await;
    });
}

/// Its queue waited neither for its endpoint, which was resumed, nor to be sent, since its grace time was over, and
/// stood in the way of a producer until its loop had run.
#[test]
fn a_removed_endpoint_past_its_grace_time_makes_room_before_its_lane_has_run() {
    let acts = vec![
        ShareAct::Down(2),
        ShareAct::Define(4),
        ShareAct::Accept(2, 2468, None),
        ShareAct::Accept(3, 2764, None),
        ShareAct::Down(4),
        ShareAct::Accept(3, 3095, Some(2)),
        ShareAct::Accept(2, 2660, Some(2)),
        ShareAct::Remove(2),
        ShareAct::Down(1),
        ShareAct::Up(2),
        ShareAct::Accept(4, 3695, Some(1)),
        ShareAct::Accept(1, 3525, Some(4)),
    ];
    all_of(acts, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_of_a_journal_in_memory(acts in proptest::collection::vec(act(), 1..120)) {
        all_of(acts, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_of_a_journal_on_disk(acts in proptest::collection::vec(act(), 1..80)) {
        all_of(acts, Some(SimulatedDisk::default()));
    }
}
