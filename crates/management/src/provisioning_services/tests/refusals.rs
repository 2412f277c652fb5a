//! What is refused, in whose words.

use super::*;
use crate::store::operation::OperationStep;

/// Each of these properties must be refused with this text.
async fn check_properties<const N: usize>(cases: [(Value, &str); N]) {
    let client = TestClient::new(VERSION);
    for (properties, text) in cases {
        let reply = client.put(&service("dps1"), &body(&properties)).await;
        check_flat(&reply, 400, 400_004, text);
        assert_eq!(reply.json["httpStatusCode"], "BadRequest");
    }
}

#[tokio::test]
async fn wrong_properties_are_refused_by_their_path() {
    check_properties([
        (
            json!({ "allocationPolicy": "Random" }),
            "properties.allocationPolicy: must be one of Hashed",
        ),
        (
            json!({ "publicNetworkAccess": true }),
            "properties.publicNetworkAccess: expected a string",
        ),
        (
            json!({ "enableDataResidency": "no" }),
            "properties.enableDataResidency",
        ),
        (
            json!({ "portalOperationsHostName": "a b" }),
            "properties.portalOperationsHostName",
        ),
        (
            json!({ "ipFilterRules": {} }),
            "properties.ipFilterRules: expected an array",
        ),
    ])
    .await;
}

#[tokio::test]
async fn wrong_rules_are_refused_by_their_path() {
    let rule = |name: Value, action: &str, mask: Value, target: Value| {
        let good = json!({ "filterName": "a", "action": "Accept", "ipMask": "10.0.0.0/8" });
        let rule =
            json!({ "filterName": name, "action": action, "ipMask": mask, "target": target });
        json!({ "ipFilterRules": [good, rule] })
    };
    let null = || Value::Null;
    check_properties([
        (
            rule("b".into(), "Accept", "10.0.0.0/33".into(), null()),
            "ipFilterRules[1].ipMask: must be an address",
        ),
        (
            rule("b".into(), "Accept", "example.org/8".into(), null()),
            "ipFilterRules[1].ipMask: must be an address",
        ),
        (
            rule("b".into(), "Accept", null(), null()),
            "properties.ipFilterRules[1].ipMask",
        ),
        (
            rule("A".into(), "Accept", "::/0".into(), null()),
            "ipFilterRules[1].filterName: stands in the list twice",
        ),
        (
            rule("".into(), "Accept", "::/0".into(), null()),
            "ipFilterRules[1].filterName",
        ),
        (
            rule("b".into(), "Maybe", "::/0".into(), null()),
            "ipFilterRules[1].action",
        ),
        (
            rule("b".into(), "Reject", "::/0".into(), "x".into()),
            "ipFilterRules[1].target",
        ),
    ])
    .await;
}

#[tokio::test]
async fn wrong_hubs_are_refused_by_their_path() {
    let hub = |text: &str| json!({ "connectionString": text, "location": "westus" });
    let one = |hub: Value| json!({ "iotHubs": [hub] });
    let odd = json!({ "connectionString": HUB, "location": "westus", "allocationWeight": -1 });
    check_properties([
        (
            one(hub(HUB_MASK)),
            "properties.iotHubs[0].connectionString: is a mask",
        ),
        (
            one(hub("***")),
            "properties.iotHubs[0].connectionString: is a mask",
        ),
        (
            one(hub("HostName=h")),
            "properties.iotHubs[0].connectionString: must be HostName=",
        ),
        (
            one(json!({ "connectionString": HUB })),
            "properties.iotHubs[0].location",
        ),
        (
            one(json!({ "connectionString": HUB, "location": "a/b" })),
            "properties.iotHubs[0].location",
        ),
        (one(odd), "properties.iotHubs[0].allocationWeight"),
        (
            one(json!({ "location": "westus" })),
            "properties.iotHubs[0].connectionString",
        ),
        (
            json!({ "iotHubs": [hub(HUB), hub(HUB)] }),
            "properties.iotHubs[1].connectionString: names a hub",
        ),
    ])
    .await;
}

