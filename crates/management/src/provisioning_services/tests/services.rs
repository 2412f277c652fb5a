//! Services: their life, lists, private link.

use super::*;
use crate::testing::BASE;

#[tokio::test]
async fn a_new_service_is_activating_until_its_operation_ends() {
    let client = TestClient::new(VERSION);
    let path = service("dps1");
    let created = client.put(&path, &body(&json!({}))).await;
    assert_eq!(created.status, 201);
    let view = &created.json;
    assert_eq!(view["properties"]["state"], "Activating");
    assert_eq!(view["properties"]["provisioningState"], "Accepted");
    for absent in [
        "idScope",
        "serviceOperationsHostName",
        "authorizationPolicies",
    ] {
        assert!(view["properties"].get(absent).is_none(), "{view}");
    }
    assert!(view.get("etag").is_none(), "{view}");
    let url = created.header("azure-asyncoperation");
    let begin = format!("{BASE}{path}/operationResults/");
    assert!(
        url.starts_with(&begin) && url.ends_with("?api-version=2022-12-12&asyncinfo"),
        "{url}"
    );
    assert!(created.headers.get("location").is_none());
    assert_eq!(created.header("retry-after"), "1");
    assert_eq!(
        client.end(&created).await.json,
        json!({ "status": "Succeeded" })
    );
}

#[tokio::test]
async fn an_active_service_shows_what_it_is() {
    let client = TestClient::new(VERSION);
    let path = service("dps1");
    let sent = json!({
        "location": "East US", "sku": { "name": "s1", "capacity": 2 },
        "properties": { "enableDataResidency": false, "state": "Suspended", "idScope": "0neFFFFFFFF" },
        "name": "another", "id": "/x", "resourcegroup": "y", "subscriptionid": "z",
    });
    client.put_and_wait(&path, &sent).await;
    let read = client.get(&path).await;
    assert_eq!(read.status, 200);
    let view = &read.json;
    assert_eq!(view["id"], path);
    assert_eq!(view["name"], "dps1");
    assert_eq!(view["type"], "Microsoft.Devices/provisioningServices");
    assert_eq!(view["location"], "eastus");
    assert_eq!(view["resourcegroup"], "rg");
    assert_eq!(
        view["subscriptionid"],
        SUBSCRIPTION["/subscriptions/".len()..]
    );
    assert_eq!(view["tags"], json!({}));
    assert_eq!(
        view["sku"],
        json!({ "name": "S1", "tier": "Standard", "capacity": 2 })
    );
    let scope = view["properties"]["idScope"].as_str().unwrap();
    let digits = scope.strip_prefix("0ne").unwrap();
    assert!(
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{scope}"
    );
    let mut properties = view["properties"].clone();
    properties["idScope"] = "0ne".into();
    let expect = json!({
        "state": "Active", "provisioningState": "Succeeded", "allocationPolicy": "Hashed",
        "publicNetworkAccess": "Enabled", "enableDataResidency": false, "iotHubs": [], "idScope": "0ne",
        "serviceOperationsHostName": "dps1.azure-devices-provisioning.net",
        "deviceProvisioningHostName": "global.azure-devices-provisioning.net",
        "portalOperationsHostName": "dps1.services.azure-devices-provisioning.net",
    });
    assert_eq!(properties, expect);
}

#[tokio::test]
async fn a_changed_service_is_transitioning_and_has_a_new_etag() {
    let (client, path) = with_service("dps1").await;
    let read = client.get(&path).await;
    let scope = &read.json["properties"]["idScope"];
    let mut again = read.json.clone();
    again["properties"]["allocationPolicy"] = "geolatency".into();
    let changed = client.put(&path, &again).await;
    assert_eq!(changed.status, 201, "{changed:?}");
    assert_eq!(changed.json["properties"]["state"], "Transitioning");
    assert_eq!(etag(&changed), etag(&read));
    client.end(&changed).await;
    let after = client.get(&path).await;
    assert_ne!(etag(&after), etag(&read));
    assert_eq!(after.json["properties"]["allocationPolicy"], "GeoLatency");
    assert_eq!(&after.json["properties"]["idScope"], scope);
}

