//! What the table in use was made of, so that what did not change is known again.

use super::fingerprint::DefinitionFingerprint;
use super::route::CompiledRoute;
use super::sink_definition::SinkDefinition;
use crate::delivery::Lane;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};

/// What the table in use was made of.
#[derive(Default)]
pub(super) struct PreviousTable(HashMap<InstanceName, PreviousInstance>);

#[derive(Default)]
pub(super) struct PreviousInstance {
    pub(super) endpoints: HashMap<EndpointName, PreviousEndpoint>,
    pub(super) routes: HashMap<RouteId, CompiledRoute>,
}

pub(super) struct PreviousEndpoint {
    pub(super) definition: SinkDefinition,
    pub(super) fingerprint: DefinitionFingerprint,
    pub(super) lane: Arc<Lane>,
}

impl PreviousTable {
    /// What is known of an instance; nothing yet if it is new.
    pub(super) fn instance_mut(&mut self, name: &InstanceName) -> &mut PreviousInstance {
        self.0.entry(name.clone()).or_default()
    }

    /// Forgets all instances but these.
    pub(super) fn retain<'a>(&mut self, names: impl Iterator<Item = &'a InstanceName>) {
        let names: HashSet<&InstanceName> = names.collect();
        self.0.retain(|name, _| names.contains(name));
    }

    /// All endpoints.
    pub(super) fn endpoints(&self) -> usize {
        self.0
            .values()
            .map(|instance| instance.endpoints.len())
            .sum()
    }

    pub(super) fn instance(&self, name: &InstanceName) -> Option<&PreviousInstance> {
        self.0.get(name)
    }

    pub(super) fn has_endpoint(&self, instance: &InstanceName, name: &EndpointName) -> bool {
        self.instance(instance)
            .is_some_and(|instance| instance.endpoints.contains_key(name))
    }
}

/// Forgets all but these.
pub(super) fn retain_only<'a, K: Eq + Hash + 'a, V>(
    known: &mut HashMap<K, V>,
    names: impl ExactSizeIterator<Item = &'a K>,
) {
    // All of them are here, so there are others only if there are more.
    if names.len() < known.len() {
        let names: HashSet<&K> = names.collect();
        known.retain(|name, _| names.contains(name));
    }
}
