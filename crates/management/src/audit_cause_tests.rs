use super::*;
use crate::testing::{OpenDestinations, TestClient};
use http::StatusCode;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use twinroute_audit::{
    AuditEntry, AuditFinding, AuditLog, AuditSettings, ChangeOutcome, read, verify,
};
use twinroute_model::clock::SystemClock;

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg";
const KEY: &str = "bWFya2VkLWtleQ==";

fn twins() -> String {
    format!("{GROUP}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/plant")
}

fn service() -> String {
    format!("{GROUP}/providers/Microsoft.Devices/provisioningServices/dps1")
}

fn hub(key: &str) -> Value {
    let string =
        format!("Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey={key};EntityPath=hub");
    json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": string } })
}

fn open(folder: &Path) -> AuditLog {
    AuditLog::open(folder, &AuditSettings::default(), Arc::new(SystemClock)).unwrap()
}

fn entries(folder: &Path) -> Vec<AuditEntry> {
    let mut all = Vec::new();
    read(folder, |found| match found {
        AuditFinding::Entry(entry, _) => all.push(*entry),
        AuditFinding::Unreadable { .. } => panic!("{found:?}"),
    })
    .unwrap();
    assert_eq!(verify(folder, None).unwrap().problems, [] as [&str; 0]);
    all
}

/// All that is in the folder.
fn text(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

/// A client whose changes are recorded.
fn client(folder: &Path) -> TestClient {
    let client = TestClient::with(
        "2023-01-31",
        crate::Settings::default(),
        Arc::new(OpenDestinations),
    );
    client.note_in(open(folder));
    client
}

#[tokio::test]
async fn each_change_is_recorded_as_it_was_and_as_it_is_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    let twins = twins();
    let endpoint = format!("{twins}/endpoints/hub-1");
    let here = json!({ "location": "westus2" });
    client.put_and_wait(&twins, &here).await;
    let made = client.put_and_wait(&endpoint, &hub(KEY)).await;
    client
        .put_and_wait(&endpoint, &hub("b3RoZXItbWFya2Vk"))
        .await;
    let route = "/instances/plant/eventroutes/All?api-version=2023-10-31";
    let body = json!({ "endpointName": "hub-1", "filter": "true" });
    assert_eq!(client.put(route, &body).await.status, 204);
    assert_eq!(client.delete(route).await.status, 204);
    let gone = client.delete(&endpoint).await;
    client.end(&gone).await;

    let found = entries(folder.path());
    let entries: Vec<_> = found
        .iter()
        .map(|entry| {
            let operation = entry.operation.split_once('/').unwrap().1.to_owned();
            (operation, (entry.before.is_some(), entry.after.is_some()))
        })
        .collect();
    let endpoints = "digitalTwinsInstances/endpoints";
    let expect = [
        ("resourceGroups/write".to_owned(), (false, true)),
        ("digitalTwinsInstances/write".to_owned(), (false, true)),
        (format!("{endpoints}/write"), (false, true)),
        (format!("{endpoints}/write"), (true, true)),
        (
            "digitalTwinsInstances/eventRoutes/write".to_owned(),
            (false, true),
        ),
        (
            "digitalTwinsInstances/eventRoutes/delete".to_owned(),
            (true, false),
        ),
        (format!("{endpoints}/delete"), (true, true)),
    ];
    assert_eq!(entries, expect);
    assert!(
        found
            .iter()
            .all(|entry| entry.outcome == ChangeOutcome::Accepted)
    );
    let changed = "/properties/connectionStringPrimaryKey";
    assert_eq!(found[3].secrets_changed, [changed]);
    let view = found[3].after.as_ref().unwrap().pointer(changed).unwrap();
    assert!(!view.as_str().unwrap().contains("b3RoZXItbWFya2Vk"));
    assert_eq!(found[2].request, made.header("x-ms-request-id"));
    let gone = found[6].after.as_ref().unwrap();
    assert_eq!(gone["properties"]["provisioningState"], "Deleting");
    let text = text(folder.path());
    assert!(!text.contains(KEY) && !text.contains("b3RoZXItbWFya2Vk"));
}