#[tokio::test]
async fn a_deleted_service_is_gone_when_its_operation_ends() {
    let (client, path) = with_service("dps1").await;
    let deleted = client.delete(&path).await;
    assert_eq!((deleted.status, &deleted.json), (202, &Value::Null));
    let location = deleted.header("location");
    let begin = format!("{BASE}{path}/operationResults/");
    assert!(
        location.starts_with(&begin) && !location.contains("asyncinfo"),
        "{location}"
    );
    // The operation may end between two requests: each shows one of both states, never another.
    let response = client.get(&path).await;
    match response.status {
        200 => assert_eq!(response.json["properties"]["state"], "Deleting"),
        _ => check_arm(&response, 404, "ResourceNotFound"),
    }
    let during = client.get(location).await.status;
    assert!([202, 204].contains(&during), "{during}");
    client.end(&deleted).await;
    assert_eq!(
        client
            .get(&location.replace("operationResults", "operationresults"))
            .await
            .status,
        204
    );
    check_arm(&client.get(&path).await, 404, "ResourceNotFound");
    assert_eq!(client.delete(&path).await.status, 204);
}

#[tokio::test]
async fn the_location_of_a_finished_operation_shows_the_service_without_secrets() {
    let client = TestClient::new(VERSION);
    let hub = json!({ "connectionString": HUB, "location": "West US" });
    let path = service("dps1");
    let created = client
        .put_and_wait(&path, &body(&json!({ "iotHubs": [hub] })))
        .await;
    let url = created
        .header("azure-asyncoperation")
        .replace("&asyncinfo", "");
    let result = client.get(&url).await;
    assert_eq!(
        (result.status, &result.json),
        (200, &client.get(&path).await.json)
    );
    let foreign = url.replace("/dps1/", "/dps2/");
    check_arm(&client.get(&foreign).await, 404, "NotFound");
    let timed = created.header("azure-asyncoperation").to_owned() + "=1508265712453";
    assert_eq!(
        client.get(&timed).await.json,
        json!({ "status": "Succeeded" })
    );
}

#[tokio::test]
async fn only_who_has_read_the_present_etag_changes_a_service() {
    let (client, path) = with_service("dps1").await;
    let plain = body(&json!({}));
    let first = client.get(&path).await;
    let unread = client.put_and_wait(&path, &plain).await;
    assert!(unread.json.get("etag").is_none(), "{unread:?}");

    let mut stale = plain.clone();
    stale["etag"] = first.json["etag"].clone();
    let reply = client.put(&path, &stale).await;
    check_flat(&reply, 412, 412_001, "Invalid ETag supplied.");
    assert_eq!(reply.json["httpStatusCode"], "PreconditionFailed");
    let quoted = format!("\"{}\"", etag(&first));
    for method in ["PUT", "PATCH", "DELETE"] {
        for sent in [etag(&first), &quoted, "\u{e9}"] {
            let reply = client
                .send(method, &path, &[("if-match", sent)], Some(&plain))
                .await;
            check_flat(&reply, 412, 412_001, "'dps1' has changed");
        }
    }

    let present = etag(&client.get(&path).await).to_owned();
    let quoted = format!("\"x\", \"{present}\"");
    let reply = client
        .send(
            "PATCH",
            &path,
            &[("if-match", &quoted)],
            Some(&json!({ "tags": { "a": "1" } })),
        )
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_ne!(etag(&reply), present);
    let mut both = plain.clone();
    both["etag"] = reply.json["etag"].clone();
    let refused = client
        .send("PUT", &path, &[("if-match", &present)], Some(&both))
        .await;
    check_flat(&refused, 412, 412_001, "Invalid ETag");
    let any = client
        .send("PUT", &path, &[("if-match", "*")], Some(&both))
        .await;
    assert_eq!(any.status, 201, "{any:?}");
    client.end(&any).await;

    let fresh = client
        .send("PUT", &service("dps2"), &[("if-match", "*")], Some(&plain))
        .await;
    check_flat(&fresh, 412, 412_001, "'dps2' is not there");
    let deleted = client
        .send("DELETE", &path, &[("if-match", "*")], None)
        .await;
    assert_eq!(deleted.status, 202);
}

