//! Which number a lane has in this process, and how all routers of a cluster mean the same one.

use crate::record::LaneId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::stable_hash::stable_hash;

/// What a lane is for.
pub type LaneName = (InstanceName, EndpointName);

/// A lane as all routers of a cluster mean it, without having agreed on anything: the stable hash of instance and endpoint
/// name, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterLaneId(pub u64);

impl ClusterLaneId {
    /// The id of an endpoint's lane.
    #[must_use]
    pub fn of(name: &LaneName) -> Self {
        let (instance, endpoint) = name;
        Self(stable_hash(
            &instance.as_str().to_ascii_lowercase(),
            &endpoint.as_str().to_ascii_lowercase(),
        ))
    }
}

/// The lanes of this process: each name has one number, from 1, for as long as the process lives. Clones share it.
///
/// It grows with the endpoints that were ever seen, by some 200 bytes each.
#[derive(Clone, Debug, Default)]
pub struct LaneRegister(Arc<Mutex<RegisteredLanes>>);

#[derive(Debug, Default)]
struct RegisteredLanes {
    numbers: HashMap<LaneName, LaneId>,
    /// By number, less one.
    names: Vec<LaneName>,
}

impl LaneRegister {
    /// The number of a lane; a new one when it has none. Names compare without case.
    ///
    /// # Panics
    /// After 2^32 names.
    #[must_use]
    pub fn bind(&self, name: &LaneName) -> LaneId {
        let mut lanes = self.lock();
        if let Some(number) = lanes.numbers.get(name) {
            return *number;
        }
        lanes.names.push(name.clone());
        let number = LaneId(u32::try_from(lanes.names.len()).expect("endpoints are bounded"));
        lanes.numbers.insert(name.clone(), number);
        number
    }

    /// What a lane is for; none where no lane has the number.
    #[must_use]
    pub fn name(&self, lane: LaneId) -> Option<LaneName> {
        let at = (lane.0 as usize).checked_sub(1)?;
        self.lock().names.get(at).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, RegisteredLanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(instance: &str, endpoint: &str) -> LaneName {
        let instance = InstanceName::new(instance).unwrap();
        (instance, EndpointName::new(endpoint).unwrap())
    }

    #[test]
    fn all_routers_mean_the_same_lane_however_it_is_written() {
        let id = ClusterLaneId::of(&name("plant", "hub"));
        assert_eq!(id, ClusterLaneId(2_938_071_103_839_997_139));
        assert_eq!(ClusterLaneId::of(&name("Plant", "HUB")), id);
        assert_ne!(ClusterLaneId::of(&name("plan", "thub")), id);
    }

    #[test]
    fn a_lane_has_one_number_in_a_process() {
        let lanes = LaneRegister::default();
        let first = lanes.bind(&name("plant", "hub"));
        assert_eq!(lanes.bind(&name("PLANT", "Hub")), first);
        let second = lanes.bind(&name("plant", "topic"));
        assert_eq!((first, second), (LaneId(1), LaneId(2)));
        assert_eq!(lanes.name(second), Some(name("plant", "topic")));
        assert_eq!(lanes.name(LaneId(0)), None);
        assert_eq!(lanes.name(LaneId(3)), None);
    }
}
