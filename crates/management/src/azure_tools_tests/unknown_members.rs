//! `dps-newest` and its kind: no member is dropped in silence.

use super::*;
use crate::testing::TestClient;

const USER: &str = "/subscriptions/x/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u";

#[tokio::test]
async fn dps_newest_stores_and_shows_what_is_new() {
    let client = TestClient::new(DEVICES);
    let path = service("dps");
    let body = json!({
        "location": "eastus", "sku": { "name": "S1", "capacity": 2, "more": true },
        "identity": { "type": "SystemAssigned, UserAssigned", "userAssignedIdentities": { USER: {} } },
        "properties": {
            "disableLocalAuth": true,
            "deviceRegistryNamespaces": [
                { "resourceId": "/subscriptions/x/namespaces/n", "authenticationType": "systemassigned",
                  "linkingState": "Succeeded", "namespaceUuid": "1" },
            ],
            "iotHubs": [
                { "hostName": "a.azure-devices.net", "authenticationType": "SystemAssigned", "location": "eastus" },
                { "hostName": "b.azure-devices.net", "authenticationType": "UserAssigned", "location": "eastus",
                  "selectedUserAssignedIdentityResourceId": USER, "allocationWeight": 3 },
                { "connectionString": "HostName=c.azure-devices.net;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0",
                  "authenticationType": "KeyBased", "location": "eastus" },
            ],
        },
    });
    client.put_and_wait(&path, &body).await;
    let found = client.get(&path).await.json;
    let properties = &found["properties"];
    assert_eq!(found["identity"]["type"], "SystemAssigned,UserAssigned");
    assert!(found["identity"]["principalId"].is_string());
    assert!(found["identity"]["userAssignedIdentities"][USER]["clientId"].is_string());
    assert_eq!(properties["disableLocalAuth"], true);
    let namespace = &properties["deviceRegistryNamespaces"][0];
    assert_eq!(namespace["authenticationType"], "SystemAssigned");
    assert_eq!(namespace["namespaceUuid"], "1");
    let hubs = &properties["iotHubs"];
    assert_eq!(
        hubs[0],
        json!({ "name": "a.azure-devices.net", "hostName": "a.azure-devices.net",
        "authenticationType": "SystemAssigned", "location": "eastus" })
    );
    assert_eq!(hubs[1]["selectedUserAssignedIdentityResourceId"], USER);
    assert_eq!(hubs[2]["authenticationType"], "KeyBased");
    assert_eq!(hubs[2]["name"], "c.azure-devices.net");
    assert_eq!(found["sku"]["more"], true);
    let put = client.put_and_wait(&path, &found).await;
    assert_eq!(put.status, 201);
    assert_eq!(
        client.get(&path).await.json["properties"],
        found["properties"]
    );
}

#[tokio::test]
async fn dps_newest_refuses_hubs_that_say_half() {
    let client = TestClient::new(DEVICES);
    for (hub, path) in [
        (
            json!({ "location": "eastus" }),
            "iotHubs[0].connectionString",
        ),
        (
            json!({ "location": "eastus", "hostName": "a" }),
            "iotHubs[0].connectionString",
        ),
        (
            json!({ "location": "eastus", "authenticationType": "SystemAssigned" }),
            "iotHubs[0].hostName",
        ),
        (
            json!({ "location": "eastus", "authenticationType": "UserAssigned", "hostName": "a" }),
            "iotHubs[0].selectedUserAssignedIdentityResourceId",
        ),
        (
            json!({ "location": "eastus", "authenticationType": "SystemAsigned", "hostName": "a" }),
            "did you mean SystemAssigned?",
        ),
        (
            json!({ "location": "eastus", "authenticationType": "SystemAssigned", "hostName": "a/b" }),
            "iotHubs[0].hostName: must be a host name",
        ),
    ] {
        let body = json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": { "iotHubs": [hub] } });
        let put = client.put(&service("dps"), &body).await;
        let message = put.json["message"].as_str().unwrap_or_default();
        assert!(put.status == 400 && message.contains(path), "{put:?}");
    }
}

