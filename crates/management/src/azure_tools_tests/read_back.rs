//! `dps-masked-hub`: read, change, write back. Every resource that masks takes its own GET back as a PUT, and keeps
//! the secrets that its masks name; a mask that names none is refused.

use super::*;
use crate::export::ExportedSecrets;
use crate::testing::TestClient;

const HUB: &str =
    "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0";
const SAS: &str =
    "https://acct.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sp=w&se=2030-01-01&sig=c2ln";

async fn with_twins(version: &'static str) -> TestClient {
    let client = TestClient::new(version);
    let made = client
        .put(
            &format!("{}?api-version={TWINS}", instance("twins")),
            &here(),
        )
        .await;
    client.end(&made).await;
    client
}

/// What stands in the store, secrets in the clear.
fn revealed(client: &TestClient, id: &str) -> Value {
    let all = client.export(ExportedSecrets::Revealed);
    let all = all["resources"].as_array().unwrap();
    let found = all.iter().find(|resource| resource["id"] == id);
    found.unwrap_or_else(|| panic!("no {id}")).clone()
}

/// Puts a GET back; the secrets must be what they were.
async fn back(client: &TestClient, path: &str, change: impl FnOnce(&mut Value)) -> Value {
    let id = path.split('?').next().unwrap();
    let before = revealed(client, id);
    let mut read = client.get(path).await.json;
    change(&mut read);
    let put = client.put(path, &read).await;
    assert!(put.status < 300, "{path}: {put:?}");
    if put.headers.contains_key("azure-asyncoperation") {
        client.end(&put).await;
    }
    let after = revealed(client, id);
    for (pointer, secret) in texts(&before, "") {
        let last = pointer.rsplit('/').next().unwrap();
        if crate::SECRET_MEMBERS.contains(&last) {
            assert_eq!(after.pointer(&pointer), Some(&json!(secret)), "{pointer}");
        }
    }
    after
}

fn texts(value: &Value, at: &str) -> Vec<(String, String)> {
    match value {
        Value::String(text) => vec![(at.to_owned(), text.clone())],
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.flat_map(|(index, item)| texts(item, &format!("{at}/{index}")))
                .collect()
        }
        Value::Object(members) => {
            let each = members.iter();
            each.flat_map(|(name, value)| texts(value, &format!("{at}/{name}")))
                .collect()
        }
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn dps_masked_hub_keeps_its_key() {
    let client = with_twins(DEVICES).await;
    let path = service("dps");
    let other = HUB.replace("=h.", "=i.").replace("c2VjcmV0", "b3RoZXI=");
    let properties = json!({ "iotHubs": [
        { "connectionString": HUB, "location": "westus" },
        { "connectionString": other, "location": "westus" },
    ], "authorizationPolicies": [
        { "keyName": "own", "rights": "ServiceConfig", "primaryKey": "a2V5", "secondaryKey": "a2V5Mg==" },
    ] });
    let body = |properties: &Value| json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": properties });
    client.put_and_wait(&path, &body(&properties)).await;
    let after = back(&client, &path, |read| {
        read["properties"]["iotHubs"][0]["allocationWeight"] = json!(7);
    })
    .await;
    assert_eq!(after["properties"]["iotHubs"][0]["allocationWeight"], 7);
    // By name, not by place: the list may come in another order, or shorter.
    let mut read = client.get(&path).await.json;
    let hubs = read["properties"]["iotHubs"].as_array_mut().unwrap();
    hubs.remove(0);
    client.put_and_wait(&path, &read).await;
    let kept = revealed(&client, &path);
    assert_eq!(kept["properties"]["iotHubs"][0]["connectionString"], other);
    // Keys of policies, as a client sends back what `listkeys` or an older read showed.
    let masked = json!({ "authorizationPolicies": [
        { "keyName": "OWN", "rights": "ServiceConfig", "primaryKey": "****", "secondaryKey": "***" },
    ] });
    client.put_and_wait(&path, &body(&masked)).await;
    let keys = client.post(&format!("{path}/listkeys"), None).await.json;
    assert_eq!(keys["value"][0]["primaryKey"], "a2V5");
    assert_eq!(keys["value"][0]["secondaryKey"], "a2V5Mg==");
}

#[tokio::test]
async fn dps_masked_hub_that_names_nothing_stored_is_refused() {
    let client = with_twins(DEVICES).await;
    let path = service("dps");
    let body = |string: &str| {
        json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": {
            "iotHubs": [{ "connectionString": string, "location": "westus" }] } })
    };
    let mask = HUB.replace("c2VjcmV0", "****");
    let first = client.put(&path, &body(&mask)).await;
    assert_eq!(
        (first.status, &first.json["code"]),
        (400, &json!(400_004)),
        "{first:?}"
    );
    client.put_and_wait(&path, &body(HUB)).await;
    for unknown in [
        mask.replace("iothubowner", "service"),
        mask.replace("=h.", "=other."),
        "****".to_owned(),
        "HostName=***;SharedAccessKeyName=***;SharedAccessKey=***".to_owned(),
        "HostName=h.azure-devices.net;SharedAccessKey=****".to_owned(),
    ] {
        let put = client.put(&path, &body(&unknown)).await;
        assert_eq!(put.status, 400, "{unknown}");
        assert!(
            put.json["message"].as_str().unwrap().contains("is a mask"),
            "{put:?}"
        );
    }
    let policy = json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": {
        "authorizationPolicies": [{ "keyName": "new", "rights": "ServiceConfig", "primaryKey": "***" }] } });
    assert_eq!(client.put(&path, &policy).await.status, 400);
    assert_eq!(
        revealed(&client, &path)["properties"]["iotHubs"][0]["connectionString"],
        HUB
    );
}