#[tokio::test]
async fn refusals_and_shown_keys_are_recorded_and_reads_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    client
        .put_and_wait(&twins(), &json!({ "location": "westus2" }))
        .await;
    let before = entries(folder.path()).len();
    client.get(&twins()).await;
    let name = json!({ "name": "x", "type": "Microsoft.DigitalTwins/digitalTwinsInstances" });
    let ask = format!(
        "{}/providers/Microsoft.DigitalTwins/locations/westus2/checkNameAvailability",
        GROUP.split("/resourceGroups").next().unwrap()
    );
    assert_eq!(client.post(&ask, Some(&name)).await.status, 200);
    assert_eq!(entries(folder.path()).len(), before);

    let wrong =
        json!({ "properties": { "endpointType": "EventHub", "connectionStringPrimaryKey": KEY } });
    let wrong = client
        .put(&format!("{}/endpoints/e-1", twins()), &wrong)
        .await;
    assert_eq!(wrong.status, 400);
    let body =
        json!({ "location": "westus2", "sku": { "name": "S1", "capacity": 1 }, "properties": {} });
    let version = "?api-version=2022-12-12";
    let made = client.put(&format!("{}{version}", service()), &body).await;
    assert_eq!(made.status, 201);
    client.end(&made).await;
    let keys = format!("{}/listkeys{version}", service());
    let keys = client.send("POST", &keys, &[], None).await;
    assert_eq!(keys.status, 200);
    // Refusals are written by a thread of their own.
    let found = loop {
        let found = entries(folder.path());
        if found.len() == before + 3 {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let recorded = |end: &str| {
        let entry = found.iter().find(|entry| entry.operation.ends_with(end));
        let entry = entry.unwrap_or_else(|| panic!("{end}"));
        (entry.outcome, entry.status, entry.code.as_str())
    };
    let (outcome, status, _) = recorded("endpoints/write");
    assert_eq!((outcome, status), (ChangeOutcome::Refused, Some(400)));
    assert_eq!(
        recorded("provisioningServices/listkeys/action").0,
        ChangeOutcome::Accepted
    );
    let text = text(folder.path());
    let key = keys.json["value"][0]["primaryKey"].as_str().unwrap();
    assert!(!text.contains(KEY) && !text.contains(key));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let client = client(folder.path());
    // The next file cannot be begun.
    let settings = AuditSettings {
        file_bytes_max: bytesize::ByteSize(1),
        ..AuditSettings::default()
    };
    let other = folder.path().join("other");
    let audit = AuditLog::open(&other, &settings, Arc::new(SystemClock)).unwrap();
    audit
        .accept(
            &twinroute_audit::ChangeAuthor::command("command", "tests"),
            &[twinroute_audit::AuditedChange::step("a", "b")],
        )
        .unwrap();
    std::fs::create_dir(other.join("audit-00000002.jsonl")).unwrap();
    client.note_in(audit);
    let refused = client
        .put(&twins(), &json!({ "location": "westus2" }))
        .await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("cannot be recorded") && message.contains("begin its next file"),
        "{message}"
    );
    assert_eq!(client.get(&twins()).await.status, 404);
    std::fs::remove_dir(other.join("audit-00000002.jsonl")).unwrap();
    client
        .put_and_wait(&twins(), &json!({ "location": "westus2" }))
        .await;
}

#[test]
fn a_path_names_what_is_asked_for() {
    let cause = |method: Method, path: &str| {
        let path_words = path.to_ascii_lowercase();
        let last = path_words.rsplit('/').next().unwrap_or_default();
        let author = ChangeAuthor::command("management", "tests");
        let asked = AuditCause::new(author, &method, last).asked(path);
        (asked.operation, asked.resource)
    };
    let twins = twins();
    let listkeys = format!("{}/listkeys", service());
    for (method, path, operation, resource) in [
        (
            Method::PUT,
            twins.as_str(),
            "Microsoft.DigitalTwins/digitalTwinsInstances/write",
            twins.as_str(),
        ),
        (
            Method::POST,
            &listkeys,
            "Microsoft.Devices/provisioningServices/listkeys/action",
            &service(),
        ),
        (
            Method::DELETE,
            "/eventroutes/All",
            "Microsoft.DigitalTwins/digitalTwinsInstances/eventRoutes/delete",
            "/eventroutes/All",
        ),
        (Method::PUT, "/nowhere", "write", "/nowhere"),
    ] {
        assert_eq!(
            cause(method, path),
            (operation.to_owned(), resource.to_owned())
        );
    }
}