#[tokio::test]
async fn unknown_members_are_kept_and_shown_again_everywhere() {
    let client = TestClient::new(TWINS);
    let mut twins = here();
    twins["zones"] = json!(["1"]);
    twins["properties"] = json!({ "newer": { "deep": [1, null] }, "apiSecret": "marked" });
    client.put_and_wait(&instance("twins"), &twins).await;
    let found = client.get(&instance("twins")).await.json;
    assert_eq!(found["zones"], json!(["1"]));
    assert_eq!(found["properties"]["newer"], json!({ "deep": [1, null] }));
    // What looks like a secret is none for everybody, whatever it is.
    assert_eq!(found["properties"]["apiSecret"], "***");
    let again = client.put(&instance("twins"), &found).await;
    assert_eq!(again.status, 200, "nothing changes: {again:?}");

    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let body = json!({ "tier": "x", "properties": {
        "endpointType": "EventHub", "connectionStringPrimaryKey": KEY, "newer": 1,
        "thirdKey": "marked", "url": "https://a?sig=marked", "list": ["SharedAccessKey=marked", "plain"] } });
    client.put_and_wait(&hub, &body).await;
    let found = client.get(&hub).await.json;
    assert!(!found.to_string().contains("marked"), "{found}");
    assert_eq!(
        (&found["tier"], &found["properties"]["newer"]),
        (&json!("x"), &json!(1))
    );
    assert_eq!(found["properties"]["list"], json!(["***", "plain"]));
    assert_eq!(
        client.put(&hub, &found).await.status,
        200,
        "nothing changes"
    );

    let route = "/instances/twins/eventroutes/r1?api-version=2023-10-31";
    let body = json!({ "endpointName": "hub-1", "filter": "true", "newer": { "a": 1 } });
    assert_eq!(client.put(route, &body).await.status, 204);
    assert_eq!(client.get(route).await.json["newer"], json!({ "a": 1 }));
    let state = json!({ "newer": 1, "properties": { "more": 2, "privateLinkServiceConnectionState": {
        "status": "Approved", "description": "" } } });
    let connection = format!("{}/privateEndpointConnections/c1", instance("twins"));
    client.put_and_wait(&connection, &state).await;
    let found = client.get(&connection).await.json;
    assert_eq!(
        (&found["newer"], &found["properties"]["more"]),
        (&json!(1), &json!(2))
    );
    let group = format!("{SUB}/resourceGroups/rg");
    client
        .put(&group, &json!({ "location": "westus2", "managedBy": "x" }))
        .await;
    assert_eq!(client.get(&group).await.json["managedBy"], "x");
}

#[tokio::test]
async fn unknown_members_of_a_patch_are_kept_and_known_ones_refused_by_name() {
    let client = TestClient::new(TWINS);
    client.put_and_wait(&instance("twins"), &here()).await;
    let patch =
        json!({ "newer": 1, "location": "West US 2", "identity": {}, "tags": { "a": "b" } });
    let patched = client.patch(&instance("twins"), &patch).await;
    assert!(patched.status < 300, "{patched:?}");
    let found = client.get(&instance("twins")).await.json;
    assert_eq!(
        (&found["newer"], &found["tags"]),
        (&json!(1), &json!({ "a": "b" }))
    );
    let moved = client
        .patch(&instance("twins"), &json!({ "location": "eastus" }))
        .await;
    assert_eq!(code(&moved), (409, "InvalidResourceLocation"));

    let version = "?api-version=2026-11-01";
    let path = format!("{}{version}", service("dps"));
    let body = json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": {} });
    let made = client.put(&path, &body).await;
    client.end(&made).await;
    let refused = client
        .patch(
            &path,
            &json!({ "properties": { "allocationPolicy": "Static" } }),
        )
        .await;
    let message = refused.json["message"].as_str().unwrap_or_default();
    assert!(
        refused.status == 400 && message.starts_with("properties: "),
        "{refused:?}"
    );
    let read = client.get(&path).await.json;
    let same = client.patch(&path, &read).await;
    assert_eq!(
        same.status, 200,
        "what is sent back changes nothing: {same:?}"
    );
}

#[tokio::test]
async fn unknown_members_of_one_user_assigned_identity_are_kept() {
    let client = TestClient::new(TWINS);
    let identity = |more: Value| {
        let mut body = here();
        body["identity"] =
            json!({ "type": "UserAssigned", "newer": 1, "userAssignedIdentities": { USER: more } });
        body
    };
    let more = json!({ "clientId": "ignored", "newer": { "a": [1] }, "none": null });
    client
        .put_and_wait(&instance("twins"), &identity(more))
        .await;
    let found = client.get(&instance("twins")).await.json;
    let user = &found["identity"]["userAssignedIdentities"][USER];
    assert_eq!(
        (&user["newer"], user.get("none")),
        (&json!({ "a": [1] }), None)
    );
    assert_ne!(user["clientId"], "ignored", "the server's own");
    let again = client.put(&instance("twins"), &found).await;
    assert_eq!(again.status, 200, "nothing changes: {again:?}");

    let patch = json!({ "identity": identity(json!({ "other": 2 }))["identity"] });
    let patched = client.patch(&instance("twins"), &patch).await;
    client.end(&patched).await;
    let found = client.get(&instance("twins")).await.json;
    assert_eq!(found["identity"]["newer"], 1, "{found}");
    let user = &found["identity"]["userAssignedIdentities"][USER];
    assert_eq!((&user["other"], user.get("newer")), (&json!(2), None));

    for (identity, target) in [
        (
            json!({ "type": "UserAssigned", "userAssignedIdentities": { USER: 5 } }),
            "identity.userAssignedIdentities./subscriptions",
        ),
        (
            json!({ "type": "UserAssigned", "userAssignedIdentities": { USER: { "ClientId": "x" } } }),
            "did you mean `clientId`?",
        ),
        (
            json!({ "type": "SystemAssigned", "userAssignedIdentities": { USER: {} } }),
            "the type is SystemAssigned",
        ),
        (
            json!({ "type": "None", "userAssignedIdentities": { USER: {} } }),
            "the type is None",
        ),
        (
            json!({ "userAssignedIdentities": { USER: { "a": 1 } } }),
            "the type is absent",
        ),
    ] {
        let mut body = here();
        body["identity"] = identity;
        let put = client.put(&instance("twins"), &body).await;
        let text = put.json.to_string();
        assert!(put.status == 400 && text.contains(target), "{put:?}");
    }
    let mut body = here();
    body["identity"] =
        json!({ "type": "SystemAssigned", "userAssignedIdentities": { USER: null } });
    let put = client.put(&instance("twins"), &body).await;
    assert!(put.status < 300, "null is none: {put:?}");
}

