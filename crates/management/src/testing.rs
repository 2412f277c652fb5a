//! For tests: asks a management API in memory as a client of Azure would.

use crate::export::ExportedSecrets;
use crate::management::{ManagementServer, StoreBacking, ask, hold};
use crate::settings::Settings;
use crate::store::operation::OperationStep;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::sync::Arc;
use twinroute_audit::AuditLog;
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::endpoint::Endpoint;
use twinroute_model::instance::Instance;
use twinroute_model::name::InstanceName;
use twinroute_model::settings::EndpointSettings;
use twinroute_router::sink::{BatchLimits, Connect, ConnectError, Delivery, DeliveryOutcome, Sink};

/// How the URLs begin that [`TestClient`] is given.
pub(crate) const BASE: &str = "http://azure.test";

/// A client, and what it talks to.
pub(crate) struct TestClient {
    management: ManagementServer,
    version: &'static str,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct TestReply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Null when there was no body.
    pub(crate) json: Value,
}

impl TestClient {
    /// Sends `version` with each request; every destination answers.
    pub(crate) fn new(version: &'static str) -> Self {
        Self::with(version, Settings::default(), Arc::new(OpenDestinations))
    }

    /// As [`Self::new`], with destinations of the test's own. Needs a tokio runtime.
    pub(crate) fn with(
        version: &'static str,
        settings: Settings,
        connect: Arc<dyn Connect>,
    ) -> Self {
        let start = Timestamp::parse_rfc3339("2026-11-27T05:00:00Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let instance = InstanceName::new("default").unwrap();
        let management =
            ManagementServer::open(&settings, StoreBacking::Memory, instance, connect, clock)
                .unwrap();
        Self {
            management,
            version,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> TestReply {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> TestReply {
        self.send("PUT", path, &[], Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> TestReply {
        self.send("PATCH", path, &[], Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> TestReply {
        self.send("POST", path, &[], body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> TestReply {
        self.send("DELETE", path, &[], None).await
    }

    /// A path without a query gets the client's version; a URL is taken as it was given out.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> TestReply {
        let path = path.strip_prefix(BASE).unwrap_or(path);
        let target = if path.contains('?') {
            path.to_owned()
        } else {
            format!("{path}?api-version={}", self.version)
        };
        let mut request = http::Request::builder().method(method).uri(target);
        request = request.header("host", &BASE["http://".len()..]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let response = ask(&self.management, request.body(body).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        TestReply {
            status: head.status.as_u16(),
            headers: head.headers,
            json,
        }
    }

    /// What the table is made of.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.management.instances()
    }

    /// Puts a secret of a stored resource in place, as an earlier version may have taken it.
    pub(crate) fn store_secret(&self, id: &str, pointer: &str, secret: &str) {
        use crate::arm::id::ResourceId;
        use crate::store::state::StoreChange;
        let context = self.management.context();
        let id = ResourceId::parse(id).unwrap();
        let stored = context.store.change(|state| {
            let mut record = state.get(&id).unwrap();
            record.secrets.insert(pointer.to_owned(), secret.into());
            Ok((vec![StoreChange::put(&record)], ()))
        });
        stored.unwrap();
    }

    /// Everything that is stored.
    pub(crate) fn export(&self, secrets: ExportedSecrets) -> Value {
        self.management.export(secrets)
    }

    /// Has changes recorded.
    pub(crate) fn note_in(&self, audit: AuditLog) {
        self.management.set_audit(audit);
    }

    /// Has an operation run on a resource that does not end.
    pub(crate) fn hold(&self, id: &str, step: OperationStep) {
        hold(&self.management, id, step);
    }

    /// Follows the operation that a reply announces to its end; gives the last status.
    pub(crate) async fn end(&self, reply: &TestReply) -> TestReply {
        let mut changes = self.management.changes();
        let url = reply.header("azure-asyncoperation");
        loop {
            changes.mark_unchanged();
            let status = self.get(url).await;
            if status.json["status"] != "Running" {
                return status;
            }
            changes.changed().await.unwrap();
        }
    }

    /// As [`Self::put`], with the operation at its end.
    pub(crate) async fn put_and_wait(&self, path: &str, body: &Value) -> TestReply {
        let reply = self.put(path, body).await;
        assert!(reply.status < 300, "{path}: {reply:?}");
        assert_eq!(self.end(&reply).await.json["status"], "Succeeded", "{path}");
        reply
    }
}

impl TestReply {
    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }
}

/// Destinations that take everything.
pub(crate) struct OpenDestinations;

impl Connect for OpenDestinations {
    fn connect(
        &self,
        _endpoint: &Endpoint,
        _settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(Self))
    }
}

impl Sink for OpenDestinations {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        ready(batch.iter().map(|_| DeliveryOutcome::Delivered).collect()).boxed()
    }
}
