//! `arm-surface`, `route-id`: what az and azure-mgmt-resource ask before and around a resource.

use super::*;
use crate::testing::TestClient;

async fn with_both() -> TestClient {
    let client = TestClient::new(TWINS);
    client.put_and_wait(&instance("twins"), &here()).await;
    let version = "?api-version=2022-12-12";
    let body = json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": {}, "tags": { "a": "b" } });
    let made = client
        .put(&format!("{}{version}", service("dps")), &body)
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    client.end(&made).await;
    client
}

#[tokio::test]
async fn arm_surface_skips_the_empty_path_of_a_parent() {
    let client = with_both().await;
    let doubled = instance("twins").replace(".DigitalTwins/", ".DigitalTwins//");
    assert_eq!(client.get(&doubled).await.json["name"], "twins");
    let response = client.get(&doubled).await.json;
    assert_eq!(response["id"], instance("twins"));
    let put = client
        .put(&doubled.replace("twins", "other"), &here())
        .await;
    assert_eq!(put.status, 201);
    client.end(&put).await;
    assert_eq!(
        client
            .delete(&doubled.replace("twins", "other"))
            .await
            .status,
        202
    );
    // Neighbours: anywhere else, at the ends, and in other providers.
    for path in [
        format!("/{SUB}//resourceGroups/rg"),
        format!("{}//endpoints/", instance("twins")),
        service("dps").replace("/provisioningServices", "//provisioningServices")
            + "?api-version=2022-12-12",
        format!("{SUB}/providers//Microsoft.DigitalTwins//digitalTwinsInstances"),
    ] {
        assert_eq!(client.get(&path).await.status, 200, "{path}");
    }
    // What is skipped names nothing: nobody deletes a whole list by it.
    let list = format!("{}/endpoints//", instance("twins"));
    assert_eq!(client.delete(&list).await.status, 405);
    let group = format!("{SUB}/resourceGroups//");
    assert_eq!(client.delete(&group).await.status, 405);
}

#[tokio::test]
async fn arm_surface_has_providers_with_types_versions_and_locations() {
    let client = with_both().await;
    for (namespace, kind, newest) in [
        (
            "Microsoft.DigitalTwins",
            "digitalTwinsInstances",
            "2023-01-31",
        ),
        (
            "microsoft.digitaltwins",
            "digitalTwinsInstances/endpoints",
            "2023-01-31",
        ),
        ("Microsoft.Devices", "provisioningServices", "2026-11-01"),
    ] {
        for scope in [SUB, ""] {
            let path = format!("{scope}/providers/{namespace}?api-version=2022-09-01");
            let found = client.get(&path).await;
            assert_eq!(found.json["registrationState"], "Registered", "{found:?}");
            let types = found.json["resourceTypes"].as_array().unwrap();
            let of_kind = types.iter().find(|of| of["resourceType"] == kind).unwrap();
            // As az chooses: the first that is no preview.
            let versions = of_kind["apiVersions"].as_array().unwrap();
            let mut versions = versions.iter().filter_map(Value::as_str);
            let stable = versions.find(|version| !version.contains("preview"));
            assert_eq!(stable, Some(newest));
            let locations = of_kind["locations"].as_array().unwrap();
            assert!(locations.contains(&json!("West US 2")), "{locations:?}");
        }
    }
    let all = client
        .get(&format!("{SUB}/providers?api-version=2022-09-01"))
        .await;
    assert_eq!(all.json["value"].as_array().unwrap().len(), 3);
    let unknown = client
        .get(&format!("{SUB}/providers/Microsoft.Kusto"))
        .await;
    assert_eq!(code(&unknown), (404, "InvalidResourceNamespace"));
    // Whoever registers one waits until it is.
    let registered = client
        .post(&format!("{SUB}/providers/Microsoft.Kusto/register"), None)
        .await;
    assert_eq!(registered.json["registrationState"], "Registered");
}

