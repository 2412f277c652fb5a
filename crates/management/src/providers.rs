//! What ARM says of itself: providers with their types and versions, locations, and resources of all types.
//!
//! Source: Azure/azure-resource-manager-rpc, "Provider API"; az finds the version of a type here.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::filter::ResourceFilter;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::page;
use crate::arm::request::Request;
use crate::arm::versions;
use crate::desk::Desk;
use crate::store::record::Record;
use serde_json::{Value, json};

/// A provider that is served, with its types.
struct Provider {
    namespace: &'static str,
    versions: &'static [&'static str],
    /// Each with whether its resources stand in a location.
    types: &'static [(&'static str, bool)],
}

const PROVIDERS: &[Provider] = &[
    Provider {
        namespace: "Microsoft.DigitalTwins",
        versions: versions::DIGITAL_TWINS,
        types: &[
            ("digitalTwinsInstances", true),
            ("digitalTwinsInstances/endpoints", true),
            ("digitalTwinsInstances/privateEndpointConnections", true),
            ("digitalTwinsInstances/privateLinkResources", true),
            ("digitalTwinsInstances/timeSeriesDatabaseConnections", true),
            ("locations", false),
            ("locations/checkNameAvailability", true),
            ("locations/operationResults", true),
            ("locations/operationsStatuses", true),
            ("operations", false),
        ],
    },
    Provider {
        namespace: "Microsoft.Devices",
        versions: versions::PROVISIONING,
        types: &[
            ("provisioningServices", true),
            ("provisioningServices/certificates", true),
            ("provisioningServices/privateEndpointConnections", true),
            ("provisioningServices/privateLinkResources", true),
            ("checkProvisioningServiceNameAvailability", false),
            ("operations", false),
        ],
    },
    Provider {
        namespace: "Microsoft.Resources",
        versions: versions::RESOURCES,
        types: &[
            ("subscriptions", false),
            ("subscriptions/locations", false),
            ("subscriptions/providers", false),
            ("subscriptions/resourceGroups", false),
            ("subscriptions/resources", false),
            ("resourceGroups", false),
            ("resources", false),
            ("providers", false),
        ],
    },
];

/// Regions by name and as people read them. Any other name of a region is taken too.
const REGIONS: &[(&str, &str)] = &[
    ("australiaeast", "Australia East"),
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("japaneast", "Japan East"),
    ("koreacentral", "Korea Central"),
    ("northeurope", "North Europe"),
    ("southcentralus", "South Central US"),
    ("southeastasia", "Southeast Asia"),
    ("uksouth", "UK South"),
    ("westcentralus", "West Central US"),
    ("westeurope", "West Europe"),
    ("westus", "West US"),
    ("westus2", "West US 2"),
    ("westus3", "West US 3"),
];

/// The regions, with the configured one among them.
fn regions(desk: &Desk) -> Vec<(String, String)> {
    let own = desk.settings.location.as_str();
    let known = REGIONS.iter().any(|(name, _)| *name == own);
    let own = (!known).then(|| (own.to_owned(), own.to_owned()));
    let regions = REGIONS.iter();
    let regions = regions.map(|(name, shown)| ((*name).to_owned(), (*shown).to_owned()));
    regions.chain(own).collect()
}

/// `GET …/providers`: all that are served.
pub(crate) fn list(desk: &Desk, subscription: Option<&str>) -> Answer {
    let all = PROVIDERS.iter();
    let all = all.map(|provider| describe(desk, provider, subscription));
    Answer::ok(json!({ "value": all.collect::<Vec<_>>() }))
}

/// `GET …/providers/{namespace}`.
///
/// # Errors
/// When it is not served here.
pub(crate) fn get(
    desk: &Desk,
    subscription: Option<&str>,
    namespace: &str,
) -> Result<Answer, Error> {
    let mut all = PROVIDERS.iter();
    let found = all.find(|provider| provider.namespace.eq_ignore_ascii_case(namespace));
    let found = found.ok_or_else(|| Error::UnknownNamespace {
        namespace: namespace.to_owned(),
    })?;
    Ok(Answer::ok(describe(desk, found, subscription)))
}

