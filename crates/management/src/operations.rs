//! Long-running operations: what is told about one, from its start until a day after its end.
//!
//! Source: ARM RPC 1.0, "Asynchronous operations"; the URLs are those that Microsoft.DigitalTwins and
//! Microsoft.Devices give out. `Retry-After` is one second: what Azure sends is ten, and clients of Azure
//! take zero for "as you like", which is thirty.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::page::{escape, url};
use crate::arm::request::ArmRequest;
use crate::store::record::ResourceRecord;
use crate::store::{StoreChange, StoreState};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// How long an operation can be asked about after its end.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Operations that are kept; the oldest that ended go first.
const KEPT_MAX: usize = 10_000;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OperationStep {
    Create,
    Update,
    Delete,
}

impl OperationStep {
    /// The step that puts something in the place of `before`.
    pub(crate) fn over(before: Option<&ResourceRecord>) -> Self {
        match before {
            Some(_) => Self::Update,
            None => Self::Create,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OperationStatus {
    Running,
    Succeeded,
    Failed,
}

impl OperationStatus {
    fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OperationFailure {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// One operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ArmOperation {
    pub(crate) id: Uuid,
    /// The key of the resource.
    pub(crate) key: String,
    /// The id of the resource.
    pub(crate) resource: String,
    pub(crate) step: OperationStep,
    pub(crate) status: OperationStatus,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) failure: Option<OperationFailure>,
}

impl ArmOperation {
    pub(crate) fn begin(id: &ResourceId, step: OperationStep, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4(),
            key: id.key(),
            resource: id.to_string(),
            step,
            status: OperationStatus::Running,
            started: now.rfc3339(),
            ended: None,
            failure: None,
        }
    }

    pub(crate) fn end(&self, failure: Option<OperationFailure>, now: Timestamp) -> Self {
        let status = match failure {
            None => OperationStatus::Succeeded,
            Some(_) => OperationStatus::Failed,
        };
        Self {
            status,
            ended: Some(now.rfc3339()),
            failure,
            ..self.clone()
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status == OperationStatus::Running
    }

    pub(crate) fn resource_id(&self) -> Option<ResourceId> {
        ResourceId::parse(&self.resource)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are JSON")
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A change whose operation was begun, or was under way.
pub(crate) struct Begun {
    pub(crate) record: ResourceRecord,
    pub(crate) step: OperationStep,
    operation: Uuid,
}

impl Begun {
    pub(crate) fn new(operation: &ArmOperation, record: ResourceRecord) -> Self {
        Self {
            record,
            step: operation.step,
            operation: operation.id,
        }
    }

    /// An answer with the headers by which a client follows the change.
    pub(crate) fn answer(
        &self,
        state: &StoreState,
        request: &ArmRequest,
        status: StatusCode,
        body: Option<Value>,
    ) -> ArmAnswer {
        let (answer, id) = (ArmAnswer::new(status, body), &self.record.id);
        // What belongs to something is where that is.
        let owner = id.owner().and_then(|owner| state.get(&owner));
        let placed = owner.as_ref().unwrap_or(&self.record);
        let location = placed.text("location").unwrap_or("global");
        announce(answer, request, id, location, self.operation)
    }
}

/// What became of a change.
pub(crate) enum Outcome {
    /// It was made at once, or everything was so already.
    Done(ResourceRecord),
    /// It goes on.
    Begun(Begun),
}

impl Outcome {
    /// The resource as it is now.
    pub(crate) fn record(&self) -> &ResourceRecord {
        match self {
            Self::Done(record) => record,
            Self::Begun(begun) => &begun.record,
        }
    }

    /// 200 for what is done, `status` for what goes on.
    pub(crate) fn answer(
        &self,
        state: &StoreState,
        request: &ArmRequest,
        status: StatusCode,
        body: Value,
    ) -> ArmAnswer {
        match self {
            Self::Done(_) => ArmAnswer::ok(body),
            Self::Begun(begun) => begun.answer(state, request, status, Some(body)),
        }
    }
}

/// Adds the headers by which a client follows an operation on a resource that is at `location`.
fn announce(
    answer: ArmAnswer,
    request: &ArmRequest,
    id: &ResourceId,
    location: &str,
    operation: Uuid,
) -> ArmAnswer {
    let version = escape(request.query("api-version").unwrap_or_default());
    let subscription = &id.subscription;
    let owner = id.owner().unwrap_or_else(|| id.clone());
    if owner.kind == ResourceKind::Service {
        let path = format!("{owner}/operationResults/{operation}");
        let status = format!("{}?api-version={version}&asyncinfo", url(request, &path));
        let result = format!("{}?api-version={version}", url(request, &path));
        let answer = answer
            .header("azure-asyncoperation", status)
            .header("retry-after", "1");
        // The Device Provisioning Service gives a Location with a DELETE alone.
        return match request.method {
            Method::PUT => answer,
            _ => answer.header("location", result),
        };
    }
    let base = match owner.kind {
        ResourceKind::Group => format!("/subscriptions/{subscription}"),
        _ => format!(
            "/subscriptions/{subscription}/providers/Microsoft.DigitalTwins/locations/{location}"
        ),
    };
    let status = url(request, &format!("{base}/operationStatuses/{operation}"));
    let result = url(request, &format!("{base}/operationResults/{operation}"));
    answer
        .header(
            "azure-asyncoperation",
            format!("{status}?api-version={version}"),
        )
        .header("location", format!("{result}?api-version={version}"))
        .header("retry-after", "1")
}

fn find<'a>(state: &'a StoreState, id: &str) -> Result<&'a ArmOperation, Error> {
    let found = id.parse().ok().and_then(|id: Uuid| state.operation(id));
    found.map(|found| &**found).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Error {
    Error::OperationNotFound {
        id: id.chars().take(64).collect(),
    }
}

/// What stands at the URL of `Azure-AsyncOperation`: always 200, until it is forgotten.
pub(crate) fn status(
    request: &ArmRequest,
    state: &StoreState,
    id: &str,
) -> Result<ArmAnswer, Error> {
    let operation = find(state, id)?;
    let mut body = json!({
        "id": request.path(),
        "name": operation.id.to_string(),
        "status": operation.status.word(),
        "startTime": operation.started,
    });
    if let Some(ended) = &operation.ended {
        body["endTime"] = ended.as_str().into();
    }
    if let Some(failure) = &operation.failure {
        body["error"] = json!({ "code": failure.code, "message": failure.message });
    }
    let answer = ArmAnswer::ok(body);
    Ok(if operation.is_running() {
        answer.header("retry-after", "1")
    } else {
        answer
    })
}

/// What stands at the URL of `Azure-AsyncOperation` of the Device Provisioning Service: how far it is, and
/// nothing else.
pub(crate) fn short_status(state: &StoreState, id: &str) -> Result<ArmAnswer, Error> {
    let operation = find(state, id)?;
    let mut body = json!({ "status": operation.status.word() });
    if let Some(failure) = &operation.failure {
        body["error"] = json!({ "code": failure.code, "message": failure.message });
    }
    let answer = ArmAnswer::ok(body);
    Ok(if operation.is_running() {
        answer.header("retry-after", "1")
    } else {
        answer
    })
}

/// Refuses an operation that is not one on `owner` or on something that belongs to it.
pub(crate) fn check_owner(state: &StoreState, id: &str, owner: &ResourceId) -> Result<(), Error> {
    let operation = find(state, id)?;
    let resource = operation.resource_id();
    let top = resource.and_then(|id| id.owner().or(Some(id)));
    if top.is_some_and(|top| top.key() == owner.key()) {
        return Ok(());
    }
    Err(unknown(id))
}

/// What stands at the URL of `Location`: 202 while it runs, then what a call that waits had answered.
pub(crate) fn result(
    request: &ArmRequest,
    state: &StoreState,
    id: &str,
    render: impl FnOnce(&ResourceId) -> Option<Value>,
) -> Result<ArmAnswer, Error> {
    let operation = find(state, id)?;
    if operation.is_running() {
        let again = format!("{}{}", request.base, request.target());
        let answer = ArmAnswer::new(StatusCode::ACCEPTED, None);
        return Ok(answer.header("location", again).header("retry-after", "1"));
    }
    if let Some(failure) = &operation.failure {
        let body = json!({ "error": { "code": failure.code, "message": failure.message } });
        return Ok(ArmAnswer::new(StatusCode::CONFLICT, Some(body)));
    }
    let resource = operation
        .resource_id()
        .filter(|_| operation.step != OperationStep::Delete);
    Ok(match resource.and_then(|id| render(&id)) {
        Some(body) => ArmAnswer::ok(body),
        None => ArmAnswer::no_content(),
    })
}

/// How often what ended long ago is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// When operations were last looked through for those that are forgotten.
#[derive(Debug, Default)]
pub(crate) struct OperationExpiry(AtomicI64);

impl OperationExpiry {
    /// Forgets what ended long ago, and the oldest when there are too many; looks now and then only.
    pub(crate) fn due(&self, state: &StoreState, now: Timestamp) -> Vec<StoreChange> {
        let surplus = state.operations().len().saturating_sub(KEPT_MAX);
        let looked = Timestamp::from_unix_millis(self.0.load(Ordering::Relaxed));
        if surplus == 0 && now.since(looked) < LOOK_EVERY {
            return Vec::new();
        }
        self.0.store(now.unix_millis(), Ordering::Relaxed);
        // Some more than must go, so that this is not done at each change.
        let surplus = if surplus == 0 {
            0
        } else {
            surplus + KEPT_MAX / 10
        };
        expired(state, surplus, now)
    }
}

fn expired(state: &StoreState, surplus: usize, now: Timestamp) -> Vec<StoreChange> {
    let ended = |operation: &Arc<ArmOperation>| {
        let ended = operation.ended.as_deref()?;
        Some((Timestamp::parse_rfc3339(ended)?, operation.id))
    };
    let mut over: Vec<_> = state.operations().filter_map(ended).collect();
    over.sort_unstable();
    let gone = over.into_iter().enumerate();
    let gone = gone.filter(|(index, (ended, _))| *index < surplus || now.since(*ended) > KEPT);
    gone.map(|(_, (_, id))| StoreChange::Forget(id)).collect()
}
