//! Faults that Azure's own tools met here, each with its neighbours; tests are named after the fault.

mod dead_letter_sas;
mod moved_masks;
mod paths;
mod read_back;
mod unknown_members;

use crate::testing::TestReply;
use serde_json::{Value, json};

const TWINS: &str = "2023-01-31";
const DEVICES: &str = "2026-11-01";
const SUB: &str = "/subscriptions/11111111-1111-1111-1111-111111111111";
const KEY: &str =
    "Endpoint=sb://ns.example/;SharedAccessKeyName=send;SharedAccessKey=marked;EntityPath=hub";

fn instance(name: &str) -> String {
    format!("{SUB}/resourceGroups/rg/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{name}")
}

fn service(name: &str) -> String {
    format!("{SUB}/resourceGroups/rg/providers/Microsoft.Devices/provisioningServices/{name}")
}

fn here() -> Value {
    json!({ "location": "westus2" })
}

fn code(reply: &TestReply) -> (u16, &str) {
    let code = reply.json["error"]["code"].as_str();
    (reply.status, code.unwrap_or("(none)"))
}
