//! Long-running operations: what is reported about one, from its start until a day after its end.
//!
//! Source: ARM RPC 1.0, "Asynchronous operations"; the URLs are those that Microsoft.DigitalTwins and
//! Microsoft.Devices give out. `Retry-After` is one second: what Azure sends is ten, and clients of Azure
//! take zero for "as you like", which is thirty.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::link::versioned;
use crate::arm::request::ArmRequest;
use crate::store::operation::{ArmOperation, OperationStep};
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

/// Adds the headers by which a client follows an operation that changes a resource.
pub(crate) fn announce(
    answer: ArmAnswer,
    state: &StoreState,
    request: &ArmRequest,
    record: &ResourceRecord,
    operation: Uuid,
) -> ArmAnswer {
    let id = &record.id;
    let owner = id.owner().unwrap_or_else(|| id.clone());
    let answer = answer.header("retry-after", "1");
    if owner.kind == ResourceKind::Service {
        let result = versioned(request, &format!("{owner}/operationResults/{operation}"));
        let answer = answer.header("azure-asyncoperation", format!("{result}&asyncinfo"));
        // The Device Provisioning Service gives a Location with a DELETE alone.
        return match request.method {
            Method::PUT => answer,
            _ => answer.header("location", result),
        };
    }
    let subscription = &id.subscription;
    let base = if owner.kind == ResourceKind::Group {
        format!("/subscriptions/{subscription}")
    } else {
        // What belongs to something is where that is.
        let owner = state.get(&owner);
        let location = owner.as_ref().unwrap_or(record).text("location");
        let location = location.unwrap_or("global");
        format!(
            "/subscriptions/{subscription}/providers/Microsoft.DigitalTwins/locations/{location}"
        )
    };
    let at = |what: &str| versioned(request, &format!("{base}/{what}/{operation}"));
    answer
        .header("azure-asyncoperation", at("operationStatuses"))
        .header("location", at("operationResults"))
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
    let mut body = progress(operation);
    body["id"] = request.path().into();
    body["name"] = operation.id.to_string().into();
    body["startTime"] = operation.started.as_str().into();
    if let Some(ended) = &operation.ended {
        body["endTime"] = ended.as_str().into();
    }
    Ok(answer_of(operation, body))
}

/// What stands at the URL of `Azure-AsyncOperation` of the Device Provisioning Service: how far it is, and
/// nothing else.
pub(crate) fn short_status(state: &StoreState, id: &str) -> Result<ArmAnswer, Error> {
    let operation = find(state, id)?;
    Ok(answer_of(operation, progress(operation)))
}

fn progress(operation: &ArmOperation) -> Value {
    let mut body = json!({ "status": operation.status.word() });
    if let Some(failure) = &operation.failure {
        body["error"] = failure.body();
    }
    body
}

fn answer_of(operation: &ArmOperation, body: Value) -> ArmAnswer {
    let answer = ArmAnswer::ok(body);
    match operation.is_running() {
        true => answer.header("retry-after", "1"),
        false => answer,
    }
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
        let body = json!({ "error": failure.body() });
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
