//! Endpoints that nothing defines any more: their lanes finish what they have within the grace time, over a restart
//! too, by their last definitions.

use super::last_definitions::{DefinedEndpoint, EndpointRemoval, LastEndpoints};
use super::plan::{PlannedInstance, set_up};
use super::previous::PreviousTable;
use super::recovered_lanes::RecoveredLanes;
use super::running_lanes::RunningLanes;
use crate::delivery::{self, LaneKey};
use crate::sink::Connect;
use crate::user_code::UserSink;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::clock::Timestamp;
use twinroute_model::settings::EndpointSettings;

/// What becomes of endpoints that are removed.
pub(super) struct RemovedEndpoints {
    grace: Duration,
    connect: Arc<dyn Connect>,
    /// Where the journal is on disk. Locked before the lanes, and while the file is written.
    last: Option<Mutex<LastEndpoints>>,
    /// What is wrong with that file; apart, so that nobody who reads it waits for the disk.
    problems: Mutex<Vec<String>>,
}

/// What the lane of an endpoint that nothing defines is made of, and how long it may finish.
type AdoptedLane = (delivery::LaneSetup, Duration);

impl RemovedEndpoints {
    pub(super) fn new(
        grace: Duration,
        connect: Arc<dyn Connect>,
        last: Option<LastEndpoints>,
    ) -> Self {
        Self {
            grace,
            connect,
            last: last.map(Mutex::new),
            problems: Mutex::default(),
        }
    }

    /// Retires lanes whose endpoints are gone; they finish what they have within the grace time. Takes in
    /// what waits for endpoints that nothing defines.
    pub(super) fn retire_absent(&self, lanes: &Mutex<RunningLanes>, previous: &PreviousTable) {
        let deadline = Instant::now() + self.grace;
        let last = self.lock_last();
        let mut lanes = lock(lanes);
        if lanes.is_stopping {
            return;
        }
        // Every endpoint has its lane, so there are others only if there are more.
        let all_defined = lanes.lanes.len() == previous.endpoints();
        let is_defined =
            |(instance, name): &LaneKey| all_defined || previous.has_endpoint(instance, name);
        lanes.retire_absent(is_defined, |(instance, name), lane| {
            tracing::info!(endpoint = %format!("{instance}/{name}"),
                grace = ?self.grace, "the endpoint was removed; its lane finishes");
            lane.retire(deadline);
        });
        lanes.restore_unreadable();
        self.adopt_unclaimed(last.as_deref(), &mut lanes);
    }

    /// Gives what waits for endpoints that nothing defines a lane: by its last definition it is delivered within
    /// what is left of the grace time. Without one it is seen, not sent. After that it becomes dead letters.
    fn adopt_unclaimed(&self, last: Option<&LastEndpoints>, lanes: &mut RunningLanes) {
        let time = lanes.recovered.as_ref().map(RecoveredLanes::time);
        let unclaimed = lanes.recovered.as_ref().map(RecoveredLanes::unclaimed);
        for key in unclaimed.unwrap_or_default() {
            let (setup, left) = match self.by_last_definition(last, &key, time) {
                Some(adopted) => adopted,
                None => (undefined(&key, self.grace), self.grace),
            };
            lanes.start(key, setup, Some(Instant::now() + left));
        }
    }

    /// The lane of an endpoint that nothing defines: it is seen, not sent, and becomes dead letters after the grace time.
    pub(super) fn adopt(&self, lanes: &mut RunningLanes, key: LaneKey) -> Arc<delivery::Lane> {
        let setup = undefined(&key, self.grace);
        lanes.start(key, setup, Some(Instant::now() + self.grace))
    }

    fn by_last_definition(
        &self,
        last: Option<&LastEndpoints>,
        key: &LaneKey,
        time: Option<Duration>,
    ) -> Option<AdoptedLane> {
        let kept = last?.get(key)?;
        let endpoint = format!("{}/{}", key.0, key.1);
        let setup = set_up(&*self.connect, &kept.endpoint, Arc::clone(&kept.settings));
        match setup {
            Ok(setup) => {
                let left = kept.left(self.grace, time.unwrap_or_default());
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

    fn lock_last(&self) -> Option<MutexGuard<'_, LastEndpoints>> {
        self.last.as_ref().map(lock)
    }

    /// Keeps definitions that are about to be in use, and those that are about to go. Blocks on the disk.
    pub(super) fn note_last(
        &self,
        lanes: &Mutex<RunningLanes>,
        previous: &PreviousTable,
        planned: &[PlannedInstance],
        now: Timestamp,
    ) {
        let Some(mut last) = self.lock_last() else {
            return;
        };
        let defined = planned.iter().flat_map(|instance| {
            let previous = previous.instance(&instance.name);
            instance
                .endpoints
                .iter()
                .map(move |endpoint| -> DefinedEndpoint {
                    let definition = match &endpoint.change {
                        Some((definition, _)) => Some(definition),
                        None => previous
                            .and_then(|previous| previous.endpoints.get(&endpoint.name))
                            .map(|previous| &previous.definition),
                    };
                    let key = (instance.name.clone(), endpoint.name.clone());
                    let definition = definition.and_then(|known| known.endpoint_definition());
                    (key, definition)
                })
        });
        let lanes = lock(lanes);
        let removal = EndpointRemoval {
            at: now,
            time: lanes.recovered.as_ref().map(RecoveredLanes::time),
        };
        last.note(defined, |key| lanes.waits(key), removal);
        drop(lanes);
        self.save(&mut last);
    }

    /// Tries again to write what could not be written.
    pub(super) fn save_last(&self) {
        if let Some(mut last) = self.lock_last() {
            self.save(&mut last);
        }
    }

    /// Forgets the definitions of removed endpoints whose lanes are over. Blocks on the disk.
    pub(super) fn forget_ended(&self, lanes: &Mutex<RunningLanes>) {
        let Some(mut last) = self.lock_last() else {
            return;
        };
        let lanes = lock(lanes);
        if lanes.is_stopping {
            // What a lane leaves in the journal now is for the next start.
            return;
        }
        last.forget(|key| lanes.waits(key));
        drop(lanes);
        self.save(&mut last);
    }

    /// Whether last definitions are kept.
    pub(super) fn keeps_last(&self) -> bool {
        self.last.is_some()
    }

    /// What is wrong with their file, for people.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.problems).clone()
    }

    fn save(&self, last: &mut LastEndpoints) {
        last.save();
        *lock(&self.problems) = last.problems();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lane of an endpoint of which nothing is known but its name.
fn undefined((instance, name): &LaneKey, grace: Duration) -> delivery::LaneSetup {
    tracing::error!(endpoint = %format!("{instance}/{name}"), ?grace,
        "events wait in the journal for an endpoint of which there is no definition, not even its last one: define \
         it again within the grace time to have them delivered; then they become dead letters kept here");
    delivery::LaneSetup {
        endpoint_type: "unknown".into(),
        address: String::new(),
        sink: UserSink::of(delivery::HeldSink),
        store: None,
        settings: Arc::new(EndpointSettings::default()),
        hold: Some(delivery::HoldReason::Undefined),
    }
}
