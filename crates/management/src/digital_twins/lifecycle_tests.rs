//! Instances and endpoints through their lives, as a client sees them.

use crate::testing::{BASE, TestClient, TestReply};
use serde_json::{Value, json};

pub(super) const VERSION: &str = "2023-01-31";
const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";
pub(super) const STRING: &str =
    "Endpoint=sb://ns.example/;SharedAccessKeyName=send;SharedAccessKey=marked;EntityPath=hub";

pub(super) fn instance(name: &str) -> String {
    format!("{SUB}/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{name}")
}

pub(super) fn here() -> Value {
    json!({ "location": "westus2" })
}

pub(super) fn event_hub() -> Value {
    json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": STRING } })
}

/// A client with an instance `twins`.
pub(super) async fn with_instance() -> TestClient {
    let client = TestClient::new(VERSION);
    client.put_and_wait(&instance("twins"), &here()).await;
    client
}

pub(super) fn refused(reply: &TestReply) -> (u16, &str) {
    (
        reply.status,
        reply.json["error"]["code"].as_str().unwrap_or("(none)"),
    )
}

#[tokio::test]
async fn an_instance_lives() {
    let client = TestClient::new(VERSION);
    let twins = instance("Twins");
    let body = json!({ "location": "West US 2", "tags": { "a": "1" }, "identity": { "type": "SystemAssigned" } });
    let made = client.put(&twins, &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json["properties"]["provisioningState"], "Provisioning");
    assert_eq!(made.json["properties"]["hostName"], Value::Null);
    assert!(made.json["identity"]["principalId"].is_string());
    assert_eq!(made.header("retry-after"), "1");
    let status = client.end(&made).await;
    assert_eq!(
        (status.status, &status.json["status"]),
        (200, &json!("Succeeded"))
    );
    let result = client.get(made.header("location")).await;
    let found = client.get(&twins).await;
    assert_eq!(result.json, found.json);
    assert_eq!(found.json["location"], "westus2");
    assert_eq!(
        found.json["properties"]["hostName"],
        "azure.test/instances/Twins"
    );

    let again = client.put(&twins, &body).await;
    assert_eq!(again.status, 200);
    assert!(again.headers.get("azure-asyncoperation").is_none());

    let tagged = client.patch(&twins, &json!({ "tags": { "b": "2" } })).await;
    assert_eq!(
        (tagged.status, &tagged.json["tags"]),
        (200, &json!({ "b": "2" }))
    );
    let patch = json!({ "identity": { "type": "None" }, "properties": { "publicNetworkAccess": "disabled" } });
    let patched = client.patch(&twins, &patch).await;
    assert_eq!(patched.status, 202);
    client.end(&patched).await;
    let found = client.get(&twins).await;
    assert!(found.json.get("identity").is_none());
    assert_eq!(found.json["properties"]["publicNetworkAccess"], "Disabled");
    assert_eq!(found.json["tags"], json!({ "b": "2" }));

    let gone = client.delete(&twins).await;
    assert_eq!(
        (gone.status, &gone.json["properties"]["provisioningState"]),
        (202, &json!("Deleting"))
    );
    client.end(&gone).await;
    assert_eq!(client.get(gone.header("location")).await.status, 204);
    assert_eq!(
        refused(&client.get(&twins).await),
        (404, "ResourceNotFound")
    );
    assert_eq!(client.delete(&twins).await.status, 204);
}

