use super::*;
use std::path::PathBuf;

fn read(name: &str, content: &Value) -> Result<Vec<PutDefinition>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, content.to_string()).unwrap();
    let instance = InstanceName::new("demo").unwrap();
    let found = JsonDefinitions::read(&file, Some(&instance));
    found.map_err(|faults| {
        let about = faults.into_iter().map(|mut fault| {
            fault.file = Some(PathBuf::from(name));
            fault.to_string()
        });
        about.collect()
    })
}

fn route(instance: &str, id: &str, filter: &str) -> PutDefinition {
    PutDefinition::Route(RouteSnapshot {
        instance: instance.to_owned(),
        route: id.to_owned(),
        endpoint: "hub".to_owned(),
        filter: filter.to_owned(),
    })
}

fn endpoint(instance: &str, name: &str, kind: EndpointType) -> PutDefinition {
    PutDefinition::Endpoint(instance.to_owned(), name.to_owned(), kind)
}

#[test]
fn definitions_are_read_in_every_form_that_tools_print() {
    let body = serde_json::json!({"endpointName": "hub", "filter": "true"});
    let listed = serde_json::json!({"id": "r1", "endpointName": "hub", "filter": "true"});
    let hub = serde_json::json!({"properties": {"endpointType": "eventhub"}});
    let arm = serde_json::json!({
        "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.DigitalTwins/digitalTwinsInstances/plant/endpoints/hub",
        "name": "hub", "type": "Microsoft.DigitalTwins/digitalTwinsInstances/endpoints",
        "properties": {"endpointType": "EventHub", "provisioningState": "Succeeded"}
    });
    let named = serde_json::json!({
        "name": "plant/topic", "type": "Microsoft.DigitalTwins/digitalTwinsInstances/endpoints",
        "properties": {"endpointType": "ServiceBus"}
    });
    let nested = serde_json::json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "resources": [{
            "type": "Microsoft.DigitalTwins/digitalTwinsInstances", "name": "plant", "location": "westeurope",
            "properties": {}, "resources": [{"type": "endpoints", "name": "grid", "properties": {"endpointType": "EventGrid"}}]
        }, {"type": "Microsoft.EventHub/namespaces", "name": "ns", "properties": {}}]
    });
    for (content, expect) in [
        (body.clone(), vec![route("demo", "changed", "true")]),
        (listed.clone(), vec![route("demo", "r1", "true")]),
        (
            serde_json::json!([listed]),
            vec![route("demo", "r1", "true")],
        ),
        (
            serde_json::json!({"value": [listed], "nextLink": null}),
            vec![route("demo", "r1", "true")],
        ),
        (
            hub,
            vec![endpoint("demo", "changed", EndpointType::EventHub)],
        ),
        (
            serde_json::json!({"resources": [arm, named]}),
            vec![
                endpoint("plant", "hub", EndpointType::EventHub),
                endpoint("plant", "topic", EndpointType::ServiceBus),
            ],
        ),
        (
            nested,
            vec![endpoint("plant", "grid", EndpointType::EventGrid)],
        ),
    ] {
        assert_eq!(read("changed.json", &content).unwrap(), expect, "{content}");
    }
}

#[test]
fn what_is_no_definition_is_named_with_the_way_out() {
    let unnamed = serde_json::json!([{"endpointName": "hub", "filter": "true"}]);
    let expression = serde_json::json!({"name": "[parameters('n')]", "properties": {"endpointType": "EventHub"}});
    let kind = serde_json::json!({"properties": {"endpointType": "EventHubs"}});
    let filter = serde_json::json!({"endpointName": "hub", "filter": true});
    for (content, expect) in [
        (
            serde_json::json!({"a": 1}),
            "hub.json: holds neither a route (endpointName and filter) nor an endpoint",
        ),
        (
            serde_json::json!(7),
            "hub.json: must be an object or a list of objects",
        ),
        (
            unnamed,
            "hub.json: route: has no name: give it `id` or `name`",
        ),
        (
            expression,
            "hub.json: endpoint [parameters('n')]: has a template expression as its name",
        ),
        (
            kind,
            "hub.json: endpoint hub: `endpointType` is none of EventGrid, EventHub, ServiceBus; did you mean EventHub?",
        ),
        (
            filter,
            "hub.json: route hub: `endpointName` and `filter` must be texts",
        ),
    ] {
        let faults = read("hub.json", &content).unwrap_err();
        assert!(faults[0].starts_with(expect), "{faults:?}");
    }
}
