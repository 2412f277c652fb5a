//! Rules that hold for every request, and what bad input gets.

use crate::management::{ManagementServer, StoreBacking, ask};
use crate::settings::Settings;
use crate::testing::{OpenDestinations, TestClient};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use twinroute_model::clock::SystemClock;
use twinroute_model::endpoint;
use twinroute_model::instance::Instance;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::seal::SealKey;

const VERSION: &str = "2023-01-31";
const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";
const TWINS: &str = "/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances";

async fn raw(
    management: &ManagementServer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = ask(
        management,
        request.body(Bytes::copy_from_slice(body)).unwrap(),
    )
    .await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn in_memory() -> ManagementServer {
    let instance = InstanceName::new("default").unwrap();
    ManagementServer::open(
        &Settings::default(),
        StoreBacking::Memory,
        instance,
        Arc::new(OpenDestinations),
        Arc::new(SystemClock),
    )
    .unwrap()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn checks_come_in_azures_order() {
    let management = in_memory();
    let instance = format!("{SUB}{TWINS}/twins");
    for (method, target, body, expect) in [
        (
            "GET",
            format!("/subscriptions/no-guid{TWINS}/x"),
            "",
            "MissingApiVersionParameter",
        ),
        (
            "GET",
            format!("/subscriptions/no-guid{TWINS}/x?api-version=v1"),
            "",
            "InvalidApiVersionParameter",
        ),
        (
            "GET",
            format!("/subscriptions/no-guid{TWINS}/x?api-version={VERSION}"),
            "",
            "InvalidSubscriptionId",
        ),
        (
            "GET",
            format!(
                "{SUB}/resourceGroups/rg/providers/Microsoft.Kusto/clusters/x?api-version={VERSION}"
            ),
            "",
            "InvalidResourceNamespace",
        ),
        (
            "GET",
            format!("{instance}?api-version=1999-01-01"),
            "",
            "NoRegisteredProviderFound",
        ),
        (
            "GET",
            format!("{SUB}{TWINS}?api-version=1999-01-01"),
            "",
            "InvalidResourceType",
        ),
        (
            "GET",
            format!("{instance}/nothing?api-version={VERSION}"),
            "",
            "InvalidResourceType",
        ),
        (
            "GET",
            format!("{instance}?api-version={VERSION}"),
            "",
            "ResourceGroupNotFound",
        ),
        (
            "PUT",
            format!(
                "{SUB}/resourceGroups/a%20b/providers/Microsoft.DigitalTwins/digitalTwinsInstances/_?api-version={VERSION}"
            ),
            "{",
            "InvalidResourceName",
        ),
        (
            "PUT",
            format!("{instance}?api-version={VERSION}"),
            "{",
            "InvalidRequestContent",
        ),
        (
            "POST",
            format!("{instance}?api-version={VERSION}"),
            "",
            "MethodNotAllowed",
        ),
        ("GET", "/nothing".to_owned(), "", "NotFound"),
        (
            "GET",
            format!("{SUB}/../x?api-version={VERSION}"),
            "",
            "InvalidRequestUri",
        ),
        (
            "GET",
            format!("{SUB}/%2e%2e%2fx?api-version={VERSION}"),
            "",
            "InvalidRequestUri",
        ),
    ] {
        let (_, reply) = raw(&management, method, &target, &[], body.as_bytes()).await;
        assert_eq!(reply["error"]["code"], expect, "{method} {target}: {reply}");
    }
}

#[tokio::test]
async fn bodies_that_are_none_change_nothing() {
    let management = in_memory();
    let target = format!("{SUB}{TWINS}/twins?api-version={VERSION}");
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    for (headers, body, status) in [
        (&[][..], &b"\xff\xfe"[..], 400),
        (
            &[],
            b"{\"location\":\"westus2\",\"location\":\"eastus\"}",
            400,
        ),
        (&[], b"{\"location\":\"westus2\"", 400),
        (&[], deep.as_bytes(), 400),
        (&[], b"", 400),
        (
            &[("content-type", "text/xml")],
            b"{\"location\":\"westus2\"}",
            415,
        ),
    ] {
        let (found, reply) = raw(&management, "PUT", &target, headers, body).await;
        assert_eq!(found, status, "{reply}");
        assert!(reply["error"]["message"].is_string());
    }
    assert!(management.instances().is_empty());
    let (status, _) = raw(
        &management,
        "PUT",
        &target,
        &[],
        b"{\"location\":\"westus2\",\"unknown\":{\"x\":1}}",
    )
    .await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn answers_carry_ids() {
    let client = TestClient::new(VERSION);
    let sent = [
        ("x-ms-client-request-id", "mine"),
        ("x-ms-return-client-request-id", "true"),
        ("x-ms-correlation-request-id", "theirs"),
    ];
    let reply = client
        .send("GET", "/subscriptions?api-version=2022-12-01", &sent, None)
        .await;
    assert_eq!(reply.header("x-ms-client-request-id"), "mine");
    assert_eq!(reply.header("x-ms-correlation-request-id"), "theirs");
    let plain = client.get("/subscriptions?api-version=2022-12-01").await;
    assert_eq!(
        plain.header("x-ms-correlation-request-id"),
        plain.header("x-ms-request-id")
    );
    assert!(plain.headers.get("x-ms-client-request-id").is_none());
}

/// A stop between the answer and the end of an operation leaves it to the next start.
#[tokio::test]
async fn operations_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let backing = StoreBacking::Disk {
            path: folder.path().join("store.redb"),
            key: Box::new(SealKey::new(&[7; 32])),
        };
        let instance = InstanceName::new("default").unwrap();
        ManagementServer::open(
            &Settings::default(),
            backing,
            instance,
            Arc::new(OpenDestinations),
            Arc::new(SystemClock),
        )
    };
    let target = format!("{SUB}{TWINS}/twins?api-version={VERSION}");
    {
        // A runtime that ends while the operation is on its way.
        let management = std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let management = runtime.block_on(async { open().unwrap() });
                let (status, _) = runtime.block_on(raw(
                    &management,
                    "PUT",
                    &target,
                    &[],
                    b"{\"location\":\"westus2\"}",
                ));
                assert_eq!(status, 201);
                management
            });
            asked.join().unwrap()
        });
        drop(management);
    }
    let management = open().unwrap();
    let mut changes = management.changes();
    loop {
        let (status, found) = raw(&management, "GET", &target, &[], b"").await;
        assert_eq!(status, 200);
        if found["properties"]["provisioningState"] == "Succeeded" {
            break;
        }
        changes.changed().await.unwrap();
    }
}

