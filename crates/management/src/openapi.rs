//! What is served, for people and for programs: one list, from which both are made.

use crate::arm::request::ArmRequest;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Methods | path | what it is.
const SERVED: &[&str] = &[
    "get | /subscriptions | Subscriptions",
    "get | /subscriptions/{subscriptionId}/resourceGroups | Resource groups",
    "get put delete | /subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName} \
     | Resource group",
    "get | /providers/Microsoft.DigitalTwins/operations | Operations of Microsoft.DigitalTwins",
    "post | {twins}/locations/{location}/checkNameAvailability | Name availability of an instance",
    "get | {twins}/locations/{location}/operationStatuses/{operationId} | Status of an operation",
    "get | {twins}/locations/{location}/operationResults/{operationId} | Result of an operation",
    "get | {twins}/digitalTwinsInstances | Instances of a subscription",
    "get | {group}/providers/Microsoft.DigitalTwins/digitalTwinsInstances | Instances of a group",
    "get put patch delete \
     | {group}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{resourceName} | Instance",
    "get | {instance}/endpoints | Endpoints",
    "get put delete | {instance}/endpoints/{endpointName} | Endpoint",
    "post | {instance}/endpoints/{endpointName}/swapKeys \
     | Primary and secondary key of an endpoint, swapped",
    "get | {instance}/privateLinkResources | Private link resources",
    "get | {instance}/privateLinkResources/{resourceId} | Private link resource",
    "get | {instance}/privateEndpointConnections | Private endpoint connections",
    "get put delete | {instance}/privateEndpointConnections/{privateEndpointConnectionName} \
     | Private endpoint connection",
    "get | {instance}/timeSeriesDatabaseConnections | Time series database connections",
    "get put delete | {instance}/timeSeriesDatabaseConnections/{timeSeriesDatabaseConnectionName} \
     | Time series database connection",
    "get | /providers/Microsoft.Devices/operations | Operations of Microsoft.Devices",
    "post | {devices}/checkProvisioningServiceNameAvailability \
     | Name availability of a provisioning service",
    "get | {devices}/provisioningServices | Provisioning services of a subscription",
    "get | {group}/providers/Microsoft.Devices/provisioningServices \
     | Provisioning services of a group",
    "get put patch delete | {service} | Provisioning service",
    "get | {service}/operationResults/{operationId} | Operation on a provisioning service",
    "get | {service}/skus | SKUs",
    "post | {service}/listkeys | Authorization policies, with keys",
    "post | {service}/keys/{keyName}/listkeys | One authorization policy, with keys",
    "get | {service}/certificates | Certificates",
    "get put delete | {service}/certificates/{certificateName} | Certificate",
    "post | {service}/certificates/{certificateName}/generateVerificationCode \
     | Verification code of a certificate",
    "post | {service}/certificates/{certificateName}/verify | Verification of a certificate",
    "get | {service}/privateLinkResources | Private link resources of a provisioning service",
    "get | {service}/privateLinkResources/{groupId} \
     | Private link resource of a provisioning service",
    "get | {service}/privateEndpointConnections \
     | Private endpoint connections of a provisioning service",
    "get put delete | {service}/privateEndpointConnections/{privateEndpointConnectionName} \
     | Private endpoint connection of a provisioning service",
    "get | /eventroutes | Event routes of the default instance",
    "get put delete | /eventroutes/{id} | Event route",
    "get | /instances/{resourceName}/eventroutes | Event routes of an instance",
    "get put delete | /instances/{resourceName}/eventroutes/{id} | Event route of an instance",
];

/// What stands for the beginnings of paths: the first three for people, too.
const BEGINNINGS: [(&str, &str); 5] = [
    (
        "{service}",
        "{group}/providers/Microsoft.Devices/provisioningServices/{provisioningServiceName}",
    ),
    (
        "{instance}",
        "{group}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{resourceName}",
    ),
    (
        "{group}",
        "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}",
    ),
    (
        "{twins}",
        "/subscriptions/{subscriptionId}/providers/Microsoft.DigitalTwins",
    ),
    (
        "{devices}",
        "/subscriptions/{subscriptionId}/providers/Microsoft.Devices",
    ),
];

/// As many of them.
const SHORT: usize = 3;

/// The rows of [`SERVED`], taken apart; the first of [`BEGINNINGS`] stay as they are.
fn served(stay_short: usize) -> impl Iterator<Item = (&'static str, String, &'static str)> {
    SERVED.iter().map(move |row| {
        let (methods, rest) = row.split_once(" | ").expect("a row has three cells");
        let (path, summary) = rest.split_once(" | ").expect("a row has three cells");
        let long = BEGINNINGS[stay_short..].iter();
        let path = long.fold(path.to_owned(), |path, (short, long)| {
            path.replace(short, long)
        });
        (methods, path, summary)
    })
}

/// OpenAPI 3.0: the paths and their parameters. What bodies hold is published by Azure.
pub(crate) fn document(request: &ArmRequest) -> Value {
    let mut paths = Map::new();
    for (methods, path, summary) in served(0) {
        let names = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<Value> = names
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let version = json!({ "name": "api-version", "in": "query", "required": true, "schema": { "type": "string" } });
        parameters.push(version);
        let mut item = Map::new();
        for method in methods.split(' ') {
            item.insert(
                method.to_owned(),
                json!({ "summary": summary, "parameters": parameters, "responses": {
                    "default": { "description": "As Azure answers; errors as {\"error\":{\"code\",\"message\"}}" },
                } }),
            );
        }
        paths.insert(path, Value::Object(item));
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "twinroute management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Microsoft.DigitalTwins 2023-01-31, Microsoft.Devices/provisioningServices 2022-12-12 \
                            and the event routes of the Azure Digital Twins data plane 2023-10-31.",
        },
        "servers": [{ "url": request.base }],
        "paths": paths,
    })
}

/// What `/` tells a person.
pub(crate) fn about(request: &ArmRequest) -> String {
    let base = &request.base;
    let mut text = format!(
        "twinroute {}, management API\n\n\
         This is the management API of Azure Digital Twins, served by twinroute: point an Azure SDK at\n\
         {base} and it works as with Azure. Definitions that are put here are in the\n\
         routing table at once.\n\n\
         curl '{base}/subscriptions?api-version=2022-12-01'\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for (methods, path, summary) in served(SHORT) {
        let methods = methods.to_ascii_uppercase();
        writeln!(text, "{summary}: {methods}\n    {path}").expect("a String takes everything");
    }
    text.push('\n');
    for (short, long) in BEGINNINGS[..SHORT].iter().rev() {
        writeln!(text, "{short} = {long}").expect("a String takes everything");
    }
    text.push_str("\n/openapi.json has all of it for programs.\n");
    text
}
