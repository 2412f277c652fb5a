//! `expired-sas`: a matter of the dead letters stops dead letters, never deliveries.

use super::*;
use crate::testing::TestClient;
use twinroute_model::endpoint::EndpointDestination;

fn body(query: &str, key: &str) -> Value {
    let sas =
        format!("https://acct.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sig=c2ln&{query}");
    json!({ "properties": {
        "endpointType": "EventHub", "connectionStringPrimaryKey": KEY.replace("marked", key),
        "deadLetterSecret": sas,
    } })
}

#[tokio::test]
async fn expired_sas_warns_and_the_endpoint_stays_in_use() {
    let client = TestClient::new(TWINS);
    client.put_and_wait(&instance("twins"), &here()).await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let good = "sp=w&se=2030-01-01T00:00:00Z";
    client.put_and_wait(&hub, &body(good, "old")).await;
    for (query, code) in [
        ("sp=w&se=2020-01-01T00:00:00Z", "DeadLetterSasExpired"),
        ("sp=rl&se=2030-01-01T00:00:00Z", "DeadLetterSasWithoutWrite"),
        (
            "sp=w&st=2029-01-01T00:00:00Z&se=2030-01-01T00:00:00Z",
            "DeadLetterSasNotYetValid",
        ),
    ] {
        // The hub's key is renewed meanwhile: that is what the PUT is about.
        let made = client.put_and_wait(&hub, &body(query, "new")).await;
        assert_eq!(made.status, 201);
        let found = client.get(&hub).await.json;
        assert_eq!(
            found["properties"]["provisioningState"], "Warning",
            "{query}"
        );
        assert_eq!(found["properties"]["provisioningError"]["code"], code);
        let route = json!({ "endpointName": "hub-1", "filter": "true" });
        let put = client
            .put("/eventroutes/r1?api-version=2023-10-31", &route)
            .await;
        assert_eq!(
            put.status, 204,
            "an endpoint with a warning takes routes: {put:?}"
        );
    }
    client.put_and_wait(&hub, &body(good, "new")).await;
    let found = client.get(&hub).await.json;
    assert_eq!(found["properties"]["provisioningState"], "Succeeded");
}

/// What an earlier version took for a container: deliveries go on, and the definition says what is wrong.
#[tokio::test]
async fn expired_sas_neighbour_a_stored_listing_url_stops_dead_letters_alone() {
    let client = TestClient::new(TWINS);
    client.put_and_wait(&instance("twins"), &here()).await;
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    client
        .put_and_wait(&hub, &body("sp=w&se=2030-01-01", "old"))
        .await;
    let listing = "https://acct.blob.core.windows.net/dead?restype=container&comp=list&sv=1&sr=c&sp=w\
                   &se=2030-01-01&sig=c2ln";
    client.store_secret(&hub, "/properties/deadLetterSecret", listing);
    let instances = client.instances();
    let endpoint = &instances[0].endpoints[0];
    assert!(
        matches!(endpoint.destination, EndpointDestination::EventHub(_)),
        "{endpoint:?}"
    );
    assert_eq!(endpoint.dead_letter, None);
    let why = endpoint.provisioning_error.as_deref().unwrap_or_default();
    assert!(why.contains("take `restype` out of its query"), "{why}");
    let mut wanted = body("sp=w&se=2030-01-01", "old");
    wanted["properties"]["deadLetterSecret"] = listing.into();
    let refused = client.put(&hub, &wanted).await;
    assert_eq!(code(&refused), (400, "ValidationFailed"));
}
