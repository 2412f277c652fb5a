//! Provisioning and changes that meet, as a client sees them.

use super::lifecycle_tests::{STRING, VERSION, event_hub, here, instance, refused, with_instance};
use crate::settings::Settings;
use crate::testing::TestClient;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::{
    BatchLimits, Connect, ConnectError, Delivery, DeliveryOutcome, EndpointFault, FailureReason,
    FaultKind, Sink,
};

/// Destinations that answer a probe as they are told, when they are told to.
#[derive(Default)]
struct ScriptedDestinations {
    fault: Mutex<Option<FaultKind>>,
    held: Mutex<Option<Arc<Notify>>>,
}

struct ScriptedDestination {
    fault: Option<FaultKind>,
    held: Option<Arc<Notify>>,
}

impl Connect for ScriptedDestinations {
    fn connect(
        &self,
        endpoint: &Endpoint,
        _: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        if endpoint.name.as_str() == "no-sink" {
            return Err(ConnectError {
                endpoint: endpoint.name.to_string(),
                reason: "no sink can be made of this".to_owned(),
            });
        }
        Ok(Arc::new(ScriptedDestination {
            fault: *self.fault.lock().unwrap(),
            held: self.held.lock().unwrap().clone(),
        }))
    }
}

impl Sink for ScriptedDestination {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(vec![DeliveryOutcome::Delivered; batch.len()]).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        async {
            if let Some(held) = &self.held {
                held.notified().await;
            }
            match self.fault {
                None => Ok(()),
                Some(kind) => Err(EndpointFault {
                    kind,
                    after: None,
                    reason: FailureReason::new("scripted", "by the test"),
                }),
            }
        }
        .boxed()
    }
}

/// A client of an instance whose destinations answer by a script.
async fn scripted_client() -> (Arc<ScriptedDestinations>, TestClient) {
    let scripted = Arc::new(ScriptedDestinations::default());
    let client = TestClient::with(
        VERSION,
        Settings::default(),
        Arc::clone(&scripted) as Arc<dyn Connect>,
    );
    client.put_and_wait(&instance("twins"), &here()).await;
    (scripted, client)
}

