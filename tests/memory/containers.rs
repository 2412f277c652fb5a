//! Containers of dead letters.

use super::hostile::{ANSWERS, Endless, HostileServer};
use super::{COST_BYTES_MAX, cost, outgoing, together};
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::cloudevents::json;
use twinroute_model::dead_letter::{DeadLetter, DeadLetterReason};
use twinroute_model::endpoint::location::ContainerLocation;
use twinroute_model::event::EventLimits;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;
use twinroute_retry::dead_letter::container::{ContainerClient, LetterContainer};
use twinroute_retry::dead_letter::document::DeadLetterDocument;

const NOW: Timestamp = Timestamp::from_unix_millis(1_774_000_000_000);

/// Valid names without end, in a page without end.
const LISTING: Endless = Endless {
    name: "blobs in a listing",
    begin: b"HTTP/1.1 200 OK\r\n\r\n<?xml version=\"1.0\"?><EnumerationResults><Blobs>",
    again: b"<Blob><Name>a</Name></Blob>",
};

pub(crate) async fn attack() {
    for answer in ANSWERS.into_iter().chain([LISTING]) {
        let server = HostileServer::start(answer).await;
        let http = outgoing().http().build().unwrap();
        let client = ContainerClient::new(Arc::new(http), EventLimits::default().event_bytes_max);
        let uri = format!(
            "{}/account/dead?sv=2024-11-04&sp=rwlc&sr=c&se=2099-01-01T00:00:00Z&sig=c2lnbmF0dXJlLW9mLXRoZS1jb250YWluZXI%3D",
            server.url()
        );
        let location = ContainerLocation::from_secret(&Secret::new(uri)).unwrap();
        let container = Arc::new(LetterContainer::with_sas(&client, location).unwrap());
        let put = |_| put(Arc::clone(&container));
        let name = format!("container, PUT: {} without end", answer.name);
        cost(&name, COST_BYTES_MAX, together(put)).await;
        let name = format!("container, listing: {} without end", answer.name);
        let list = async { drop(container.list("", None, NOW).await) };
        cost(&name, COST_BYTES_MAX, list).await;
        let name = format!("container, reading: {} without end", answer.name);
        let read = async { drop(container.read("a", NOW).await) };
        cost(&name, COST_BYTES_MAX, read).await;
    }
}

async fn put(container: Arc<LetterContainer>) {
    let text = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1}"#;
    let event = json::parse(text.into(), &EventLimits::default()).unwrap();
    let instance = InstanceName::new("main").unwrap();
    let endpoint = EndpointName::new("hub").unwrap();
    let dead = DeadLetter {
        reason: DeadLetterReason::Exhausted,
        attempts: 30,
        died_at: NOW,
        last_attempt_at: Some(NOW),
        outcome: "http-404".into(),
    };
    let letter = DeadLetterDocument {
        instance: &instance,
        endpoint: &endpoint,
        event: &event,
        accepted_at: NOW,
        dead: &dead,
    };
    // What it is told does not matter here.
    drop(container.put(&letter, NOW).await);
}
