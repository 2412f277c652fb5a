//! From what is stored to the definitions of the table, and from definitions of another source to what is shown.

use crate::arm::id::{ResourceId, ResourceKind};
use crate::digital_twins::endpoint_record;
use crate::settings::Settings;
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use twinroute_model::endpoint::{
    DeadLetterDestination, Endpoint, EndpointDestination, EndpointIdentity, NamespaceAccess,
    ProvisioningState,
};
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::route::Route;
use twinroute_model::secret::Secret;

/// All instances with their endpoints and routes, as the table takes them.
pub(crate) fn instances(state: &StoreState) -> Vec<Instance> {
    let mut instances = Vec::new();
    for record in state
        .kind(ResourceKind::Instance)
        .filter(|record| record.state() != "Deleting")
    {
        let Ok(name) = InstanceName::new(&record.id.name) else {
            continue;
        };
        let prefix = record.id.children(ResourceKind::Endpoint);
        let endpoints = state
            .endpoints(&prefix, endpoint_record::definition)
            .cloned();
        let endpoints = endpoints.collect();
        let prefix = record.id.children(ResourceKind::Route);
        let routes = state.routes(&prefix, route).cloned().collect();
        instances.push(Instance {
            name,
            endpoints,
            routes,
            network: state.network_access(&record),
        });
    }
    instances
}

/// The route that a record defines.
pub(crate) fn route(record: &ResourceRecord) -> Option<Route> {
    Some(Route {
        id: RouteId::new(&record.id.name).ok()?,
        endpoint_name: EndpointName::new(record.text("endpointName")?).ok()?,
        filter: record.text("filter")?.to_owned(),
    })
}

/// Records that show definitions of another source.
pub(crate) fn records(settings: &Settings, instances: &[Instance]) -> Vec<ResourceRecord> {
    let (subscription, group) = (&settings.subscription, &settings.resource_group);
    let mut view = ResourceRecord::group(ResourceId::group(subscription, group));
    view.set("location", settings.location.as_str());
    let mut records = vec![view];
    for instance in instances {
        let name = instance.name.as_str();
        let id = ResourceId::top(ResourceKind::Instance, subscription, group, name);
        let body = json!({
            "location": settings.location, "tags": null,
            "properties": {
                "provisioningState": "Succeeded", "publicNetworkAccess": instance.network.public.as_str(),
            },
        });
        records.push(ResourceRecord::public(id.clone(), body));
        records.extend(instance.network.connections.iter().map(|connection| {
            let body = json!({ "properties": {
                "provisioningState": "Succeeded",
                "privateLinkServiceConnectionState": {
                    "status": connection.status.as_str(), "description": "", "actionsRequired": "None",
                },
            } });
            let id = id.child(ResourceKind::Connection, &connection.name);
            ResourceRecord::public(id, body)
        }));
        records.extend(instance.endpoints.iter().map(|endpoint| {
            let id = id.child(ResourceKind::Endpoint, endpoint.name.as_str());
            show(id, endpoint)
        }));
        records.extend(instance.routes.iter().map(|route| {
            let id = id.child(ResourceKind::Route, route.id.as_str());
            let name = route.endpoint_name.as_str();
            ResourceRecord::public(id, json!({ "endpointName": name, "filter": route.filter }))
        }));
    }
    records
}

/// An endpoint as a record. What its secrets are is not kept: a mask is all that anybody sees.
fn show(id: ResourceId, endpoint: &Endpoint) -> ResourceRecord {
    let state = endpoint
        .provisioning_state
        .unwrap_or(ProvisioningState::Succeeded);
    let mut properties = json!({
        "endpointType": endpoint.endpoint_type(), "authenticationType": "KeyBased", "provisioningState": state,
    });
    let failure = |code: &str, message: &str| json!({ "code": code, "message": message });
    if let Some(reason) = &endpoint.provisioning_error {
        properties["provisioningError"] = failure("ProvisioningFailed", reason);
    }
    let mut secrets = BTreeMap::new();
    // Each secret that is there gets a mask where it would stand, so that readers see the shape they
    // would write.
    let mut hide =
        |member: &str| drop(secrets.insert(format!("/properties/{member}"), Secret::new("hidden")));
    let keys = match &endpoint.destination {
        EndpointDestination::EventGrid(topic) => {
            properties["TopicEndpoint"] = topic.endpoint.as_str().into();
            hide("accessKey1");
            if topic.access_key2.is_some() {
                hide("accessKey2");
            }
            None
        }
        EndpointDestination::EventHub(access) => Some((
            access,
            ["connectionStringPrimaryKey", "connectionStringSecondaryKey"],
        )),
        EndpointDestination::ServiceBus(access) => Some((
            access,
            ["primaryConnectionString", "secondaryConnectionString"],
        )),
        EndpointDestination::Waiting(waiting) => {
            properties["provisioningState"] = "Warning".into();
            properties["provisioningError"] = failure("WaitingForSecret", &waiting.missing);
            None
        }
        // Not of the management API: its type is all that can be shown.
        _ => None,
    };
    match keys {
        Some((NamespaceAccess::Keys { secondary, .. }, [first, second])) => {
            hide(first);
            if secondary.is_some() {
                hide(second);
            }
        }
        Some((
            NamespaceAccess::Identity {
                endpoint_uri,
                entity_path,
                identity,
            },
            _,
        )) => {
            properties["authenticationType"] = "IdentityBased".into();
            properties["endpointUri"] = endpoint_uri.as_str().into();
            properties["entityPath"] = entity_path.as_str().into();
            properties["identity"] = show_identity(identity);
        }
        None => {}
    }
    match &endpoint.dead_letter {
        Some(DeadLetterDestination::Sas(_)) => hide("deadLetterSecret"),
        Some(DeadLetterDestination::Identity(uri)) => {
            properties["deadLetterUri"] = uri.as_str().into()
        }
        _ => {}
    }
    let mut record = ResourceRecord::public(id, json!({ "properties": properties }));
    record.secrets = secrets;
    record
}

fn show_identity(identity: &EndpointIdentity) -> Value {
    match identity.user_assigned() {
        None => json!({ "type": "SystemAssigned" }),
        Some(id) => json!({ "type": "UserAssigned", "userAssignedIdentity": id }),
    }
}
