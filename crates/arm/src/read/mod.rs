//! From what a management API lists to definitions.
//!
//! Whatever the server says, reading it ends in definitions: what is wrong with one endpoint or route is
//! that one's alone. An endpoint that cannot be used waits, with its reason, so that its events do too; a
//! route that cannot be used is left out with a warning (docs/decisions/0012-azure-as-a-source.md). Enum
//! words, members and names are taken in any case, since every enum of the API is open (`modelAsString`)
//! and recorded answers differ in case; masks of all generations count as absent.

mod endpoint;
mod members;
mod route;

use members::{object, object_name};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use twinroute_credential::overlay::FoundSecrets;
use twinroute_model::endpoint::{Endpoint, EndpointDestination, ProvisioningState};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::network::NetworkAccess;
use twinroute_router::source::DefinitionFault;

/// An instance as it was answered, its lists complete.
#[derive(Clone, Serialize, Deserialize)]
pub struct InstanceListing {
    /// The instance's own resource.
    pub instance: Box<RawValue>,
    /// Every endpoint resource.
    pub endpoints: Vec<Box<RawValue>>,
    /// Every event route.
    pub routes: Vec<Box<RawValue>>,
}

/// A server that masks nothing would put secrets here.
impl std::fmt::Debug for InstanceListing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listing")
            .field("endpoints", &self.endpoints.len())
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

impl InstanceListing {
    /// The endpoints' names, as far as they are names.
    #[must_use]
    pub fn endpoint_names(&self) -> Vec<EndpointName> {
        let objects = self.endpoints.iter().filter_map(|item| object(item));
        objects
            .filter_map(|object| endpoint::name(&object).ok())
            .collect()
    }

    /// Whether an endpoint is on its way to another state: who looks again soon sees which.
    pub(super) fn is_changing(&self) -> bool {
        let mut objects = self.endpoints.iter().filter_map(|item| object(item));
        objects.any(|object| endpoint::is_changing(&object))
    }
}

/// What a listing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingResult {
    /// The definitions, sorted by name and id.
    pub instance: Instance,
    /// What was skipped or replaces something else; a person should know each.
    pub warnings: Vec<DefinitionFault>,
}

impl ListingResult {
    /// The endpoints that wait, and for what.
    #[must_use]
    pub fn waiting(&self) -> Vec<DefinitionFault> {
        let waits = |endpoint: &Endpoint| match &endpoint.destination {
            EndpointDestination::Waiting(waiting) => Some(DefinitionFault::new(
                object_name("endpoint", &self.instance.name, endpoint.name.as_str()),
                waiting.missing.clone(),
            )),
            _ => None,
        };
        self.instance.endpoints.iter().filter_map(waits).collect()
    }
}

/// Reads a listing as the definitions of `instance`, with the secrets of the overlay.
#[must_use]
pub fn read(
    instance: &InstanceName,
    listing: &InstanceListing,
    secrets: &FoundSecrets,
) -> ListingResult {
    let mut warnings = Vec::new();
    let mut endpoints: BTreeMap<EndpointName, Endpoint> = BTreeMap::new();
    for item in &listing.endpoints {
        let mut notes = Vec::new();
        let read = match object(item) {
            Some(object) => endpoint::read(&object, instance, secrets, &mut notes),
            None => Err("one of the list is no object and is left out".to_owned()),
        };
        match read {
            Ok(endpoint) => {
                let object = object_name("endpoint", instance, endpoint.name.as_str());
                let notes = notes
                    .into_iter()
                    .map(|note| DefinitionFault::new(&*object, note));
                warnings.extend(notes);
                if endpoints.contains_key(&endpoint.name) {
                    let reason = "is listed twice; the first is used";
                    warnings.push(DefinitionFault::new(object, reason));
                } else {
                    endpoints.insert(endpoint.name.clone(), endpoint);
                }
            }
            Err(reason) => warnings.push(DefinitionFault::new(
                format!("endpoints of {instance}"),
                reason,
            )),
        }
    }
    // A route to one that is being deleted would keep the table from being made.
    let targets = endpoints
        .values()
        .filter(|endpoint| endpoint.provisioning_state != Some(ProvisioningState::Deleting));
    let targets: HashSet<&EndpointName> = targets.map(|endpoint| &endpoint.name).collect();
    let mut routes = BTreeMap::new();
    for item in &listing.routes {
        let read = object(item).ok_or_else(|| {
            let object = format!("routes of {instance}");
            DefinitionFault::new(object, "one of the list is no object and is left out")
        });
        match read.and_then(|object| route::read(&object, instance, &targets)) {
            Ok(route) if routes.contains_key(&route.id) => {
                let object = object_name("route", instance, route.id.as_str());
                warnings.push(DefinitionFault::new(
                    object,
                    "is listed twice; the first is used",
                ));
            }
            Ok(route) => drop(routes.insert(route.id.clone(), route)),
            Err(fault) => warnings.push(fault),
        }
    }
    drop(targets);
    let (network, wrong) = NetworkAccess::read(&object(&listing.instance).unwrap_or_default());
    let object = format!("instance {instance}");
    warnings.extend(
        wrong
            .iter()
            .map(|error| DefinitionFault::new(&*object, error.to_string())),
    );
    ListingResult {
        instance: Instance {
            name: instance.clone(),
            endpoints: endpoints.into_values().collect(),
            routes: routes.into_values().collect(),
            network,
        },
        warnings,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