#[tokio::test]
async fn arm_surface_lists_resources_and_locations() {
    let client = with_both().await;
    let names = async |path: &str| -> Vec<String> {
        let found = client.get(path).await;
        let value = found.json["value"].as_array();
        let value = value.unwrap_or_else(|| panic!("{path}: {found:?}"));
        value
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = format!("{SUB}/resources");
    assert_eq!(names(&all).await, ["dps", "twins"]);
    assert_eq!(
        names(&format!("{SUB}/resourceGroups/RG/resources")).await,
        ["dps", "twins"]
    );
    let version = "api-version=2024-11-01";
    let filter = "$filter=resourceType%20eq%20'Microsoft.DigitalTwins/digitalTwinsInstances'";
    assert_eq!(names(&format!("{all}?{version}&{filter}")).await, ["twins"]);
    let first = client.get(&format!("{all}?{version}&$top=1")).await;
    let next = first.json["nextLink"].as_str().unwrap();
    assert_eq!(names(next).await, ["twins"]);
    let bad = client
        .get(&format!("{all}?{version}&$filter=size%20gt%201"))
        .await;
    assert_eq!(code(&bad), (400, "InvalidParameter"));
    let locations = names(&format!("{SUB}/locations")).await;
    assert!(locations.contains(&"westus2".to_owned()));
    let lost = client
        .get(&format!("{SUB}/resourceGroups/none/resources"))
        .await;
    assert_eq!(code(&lost), (404, "ResourceGroupNotFound"));
}

#[tokio::test]
async fn arm_surface_answers_head_204_or_404() {
    let client = with_both().await;
    let route = json!({ "endpointName": "hub-1", "filter": "true" });
    let hub = format!("{}/endpoints/hub-1", instance("twins"));
    let body =
        json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": KEY } });
    client.put_and_wait(&hub, &body).await;
    let routes = "/instances/twins/eventroutes";
    client
        .put(&format!("{routes}/r1?api-version=2023-10-31"), &route)
        .await;
    for (path, status) in [
        (instance("twins"), 204),
        (instance("TWINS"), 204),
        (instance("none"), 404),
        (hub.clone(), 204),
        (format!("{}/endpoints/none", instance("twins")), 404),
        (
            format!("{}/timeSeriesDatabaseConnections/none", instance("twins")),
            404,
        ),
        (
            format!("{}/privateEndpointConnections/none", instance("twins")),
            404,
        ),
        (
            format!("{}/privateLinkResources/API", instance("twins")),
            204,
        ),
        (format!("{}?api-version=2022-12-12", service("dps")), 204),
        (format!("{}?api-version=2022-12-12", service("none")), 404),
        (
            format!(
                "{}/certificates/none?api-version=2022-12-12",
                service("dps")
            ),
            404,
        ),
        (format!("{SUB}/resourceGroups/rg"), 204),
        (format!("{SUB}/resourceGroups/none"), 404),
        // No resources of ARM: as the GET would be.
        (format!("{routes}/r1?api-version=2023-10-31"), 200),
        (format!("{routes}/none?api-version=2023-10-31"), 404),
    ] {
        let head = client.send("HEAD", &path, &[], None).await;
        assert_eq!((head.status, &head.json), (status, &Value::Null), "{path}");
    }
}

#[tokio::test]
async fn arm_surface_compares_paths_without_case() {
    let client = with_both().await;
    for path in [
        instance("twins"),
        format!("{}?API-VERSION=2022-12-12", service("dps")),
    ] {
        let shouted = client.get(&path.to_ascii_uppercase()).await;
        assert_eq!(shouted.status, 200, "{shouted:?}");
        assert_eq!(
            client.get(&path.to_ascii_lowercase()).await.json,
            shouted.json
        );
    }
    let preview = format!("{}?api-version=2021-06-30-Preview", instance("twins"));
    assert_eq!(client.get(&preview).await.status, 200);
}

#[tokio::test]
async fn route_id_that_is_none_has_the_error_of_the_api() {
    let client = with_both().await;
    let body = json!({ "endpointName": "hub-1", "filter": "true" });
    let long = "r".repeat(257);
    for id in [
        long.as_str(),
        "a%2Fb",
        "a%00b",
        "%ff",
        "..",
        "a%5cb",
        "a%20b",
        "a%25b",
        "a:b",
    ] {
        for base in [
            "/eventroutes",
            "/instances/twins/eventroutes",
            "/EventRoutes",
        ] {
            let path = format!("{base}/{id}?api-version=2023-10-31");
            let put = client.put(&path, &body).await;
            assert_eq!(code(&put), (400, "EventRouteIdInvalid"), "{path}: {put:?}");
            assert_eq!(
                code(&client.get(&path).await),
                (404, "EventRouteNotFound"),
                "{path}"
            );
            assert_eq!(
                code(&client.delete(&path).await),
                (404, "EventRouteNotFound"),
                "{path}"
            );
        }
    }
    // What is wrong is reported, and not what an empty name would break.
    let latin = client
        .put("/eventroutes/caf%E9?api-version=2023-10-31", &body)
        .await;
    let message = latin.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("not UTF-8"), "{message}");
    let without = client.put(&format!("/eventroutes/{long}?x=1"), &body).await;
    assert_eq!(code(&without), (400, "MissingApiVersionParameter"));
}

