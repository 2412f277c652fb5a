//! What a journal on disk brings: what waited before the start, and how endpoints that are gone were defined.

use crate::lane;
use crate::lane::durable::Origin;
use crate::last_definitions::{Defined, Last, Removal};
use crate::live::{Live, Running};
use crate::made_of::Known;
use crate::plan::{self, LaneKey, Planned};
use crate::router::Shared;
use crate::user_code::UserSink;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use twinroute_model::clock::Clock;
use twinroute_model::name::InstanceName;
use twinroute_model::settings::EndpointSettings;
use twinroute_retry::journal::{Disk, Recovered, RecoveredLane};

/// The journal on disk, and what it gave back for lanes that do not run yet.
pub(crate) struct Durable {
    disk: Disk,
    recovered: BTreeMap<LaneKey, RecoveredLane>,
    /// The last definitions of endpoints, until somebody takes them.
    pub(crate) last: Option<Last>,
}

impl Durable {
    pub(crate) fn new(disk: Disk, recovered: Recovered, last: Option<Last>) -> Self {
        let named = recovered.lanes.into_iter().filter_map(|lane| {
            if lane.name.is_none() && !lane.pending.is_empty() {
                tracing::error!(
                    lane = lane.number.0,
                    events = lane.pending.len(),
                    "the journal lost which endpoint these events are for; they stay in it"
                );
            }
            Some((lane.name.clone()?, lane))
        });
        Self {
            disk,
            recovered: named.collect(),
            last,
        }
    }

    pub(crate) fn origin(&mut self, key: &LaneKey, clock: Arc<dyn Clock>) -> Origin {
        let number = self.disk.bind(&key.0, &key.1);
        let recovered = self.recovered.remove(key);
        Origin::durable(self.disk.clone(), number, clock, recovered)
    }

    /// Journal time.
    fn time(&self) -> Duration {
        self.disk.time()
    }

    /// The endpoints for which something waits that no lane has taken.
    pub(crate) fn unclaimed(&self) -> Vec<LaneKey> {
        let waiting = self.recovered.iter();
        let waiting = waiting.filter(|(_, lane)| !lane.pending.is_empty());
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// The instances for whose endpoint of that name something was recovered that no lane has taken.
    pub(crate) fn lanes_named(&self, endpoint: &str) -> Vec<InstanceName> {
        let keys = self.recovered.keys();
        let named = keys.filter(|(_, name)| name.as_str().eq_ignore_ascii_case(endpoint));
        named.map(|(instance, _)| instance.clone()).collect()
    }

    /// Whether something waits for that endpoint that no lane has taken.
    fn waits(&self, key: &LaneKey) -> bool {
        let lane = self.recovered.get(key);
        lane.is_some_and(|lane| !lane.pending.is_empty())
    }
}

/// What the lane of an endpoint that nothing defines is made of, and how long it may finish.
type Adopted = (lane::Setup, Duration);

impl Live {
    /// Retires lanes whose endpoints are gone; they finish what they have within the grace time. Takes in
    /// what waits for endpoints that nothing defines.
    pub(crate) fn retire_absent(&self, known: &Known) {
        let deadline = Instant::now() + self.removed_grace;
        let last = self.lock_last();
        let mut running = self.running();
        if running.stopping {
            return;
        }
        // Every endpoint has its lane, so there are others only if there are more.
        let all_defined = running.lanes.len() == known.endpoints();
        let Running { lanes, over, .. } = &mut *running;
        lanes.retain(|key, lane| {
            let (instance, name) = key;
            if all_defined || known.has_endpoint(instance, name) {
                return true;
            }
            if let Some(ledger) = lane.is_over() {
                over.insert(key.clone(), ledger);
                return false;
            }
            if lane.is_running() {
                tracing::info!(endpoint = %format!("{instance}/{name}"),
                    grace = ?self.removed_grace, "the endpoint was removed; its lane finishes");
                lane.retire(deadline);
            }
            true
        });
        self.restore_unreadable(&mut running);
        self.adopt_unclaimed(last.as_deref(), &mut running);
    }

    /// Gives what waits for endpoints that nothing defines a lane: by its last definition it is delivered within
    /// what is left of the grace time. Without one it is seen, not sent. After that it becomes dead letters.
    fn adopt_unclaimed(&self, last: Option<&Last>, running: &mut Running) {
        let time = running.durable.as_ref().map(Durable::time);
        let unclaimed = running.durable.as_ref().map(Durable::unclaimed);
        for key in unclaimed.unwrap_or_default() {
            let (setup, left) = match self.by_last_definition(last, &key, time) {
                Some(adopted) => adopted,
                None => (undefined(&key, self.removed_grace), self.removed_grace),
            };
            let deadline = Instant::now() + left;
            running.start(key, setup, &self.clock, Some(deadline));
        }
    }

