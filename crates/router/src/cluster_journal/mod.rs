//! The journal over the log that several routers share.
//!
//! Events go into the log of their twin's partition and are acknowledged when a quorum has them. What is delivered here
//! comes back from the log, of the partitions that this router owns, whoever accepted it; and what became of it goes there
//! before anything follows from it. Who owns what is decided in `twinroute_cluster`.

mod owned;
mod show;
mod tasks;

pub(crate) use owned::OwnedPartition;

use owned::OwnedPartitions;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tasks::ClusterTasks;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use twinroute_cluster::lease::LeaseTimes;
use twinroute_cluster::{
    AppendTicket, ClusterContext, ClusterMember, ClusterProducer, ClusterTimes, LogHealth,
    MembershipEnd, MembershipView, OutcomeReport, PartitionNews, TaskSpawner,
};
use twinroute_journal::partition::{
    EventPlace, GroupOrigin, HistoryDamage, LaneRegister, events_of,
};
use twinroute_journal::{
    AppendError, ClusterLog, ClusterLogError, HeldEvent, JournalEntry, LaneId, NewEvent,
    PartitionNumber, RouterName, UsageGauge,
};
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::event::Event;
use twinroute_model::name::{EndpointName, InstanceName};

/// How a router takes part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Its name, which no other router of the cluster has.
    pub router: RouterName,
    /// How long a lease of a partition is: 4 s at least. After so long, and a fifth of it, the partitions of a router that
    /// is gone are another's.
    pub lease: Duration,
    /// Bytes of events that stay in memory although they can be read back.
    pub memory_bytes_max: u64,
    /// Bytes that the log holds at most, of all partitions; for what is shown and warned of.
    pub bytes_max: u64,
}

impl ClusterSettings {
    /// Those of a router with a name: leases of 10 s, 256 MiB in memory, a log of 16 GiB.
    #[must_use]
    pub fn new(router: RouterName) -> Self {
        Self {
            router,
            lease: Duration::from_secs(10),
            memory_bytes_max: 256 << 20,
            bytes_max: 16 << 30,
        }
    }

    /// The shortest lease.
    pub const LEASE_MIN: Duration = Duration::from_secs(4);
}

/// How long an append is waited for by whoever brought the events: longer than any election.
pub(crate) const APPEND_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a read that was not answered waits before it is asked again.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// The journal over a shared log. Clones share it.
#[derive(Clone)]
pub struct ClusterJournal(Arc<JournalParts>);

struct JournalParts {
    context: ClusterContext,
    settings: ClusterSettings,
    producer: OnceLock<ClusterProducer>,
    owned: OwnedPartitions,
    gauge: UsageGauge,
    tasks: ClusterTasks,
    view: watch::Sender<MembershipView>,
    stop: watch::Sender<bool>,
    end: watch::Sender<Option<MembershipEnd>>,
    quarantined: Mutex<BTreeMap<PartitionNumber, HistoryDamage>>,
}

impl fmt::Debug for ClusterJournal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("ClusterJournal");
        debug.field("router", &self.0.settings.router);
        debug.finish_non_exhaustive()
    }
}

impl ClusterJournal {
    /// Asks a log what it is, and makes a journal over it that a router may be built with. Dropping the future is harmless.
    ///
    /// # Errors
    /// When the log cannot be reached, or is not this cluster's.
    pub async fn open(
        log: Arc<dyn ClusterLog>,
        settings: ClusterSettings,
    ) -> Result<Self, ClusterLogError> {
        let facts = log.facts().await?;
        let tasks = ClusterTasks::default();
        let spawned = tasks.clone();
        let lease = settings.lease.max(ClusterSettings::LEASE_MIN);
        let mut times = ClusterTimes {
            lease: LeaseTimes {
                lease,
                margin: lease / 5,
            },
            ..ClusterTimes::default()
        };
        times.former.record_bytes_max = facts.record_bytes_max;
        times.former.group_bytes = times.former.group_bytes.min(facts.record_bytes_max);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let context = ClusterContext {
            log,
            facts,
            origin: GroupOrigin {
                router: settings.router.clone(),
                incarnation: incarnation(&*clock),
            },
            register: LaneRegister::default(),
            clock,
            health: LogHealth::default(),
            spawner: TaskSpawner::new(move |task| spawned.spawn(task)),
            times,
        };
        Ok(Self(Arc::new(JournalParts {
            gauge: UsageGauge::of_log(settings.bytes_max),
            context,
            settings,
            producer: OnceLock::new(),
            owned: OwnedPartitions::default(),
            tasks,
            view: watch::Sender::default(),
            stop: watch::Sender::new(false),
            end: watch::Sender::new(None),
            quarantined: Mutex::default(),
        })))
    }

