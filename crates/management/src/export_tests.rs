use super::*;
use crate::management::{ManagementServer, StoreBacking, ask};
use crate::testing::OpenDestinations;
use bytes::Bytes;
use twinroute_model::clock::SystemClock;
use twinroute_model::name::InstanceName;
use twinroute_model::seal::SealKey;

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/grüße_(1)";
const HUB: &str =
    "Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey=a2V5LW9mLWh1Yg==;EntityPath=hub";

fn author() -> ChangeAuthor {
    ChangeAuthor::command("command", "tests")
}

fn instance() -> String {
    format!("{GROUP}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/plant")
}

fn service() -> String {
    format!("{GROUP}/providers/Microsoft.Devices/provisioningServices/dps1")
}

fn management() -> ManagementServer {
    let name = InstanceName::new("default").unwrap();
    let (settings, clock) = (Settings::default(), Arc::new(SystemClock));
    let connect = Arc::new(OpenDestinations);
    ManagementServer::open_offline(&settings, StoreBacking::Memory, name, connect, clock).unwrap()
}

/// One resource of each kind that an instance has, and a provisioning service.
fn document() -> Value {
    let (instance, service) = (instance(), service());
    let connection = json!({ "status": "Approved", "description": "d", "actionsRequired": "None" });
    json!({ "resources": [
        // In no order: what belongs to something may stand before it.
        { "id": format!("{instance}/eventRoutes/All"), "endpointName": "hub-1", "filter": "true" },
        { "id": format!("{instance}/endpoints/hub-1"), "properties": {
            "endpointType": "EventHub", "connectionStringPrimaryKey": HUB,
            "provisioningState": "Failed",
        } },
        { "id": instance, "location": "westus2", "tags": { "a": "b" } },
        { "id": format!("{instance}/privateEndpointConnections/c1"),
            "properties": { "privateLinkServiceConnectionState": connection } },
        { "id": service, "location": "eastus", "sku": { "name": "S1", "capacity": 2 },
            "etag": "of-another-time", "properties": {
                "idScope": "0ne0000ABCD",
                "iotHubs": [{ "location": "eastus", "connectionString":
                    "HostName=h.azure-devices.net;SharedAccessKeyName=o;SharedAccessKey=a2V5LWlvdA==" }],
            } },
    ] })
}

/// What an export holds of one resource.
fn of<'a>(export: &'a Value, id: &str) -> &'a Value {
    let mut all = export["resources"].as_array().unwrap().iter();
    all.find(|resource| resource["id"] == id).unwrap()
}

fn ids(export: &Value) -> Vec<&str> {
    let all = export["resources"].as_array().unwrap().iter();
    all.map(|resource| resource["id"].as_str().unwrap())
        .collect()
}