    fn by_last_definition(
        &self,
        last: Option<&Last>,
        key: &LaneKey,
        time: Option<Duration>,
    ) -> Option<Adopted> {
        let kept = last?.get(key)?;
        let endpoint = format!("{}/{}", key.0, key.1);
        let setup = plan::set_up(&*self.connect, &kept.endpoint, Arc::clone(&kept.settings));
        match setup {
            Ok(setup) => {
                let left = kept.left(self.removed_grace, time.unwrap_or_default());
                tracing::info!(
                    endpoint,
                    ?left,
                    "events wait in the journal for an endpoint that was removed; its lane finishes by its last \
                     definition"
                );
                Some((setup, left))
            }
            Err(error) => {
                tracing::error!(
                    endpoint,
                    error = &error as &dyn std::error::Error,
                    "the last definition of an endpoint that was removed cannot be used"
                );
                None
            }
        }
    }

    fn lock_last(&self) -> Option<MutexGuard<'_, Last>> {
        let last = self.last.as_ref();
        last.map(|last| last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps definitions that are about to be in use, and those that are about to go. Blocks on the disk.
    pub(crate) fn note_last(&self, known: &Known, planned: &[Planned]) {
        let Some(mut last) = self.lock_last() else {
            return;
        };
        let defined = planned.iter().flat_map(|instance| {
            let known = known.instance(&instance.name);
            instance.endpoints.iter().map(move |endpoint| -> Defined {
                let made_of = match &endpoint.change {
                    Some((made_of, _)) => Some(made_of),
                    None => known
                        .and_then(|known| known.endpoints.get(&endpoint.name))
                        .map(|known| &known.made_of),
                };
                let key = (instance.name.clone(), endpoint.name.clone());
                (key, made_of.and_then(|made_of| made_of.definition()))
            })
        });
        let running = self.running();
        let removal = Removal {
            at: self.clock.now(),
            time: running.durable.as_ref().map(Durable::time),
        };
        last.note(defined, |key| running.waits(key), removal);
        drop(running);
        self.save(&mut last);
    }

    /// Tries again to write what could not be written.
    pub(crate) fn save_last(&self) {
        if let Some(mut last) = self.lock_last() {
            self.save(&mut last);
        }
    }

    /// Forgets the definitions of removed endpoints whose lanes are over. Blocks on the disk.
    pub(crate) fn forget_ended(&self) {
        let Some(mut last) = self.lock_last() else {
            return;
        };
        let running = self.running();
        if running.stopping {
            // What a lane leaves in the journal now is for the next start.
            return;
        }
        last.forget(|key| running.waits(key));
        drop(running);
        self.save(&mut last);
    }

    /// Tells of lanes that have ended, where last definitions are kept.
    pub(crate) fn ended(&self) -> Option<Arc<Notify>> {
        let kept = self.last.is_some();
        kept.then(|| Arc::clone(&self.running().ended))
    }

    fn save(&self, last: &mut Last) {
        last.save();
        self.running().problems = last.problems();
    }
}

impl Running {
    /// Whether anything is left of an endpoint's lane, or waits for one.
    fn waits(&self, key: &LaneKey) -> bool {
        let lane = self.lanes.get(key);
        lane.is_some_and(|lane| lane.is_over().is_none())
            || self
                .durable
                .as_ref()
                .is_some_and(|durable| durable.waits(key))
    }
}

/// The lane of an endpoint of which nothing is known but its name.
fn undefined((instance, name): &LaneKey, grace: Duration) -> lane::Setup {
    tracing::error!(endpoint = %format!("{instance}/{name}"), ?grace,
        "events wait in the journal for an endpoint of which there is no definition, not even its last one: define \
         it again within the grace time to have them delivered; then they become dead letters kept here");
    lane::Setup {
        endpoint_type: "unknown",
        sink: UserSink::of(lane::Nowhere),
        store: None,
        settings: Arc::new(EndpointSettings::default()),
        hold: Some(lane::Hold::Undefined),
    }
}

/// Forgets last definitions as lanes end, for as long as there is a router.
pub(crate) async fn forget(shared: Weak<Shared>, ended: Arc<Notify>) {
    loop {
        ended.notified().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let forgetting = tokio::task::spawn_blocking(move || shared.live.forget_ended());
        if forgetting.await.is_err() {
            return;
        }
    }
}