/// `POST …/providers/{namespace}/register`: SDKs ask for others too, and wait until they are registered.
pub(crate) fn register(desk: &Desk, subscription: &str, namespace: &str) -> Answer {
    get(desk, Some(subscription), namespace).unwrap_or_else(|_| {
        Answer::ok(json!({
            "id": format!("/subscriptions/{subscription}/providers/{namespace}"),
            "namespace": namespace, "registrationState": "Registered", "resourceTypes": [],
        }))
    })
}

fn describe(desk: &Desk, provider: &Provider, subscription: Option<&str>) -> Value {
    // The newest first: az takes the first that is no preview.
    let mut supported = provider.versions.to_vec();
    supported.sort_unstable_by(|one, other| other.cmp(one));
    let stable = supported.iter().find(|version| version.len() == 10);
    let regions: Vec<String> = regions(desk).into_iter().map(|(_, shown)| shown).collect();
    let types = provider.types.iter().map(|(name, located)| {
        let locations: &[String] = if *located { &regions } else { &[] };
        json!({
            "resourceType": name, "locations": locations, "apiVersions": supported,
            "defaultApiVersion": stable, "capabilities": "None",
        })
    });
    let namespace = provider.namespace;
    let scope = subscription.map(|subscription| format!("/subscriptions/{subscription}"));
    json!({
        "id": format!("{}/providers/{namespace}", scope.unwrap_or_default()),
        "namespace": namespace,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": "Registered",
        "resourceTypes": types.collect::<Vec<_>>(),
    })
}

/// `GET /subscriptions/{subscription}/locations`.
pub(crate) fn locations(desk: &Desk, subscription: &str) -> Answer {
    let all = regions(desk).into_iter().map(|(name, shown)| {
        json!({
            "id": format!("/subscriptions/{subscription}/locations/{name}"),
            "name": name, "type": "Region", "displayName": shown, "regionalDisplayName": shown,
            "metadata": { "regionType": "Physical", "regionCategory": "Recommended" },
        })
    });
    Answer::ok(json!({ "value": all.collect::<Vec<_>>() }))
}

/// `GET …/resources`: what stands in a subscription or a group, of every type; children are no part of it.
///
/// # Errors
/// When `$filter` or `$skipToken` is not understood.
pub(crate) fn resources(
    desk: &Desk,
    request: &Request,
    subscription: &str,
    group: Option<&str>,
) -> Result<Answer, Error> {
    let filter = request.query("$filter").unwrap_or_default();
    let filter = ResourceFilter::parse(filter).map_err(|rule| Error::Invalid {
        target: "$filter".to_owned(),
        rule,
    })?;
    let after = request.query("$skipToken");
    let after = after.map(|token| page::read_token(token, "$skipToken"));
    let after = after.transpose()?.unwrap_or_default();
    let state = desk.store.read();
    let mut found: Vec<Record> = Vec::new();
    for kind in [Kind::Instance, Kind::Service] {
        let prefix = match group {
            Some(group) => ResourceId::group_prefix(kind, subscription, group),
            None => ResourceId::subscription_prefix(kind, subscription),
        };
        found.extend(
            state
                .range(&prefix, None)
                .filter(|record| filter.takes(record)),
        );
    }
    found.retain(|record| record.id.key() > after);
    found.sort_by_key(|record| record.id.key());
    let items_max = page::items_max(request)?;
    let more = found.len() > items_max;
    found.truncate(items_max);
    let mut body = json!({ "value": found.iter().map(generic).collect::<Vec<_>>() });
    if let Some(last) = found.last().filter(|_| more) {
        body["nextLink"] = page::next(request, &page::token(&last.id.key())).into();
    }
    Ok(Answer::ok(body))
}

/// `GenericResource`: what resources of every type have.
fn generic(record: &Record) -> Value {
    let whole = record.render();
    let mut shown = json!({});
    for member in ["id", "name", "type", "location", "tags", "identity", "sku"] {
        if let Some(value) = whole.get(member).filter(|value| !value.is_null()) {
            shown[member] = value.clone();
        }
    }
    shown["provisioningState"] = record.state().into();
    shown
}
