//! Where definitions come from: one complete listing of instances, endpoints and routes.

mod fault;
mod folder;

pub use fault::{DefinitionFault, DefinitionFaults};
pub use folder::DefinitionFolder;
#[cfg(feature = "watch")]
pub use twinroute_files::watch::FileWatch;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::network::NetworkAccess;
use twinroute_model::settings::EndpointSettings;

/// A complete listing from one source, with the settings that go with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// All instances.
    pub instances: Vec<Instance>,
    /// What is set beside the definitions.
    pub settings: Settings,
    /// What settings are that belong to no endpoint.
    pub strays: StraySettings,
    /// The folder they were read from, where they were, so that faults can name file and line.
    pub folder: Option<DefinitionFolder>,
}

impl Definitions {
    /// The instance of that name; added, empty, when there is none.
    pub fn instance_mut(&mut self, name: &InstanceName) -> &mut Instance {
        let at = self
            .instances
            .iter()
            .position(|instance| instance.name == *name);
        let at = at.unwrap_or_else(|| {
            let name = name.clone();
            self.instances.push(Instance {
                name,
                endpoints: Vec::new(),
                routes: Vec::new(),
                network: NetworkAccess::default(),
            });
            self.instances.len() - 1
        });
        &mut self.instances[at]
    }
}

/// What settings are that belong to no endpoint: whether one may still come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StraySettings {
    /// A mistake: all endpoints there will be are known, as in files.
    #[default]
    Refuse,
    /// A warning: somebody may create the endpoint later, through the management API.
    Warn,
}

/// Settings by endpoint: the tables `[endpoints."name"]` and `[endpoints."instance/name"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, Arc<EndpointSettings>>);

/// Those of endpoints for which nothing is set: most of them.
static UNSET: LazyLock<Arc<EndpointSettings>> = LazyLock::new(Arc::default);

impl Settings {
    /// Takes settings by key; keys ignore case, as endpoint names do.
    #[must_use]
    pub fn new(by_key: impl IntoIterator<Item = (String, EndpointSettings)>) -> Self {
        let lower = |(key, value): (String, EndpointSettings)| {
            let key = key.to_ascii_lowercase();
            (key, Arc::new(value))
        };
        Self(by_key.into_iter().map(lower).collect())
    }

    /// The settings of an endpoint: those that name its instance before those that do not.
    #[must_use]
    pub fn of(&self, instance: &InstanceName, endpoint: &EndpointName) -> Arc<EndpointSettings> {
        if self.is_empty() {
            return Arc::clone(&UNSET);
        }
        let name = endpoint.as_str().to_ascii_lowercase();
        let full = format!("{}/{name}", instance.as_str().to_ascii_lowercase());
        self.0
            .get(&full)
            .or_else(|| self.0.get(&name))
            .map_or_else(|| Arc::clone(&UNSET), Arc::clone)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &EndpointSettings)> {
        self.0
            .iter()
            .map(|(key, settings)| (key.as_str(), &**settings))
    }
}