    /// Becomes a member of the cluster. Gives what lanes are to hear of partitions; the second time nothing is to be heard.
    pub(crate) fn start(&self) -> mpsc::UnboundedReceiver<PartitionNews> {
        let parts = &self.0;
        // Without a bound of its own: see `PartitionTask`.
        let (news, heard) = mpsc::unbounded_channel();
        let producer = ClusterProducer::start(&parts.context);
        if parts.producer.set(producer.clone()).is_err() {
            return heard;
        }
        let view = parts.view.clone();
        let member = ClusterMember::new(parts.context.clone(), producer, news, view);
        let (stopped, end) = (parts.stop.subscribe(), parts.end.clone());
        parts.tasks.spawn(async move {
            let why = member.run(stopped).await;
            if let MembershipEnd::NameTaken(_) = &why {
                tracing::error!(%why, "the router delivers nothing; action required");
            }
            end.send_replace(Some(why));
        });
        heard
    }

    fn producer(&self) -> &ClusterProducer {
        let producer = self.0.producer.get();
        producer.expect("it is started with its router")
    }

    /// The name of this router.
    pub(crate) fn router(&self) -> &RouterName {
        &self.0.settings.router
    }

    /// Bytes that the log holds at most.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.0.settings.bytes_max
    }

    /// A handle that reads what it holds, as of this call.
    pub(crate) fn gauge(&self) -> &UsageGauge {
        let held = self.0.owned.held();
        self.0.gauge.set_held(held.events, held.bytes);
        &self.0.gauge
    }

    /// Whether there is room in memory for events that can be read back.
    pub(crate) fn has_memory(&self) -> bool {
        self.0.gauge.memory_bytes() < self.0.settings.memory_bytes_max
    }

    /// An event that was accepted, in memory.
    pub(crate) fn hold(&self, sequence: u64, event: Event, twin: u64) -> JournalEntry {
        JournalEntry::of_log(sequence, event, twin, &self.0.gauge)
    }

    /// Whether what a quorum has is synced; why not, with what to do, if it is not.
    ///
    /// # Errors
    /// When it is not.
    pub fn durable(&self) -> Result<(), &str> {
        match &self.0.context.facts.durable {
            Ok(()) => Ok(()),
            Err(reason) => Err(reason),
        }
    }

    /// The number of an endpoint's lane in this process.
    pub(crate) fn bind(&self, instance: &InstanceName, endpoint: &EndpointName) -> LaneId {
        let register = &self.0.context.register;
        register.bind(&(instance.clone(), endpoint.clone()))
    }

    /// What a lane is for.
    pub(crate) fn lane_name(&self, lane: LaneId) -> Option<(InstanceName, EndpointName)> {
        self.0.context.register.name(lane)
    }

    /// Why events are not accepted; none when they are.
    pub(crate) fn fault(&self) -> Option<String> {
        if let Some(MembershipEnd::NameTaken(name)) = &*self.0.end.borrow() {
            return Some(MembershipEnd::NameTaken(name.clone()).to_string());
        }
        let silent = self.0.context.health.silent_for();
        (silent >= self.0.context.times.lease.lease).then(|| {
            let silent = silent.as_secs();
            format!("the cluster's log has not answered for {silent} s; check its servers")
        })
    }

    /// Why nothing is delivered from partitions, for people.
    pub(crate) fn quarantined(&self) -> Vec<String> {
        let quarantined = lock(&self.0.quarantined);
        quarantined.values().map(ToString::to_string).collect()
    }

    pub(crate) fn quarantine(&self, partition: PartitionNumber, damage: HistoryDamage) {
        lock(&self.0.quarantined).insert(partition, damage);
    }

    /// Appends a batch, whole or not at all; takes it when it does. Does not wait.
    pub(crate) fn append(
        &self,
        batch: &mut Vec<NewEvent>,
    ) -> Result<Vec<AppendTicket>, AppendError> {
        let partitions = self.0.context.facts.partitions;
        let mut sorted: BTreeMap<PartitionNumber, Vec<NewEvent>> = BTreeMap::new();
        for new in batch.drain(..) {
            let partition = PartitionNumber::of_twin(new.twin, partitions);
            sorted.entry(partition).or_default().push(new);
        }
        self.producer().append_all(&sorted)
    }

    /// Appends a dead letter that goes through its lane again; `of` is its sequence if it is kept here.
    pub(crate) fn append_replay(
        &self,
        lane: LaneId,
        of: Option<u64>,
        event: (&Event, u64),
    ) -> Result<AppendTicket, AppendError> {
        self.producer().append_replay(lane, of, event)
    }

    /// The partitions that this router owns.
    pub(crate) fn owned(&self) -> &OwnedPartitions {
        &self.0.owned
    }

    /// What the cluster is like, as this router sees it.
    pub(crate) fn view(&self) -> MembershipView {
        self.0.view.borrow().clone()
    }

    /// Reports what became of a delivery; nobody hears it when its partition is another's by now.
    pub(crate) fn report(&self, sequence: u64, report: OutcomeReport) {
        let partition = EventPlace::of_sequence(sequence).partition;
        if let Some(outcomes) = self.0.owned.outcomes(partition) {
            // The next owner finds it open.
            drop(outcomes.send(report));
        }
    }

    /// Resolves when all that was reported of a delivery's partition is recorded; false when the partition is another's.
    pub(crate) async fn recorded(&self, sequence: u64) -> bool {
        let (recorded, heard) = oneshot::channel();
        self.report(sequence, OutcomeReport::Flush { recorded });
        heard.await.is_ok()
    }

    /// Reads events back; none in place of one that is not there, or whose partition is another's by now. Waits while the
    /// log does not answer.
    pub(crate) async fn read(&self, sequences: &[u64]) -> Vec<Option<HeldEvent>> {
        let mut found: HashMap<u64, HeldEvent> = HashMap::with_capacity(sequences.len());
        let mut records: Vec<EventPlace> = sequences.iter().map(|one| record_of(*one)).collect();
        records.sort_unstable();
        records.dedup();
        for place in records {
            let events = self.read_record(place).await;
            found.extend(events.into_iter().map(|(at, event)| (at, event.into())));
        }
        sequences
            .iter()
            .map(|one| found.get(one).cloned())
            .collect()
    }

    async fn read_record(&self, place: EventPlace) -> Vec<(u64, Event)> {
        let EventPlace {
            record, partition, ..
        } = place;
        loop {
            let context = &self.0.context;
            let call = context.log.record(partition, record);
            match context.call(call).await {
                Ok(Some(record)) => return events_of(&record, partition).collect(),
                Ok(None) => return Vec::new(),
                Err(error) => {
                    tracing::debug!(%error, %partition, record, "a record is read again");
                    if !self.0.owned.is_owned(partition) {
                        return Vec::new();
                    }
                }
            }
            sleep(READ_AGAIN).await;
        }
    }

    /// Resolves when each partition is somebody's, and lanes have heard of all that the log has acknowledged to this router
    /// in those that are its own.
    pub(crate) async fn heard_of(&self) {
        let mut changes = self.0.owned.changes();
        let mut views = self.0.view.subscribe();
        loop {
            if self.has_heard_of_all() {
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = views.changed() => {}
            }
        }
    }

    fn has_heard_of_all(&self) -> bool {
        let view = self.view();
        let acknowledged = self.producer().acknowledged();
        let all = PartitionNumber::all(self.0.context.facts.partitions);
        all.into_iter().all(|partition| {
            let mut last = acknowledged.iter();
            let last = last.find(|last| last.partition == partition);
            let seen = view
                .partitions
                .iter()
                .find(|one| one.partition == partition);
            let owner = seen.and_then(|seen| seen.owner.as_ref());
            let is_others = owner.is_some_and(|owner| owner != self.router());
            is_others
                || lock(&self.0.quarantined).contains_key(&partition)
                || self.0.owned.heard_of(partition) >= Some(last.map_or(0, |last| last.sequence))
        })
    }

    /// Runs a task that ends with this router's membership.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    /// Hands over all partitions and leaves the cluster, until `until` at most.
    pub(crate) async fn leave(&self, until: Instant) {
        self.0.stop.send_replace(true);
        let mut end = self.0.end.subscribe();
        let left = end.wait_for(Option::is_some);
        if timeout_at(until, left).await.is_err() {
            tracing::warn!(
                "the partitions of this router were not handed over in time: they wait for its leases to end"
            );
        }
    }

    /// Ends all of it as a crash would.
    pub(crate) fn abandon(&self) {
        self.0.tasks.abort();
        self.0.owned.clear();
    }
}

/// The first place of the record that holds an event.
fn record_of(sequence: u64) -> EventPlace {
    let index = 0;
    EventPlace {
        index,
        ..EventPlace::of_sequence(sequence)
    }
}

/// Which start of a router this is: later ones are higher, and none is another's.
fn incarnation(clock: &dyn Clock) -> u64 {
    let millis = u64::try_from(clock.now().unix_millis()).unwrap_or_default();
    (millis << 20) | fastrand::u64(..1 << 20)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