#[tokio::test]
async fn a_patch_replaces_tags_and_nothing_else() {
    let (client, path) = with_service("dps1").await;
    let before = client.get(&path).await;
    let more = json!({ "tags": { "foo": "bar" }, "properties": { "allocationPolicy": "Static" } });
    let refused = client.patch(&path, &more).await;
    check_flat(
        &refused,
        400,
        400_004,
        "properties: cannot be changed by a PATCH",
    );
    let patch = json!({ "tags": { "foo": "bar" }, "properties": { "allocationPolicy": "Hashed" } });
    let patched = client.patch(&path, &patch).await;
    assert_eq!(
        (patched.status, &patched.json["tags"]),
        (200, &patch["tags"])
    );
    assert!(patched.headers.get("azure-asyncoperation").is_none());
    assert_eq!(patched.json["properties"], before.json["properties"]);
    assert_ne!(etag(&patched), etag(&before));
    let same = client.patch(&path, &patch).await;
    assert_eq!(etag(&same), etag(&patched));
    assert_eq!(
        client.patch(&path, &json!({ "tags": null })).await.json["tags"],
        json!({})
    );
    check_arm(
        &client.patch(&service("none"), &patch).await,
        404,
        "ResourceNotFound",
    );
}

#[tokio::test]
async fn a_name_is_one_for_all_subscriptions() {
    let (client, path) = with_service("dps1").await;
    let elsewhere = path
        .replace(SUBSCRIPTION, OTHER_SUBSCRIPTION)
        .replace("dps1", "DPS1");
    let reply = client.put(&elsewhere, &body(&json!({}))).await;
    check_flat(&reply, 409, 409_001, "'DPS1' exists already");
    let check = format!("{OTHER_SUBSCRIPTION}{PROVIDER}/checkProvisioningServiceNameAvailability");
    for (name, available, reason) in [
        ("dps1", false, "AlreadyExists"),
        ("dps2", true, "Invalid"),
        ("123", false, "Invalid"),
        ("-ab", false, "Invalid"),
        ("ab", false, "Invalid"),
    ] {
        let reply = client.post(&check, Some(&json!({ "name": name }))).await;
        assert_eq!(
            (&reply.json["nameAvailable"], &reply.json["reason"]),
            (&json!(available), &json!(reason))
        );
        assert!(reply.json["message"].is_string());
        if reason == "Invalid" && !available {
            check_flat(
                &client.put(&service(name), &body(&json!({}))).await,
                400,
                400_004,
                "name:",
            );
        }
    }
    let gone = client.delete(&path).await;
    client.end(&gone).await;
    client.put_and_wait(&elsewhere, &body(&json!({}))).await;
}

#[tokio::test]
async fn lists_have_pages_and_no_secrets() {
    let client = TestClient::new(VERSION);
    let hub = json!({ "connectionString": HUB, "location": "westus" });
    for index in 0..3 {
        let path = service(&format!("dps{index}"));
        client
            .put_and_wait(&path, &body(&json!({ "iotHubs": [hub] })))
            .await;
    }
    let list = format!("{SUBSCRIPTION}/resourcegroups/RG{PROVIDER}/provisioningServices");
    for all in [
        list.clone(),
        format!("{SUBSCRIPTION}{PROVIDER}/provisioningServices"),
    ] {
        let mut names = Vec::new();
        let mut next = format!("{all}?api-version={VERSION}&$top=2");
        loop {
            let page = client.get(&next).await;
            for service in page.json["value"].as_array().unwrap() {
                names.push(service["name"].as_str().unwrap().to_owned());
                assert_eq!(
                    service["properties"]["iotHubs"][0]["connectionString"],
                    HUB_MASK
                );
            }
            match page.json["nextLink"].as_str() {
                Some(link) => next = link.to_owned(),
                None => break,
            }
        }
        assert_eq!(names, ["dps0", "dps1", "dps2"], "{all}");
    }
    let elsewhere = format!("{OTHER_SUBSCRIPTION}{PROVIDER}/provisioningServices");
    assert_eq!(client.get(&elsewhere).await.json, json!({ "value": [] }));
    check_arm(
        &client.get(&list.replace("RG", "none")).await,
        404,
        "ResourceGroupNotFound",
    );
}