async fn refused(management: &ManagementServer, document: &Value) -> Vec<RefusedResource> {
    match management
        .import(document, ExistingResources::Replace, &author())
        .await
    {
        Err(ImportError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_export_with_secrets_makes_the_same_store_again() {
    let first = management();
    let imported = first
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    assert_eq!(imported.created.len(), 5, "{imported:?}");
    let export = first.export(ExportedSecrets::Revealed);
    let (instance, service) = (instance(), service());
    assert_eq!(
        ids(&export),
        [
            GROUP.to_owned(),
            instance.clone(),
            format!("{instance}/endpoints/hub-1"),
            format!("{instance}/privateEndpointConnections/c1"),
            format!("{instance}/eventRoutes/All"),
            service.clone(),
        ]
    );
    let hub = of(&export, &format!("{instance}/endpoints/hub-1"));
    assert_eq!(hub["properties"]["connectionStringPrimaryKey"], HUB);
    // Whether it works is asked by whoever serves it, not by an import.
    assert_eq!(hub["properties"]["provisioningState"], "Provisioning");
    let idscope = &of(&export, &service)["properties"]["idScope"];
    assert_eq!(idscope, "0ne0000ABCD");

    let second = management();
    second
        .import(&export, ExistingResources::Keep, &author())
        .await
        .unwrap();
    let again = second.export(ExportedSecrets::Revealed);
    let bare = |export: &Value| {
        let mut export = export.clone();
        for resource in export["resources"].as_array_mut().unwrap() {
            // When and by whom, which is of each store.
            for name in ["systemData", "etag"] {
                resource.as_object_mut().unwrap().remove(name);
            }
            if let Some(properties) = resource["properties"].as_object_mut() {
                properties.retain(|name, _| !name.ends_with("Time"));
            }
        }
        export
    };
    assert_eq!(bare(&again), bare(&export));
}

#[tokio::test]
async fn endpoints_are_provisioned_once_the_store_is_served() {
    let management = management();
    management
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    let state = || {
        let endpoint = &management.instances()[0].endpoints[0];
        format!("{:?}", endpoint.provisioning_state.unwrap())
    };
    assert_eq!(state(), "Provisioning");
    let mut changes = management.changes();
    management.resume();
    changes.changed().await.unwrap();
    assert_eq!(state(), "Succeeded");
    assert_eq!(management.instances()[0].routes.len(), 1);
}

#[tokio::test]
async fn masks_show_no_secret_and_are_refused() {
    let first = management();
    first
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    let export = first.export(ExportedSecrets::Masked);
    let text = export.to_string();
    assert!(text.contains("***"), "{text}");
    for secret in ["a2V5LW9mLWh1Yg", "a2V5LWlvdA"] {
        assert!(!text.contains(secret), "{text}");
    }
    let second = management();
    let refused = refused(&second, &export).await;
    let text = format!("{refused:?}");
    assert!(
        text.contains("holds masks for secrets: properties.connectionStringPrimaryKey; put"),
        "{text}"
    );
    assert!(
        text.contains("properties.iotHubs[0].connectionString"),
        "{text}"
    );
    assert_eq!(ids(&second.export(ExportedSecrets::Masked)), [""; 0]);
}

#[tokio::test]
async fn one_bad_resource_keeps_all_out() {
    let instance = instance();
    let endpoint = format!("{instance}/endpoints/hub-1");
    let route = format!("{instance}/eventRoutes/All");
    for (change, resource, reason) in [
        (
            json!({ "id": route, "endpointName": "hub-1", "filter": "type =" }),
            &route,
            "The provided filter is invalid.",
        ),
        (
            json!({ "id": route, "endpointName": "none", "filter": "true" }),
            &route,
            "The endpoint provided does not exist",
        ),
        (
            json!({ "id": endpoint, "properties": { "endpointType": "EventHub" } }),
            &endpoint,
            "properties.connectionStringPrimaryKey",
        ),
        (
            json!({ "id": endpoint, "type": "Microsoft.DigitalTwins/digitalTwinsInstances" }),
            &endpoint,
            "its `type` is",
        ),
    ] {
        let management = management();
        let mut document = document();
        let all = document["resources"].as_array_mut().unwrap();
        let place = all.iter_mut().find(|known| known["id"] == change["id"]);
        *place.unwrap() = change;
        let refused = refused(&management, &document).await;
        let found = refused.iter().find(|refused| refused.resource == *resource);
        assert!(found.unwrap().reason.contains(reason), "{refused:?}");
        assert_eq!(ids(&management.export(ExportedSecrets::Masked)), [""; 0]);
    }
    let management = management();
    let mut twice = document();
    let all = twice["resources"].as_array_mut().unwrap();
    all.push(all[0].clone());
    all.push(json!({ "id": "/nowhere" }));
    all.push(json!({}));
    let refused = refused(&management, &twice).await;
    let reasons: Vec<_> = refused
        .iter()
        .map(|refused| refused.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "stands in the document twice",
            "its `id` is not that of a resource stored here",
            "has no `id`"
        ]
    );
    let error = management
        .import(&json!([]), ExistingResources::Keep, &author())
        .await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the document is no export: it has no list `resources`"
    );
}

#[tokio::test]
async fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let management = management();
    management
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    management.resume();
    settle(&management.context()).await;
    let mut other = document();
    let all = other["resources"].as_array_mut().unwrap();
    all.retain(|resource| resource["id"].as_str().unwrap().contains("eventRoutes"));
    all[0]["filter"] = "false".into();
    let filter = || {
        let export = management.export(ExportedSecrets::Masked);
        of(&export, &format!("{}/eventRoutes/All", instance()))["filter"].clone()
    };
    let kept = management
        .import(&other, ExistingResources::Keep, &author())
        .await
        .unwrap();
    assert_eq!((kept.kept.len(), kept.created.len()), (1, 0));
    assert_eq!(filter(), "true");
    let replaced = management
        .import(&other, ExistingResources::Replace, &author())
        .await
        .unwrap();
    assert_eq!((replaced.replaced.len(), replaced.created.len()), (1, 0));
    assert_eq!(filter(), "false");
}

#[tokio::test]
async fn what_is_being_deleted_is_not_exported_with_what_belongs_to_it() {
    let management = management();
    management
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    let path = instance();
    let path = utf8_percent_encode(&path, ESCAPED);
    let request = http::Request::delete(format!("{path}?api-version=2023-01-31"));
    let request = request.header("host", "localhost").body(Bytes::new());
    let answer = ask(&management, request.unwrap()).await;
    assert_eq!(answer.status().as_u16(), 202);
    let export = management.export(ExportedSecrets::Masked);
    let left: Vec<_> = ids(&export).into_iter().map(str::to_owned).collect();
    assert!(
        !left.iter().any(|id| id.contains("DigitalTwins")),
        "{left:?}"
    );
}

#[tokio::test]
async fn an_import_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let key = SealKey::generate().unwrap();
    let open = || {
        let key = SealKey::parse(&key).unwrap();
        let backing = StoreBacking::Disk {
            path: folder.path().join("store.redb"),
            key: Box::new(key),
        };
        let name = InstanceName::new("default").unwrap();
        let (settings, clock) = (Settings::default(), Arc::new(SystemClock));
        ManagementServer::open_offline(&settings, backing, name, Arc::new(OpenDestinations), clock)
            .unwrap()
    };
    let first = open();
    first
        .import(&document(), ExistingResources::Keep, &author())
        .await
        .unwrap();
    let export = first.export(ExportedSecrets::Revealed);
    drop(first);
    assert_eq!(open().export(ExportedSecrets::Revealed), export);
}