#[tokio::test]
async fn what_an_instance_may_not_be_is_said_in_arms_words() {
    let client = with_instance().await;
    let elsewhere = instance("TWINS").replace("/rg/", "/other/");
    for (path, body, expect) in [
        (instance("new"), json!({}), (400, "LocationRequired")),
        (
            instance("twins"),
            json!({ "location": "eastus" }),
            (409, "InvalidResourceLocation"),
        ),
        (elsewhere, here(), (409, "Conflict")),
        (instance("-x-"), here(), (400, "InvalidResourceName")),
        (
            instance("new"),
            json!({ "location": 1 }),
            (400, "InvalidRequestContent"),
        ),
        (
            instance("new"),
            json!({ "location": "x", "tags": [] }),
            (400, "InvalidParameter"),
        ),
        (
            instance("new"),
            json!({ "location": "eastus", "tags": { "a": 1 } }),
            (400, "InvalidRequestContent"),
        ),
        (
            instance("new"),
            json!({ "location": "eastus", "identity": { "type": "Both" } }),
            (400, "InvalidParameter"),
        ),
        (
            instance("new"),
            json!({ "location": "eastus", "identity": { "type": "UserAssigned" } }),
            (400, "InvalidParameter"),
        ),
        (instance("new"), json!([]), (400, "InvalidRequestContent")),
    ] {
        let reply = client.put(&path, &body).await;
        assert_eq!(refused(&reply), expect, "{body}");
    }
    assert_eq!(client.get(&instance("new")).await.status, 404);
    let lost = instance("x").replace("/rg/", "/nowhere/");
    assert_eq!(
        refused(&client.get(&lost).await),
        (404, "ResourceGroupNotFound")
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_ids_in_any_case() {
    let client = TestClient::new(VERSION);
    for name in ["aaa", "bbb", "ccc"] {
        client.put_and_wait(&instance(name), &here()).await;
    }
    let all = format!("{SUB}/providers/Microsoft.DigitalTwins/digitalTwinsInstances");
    let mut url = format!("{all}?api-version={VERSION}&$top=2");
    let mut names = Vec::new();
    loop {
        let page = client.get(&url).await;
        let value = page.json["value"].as_array().unwrap();
        names.extend(
            value
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.json.get("nextLink").and_then(Value::as_str) else {
            break;
        };
        assert!(next.starts_with(BASE), "{next}");
        // What the Python client makes of it.
        url = next.replace("$skipToken", "%24skiptoken");
    }
    assert_eq!(names, ["aaa", "bbb", "ccc"]);
    let shouted = instance("AAA").to_ascii_uppercase();
    assert_eq!(client.get(&shouted).await.json["name"], "aaa");
    let reply = client
        .get(&format!("{all}?api-version={VERSION}&$skipToken=%21"))
        .await;
    assert_eq!(refused(&reply), (400, "InvalidParameter"));
}

#[tokio::test]
async fn an_endpoint_lives_and_shows_masks() {
    let client = with_instance().await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let made = client.put(&hub, &event_hub()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json["properties"]["connectionStringPrimaryKey"], "");
    assert_eq!(client.end(&made).await.json["status"], "Succeeded");
    let found = client.get(&hub).await.json;
    let mask = "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***";
    assert_eq!(found["properties"]["connectionStringPrimaryKey"], mask);
    assert!(
        found["properties"]
            .get("connectionStringSecondaryKey")
            .is_none()
    );
    assert_eq!(found["properties"]["authenticationType"], "KeyBased");
    assert_eq!(client.put(&hub, &event_hub()).await.status, 200);

    // What was read can be put back: its masks keep what they stand for.
    assert_eq!(client.put(&hub, &found).await.status, 200);
    let identity = json!({ "properties": {
        "endpointType": "EventHub", "authenticationType": "IdentityBased",
        "endpointUri": "sb://ns.example/", "entityPath": "hub",
    } });
    let turned = client.put(&hub, &identity).await;
    assert_eq!(
        turned.json["error"]["target"],
        "properties.authenticationType"
    );

    let gone = client.delete(&hub).await;
    assert_eq!(
        (gone.status, &gone.json["properties"]["provisioningState"]),
        (202, &json!("Deleting"))
    );
    client.end(&gone).await;
    assert_eq!(refused(&client.get(&hub).await), (404, "ResourceNotFound"));
    client.put_and_wait(&hub, &identity).await;
    let orphan = format!("{}/endpoints/hub-1", instance("nowhere"));
    assert_eq!(
        refused(&client.put(&orphan, &event_hub()).await),
        (404, "ParentResourceNotFound")
    );
}

#[tokio::test]
async fn a_bad_endpoint_is_refused_whole_and_its_fields_named() {
    let client = with_instance().await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let without_entity = STRING.replace(";EntityPath=hub", "");
    for (properties, fields) in [
        (json!({}), "properties.endpointType"),
        (
            json!({ "endpointType": "Kafka" }),
            "properties.endpointType",
        ),
        (
            json!({ "endpointType": "EventHub" }),
            "properties.connectionStringPrimaryKey",
        ),
        (
            json!({ "endpointType": "ServiceBus" }),
            "properties.primaryConnectionString",
        ),
        (
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": without_entity }),
            "properties.connectionStringPrimaryKey",
        ),
        (
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": 7 }),
            "properties.connectionStringPrimaryKey",
        ),
        (
            json!({ "endpointType": "EventGrid", "accessKey1": "k" }),
            "properties.TopicEndpoint",
        ),
        (
            json!({ "endpointType": "EventGrid", "TopicEndpoint": "https://t/api", "accessKey1": "k", "authenticationType": "IdentityBased" }),
            "properties.authenticationType",
        ),
        (
            json!({ "endpointType": "ServiceBus", "authenticationType": "IdentityBased", "endpointUri": "https://ns", "entityPath": "t" }),
            "properties.endpointUri",
        ),
        (
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": STRING, "deadLetterSecret": "https://a/dead" }),
            "properties.deadLetterSecret",
        ),
        (
            json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": STRING, "deadLetterUri": "https://a/dead" }),
            "properties.deadLetterUri",
        ),
    ] {
        let reply = client.put(&hub, &json!({ "properties": properties })).await;
        assert_eq!(reply.status, 400, "{properties}: {reply:?}");
        let error = &reply.json["error"];
        let details = error["details"].as_array();
        let named = match details {
            Some(details) => details
                .iter()
                .map(|detail| detail["target"].as_str().unwrap())
                .collect(),
            None => vec![error["target"].as_str().unwrap()],
        };
        assert_eq!(named.join(" "), fields, "{properties}: {error}");
    }
    let text = client
        .get(&format!("{}/endpoints", instance("twins")))
        .await;
    assert_eq!(text.json["value"], json!([]));
}

#[tokio::test]
async fn private_endpoint_connections_are_made_and_answered_within_the_instance() {
    let client = with_instance().await;
    let connection = format!("{}/privateEndpointConnections/pec-1", instance("twins"));
    let state = |status: &str| {
        json!({ "properties": { "privateLinkServiceConnectionState": {
        "status": status, "description": "by the test",
    } } })
    };
    let made = client.put(&connection, &state("approved")).await;
    assert_eq!(made.status, 202);
    client.end(&made).await;
    let found = client.get(&connection).await.json;
    assert_eq!(
        found["properties"]["privateLinkServiceConnectionState"]["status"],
        "Approved"
    );
    assert_eq!(found["properties"]["groupIds"], json!(["API"]));
    assert_eq!(found["properties"]["provisioningState"], "Succeeded");
    let twins = client.get(&instance("twins")).await.json;
    assert_eq!(
        twins["properties"]["privateEndpointConnections"],
        json!([found])
    );
    client.put_and_wait(&connection, &state("Rejected")).await;
    for (body, target) in [
        (
            json!({ "properties": {} }),
            "properties.privateLinkServiceConnectionState.status",
        ),
        (
            state("Maybe"),
            "properties.privateLinkServiceConnectionState.status",
        ),
    ] {
        let reply = client.put(&connection, &body).await;
        assert_eq!(reply.json["error"]["target"], target, "{reply:?}");
    }
    let gone = client.delete(&connection).await;
    assert_eq!((gone.status, &gone.json), (202, &Value::Null));
    client.end(&gone).await;
    let list = client
        .get(&format!("{}/privateEndpointConnections", instance("twins")))
        .await;
    assert_eq!(list.json, json!({ "value": [] }));
    let resource = client
        .get(&format!("{}/privateLinkResources/api", instance("twins")))
        .await;
    assert_eq!(
        resource.json["properties"]["requiredMembers"],
        json!(["DigitalTwinsAPI"])
    );
}

#[tokio::test]
async fn a_group_goes_with_everything_in_it() {
    let client = with_instance().await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    client.put_and_wait(&hub, &event_hub()).await;
    let group = format!("{SUB}/resourcegroups/RG");
    assert_eq!(client.get(&group).await.json["name"], "rg");
    let gone = client.delete(&group).await;
    assert_eq!(gone.status, 202);
    client.end(&gone).await;
    assert_eq!(
        refused(&client.get(&hub).await),
        (404, "ResourceGroupNotFound")
    );
    assert_eq!(
        refused(&client.get(&group).await),
        (404, "ResourceGroupNotFound")
    );
}
