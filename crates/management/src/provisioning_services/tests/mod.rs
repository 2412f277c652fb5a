//! The provider as clients see it.

mod certificates;
mod refusals;
mod secrets;
mod services;

use crate::testing::{TestClient, TestReply};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "/subscriptions/91d12660-3dec-467a-be2a-213b5544ddc0";
const OTHER_SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-00000000000b";
const PROVIDER: &str = "/providers/Microsoft.Devices";
const VERSION: &str = "2022-12-12";

const HUB: &str =
    "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0";
const HUB_MASK: &str =
    "HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=****";

fn service(name: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/rg{PROVIDER}/provisioningServices/{name}")
}

/// A body that is taken, with these properties.
fn body(properties: &Value) -> Value {
    json!({ "location": "East US", "sku": { "name": "S1", "capacity": 1 }, "properties": properties })
}

fn etag(reply: &TestReply) -> &str {
    reply.json["etag"].as_str().unwrap()
}

/// A client, and a service of that name.
async fn with_service(name: &str) -> (TestClient, String) {
    let client = TestClient::new(VERSION);
    let path = service(name);
    client.put_and_wait(&path, &body(&json!({}))).await;
    (client, path)
}

/// The refusal must be the service's own: flat, with a number.
#[track_caller]
fn check_flat(reply: &TestReply, status: u16, code: u32, text: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.json["code"], code, "{reply:?}");
    let message = reply.json["message"].as_str().unwrap();
    assert!(message.contains(text), "{message}");
    assert!(reply.json.get("error").is_none(), "{reply:?}");
}

/// The refusal must be ARM's.
#[track_caller]
fn check_arm(reply: &TestReply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.json["error"]["code"], code, "{reply:?}");
}
