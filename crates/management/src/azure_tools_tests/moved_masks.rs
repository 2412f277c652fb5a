//! Masks of members that nobody knows, read back after their list was changed; and their neighbours.

use super::*;
use crate::export::ExportedSecrets;
use crate::testing::TestClient;

const NAMESPACE: &str =
    "/subscriptions/x/resourceGroups/g/providers/Microsoft.DeviceRegistry/namespaces/n";

fn with(properties: serde_json::Value) -> serde_json::Value {
    json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": properties })
}

fn hub(name: &str, token: &str) -> serde_json::Value {
    let text = format!("HostName={name};SharedAccessKeyName=o;SharedAccessKey=a2V5");
    json!({ "connectionString": text, "location": "eastus", "newToken": token })
}

/// The text at a pointer of what is stored, secrets in the clear.
fn stored(client: &TestClient, id: &str, pointer: &str) -> Option<String> {
    let all = client.export(ExportedSecrets::Revealed);
    let mut all = all["resources"].as_array().unwrap().iter();
    let found = all.find(|resource| resource["id"] == id)?;
    found.pointer(pointer)?.as_str().map(str::to_owned)
}

#[tokio::test]
async fn swapped_hubs_keep_their_own_unknown_secrets() {
    let client = TestClient::new(DEVICES);
    let path = service("dps");
    let body = with(json!({ "iotHubs": [hub("h1", "one"), hub("h2", "two")] }));
    client.put_and_wait(&path, &body).await;
    let mut found = client.get(&path).await.json;
    let hubs = found["properties"]["iotHubs"].as_array_mut().unwrap();
    hubs.reverse();
    client.put_and_wait(&path, &found).await;
    let token = |index: usize| format!("/properties/iotHubs/{index}/newToken");
    assert_eq!(stored(&client, &path, &token(0)).as_deref(), Some("two"));
    assert_eq!(stored(&client, &path, &token(1)).as_deref(), Some("one"));
    let mut found = client.get(&path).await.json;
    found["properties"]["iotHubs"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    client.put_and_wait(&path, &found).await;
    assert_eq!(stored(&client, &path, &token(0)).as_deref(), Some("one"));
    let mut found = client.get(&path).await.json;
    found["properties"]["iotHubs"] = json!([{ "location": "eastus", "newToken": "****",
        "connectionString": "HostName=h3;SharedAccessKeyName=o;SharedAccessKey=a2V5" }]);
    let put = client.put(&path, &found).await;
    assert_eq!(put.status, 400, "another hub's mask names nothing: {put:?}");
}

#[tokio::test]
async fn lists_of_unknown_secrets_are_read_back_in_any_order() {
    let client = TestClient::new(DEVICES);
    let path = service("dps");
    let body = with(json!({
        "newer": [{ "label": "a", "key": "one" }, { "label": "b", "key": "two" }],
        "texts": ["SharedAccessKey=marked", "plain"],
        "alike": ["SharedAccessKey=first", "SharedAccessKey=second"],
    }));
    client.put_and_wait(&path, &body).await;
    let mut found = client.get(&path).await.json;
    assert!(!found.to_string().contains("marked"), "{found}");
    for list in ["newer", "texts"] {
        found["properties"][list].as_array_mut().unwrap().reverse();
    }
    client.put_and_wait(&path, &found).await;
    for (pointer, expect) in [
        ("/properties/newer/0/key", "two"),
        ("/properties/newer/1/key", "one"),
        ("/properties/texts/0", "plain"),
        ("/properties/texts/1", "SharedAccessKey=marked"),
        ("/properties/alike/1", "SharedAccessKey=second"),
    ] {
        assert_eq!(
            stored(&client, &path, pointer).as_deref(),
            Some(expect),
            "{pointer}"
        );
    }
    let mut found = client.get(&path).await.json;
    found["properties"]["alike"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    let put = client.put(&path, &found).await;
    assert_eq!(
        put.status, 400,
        "which of the two stays is not said: {put:?}"
    );
}

#[tokio::test]
async fn secrets_in_unknown_members_of_namespaces_are_masked_and_kept() {
    let client = TestClient::new(DEVICES);
    let path = service("dps");
    let body = with(json!({ "deviceRegistryNamespaces": [
        { "resourceId": "/SUBSCRIPTIONS/X/namespaces/OTHER", "authenticationType": "SystemAssigned" },
        { "resourceId": NAMESPACE, "authenticationType": "SystemAssigned", "secretKey": "marked",
          "list": [{ "password": "marked" }], "state": "on" },
    ] }));
    client.put_and_wait(&path, &body).await;
    let mut found = client.get(&path).await.json;
    let namespaces = &mut found["properties"]["deviceRegistryNamespaces"];
    assert_eq!(
        (&namespaces[1]["secretKey"], &namespaces[1]["state"]),
        (&json!("****"), &json!("on"))
    );
    assert!(!namespaces.to_string().contains("marked"), "{namespaces}");
    namespaces.as_array_mut().unwrap().remove(0);
    client.put_and_wait(&path, &found).await;
    let pointer = "/properties/deviceRegistryNamespaces/0/secretKey";
    assert_eq!(stored(&client, &path, pointer).as_deref(), Some("marked"));
}

#[tokio::test]
async fn members_known_but_for_their_case_are_refused_everywhere() {
    let client = TestClient::new(TWINS);
    let mut body = here();
    body["properties"] = json!({ "PublicNetworkAccess": "Disabled" });
    let put = client.put(&instance("twins"), &body).await;
    assert_eq!(put.status, 400, "it would stay open: {put:?}");
    assert!(
        put.json
            .to_string()
            .contains("did you mean `publicNetworkAccess`?"),
        "{put:?}"
    );
    let client = TestClient::new(DEVICES);
    for properties in [
        json!({ "iothubs": [] }),
        json!({ "ipfilterrules": [] }),
        json!({ "DisableLocalAuth": true }),
        json!({ "ipFilterRules": [{ "filterName": "a", "action": "Accept", "ipMask": "10.0.0.1", "Target": "all" }] }),
    ] {
        let put = client.put(&service("dps"), &with(properties)).await;
        assert_eq!(put.status, 400);
        let message = put.json["message"].as_str().unwrap_or_default();
        assert!(message.contains("did you mean"), "{put:?}");
    }
}
