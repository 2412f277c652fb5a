//! Keys and connection strings: who gets to see them, and who never does.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Stands in each connection string's key: nobody sees it again.
const HUB_MARK: &str = "hubsecretmark";

/// Stands in each policy's key: `listkeys` shows it, and the answer to the PUT that brought it.
const KEY_MARK: &str = "keysecretmark";

#[tokio::test]
async fn keys_are_made_kept_and_listed() {
    let (client, path) = with_service("dps1").await;
    let list = format!("{path}/listkeys");
    let keys = client.post(&list, None).await;
    let owner = &keys.json["value"][0];
    assert_eq!(owner["keyName"], "provisioningserviceowner");
    assert_eq!(
        owner["rights"],
        "ServiceConfig, EnrollmentRead, EnrollmentWrite, DeviceConnect, RegistrationStatusRead, RegistrationStatusWrite"
    );
    let (first, second) = (
        owner["primaryKey"].as_str().unwrap(),
        owner["secondaryKey"].as_str().unwrap(),
    );
    assert_eq!((first.len(), second.len()), (44, 44));
    assert_ne!(first, second);

    client
        .put_and_wait(&path, &body(&json!({ "allocationPolicy": "Static" })))
        .await;
    assert_eq!(client.post(&list, None).await.json, keys.json);

    let sent = json!([
        { "keyName": "Own", "rights": "deviceconnect,ServiceConfig , DeviceConnect", "primaryKey": "a2V5" },
        { "keyName": "ProvisioningServiceOwner", "rights": "EnrollmentRead" },
    ]);
    let put = client
        .put_and_wait(&path, &body(&json!({ "authorizationPolicies": sent })))
        .await;
    let echo = json!([
        { "keyName": "Own", "rights": "DeviceConnect, ServiceConfig", "primaryKey": "a2V5" },
        { "keyName": "ProvisioningServiceOwner", "rights": "EnrollmentRead" },
    ]);
    assert_eq!(put.json["properties"]["authorizationPolicies"], echo);
    let after = client.post(&list, None).await;
    assert_eq!(after.json["value"][0]["primaryKey"], "a2V5");
    assert_eq!(
        after.json["value"][0]["secondaryKey"]
            .as_str()
            .unwrap()
            .len(),
        44
    );
    assert_eq!(after.json["value"][1]["primaryKey"], first);
    let one = client
        .post(&format!("{path}/keys/own/listkeys"), None)
        .await;
    assert_eq!(one.json, after.json["value"][0]);
    let none = client
        .post(&format!("{path}/keys/none/listkeys"), None)
        .await;
    check_flat(&none, 404, 404_001, "no authorization policy 'none'");
    check_arm(
        &client
            .post(&format!("{}/listkeys", service("none")), None)
            .await,
        404,
        "ResourceNotFound",
    );
}

#[tokio::test]
async fn hubs_are_shown_without_keys() {
    let client = TestClient::new(VERSION);
    let path = service("dps1");
    let hub = json!({ "connectionString": HUB, "location": "West US", "allocationWeight": 3, "applyAllocationPolicy": true, "name": "x" });
    let put = client
        .put_and_wait(&path, &body(&json!({ "iotHubs": [hub] })))
        .await;
    let view = json!([{
        "connectionString": HUB_MASK, "location": "westus", "allocationWeight": 3, "applyAllocationPolicy": true,
        "name": "h.azure-devices.net",
    }]);
    assert_eq!(put.json["properties"]["iotHubs"], view);
    let read = client.get(&path).await;
    assert_eq!(read.json["properties"]["iotHubs"], view);
    client.put_and_wait(&path, &read.json).await;
    let again = client.get(&path).await.json;
    assert_eq!(again["properties"], read.json["properties"]);
    client.put_and_wait(&path, &body(&json!({}))).await;
    assert_eq!(
        client.get(&path).await.json["properties"]["iotHubs"],
        json!([])
    );
}