#[tokio::test]
async fn provisioning_asks_the_destination() {
    let (scripted, client) = scripted_client().await;
    for (index, (fault, state, code)) in [
        (None, "Succeeded", None),
        (
            Some(FaultKind::Unauthorized),
            "Failed",
            Some("DestinationUnauthorized"),
        ),
        (Some(FaultKind::Gone), "Failed", Some("DestinationNotFound")),
        (
            Some(FaultKind::Unreachable),
            "Warning",
            Some("DestinationUnreachable"),
        ),
        (
            Some(FaultKind::Throttled),
            "Warning",
            Some("DestinationBusy"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        *scripted.fault.lock().unwrap() = fault;
        let path = format!("{}/endpoints/hub-{index}", instance("twins"));
        let made = client.put(&path, &event_hub()).await;
        let ended = client.end(&made).await;
        let found = client.get(&path).await.json;
        assert_eq!(found["properties"]["provisioningState"], state, "{fault:?}");
        let reason = &found["properties"]["provisioningError"]["code"];
        assert_eq!(reason.as_str(), code, "{fault:?}");
        let failed = state == "Failed";
        assert_eq!(ended.json["status"] == "Failed", failed);
        assert_eq!(
            ended.json["error"]["code"].as_str(),
            code.filter(|_| failed)
        );
        if failed {
            assert_eq!(client.get(made.header("location")).await.status, 409);
        }
    }
    // Fixed by the same PUT, which would change nothing if it had succeeded.
    *scripted.fault.lock().unwrap() = None;
    let path = format!("{}/endpoints/hub-1", instance("twins"));
    client.put_and_wait(&path, &event_hub()).await;
    assert_eq!(
        client.get(&path).await.json["properties"]["provisioningState"],
        "Succeeded"
    );
    let path = format!("{}/endpoints/no-sink", instance("twins"));
    let refusal = client.put(&path, &event_hub()).await;
    assert_eq!(refused(&refusal), (400, "InvalidParameter"));
}

#[tokio::test]
async fn a_dead_letter_credential_that_cannot_work_is_warned_about() {
    let client = with_instance().await;
    let sas = |rest: &str| {
        format!("https://acct.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sig=c2ln&{rest}")
    };
    for (query, state, code) in [
        ("sp=w&se=2030-01-01T00:00:00Z", "Succeeded", None),
        (
            "sp=rl&se=2030-01-01T00:00:00Z",
            "Warning",
            Some("DeadLetterSasWithoutWrite"),
        ),
        (
            "sp=w&se=2020-01-01T00:00:00Z",
            "Warning",
            Some("DeadLetterSasExpired"),
        ),
        (
            "sp=w&st=2029-01-01T00:00:00Z&se=2030-01-01T00:00:00Z",
            "Warning",
            Some("DeadLetterSasNotYetValid"),
        ),
    ] {
        let path = format!("{}/endpoints/hub-1", instance("twins"));
        let mut body = event_hub();
        body["properties"]["deadLetterSecret"] = sas(query).into();
        let made = client.put(&path, &body).await;
        client.end(&made).await;
        let found = client.get(&path).await.json;
        assert_eq!(found["properties"]["provisioningState"], state, "{query}");
        assert_eq!(
            found["properties"]["provisioningError"]["code"].as_str(),
            code
        );
        assert_eq!(found["properties"]["deadLetterSecret"], "***");
    }
}

#[tokio::test]
async fn an_unreachable_destination_hides_no_bad_dead_letter_sas() {
    let (scripted, client) = scripted_client().await;
    let path = format!("{}/endpoints/hub-1", instance("twins"));
    let mut body = event_hub();
    body["properties"]["deadLetterSecret"] =
        "https://acct.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sig=c2ln&sp=w&se=2020-01-01T00:00:00Z".into();
    for (fault, state, code) in [
        (FaultKind::Unreachable, "Warning", "DestinationUnreachable"),
        (FaultKind::Throttled, "Warning", "DestinationBusy"),
        (FaultKind::Unauthorized, "Failed", "DestinationUnauthorized"),
        (FaultKind::Gone, "Failed", "DestinationNotFound"),
    ] {
        *scripted.fault.lock().unwrap() = Some(fault);
        let made = client.put(&path, &body).await;
        client.end(&made).await;
        let found = client.get(&path).await.json;
        let error = &found["properties"]["provisioningError"];
        assert_eq!(found["properties"]["provisioningState"], state, "{fault:?}");
        assert_eq!(error["code"], code, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(
                "; beside that, DeadLetterSasExpired: the SAS of deadLetterSecret expired at"
            ),
            "{message}"
        );
    }
}

#[tokio::test]
async fn one_change_at_a_time() {
    let scripted = Arc::new(ScriptedDestinations::default());
    let held = Arc::new(Notify::new());
    let client = TestClient::with(
        VERSION,
        Settings::default(),
        Arc::clone(&scripted) as Arc<dyn Connect>,
    );
    client.put_and_wait(&instance("twins"), &here()).await;
    *scripted.held.lock().unwrap() = Some(Arc::clone(&held));
    let path = format!("{}/endpoints/hub-1", instance("twins"));
    let first = client.put(&path, &event_hub()).await;
    assert_eq!(first.status, 201);
    let running = client.get(first.header("azure-asyncoperation")).await;
    assert_eq!(running.json["status"], "Running");
    let result = client.get(first.header("location")).await;
    assert_eq!(
        (result.status, result.header("location")),
        (202, first.header("location"))
    );
    let second = client.put(&path, &event_hub()).await;
    assert_eq!(refused(&second), (409, "AnotherOperationInProgress"));
    assert_eq!(
        refused(&client.delete(&path).await),
        (409, "AnotherOperationInProgress")
    );
    held.notify_one();
    assert_eq!(client.end(&first).await.json["status"], "Succeeded");
    *scripted.held.lock().unwrap() = None;

    // Of many at once, each is taken or refused whole.
    let other = |key: &str| {
        let mut body = event_hub();
        body["properties"]["connectionStringPrimaryKey"] = STRING.replace("marked", key).into();
        body
    };
    let bodies: Vec<Value> = (0..16).map(|n| other(&format!("key{n}"))).collect();
    let all = bodies.iter().map(|body| client.put(&path, body));
    let replies = futures_util::future::join_all(all).await;
    for reply in &replies {
        assert!(matches!(reply.status, 201 | 409), "{reply:?}");
    }
    assert!(replies.iter().any(|reply| reply.status == 201));
}
