//! The lanes that run, whatever defines them.

use super::recovered_lanes::RecoveredLanes;
use crate::cluster_journal::ClusterJournal;
use crate::delivery::lane_origin::LaneOrigin;
use crate::delivery::{self, Lane, LaneKey, MetricLabels, RecentOutcomes};
use crate::trace::SpanQueue;
use crate::unreadable_endpoint;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;
use twinroute_journal::ledger::Ledger;
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;

/// Says what the lane of our own endpoint is made of, in an instance.
type UnreadableSetup = Box<dyn Fn(&InstanceName) -> delivery::LaneSetup + Send + Sync>;

pub(crate) struct RunningLanes {
    clock: Arc<dyn Clock>,
    /// Those of removed endpoints too, while they finish.
    pub(super) lanes: HashMap<LaneKey, Arc<Lane>>,
    /// Those of our own endpoint, which keep what could not be read; they end with the router.
    unreadable: HashMap<InstanceName, Arc<Lane>>,
    unreadable_setup: UnreadableSetup,
    /// What lanes that are over had counted, should their endpoints come back.
    over: HashMap<LaneKey, Ledger>,
    /// Which of them have series of their own.
    labels: MetricLabels,
    /// Where the journal is on disk.
    pub(super) recovered: Option<RecoveredLanes>,
    /// Where several routers share a log.
    cluster: Option<ClusterJournal>,
    /// No lane is started or changed any more.
    pub(super) is_stopping: bool,
    /// Where lanes tell that they have ended.
    pub(super) ended: Arc<Notify>,
    /// Whom lanes report to.
    pub(super) reports: delivery::LaneReports,
}

impl RunningLanes {
    /// None yet; `labels` says which get series of their own. `unreadable` says what the lane of our own endpoint is made of, in an instance.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        recovered: Option<RecoveredLanes>,
        labels: MetricLabels,
        unreadable: impl Fn(&InstanceName) -> delivery::LaneSetup + Send + Sync + 'static,
    ) -> Self {
        // Where the journal is on disk it has a history of its own.
        let recent = recovered.is_none().then(|| RecentOutcomes::new(&clock));
        Self {
            clock,
            lanes: HashMap::new(),
            unreadable: HashMap::new(),
            unreadable_setup: Box::new(unreadable),
            over: HashMap::new(),
            labels,
            is_stopping: false,
            ended: Arc::default(),
            reports: delivery::LaneReports {
                recent,
                ..delivery::LaneReports::default()
            },
            recovered,
            cluster: None,
        }
    }

    /// Has lanes that are started from here on stand in a shared log.
    pub(crate) fn with_cluster(mut self, cluster: Option<ClusterJournal>) -> Self {
        if cluster.is_some() {
            self.reports.recent = None;
        }
        self.cluster = cluster;
        self
    }

    /// Has lanes that are started from here on record their spans.
    pub(crate) fn with_spans(mut self, spans: SpanQueue) -> Self {
        self.reports.spans = spans;
        self
    }

    /// The lane of an endpoint, that of a removed one too while it finishes.
    pub(super) fn get(&self, key: &LaneKey) -> Option<Arc<Lane>> {
        match unreadable_endpoint::is_reserved(&key.1) {
            true => self.unreadable.get(&key.0).map(Arc::clone),
            false => self.lanes.get(key).map(Arc::clone),
        }
    }

    /// All lanes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values().chain(self.unreadable.values())
    }

    /// The lane of an endpoint that is new, changed or back.
    pub(super) fn bring_up(&mut self, key: LaneKey, setup: delivery::LaneSetup) -> Arc<Lane> {
        let Some(running) = self.lanes.get(&key) else {
            return self.start(key, setup, None);
        };
        running.reconfigure(setup);
        if !running.revive() {
            drop(delivery::spawn(
                Arc::clone(running),
                Arc::clone(&self.ended),
            ));
        }
        Arc::clone(running)
    }

    /// Starts a lane; one that is to end by `retired_at` never sends behind that.
    pub(super) fn start(
        &mut self,
        key: LaneKey,
        setup: delivery::LaneSetup,
        retired_at: Option<Instant>,
    ) -> Arc<Lane> {
        let lane = self.start_lane(&key, setup, retired_at);
        self.lanes.insert(key, Arc::clone(&lane));
        lane
    }

    /// As [`Self::start`], for a lane that no definition stands behind.
    fn start_lane(
        &mut self,
        key: &LaneKey,
        setup: delivery::LaneSetup,
        retired_at: Option<Instant>,
    ) -> Arc<Lane> {
        let over = self.over.remove(key);
        let clock = Arc::clone(&self.clock);
        let mut origin = match (&mut self.recovered, &self.cluster) {
            (Some(recovered), _) => recovered.origin(key, clock),
            (None, Some(cluster)) => LaneOrigin::clustered(cluster.clone(), key, clock),
            (None, None) => LaneOrigin::in_memory(clock, Ledger::default()),
        };
        if let Some(ledger) = over {
            origin.ledger = ledger;
        }
        origin.series = self.labels.of(key);
        let reports = self.reports.clone();
        let lane = Lane::new(key.0.clone(), key.1.clone(), setup, origin, reports);
        if let Some(deadline) = retired_at {
            lane.retire(deadline);
        }
        drop(delivery::spawn(Arc::clone(&lane), Arc::clone(&self.ended)));
        lane
    }

    /// The lane that keeps what an instance was sent and nobody can read. It is started with the first of it; none
    /// when the router stops.
    pub(super) fn unreadable(&mut self, instance: &InstanceName) -> Option<Arc<Lane>> {
        (!self.is_stopping).then(|| self.start_unreadable(instance))
    }

    /// Starts those of which the journal brought something.
    pub(super) fn restore_unreadable(&mut self) {
        let recovered = self.recovered.as_ref();
        let instances = recovered.map(|lanes| lanes.lanes_named(unreadable_endpoint::ENDPOINT));
        for instance in instances.unwrap_or_default() {
            self.start_unreadable(&instance);
        }
    }

    fn start_unreadable(&mut self, instance: &InstanceName) -> Arc<Lane> {
        if let Some(lane) = self.unreadable.get(instance) {
            return Arc::clone(lane);
        }
        let key = (instance.clone(), unreadable_endpoint::name());
        let setup = (self.unreadable_setup)(instance);
        let lane = self.start_lane(&key, setup, None);
        self.unreadable.insert(key.0, Arc::clone(&lane));
        lane
    }

    /// Goes through the lanes for which `is_defined` is false: what is over is forgotten but for its counts, the rest
    /// is given to `retire`.
    pub(super) fn retire_absent(
        &mut self,
        is_defined: impl Fn(&LaneKey) -> bool,
        retire: impl Fn(&LaneKey, &Lane),
    ) {
        let Self { lanes, over, .. } = self;
        lanes.retain(|key, lane| {
            if is_defined(key) {
                return true;
            }
            if let Some(ledger) = lane.is_over() {
                over.insert(key.clone(), ledger);
                return false;
            }
            if lane.is_running() {
                retire(key, lane);
            }
            true
        });
    }

    /// Whether anything is left of an endpoint's lane, or waits for one.
    pub(super) fn waits(&self, key: &LaneKey) -> bool {
        let lane = self.lanes.get(key);
        lane.is_some_and(|lane| lane.is_over().is_none())
            || self
                .recovered
                .as_ref()
                .is_some_and(|recovered| recovered.waits(key))
    }
}