#[tokio::test]
async fn wrong_policies_are_refused_by_their_path() {
    let policy = |name: Value, rights: Value, key: Value| json!({ "authorizationPolicies": [{ "keyName": name, "rights": rights, "primaryKey": key }] });
    let null = || Value::Null;
    let twice = json!({ "keyName": "a", "rights": "ServiceConfig" });
    check_properties([
        (
            policy(null(), "ServiceConfig".into(), null()),
            "properties.authorizationPolicies[0].keyName",
        ),
        (
            policy("a/b".into(), "ServiceConfig".into(), null()),
            "authorizationPolicies[0].keyName",
        ),
        (
            policy("a".into(), null(), null()),
            "authorizationPolicies[0].rights",
        ),
        (
            policy("a".into(), "ServiceConfig, All".into(), null()),
            "authorizationPolicies[0].rights",
        ),
        (
            policy("a".into(), "ServiceConfig".into(), "****".into()),
            "[0].primaryKey: is a mask",
        ),
        (
            json!({ "authorizationPolicies": [twice, twice] }),
            "authorizationPolicies[1].keyName: stands",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_wrong_body_is_refused_by_the_path_of_the_member() {
    let client = TestClient::new(VERSION);
    let path = service("dps1");
    for (member, value, code, text) in [
        (
            "sku",
            json!({ "name": "F1" }),
            400_059,
            "sku.name: must be S1",
        ),
        (
            "sku",
            json!({ "name": "S1", "capacity": 0 }),
            400_004,
            "sku.capacity",
        ),
        ("sku", json!(null), 400_004, "'sku'"),
        ("properties", json!(null), 400_004, "'properties'"),
        ("tags", json!({ "a": 1 }), 400_004, "tags.a"),
        ("location", json!("../x"), 400_004, "location"),
        ("etag", json!(1), 400_004, "etag"),
    ] {
        let mut wrong = body(&json!({}));
        wrong[member] = value;
        check_flat(&client.put(&path, &wrong).await, 400, code, text);
    }
    check_flat(
        &client.put(&path, &json!([])).await,
        400,
        400_004,
        "(body): expected an object",
    );
    check_arm(&client.get(&path).await, 404, "ResourceGroupNotFound");
}

#[tokio::test]
async fn what_is_settled_at_creation_stays() {
    let (client, path) = with_service("dps1").await;
    let mut moved = body(&json!({}));
    moved["location"] = "westus".into();
    check_arm(
        &client.put(&path, &moved).await,
        409,
        "InvalidResourceLocation",
    );
    let residency = body(&json!({ "enableDataResidency": true }));
    let reply = client.put(&path, &residency).await;
    check_flat(
        &reply,
        400,
        400_004,
        "properties.enableDataResidency: is settled",
    );
    let second = service("dps2");
    client.put_and_wait(&second, &residency).await;
    client.put_and_wait(&second, &body(&json!({}))).await;
    assert_eq!(
        client.get(&second).await.json["properties"]["enableDataResidency"],
        true
    );
}

#[tokio::test]
async fn refusals_of_arm_keep_its_shape() {
    let (client, path) = with_service("dps1").await;
    check_arm(&client.get(&service("none")).await, 404, "ResourceNotFound");
    check_arm(
        &client
            .get(&format!("{path}?api-version=2017-08-21-preview"))
            .await,
        400,
        "NoRegisteredProviderFound",
    );
    let list =
        format!("{SUBSCRIPTION}{PROVIDER}/provisioningServices?api-version=2017-08-21-preview");
    check_arm(&client.get(&list).await, 404, "InvalidResourceType");
    check_arm(
        &client
            .get(&format!("{SUBSCRIPTION}{PROVIDER}/iotHubs"))
            .await,
        404,
        "InvalidResourceType",
    );
    let mut nowhere = body(&json!({}));
    nowhere["location"] = Value::Null;
    check_arm(
        &client.put(&service("dps2"), &nowhere).await,
        400,
        "LocationRequired",
    );
    let odd = path.replace("/rg/", "/ends./");
    check_arm(
        &client.put(&odd, &body(&json!({}))).await,
        400,
        "InvalidResourceName",
    );
    check_arm(
        &client.post(&format!("{path}/skus"), None).await,
        405,
        "MethodNotAllowed",
    );
    check_arm(
        &client.get(&format!("{path}/listkeys")).await,
        405,
        "MethodNotAllowed",
    );
    check_arm(
        &client.get(&format!("{path}/operationResults/x")).await,
        404,
        "NotFound",
    );
}

#[tokio::test]
async fn one_operation_runs_at_a_time() {
    let (client, path) = with_service("dps1").await;
    client.hold(&path, OperationStep::Update);
    for reply in [
        client.put(&path, &body(&json!({}))).await,
        client.patch(&path, &json!({ "tags": { "a": "b" } })).await,
        client.delete(&path).await,
    ] {
        check_arm(&reply, 409, "AnotherOperationInProgress");
    }
}

#[tokio::test]
async fn nothing_is_made_in_a_service_that_goes() {
    let (client, path) = with_service("dps1").await;
    client.hold(&path, OperationStep::Delete);
    let certificate = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let certificate = json!({ "properties": { "certificate": certificate.cert.pem() } });
    let state = json!({ "status": "Approved", "description": "" });
    let connection = json!({ "properties": { "privateLinkServiceConnectionState": state } });
    for (child, body) in [
        ("certificates/a", certificate),
        ("privateEndpointConnections/a", connection),
    ] {
        let reply = client.put(&format!("{path}/{child}"), &body).await;
        check_arm(&reply, 409, "AnotherOperationInProgress");
    }
    assert_eq!(client.delete(&path).await.status, 202);
}