#[tokio::test]
async fn connections_are_made_changed_and_deleted() {
    let (client, path) = with_service("dps1").await;
    let (list, one) = (
        format!("{path}/privateEndpointConnections"),
        format!("{path}/privateEndpointConnections/c1"),
    );
    assert_eq!(client.get(&list).await.json, json!([]));
    let state = |status: &str| {
        let state = json!({ "status": status, "description": "by a test" });
        json!({ "properties": { "privateLinkServiceConnectionState": state } })
    };
    let created = client.put_and_wait(&one, &state("approved")).await;
    assert_eq!(created.status, 201);
    assert!(created.headers.get("location").is_none());
    assert_eq!(
        client.put_and_wait(&one, &state("Rejected")).await.status,
        200
    );
    let read = client.get(&one).await;
    let properties = &read.json["properties"];
    assert_eq!(properties["groupIds"], json!(["iotDps"]));
    assert_eq!(properties["provisioningState"], "Succeeded");
    let expect =
        json!({ "status": "Rejected", "description": "by a test", "actionsRequired": "None" });
    assert_eq!(properties["privateLinkServiceConnectionState"], expect);
    assert_eq!(client.get(&list).await.json, json!([read.json]));
    assert_eq!(
        client.get(&path).await.json["properties"]["privateEndpointConnections"],
        json!([read.json])
    );

    let refused = client.put(&one, &json!({ "properties": {} })).await;
    check_flat(
        &refused,
        400,
        400_004,
        "privateLinkServiceConnectionState.status",
    );
    check_arm(
        &client
            .put(&one.replace("dps1", "none"), &state("Approved"))
            .await,
        404,
        "ParentResourceNotFound",
    );
    let deleted = client.delete(&one).await;
    assert_eq!((deleted.status, &deleted.json["name"]), (202, &json!("c1")));
    let location = deleted.header("location").to_owned();
    client.end(&deleted).await;
    assert_eq!(client.get(&location).await.status, 204);
    assert_eq!(client.delete(&one).await.status, 204);

    let resources = client.get(&format!("{path}/privateLinkResources")).await;
    let only = &resources.json["value"][0];
    assert_eq!(
        only["properties"]["requiredZoneNames"],
        json!(["privatelink.azure-devices-provisioning.net"])
    );
    assert_eq!(
        &client
            .get(&format!("{path}/privateLinkResources/iotdps"))
            .await
            .json,
        only
    );
    check_arm(
        &client
            .get(&format!("{path}/privateLinkResources/API"))
            .await,
        404,
        "ResourceNotFound",
    );
}

#[tokio::test]
async fn a_service_takes_what_belongs_to_it_along() {
    let (client, path) = with_service("dps1").await;
    let state = json!({ "status": "Approved", "description": "" });
    let state = json!({ "properties": { "privateLinkServiceConnectionState": state } });
    client
        .put_and_wait(&format!("{path}/privateEndpointConnections/c1"), &state)
        .await;
    let deleted = client.delete(&path).await;
    client.end(&deleted).await;
    client.put_and_wait(&path, &body(&json!({}))).await;
    assert_eq!(
        client
            .get(&format!("{path}/privateEndpointConnections"))
            .await
            .json,
        json!([])
    );
}

#[tokio::test]
async fn what_is_published_beside_services() {
    let (client, path) = with_service("dps1").await;
    assert_eq!(
        client.get(&format!("{path}/skus")).await.json,
        json!({ "value": [{ "name": "S1" }] })
    );
    let operations = client.get(&format!("{PROVIDER}/operations")).await;
    let value = operations.json["value"].as_array().unwrap();
    let named = |name: &str| value.iter().any(|operation| operation["name"] == name);
    assert!(
        named("Microsoft.Devices/provisioningServices/listkeys/action"),
        "{operations:?}"
    );
    assert!(named(
        "Microsoft.Devices/checkProvisioningServiceNameAvailability/action"
    ));
    assert!(
        value
            .iter()
            .all(|operation| operation["display"]["operation"].is_string())
    );
    for version in ["2021-10-15", "2022-02-05", "2026-11-01"] {
        assert_eq!(
            client
                .get(&format!("{path}?api-version={version}"))
                .await
                .status,
            200,
            "{version}"
        );
    }
}
