//! What ARM says of itself: providers with their types and versions, locations, and resources of all types.
//!
//! Source: Azure/azure-resource-manager-rpc, "Provider API"; az finds the version of a type here.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::link;
use crate::arm::versions;
use crate::context::{ServerCall, ServerContext};
use crate::listing;
use crate::resource_filter::ResourceFilter;
use crate::store::record::ResourceRecord;
use serde_json::{Value, json};

/// A provider that is served, with its types.
struct ResourceProvider {
    namespace: &'static str,
    versions: &'static [&'static str],
    /// Each with whether its resources stand in a location.
    types: &'static [(&'static str, bool)],
}

const PROVIDERS: &[ResourceProvider] = &[
    ResourceProvider {
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
    ResourceProvider {
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
    ResourceProvider {
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
fn regions(context: &ServerContext) -> Vec<(String, String)> {
    let own = context.settings.location.as_str();
    let known = REGIONS.iter().any(|(name, _)| *name == own);
    let own = (!known).then(|| (own.to_owned(), own.to_owned()));
    let regions = REGIONS.iter();
    let regions =
        regions.map(|(name, display_name)| ((*name).to_owned(), (*display_name).to_owned()));
    regions.chain(own).collect()
}

/// `GET …/providers`: all that are served.
pub(crate) fn list(context: &ServerContext, subscription: Option<&str>) -> ArmAnswer {
    let all = PROVIDERS.iter();
    let all = all.map(|provider| describe(context, provider, subscription));
    ArmAnswer::ok(json!({ "value": all.collect::<Vec<_>>() }))
}

/// `GET …/providers/{namespace}`.
///
/// # Errors
/// When it is not served here.
pub(crate) fn get(
    context: &ServerContext,
    subscription: Option<&str>,
    namespace: &str,
) -> Result<ArmAnswer, Error> {
    let mut all = PROVIDERS.iter();
    let found = all.find(|provider| provider.namespace.eq_ignore_ascii_case(namespace));
    let found = found.ok_or_else(|| Error::UnknownNamespace {
        namespace: namespace.to_owned(),
    })?;
    Ok(ArmAnswer::ok(describe(context, found, subscription)))
}

/// `POST …/providers/{namespace}/register`: SDKs ask for others too, and wait until they are registered.
pub(crate) fn register(context: &ServerContext, subscription: &str, namespace: &str) -> ArmAnswer {
    get(context, Some(subscription), namespace).unwrap_or_else(|_| {
        ArmAnswer::ok(json!({
            "id": format!("/subscriptions/{subscription}/providers/{namespace}"),
            "namespace": namespace, "registrationState": "Registered", "resourceTypes": [],
        }))
    })
}

fn describe(
    context: &ServerContext,
    provider: &ResourceProvider,
    subscription: Option<&str>,
) -> Value {
    // The newest first: az takes the first that is no preview.
    let mut supported = provider.versions.to_vec();
    supported.sort_unstable_by(|one, other| other.cmp(one));
    let stable = supported.iter().find(|version| version.len() == 10);
    let regions: Vec<String> = regions(context)
        .into_iter()
        .map(|(_, display_name)| display_name)
        .collect();
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
pub(crate) fn locations(context: &ServerContext, subscription: &str) -> ArmAnswer {
    let all = regions(context).into_iter().map(|(name, display_name)| {
        json!({
            "id": format!("/subscriptions/{subscription}/locations/{name}"),
            "name": name, "type": "Region", "displayName": display_name, "regionalDisplayName": display_name,
            "metadata": { "regionType": "Physical", "regionCategory": "Recommended" },
        })
    });
    ArmAnswer::ok(json!({ "value": all.collect::<Vec<_>>() }))
}

/// `GET …/resources`: what stands in a subscription or a group, of every type; children are no part of it.
///
/// # Errors
/// When `$filter` or `$skipToken` is not understood.
pub(crate) fn resources(
    call: ServerCall<'_>,
    subscription: &str,
    group: Option<&str>,
) -> Result<ArmAnswer, Error> {
    let filter = call.request.query("$filter").unwrap_or_default();
    let filter = ResourceFilter::parse(filter).map_err(|rule| Error::invalid("$filter", rule))?;
    let after = call.request.query("$skipToken");
    let after = after.map(|token| link::read_token(token, "$skipToken"));
    let after = after.transpose()?.unwrap_or_default();
    let state = call.state();
    let mut found: Vec<ResourceRecord> = Vec::new();
    for kind in [ResourceKind::Instance, ResourceKind::Service] {
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
    let items_max = listing::items_max(call.request)?;
    let more = found.len() > items_max;
    found.truncate(items_max);
    let mut body = json!({ "value": found.iter().map(generic).collect::<Vec<_>>() });
    if let Some(last) = found.last().filter(|_| more) {
        body["nextLink"] = link::next(call.request, &link::token(&last.id.key())).into();
    }
    Ok(ArmAnswer::ok(body))
}

/// `GenericResource`: what resources of every type have.
fn generic(record: &ResourceRecord) -> Value {
    let whole = record.render();
    let mut view = json!({});
    for member in ["id", "name", "type", "location", "tags", "identity", "sku"] {
        if let Some(value) = whole.get(member).filter(|value| !value.is_null()) {
            view[member] = value.clone();
        }
    }
    view["provisioningState"] = record.state().into();
    view
}