#[tokio::test]
async fn absent_null_and_empty_are_one_in_a_put() {
    let client = TestClient::new(TWINS);
    for body in [
        json!({ "location": "westus2", "tags": null, "identity": null, "properties": null }),
        json!({ "location": " westus2\n", "identity": {}, "properties": {} }),
        json!({ "location": "westus2", "identity": { "type": "" }, "properties": { "publicNetworkAccess": "" } }),
    ] {
        let put = client.put(&instance("twins"), &body).await;
        assert!(put.status < 300, "{put:?}");
        if put.status == 201 {
            client.end(&put).await;
        }
        let found = client.get(&instance("twins")).await.json;
        assert_eq!(found["properties"]["publicNetworkAccess"], "Enabled");
        assert!(found.get("identity").is_none(), "{found}");
    }
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let plain =
        json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": KEY } });
    client.put_and_wait(&hub, &plain).await;
    for (member, value) in [
        ("authenticationType", json!("")),
        ("authenticationType", json!(null)),
        ("identity", json!({})),
        (
            "identity",
            json!({ "type": null, "userAssignedIdentity": "" }),
        ),
        ("deadLetterSecret", json!(" ")),
        ("connectionStringSecondaryKey", json!("")),
        ("newer", json!(null)),
    ] {
        let mut body = plain.clone();
        body["properties"][member] = value;
        assert_eq!(
            client.put(&hub, &body).await.status,
            200,
            "{member}: nothing changes"
        );
    }
    for bad in [json!({ "properties": null }), json!({})] {
        assert_eq!(
            code(&client.put(&hub, &bad).await),
            (400, "InvalidRequestContent")
        );
    }
}

#[tokio::test]
async fn errors_that_follow_are_not_reported_by_the_api() {
    let client = TestClient::new(TWINS);
    client.put_and_wait(&instance("twins"), &here()).await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    for (properties, target, hint) in [
        (
            json!({ "endpointType": "EventHub", "authenticationType": "IdentityBased", "entityPath": "h",
            "endpointUri": "sb://n", "identity": { "type": "SystemAssigned,UserAssigned" } }),
            "properties.identity.type",
            "must be SystemAssigned or UserAssigned",
        ),
        (
            json!({ "endpointType": "EventGrid", "topicEndpoint": "https://t/api", "accessKey1": "k" }),
            "properties.topicEndpoint",
            "did you mean `TopicEndpoint`?",
        ),
        (
            json!({ "endpointType": "EventGrid", "TopicEndpont": "https://t/api", "accessKey1": "k" }),
            "properties.TopicEndpoint",
            "did you mean it by `TopicEndpont`?",
        ),
        (
            json!({ "endpointType": "EventHubs", "connectionStringPrimaryKey": KEY }),
            "properties.endpointType",
            "did you mean EventHub?",
        ),
        (
            json!({ "endpointType": "EventGrid", "authenticationType": "IdentityBased", "accessKey1": "k",
            "TopicEndpoint": "https://t/api" }),
            "properties.authenticationType",
            "are key-based",
        ),
    ] {
        let put = client.put(&hub, &json!({ "properties": properties })).await;
        let error = &put.json["error"];
        assert_eq!(code(&put), (400, "ValidationFailed"), "{put:?}");
        assert_eq!(error["details"].as_array().unwrap().len(), 1, "{error}");
        assert_eq!(error["target"], target, "{error}");
        assert!(error["message"].as_str().unwrap().contains(hint), "{error}");
    }
}