/// A hub: mostly right, sometimes with a string that must be refused without being shown.
fn hub() -> impl Strategy<Value = Value> {
    let form = prop_oneof![
        8 => Just("HostName={h};SharedAccessKeyName={n};SharedAccessKey={k}"),
        1 => Just("SharedAccessKey={k};HostName={h};SharedAccessKeyName={n}"),
        1 => Just("HostName={h};SharedAccessKey={k}"),
        1 => Just("{k}"),
        1 => Just("HostName={h};SharedAccessKeyName={n};SharedAccessKey={k};Other={k}"),
    ];
    (form, "[a-c]{1,3}", "[a-z]{1,8}", any::<Option<u8>>()).prop_map(|(form, host, name, weight)| {
        let text = form.replace("{h}", &host).replace("{n}", &name).replace("{k}", HUB_MARK);
        json!({ "connectionString": text, "location": "westus", "allocationWeight": weight, "secret": HUB_MARK })
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just(Value::Null),
        Just(Value::from(KEY_MARK)),
        Just(Value::from(""))
    ];
    let rights = prop_oneof![5 => Just("ServiceConfig"), 5 => Just("DeviceConnect, enrollmentwrite"), 1 => Just("All")];
    ("[a-c]{1,3}", rights, key.clone(), key).prop_map(|(name, rights, primary, secondary)| {
        json!({ "keyName": name, "rights": rights, "primaryKey": primary, "secondaryKey": secondary })
    })
}

fn properties() -> impl Strategy<Value = Value> {
    let hubs = proptest::collection::vec(hub(), 0..3);
    let policies = proptest::option::of(proptest::collection::vec(policy(), 0..3));
    (hubs, policies, any::<bool>()).prop_map(|(hubs, policies, hashed)| {
        let allocation = if hashed { "Hashed" } else { "Static" };
        json!({ "iotHubs": hubs, "authorizationPolicies": policies, "allocationPolicy": allocation })
    })
}

async fn no_read_shows_a_secret(bodies: Vec<Value>) {
    let client = TestClient::new(VERSION);
    let path = service("dps1");
    client.put_and_wait(&path, &body(&json!({}))).await;
    let state = json!({ "status": "Approved", "description": "" });
    let state = json!({ "properties": { "privateLinkServiceConnectionState": state } });
    let connection = format!("{path}/privateEndpointConnections/c1");
    client.put_and_wait(&connection, &state).await;
    let mut names = BTreeSet::from(["provisioningserviceowner".to_owned()]);
    for properties in bodies {
        let put = client.put(&path, &body(&properties)).await;
        let mut seen = vec![put.json.clone()];
        if put.status == 201 {
            drop(seen[0]["properties"]["authorizationPolicies"].take());
            seen.push(client.get(&path).await.json);
            client.end(&put).await;
            let url = put.header("azure-asyncoperation");
            seen.push(client.get(url).await.json);
            seen.push(client.get(&url.replace("&asyncinfo", "")).await.json);
            if let Some(policies) = properties["authorizationPolicies"].as_array() {
                let sent = policies
                    .iter()
                    .map(|policy| policy["keyName"].as_str().unwrap().to_owned());
                names = sent.collect();
            }
        }
        for read in [
            path.clone(),
            path.rsplit_once('/').unwrap().0.to_owned(),
            format!("{SUBSCRIPTION}{PROVIDER}/provisioningServices"),
            format!("{path}/certificates"),
            format!("{path}/privateEndpointConnections"),
            format!("{path}/privateLinkResources"),
            connection.clone(),
            format!("{path}/skus"),
            format!("{SUBSCRIPTION}/resourceGroups/rg"),
        ] {
            seen.push(client.get(&read).await.json);
        }
        for response in &seen {
            let text = response.to_string();
            assert!(
                !text.contains(HUB_MARK) && !text.contains(KEY_MARK),
                "{text}"
            );
        }
        let keys = client.post(&format!("{path}/listkeys"), None).await.json;
        assert!(!keys.to_string().contains(HUB_MARK), "{keys}");
        let listed = keys["value"].as_array().unwrap().iter();
        let listed: BTreeSet<_> = listed
            .map(|key| key["keyName"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(listed, names);
        let whole = |key: &Value| {
            ["primaryKey", "secondaryKey"]
                .iter()
                .all(|member| key[*member].as_str().is_some_and(|key| !key.is_empty()))
        };
        assert!(
            keys["value"].as_array().unwrap().iter().all(whole),
            "{keys}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_read_of_any_service_shows_a_secret(bodies in proptest::collection::vec(properties(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(no_read_shows_a_secret(bodies));
    }
}