#[tokio::test]
async fn definitions_of_another_source_are_shown_and_cannot_be_changed() {
    let instance = InstanceName::new("plant").unwrap();
    let backing = StoreBacking::Mirror("the definitions come from files".to_owned());
    let management = ManagementServer::open(
        &Settings::default(),
        backing,
        instance.clone(),
        Arc::new(OpenDestinations),
        Arc::new(SystemClock),
    )
    .unwrap();
    let name = EndpointName::new("hub-1").unwrap();
    let string = "Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey=marked;EntityPath=hub";
    let body = json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": string } });
    let endpoint = endpoint::parse(&name, &body.to_string()).unwrap();
    management.show(&[Instance {
        name: instance,
        endpoints: vec![endpoint],
        routes: vec![],
        network: twinroute_model::network::NetworkAccess::default(),
    }]);
    let sub = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/twinroute";
    let hub = format!(
        "{sub}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/plant/endpoints/hub-1?api-version={VERSION}"
    );
    let (status, found) = raw(&management, "GET", &hub, &[], b"").await;
    assert_eq!(status, 200, "{found}");
    assert!(!found.to_string().contains("marked"));
    for method in ["PUT", "DELETE"] {
        let (status, refused) =
            raw(&management, method, &hub, &[], body.to_string().as_bytes()).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (409, &json!("ScopeLocked"))
        );
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("the definitions come from files"),
            "{message}"
        );
    }
}

/// Bodies of endpoints in which every text that could be one is a marked secret.
fn endpoints() -> impl Strategy<Value = Value> {
    let member = prop::sample::select(vec![
        "connectionStringPrimaryKey",
        "connectionStringSecondaryKey",
        "primaryConnectionString",
        "secondaryConnectionString",
        "accessKey1",
        "accessKey2",
        "deadLetterSecret",
    ]);
    let kind = prop::sample::select(vec!["EventHub", "EventGrid", "ServiceBus"]);
    let value = prop::sample::select(vec![
        "Endpoint=sb://ns/;SharedAccessKeyName=marked;SharedAccessKey=marked;EntityPath=marked",
        "marked",
        "https://a.blob.core.windows.net/dead?sv=1&sp=w&sr=c&se=2030-01-01&sig=marked",
    ]);
    let members = prop::collection::vec((member, value), 0..7);
    (kind, members).prop_map(|(kind, members)| {
        let mut properties =
            json!({ "endpointType": kind, "TopicEndpoint": "https://t/api/events" });
        for (member, value) in members {
            properties[member] = value.into();
        }
        json!({ "properties": properties })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_read_ever_shows_a_secret(bodies in prop::collection::vec(endpoints(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = TestClient::new(VERSION);
            let instance = format!("{SUB}{TWINS}/twins");
            client.put_and_wait(&instance, &json!({ "location": "westus2" })).await;
            for (index, body) in bodies.iter().enumerate() {
                let path = format!("{instance}/endpoints/ep-{index}");
                let reply = client.put(&path, body).await;
                prop_assert!(!format!("{reply:?}").contains("marked"), "{reply:?}");
                if reply.status == 201 {
                    client.end(&reply).await;
                }
                for path in [path, format!("{instance}/endpoints"), instance.clone()] {
                    let reply = client.get(&path).await;
                    prop_assert!(!format!("{reply:?}").contains("marked"), "{reply:?}");
                }
            }
            Ok(())
        })?;
    }
}