fn endpoints() -> [(&'static str, Value); 4] {
    let grid = json!({ "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events",
        "accessKey1": "first", "accessKey2": "second", "deadLetterSecret": SAS });
    let hub = json!({ "endpointType": "EventHub", "connectionStringPrimaryKey": KEY,
        "connectionStringSecondaryKey": KEY.replace("marked", "other"), "deadLetterSecret": SAS });
    let bus = json!({ "endpointType": "ServiceBus", "primaryConnectionString": KEY,
        "secondaryConnectionString": KEY.replace("marked", "other"), "deadLetterSecret": SAS });
    let identity = json!({ "endpointType": "ServiceBus", "authenticationType": "IdentityBased",
        "endpointUri": "sb://ns.example/", "entityPath": "t",
        "deadLetterUri": "https://acct.blob.core.windows.net/dead" });
    [
        ("grid-1", grid),
        ("hub-1", hub),
        ("bus-1", bus),
        ("own-1", identity),
    ]
}

#[tokio::test]
async fn masked_endpoints_of_every_type_keep_their_secrets() {
    let client = with_twins(TWINS).await;
    for (name, properties) in endpoints() {
        let path = format!("{}/endpoints/{name}", instance("twins"));
        client
            .put_and_wait(&path, &json!({ "properties": properties }))
            .await;
        let first = back(&client, &path, |_| {}).await;
        for (member, value) in properties.as_object().unwrap() {
            assert_eq!(&first["properties"][member], value, "{name}");
        }
        // One secret is replaced; the others stay.
        if let Some(member) = [
            "accessKey1",
            "primaryConnectionString",
            "connectionStringPrimaryKey",
        ]
        .into_iter()
        .find(|member| properties.get(member).is_some())
        {
            let mut read = client.get(&path).await.json;
            let new = properties[member]
                .as_str()
                .unwrap()
                .replace("marked", "new");
            let new = if member == "accessKey1" {
                "new".to_owned()
            } else {
                new
            };
            read["properties"][member] = new.clone().into();
            client.put_and_wait(&path, &read).await;
            let after = revealed(&client, &path);
            assert_eq!(after["properties"][member], new);
            assert_eq!(after["properties"]["deadLetterSecret"], SAS);
        }
    }
}

#[tokio::test]
async fn masked_secrets_of_another_endpoint_are_refused() {
    let client = with_twins(TWINS).await;
    let path = |name: &str| format!("{}/endpoints/{name}", instance("twins"));
    for (name, properties) in endpoints() {
        client
            .put_and_wait(&path(name), &json!({ "properties": properties }))
            .await;
    }
    let refused = async |name: &str, change: &dyn Fn(&mut Value)| {
        let mut read = client.get(&path(name)).await.json;
        change(&mut read["properties"]);
        let put = client.put(&path(name), &read).await;
        assert_eq!(code(&put), (400, "ValidationFailed"), "{put:?}");
        put.json["error"]["target"].as_str().unwrap().to_owned()
    };
    // A key must not go to a topic that it is not of.
    let topic = refused("grid-1", &|body| {
        body["TopicEndpoint"] = "https://evil.example/x".into()
    })
    .await;
    assert_eq!(topic, "properties.accessKey1");
    for string in [
        "Endpoint=sb://evil.example/;SharedAccessKeyName=send;SharedAccessKey=***;EntityPath=hub",
        "Endpoint=sb://ns.example/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=other",
    ] {
        let target = refused("hub-1", &|body| {
            body["connectionStringPrimaryKey"] = string.into()
        })
        .await;
        assert_eq!(target, "properties.connectionStringPrimaryKey");
    }
    let sas = SAS.replace("/dead", "/other").replace("c2ln", "***");
    let target = refused("hub-1", &|body| {
        body["deadLetterSecret"] = sas.as_str().into()
    })
    .await;
    assert_eq!(target, "properties.deadLetterSecret");
    // A name that is new has nothing stored.
    let read = client.get(&path("hub-1")).await.json;
    let new = client
        .put(&path("hub-2"), &json!({ "properties": read["properties"] }))
        .await;
    assert_eq!(code(&new), (400, "ValidationFailed"));
}

#[tokio::test]
async fn read_back_holds_for_every_other_resource() {
    let client = with_twins(TWINS).await;
    let twins = instance("twins");
    let history = json!({ "properties": {
        "connectionType": "AzureDataExplorer", "adxEndpointUri": "https://x", "adxResourceId": "/subscriptions/x",
        "adxDatabaseName": "d", "eventHubEndpointUri": "sb://n", "eventHubEntityPath": "h",
        "eventHubNamespaceResourceId": "/subscriptions/y", "identity": { "type": "SystemAssigned" } } });
    let state = json!({ "properties": { "privateLinkServiceConnectionState": {
        "status": "Approved", "description": "" } } });
    client
        .put_and_wait(
            &format!("{twins}/timeSeriesDatabaseConnections/ts1"),
            &history,
        )
        .await;
    client
        .put_and_wait(&format!("{twins}/privateEndpointConnections/c1"), &state)
        .await;
    let hub = format!("{twins}/endpoints/hub-1");
    client
        .put_and_wait(&hub, &json!({ "properties": endpoints()[1].1 }))
        .await;
    let route = "/instances/twins/eventroutes/r1?api-version=2023-10-31";
    client
        .put(
            route,
            &json!({ "endpointName": "hub-1", "filter": " true " }),
        )
        .await;
    for path in [
        twins.clone(),
        format!("{twins}/timeSeriesDatabaseConnections/ts1"),
        format!("{twins}/privateEndpointConnections/c1"),
        format!("{SUB}/resourceGroups/rg"),
        route.to_owned(),
    ] {
        let read = client.get(&path).await.json;
        let put = client.put(&path, &read).await;
        assert!(put.status < 300, "{path}: {put:?}");
        if put.headers.contains_key("azure-asyncoperation") {
            client.end(&put).await;
        }
        let mut again = client.get(&path).await.json;
        let mut read = read;
        for view in [&mut again, &mut read] {
            view["systemData"] = Value::Null;
        }
        assert_eq!(again, read, "{path}");
    }
}

#[tokio::test]
async fn create_drops_nothing_when_keys_are_swapped() {
    let client = with_twins(TWINS).await;
    for (name, properties) in endpoints() {
        let path = format!("{}/endpoints/{name}", instance("twins"));
        client
            .put_and_wait(&path, &json!({ "properties": properties }))
            .await;
        let swapped = client.post(&format!("{path}/swapKeys"), None).await;
        let keys = [
            ["accessKey1", "accessKey2"],
            ["connectionStringPrimaryKey", "connectionStringSecondaryKey"],
            ["primaryConnectionString", "secondaryConnectionString"],
        ];
        let keys = keys.iter().find(|keys| properties.get(keys[0]).is_some());
        let Some([first, second]) = keys else {
            assert_eq!(code(&swapped), (400, "ValidationFailed"), "no keys");
            continue;
        };
        assert_eq!(swapped.status, 202, "{swapped:?}");
        client.end(&swapped).await;
        let after = revealed(&client, &path);
        assert_eq!(after["properties"][first], properties[second]);
        assert_eq!(after["properties"][second], properties[first]);
        assert_eq!(after["properties"]["deadLetterSecret"], SAS);
        assert!(!swapped.json.to_string().contains("marked"));
    }
    let none = format!("{}/endpoints/none/swapKeys", instance("twins"));
    assert_eq!(
        code(&client.post(&none, None).await),
        (404, "ResourceNotFound")
    );
}

#[tokio::test]
async fn a_rotated_key_of_another_place_is_refused() {
    let client = with_twins(TWINS).await;
    let string = |host: &str, key: &str, entity: &str| {
        format!(
            "Endpoint=sb://{host}/;SharedAccessKeyName=n;SharedAccessKey={key};EntityPath={entity}"
        )
    };
    for (kind, member) in [
        ("EventHub", "connectionStringPrimaryKey"),
        ("ServiceBus", "primaryConnectionString"),
    ] {
        let path = format!("{}/endpoints/only-one-{kind}", instance("twins"));
        let body =
            |string: String| json!({ "properties": { "endpointType": kind, member: string } });
        client
            .put_and_wait(&path, &body(string("a.example", "old", "e")))
            .await;
        let rotate = format!("{path}?api-version={TWINS}&keysOnly=true");
        for elsewhere in [
            string("a.example", "new", "other"),
            string("b.example", "new", "e"),
            string("a.example:5690", "new", "e"),
        ] {
            let put = client.put(&rotate, &body(elsewhere)).await;
            assert_eq!(code(&put), (400, "ValidationFailed"), "{put:?}");
            assert!(
                put.json
                    .to_string()
                    .contains("not where the endpoint sends to"),
                "{put:?}"
            );
        }
        let new = string("A.example", "new", "E");
        let put = client.put(&rotate, &body(new.clone())).await;
        assert!(put.status < 300, "{put:?}");
        client.end(&put).await;
        assert_eq!(revealed(&client, &path)["properties"][member], new);
        let moved = string("b.example", "new", "e");
        client.put_and_wait(&path, &body(moved)).await;
    }
}

#[tokio::test]
async fn masked_body_of_a_certificate_keeps_it() {
    let client = with_twins(DEVICES).await;
    let body = json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": {} });
    client.put_and_wait(&service("dps"), &body).await;
    let path = format!("{}/certificates/ca1", service("dps"));
    let key = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let sent = json!({ "properties": { "certificate": key.cert.pem() } });
    let made = client.put(&path, &sent).await;
    assert_eq!(made.status, 200, "{made:?}");
    let mut read = client.get(&path).await.json;
    // As Azure shows it.
    read["properties"]["certificate"] = Value::Null;
    let etag = read["etag"].as_str().unwrap().to_owned();
    let put = client
        .send("PUT", &path, &[("if-match", &etag)], Some(&read))
        .await;
    assert_eq!(put.status, 200, "{put:?}");
    let thumbprint = &made.json["properties"]["thumbprint"];
    assert_eq!(&put.json["properties"]["thumbprint"], thumbprint);
    let new = format!("{}/certificates/ca2", service("dps"));
    assert_eq!(
        client
            .put(&new, &json!({ "properties": { "certificate": null } }))
            .await
            .status,
        400
    );
}