/// Neighbours of `route-id`: other names in a path, each with the error of its own rule.
#[tokio::test]
async fn route_id_neighbours_have_the_errors_of_their_rules() {
    let client = with_both().await;
    let long = "n".repeat(300);
    let bad = (400, "InvalidResourceName");
    for name in [long.as_str(), "a%2Fb", "%ff", "a%00b"] {
        for path in [
            instance(name),
            format!("{}/endpoints/{name}", instance("twins")),
            format!("{}/timeSeriesDatabaseConnections/{name}", instance("twins")),
            format!("{}/privateEndpointConnections/{name}", instance("twins")),
            format!("{SUB}/resourceGroups/{name}"),
        ] {
            let put = client.put(&path, &here()).await;
            assert_eq!(code(&put), bad, "{path}: {put:?}");
            let message = put.json["error"]["message"].as_str().unwrap();
            assert_eq!(message.contains("not UTF-8"), name == "%ff", "{message}");
        }
        let path = format!("{}?api-version=2022-12-12", service(name));
        let put = client.put(&path, &here()).await;
        assert_eq!(
            (put.status, &put.json["code"]),
            (400, &json!(400_004)),
            "{put:?}"
        );
        let subscription = format!("/subscriptions/{name}/resourceGroups/rg");
        assert_eq!(
            code(&client.get(&subscription).await),
            (400, "InvalidSubscriptionId")
        );
    }
    // Where no name stands, the general error is all there is.
    let odd = client.get("/a%2Fb").await;
    assert_eq!(code(&odd), (400, "InvalidRequestUri"));
}

#[tokio::test]
async fn dps_newest_takes_the_versions_of_templates_in_the_wild() {
    let client = with_both().await;
    for version in [
        "2017-11-15",
        "2018-01-22",
        "2020-01-01",
        "2020-03-01",
        "2026-11-01",
    ] {
        let path = format!("{}?api-version={version}", service("dps"));
        assert_eq!(client.get(&path).await.status, 200, "{version}");
    }
}

#[tokio::test]
async fn dps_single_address_is_a_mask() {
    let client = with_both().await;
    let path = format!("{}?api-version=2022-12-12", service("dps"));
    let body = |mask: &str| {
        json!({ "location": "eastus", "sku": { "name": "S1" }, "properties": { "ipFilterRules": [
            { "filterName": "one", "action": "Accept", "ipMask": mask }] } })
    };
    for (mask, expected) in [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1/8", "10.0.0.1/8"),
        (" 10.0.0.1\n", "10.0.0.1"),
    ] {
        let put = client.put(&path, &body(mask)).await;
        assert_eq!(put.status, 201, "{mask}: {put:?}");
        client.end(&put).await;
        let found = client.get(&path).await.json;
        assert_eq!(found["properties"]["ipFilterRules"][0]["ipMask"], expected);
    }
    for mask in ["10.0.0", "10.0.0.1/33", "ten", "10.0.0.1-10.0.0.9", ""] {
        let put = client.put(&path, &body(mask)).await;
        assert_eq!(put.status, 400, "{mask}");
    }
}

#[tokio::test]
async fn arm_surface_refuses_a_top_that_is_no_number_of_items() {
    let client = with_both().await;
    for list in [format!("{SUB}/resources"), format!("{SUB}/resourceGroups")] {
        for wrong in ["abc", "-1", "0", "1.5", "%201"] {
            let path = format!("{list}?api-version=2021-04-01&$top={wrong}");
            let reply = client.get(&path).await;
            assert_eq!(reply.status, 400, "{path}: {reply:?}");
        }
        for right in ["1", "", "99999999999999999999999"] {
            let path = format!("{list}?api-version=2021-04-01&$top={right}");
            assert_eq!(client.get(&path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn arm_surface_names_allowed_methods_as_http_does() {
    let client = with_both().await;
    let reply = client.send("OPTIONS", &instance("twins"), &[], None).await;
    let allow = reply.headers.get("allow").expect("a 405 has it");
    assert_eq!(
        (reply.status, allow),
        (405, &"GET, PUT, PATCH, DELETE".parse().unwrap())
    );
}

#[tokio::test]
async fn route_id_neighbours_made_of_dots_or_too_long_break_their_own_rules() {
    let client = with_both().await;
    let devices = "?api-version=2022-12-12";
    let state = json!({ "properties": { "privateLinkServiceConnectionState": {
        "status": "Approved", "description": "" } } });
    let connections = format!("{}/privateEndpointConnections", instance("twins"));
    for name in ["..", "%2E%2E", "a%2Fb"] {
        let put = client.put(&format!("{connections}/{name}"), &state).await;
        assert_eq!(code(&put), (400, "InvalidResourceName"), "{name}");
    }
    let long = "a".repeat(300);
    for list in ["certificates", "privateEndpointConnections"] {
        for name in ["..", "%2E%2E", "a%2Fb", long.as_str()] {
            let path = format!("{}/{list}/{name}{devices}", service("dps"));
            let put = client.put(&path, &state).await;
            assert_eq!(
                (put.status, &put.json["code"]),
                (400, &json!(400_004)),
                "{path}: {put:?}"
            );
            let message = put.json["message"].as_str().unwrap_or_default();
            assert!(message.contains("is not valid"), "{message}");
        }
    }
}
