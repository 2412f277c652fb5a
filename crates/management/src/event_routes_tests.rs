//! Event routes, as a client sees them.

use crate::testing::TestClient;
use serde_json::{Value, json};

const VERSION: &str = "2023-10-31";
const ARM: &str = "?api-version=2023-01-31";
const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";

fn instance(name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{name}")
}

/// A client with instances `one` and `two`, each with an endpoint `grid`.
async fn client() -> TestClient {
    let client = TestClient::new(VERSION);
    for name in ["one", "two"] {
        let path = format!("{}{ARM}", instance(name));
        client
            .put_and_wait(&path, &json!({ "location": "westus2" }))
            .await;
        let grid = json!({ "properties": {
            "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events", "accessKey1": "key",
        } });
        client
            .put_and_wait(&format!("{}/endpoints/grid{ARM}", instance(name)), &grid)
            .await;
    }
    client
}

fn route(filter: &str) -> Value {
    json!({ "endpointName": "GRID", "filter": filter })
}

#[tokio::test]
async fn a_route_lives_in_its_instance() {
    let client = client().await;
    let made = client
        .put("/instances/one/eventroutes/All", &route(" true "))
        .await;
    assert_eq!((made.status, &made.json), (204, &Value::Null));
    let found = client.get("/Instances/ONE/EventRoutes/All").await;
    // The filter byte for byte; the endpoint as it calls itself.
    assert_eq!(
        found.json,
        json!({ "id": "All", "endpointName": "grid", "filter": " true " })
    );
    for elsewhere in [
        "/instances/two/eventroutes/All",
        "/instances/one/eventroutes/all",
    ] {
        let missing = client.get(elsewhere).await;
        assert_eq!(missing.status, 404);
        assert_eq!(missing.header("x-ms-error-code"), "EventRouteNotFound");
    }
    let hosted = client.send(
        "GET",
        "/eventroutes/All",
        &[("x-forwarded-host", "one.api.wus2.digitaltwins.azure.net")],
        None,
    );
    assert_eq!(hosted.await.status, 200);
    let used = client
        .delete(&format!("{}/endpoints/grid{ARM}", instance("one")))
        .await;
    assert_eq!(used.status, 409);
    let message = used.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("All"), "{message}");
    assert_eq!(
        client.delete("/instances/one/eventroutes/All").await.status,
        204
    );
    assert_eq!(
        client.delete("/instances/one/eventroutes/All").await.status,
        404
    );
    assert_eq!(
        client
            .delete(&format!("{}/endpoints/grid{ARM}", instance("one")))
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn refusals_have_the_texts_of_azure() {
    let client = client().await;
    let no_endpoint = json!({ "endpointName": "other", "filter": "true" });
    for (id, body, status, code, text) in [
        (
            "r1",
            route("this is not a valid filter string"),
            400,
            "EventRouteFilterInvalid",
            "The provided filter is invalid. Parsing error, Line=1, Position=6, Message=Unexpected input 'is'. See event route documentation",
        ),
        (
            "r1",
            no_endpoint,
            400,
            "EventRouteEndpointInvalid",
            "The endpoint provided does not exist or is not active.",
        ),
        (
            "r 1",
            route("true"),
            400,
            "EventRouteIdInvalid",
            "The event route id is invalid",
        ),
        (
            "r1",
            json!({ "endpointName": "grid" }),
            400,
            "InvalidRequestContent",
            "Required property 'filter'",
        ),
    ] {
        let path = format!("/instances/one/eventroutes/{}", id.replace(' ', "%20"));
        let reply = client.put(&path, &body).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.json["error"]["code"], code);
        let message = reply.json["error"]["message"].as_str().unwrap();
        assert!(message.contains(text), "{message}");
    }
    let unknown = client.get("/instances/three/eventroutes").await;
    assert_eq!(
        unknown.json["error"]["code"],
        "DigitalTwinsInstanceNotFound"
    );
    let list = client.get("/instances/one/eventroutes").await;
    assert_eq!(list.json, json!({ "value": [], "nextLink": null }));
}

#[tokio::test]
async fn the_token_of_a_page_knows_its_size() {
    let client = client().await;
    for n in 0..5 {
        client
            .put(&format!("/instances/one/eventroutes/r{n}"), &route("false"))
            .await;
    }
    let size = [("max-items-per-page", "2")];
    let mut page = client
        .send("GET", "/instances/one/eventroutes", &size, None)
        .await;
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    loop {
        let value = page.json["value"].as_array().unwrap();
        sizes.push(value.len());
        ids.extend(
            value
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page.json["nextLink"].as_str() {
            // The Python client does not repeat the header.
            Some(next) => page = client.get(next).await,
            None => break,
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(ids, ["r0", "r1", "r2", "r3", "r4"]);
}

#[tokio::test]
async fn routes_are_closed_to_public_networks_with_their_instance() {
    let client = client().await;
    let close = json!({ "properties": { "publicNetworkAccess": "Disabled" } });
    let path = format!("{}{ARM}", instance("one"));
    assert_eq!(client.patch(&path, &close).await.status, 202);
    for method in ["GET", "PUT", "DELETE"] {
        let body = (method == "PUT").then(|| route("true"));
        let path = "/instances/ONE/eventroutes/all";
        let refused = client.send(method, path, &[], body.as_ref()).await;
        assert_eq!(refused.status, 403);
        assert_eq!(
            refused.header("x-ms-error-code"),
            "PublicNetworkAccessDisabled"
        );
    }
    assert_eq!(client.get("/instances/two/eventroutes").await.status, 200);
    assert_eq!(client.get(&path).await.status, 200);
}
