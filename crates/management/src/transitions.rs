//! How every resource is created, changed and deleted.
//!
//! A handler reads its body and says what the change makes of the resource ([`ChangeDecision`]); the rest is the same for
//! all kinds and stands here: what must be there and stay, limits, `systemData`, the resource's group, the operation
//! that goes on, and the answer. All of it is decided in one turn of the store.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::audit_cause::AuditCause;
use crate::context::{ServerCall, ServerContext};
use crate::operations;
use crate::preconditions::{idle, need_above, not_found, room, staying};
use crate::provision;
use crate::store::operation::{ArmOperation, OperationStep};
use crate::store::record::{ResourceRecord, system_data};
use crate::store::state::{StoreChange, StoreState};
use http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use uuid::Uuid;

/// What a change makes of a resource.
pub(crate) enum ChangeDecision {
    /// All is so already, and nothing is stored.
    Unchanged,
    /// Made at once.
    Done(ResourceRecord),
    /// In this state until an operation has ended.
    Begun(ResourceRecord, &'static str),
}

/// What a change is decided on.
pub(crate) struct PresentState<'a> {
    pub(crate) state: &'a StoreState,
    id: &'a ResourceId,
    pub(crate) before: Option<&'a ResourceRecord>,
    pub(crate) now: Timestamp,
}

impl<'a> PresentState<'a> {
    /// The resource, of a change that does not create it.
    pub(crate) fn existing(&self) -> Result<&'a ResourceRecord, Error> {
        self.before.ok_or_else(|| not_found(self.id))
    }

    /// Whether a PUT that comes to `record` changes nothing, `computed` members of `properties` aside.
    pub(crate) fn is_same(&self, record: &ResourceRecord, computed: &[&str]) -> bool {
        let same = |before: &ResourceRecord| {
            before.is_same(record, computed) && before.state() == "Succeeded"
        };
        self.before.is_some_and(same)
    }

    /// Puts the time of the resource's creation into `record`.
    pub(crate) fn stamp_creation(&self, record: &mut ResourceRecord) {
        let created = self
            .before
            .and_then(|before| before.property("createdTime"));
        let created = created.map_or_else(|| self.now.rfc3339(), str::to_owned);
        record.set_property("createdTime", created);
    }
}

/// What became of a change.
pub(crate) struct TransitionOutcome {
    /// The resource as it is now.
    pub(crate) record: ResourceRecord,
    /// Whether it was not there before.
    is_new: bool,
    /// What goes on.
    operation: Option<Uuid>,
}

impl TransitionOutcome {
    fn new(record: ResourceRecord, is_new: bool, operation: Option<&ArmOperation>) -> Self {
        Self {
            record,
            is_new,
            operation: operation.map(|operation| operation.id),
        }
    }

    /// 201 for what was not there before, 200 for what was.
    pub(crate) fn status(&self) -> StatusCode {
        match self.is_new {
            true => StatusCode::CREATED,
            false => StatusCode::OK,
        }
    }

    /// 200 for what is done; for what goes on `status`, with the headers by which a client follows it.
    pub(crate) fn answer(
        &self,
        call: ServerCall<'_>,
        status: StatusCode,
        body: Option<Value>,
    ) -> ArmAnswer {
        let Some(operation) = self.operation else {
            return ArmAnswer::new(StatusCode::OK, body);
        };
        let answer = ArmAnswer::new(status, body);
        let state = call.state();
        operations::announce(answer, &state, call.request, &self.record, operation)
    }
}

/// Creates a resource or changes it as `decide` says.
///
/// Dropping the future does not undo the change.
///
/// # Errors
/// What `decide` refuses; that its owner is not there or goes, that an operation runs on it, that there are too
/// many of its kind; that it cannot be stored.
pub(crate) async fn write(
    call: ServerCall<'_>,
    id: ResourceId,
    decide: impl FnOnce(&PresentState<'_>) -> Result<ChangeDecision, Error> + Send + 'static,
) -> Result<TransitionOutcome, Error> {
    let (caller, now) = (call.request.caller.clone(), call.request.now);
    change(call, move |context, state| {
        // A group has neither operations of its own but its end, nor `systemData`.
        let is_group = id.kind == ResourceKind::Group;
        if let Some(owner) = id.owner() {
            staying(state, &owner)?;
        }
        if !is_group {
            idle(state, &id)?;
        }
        let before = state.get(&id);
        let (id, before) = (&id, before.as_ref());
        let present = PresentState {
            state,
            id,
            before,
            now,
        };
        let is_new = before.is_none();
        let (mut record, operation) = match decide(&present)? {
            ChangeDecision::Unchanged => {
                let record = present.existing()?.clone();
                return Ok((
                    Vec::new(),
                    None,
                    TransitionOutcome::new(record, is_new, None),
                ));
            }
            ChangeDecision::Done(record) => (record, None),
            ChangeDecision::Begun(mut record, state) => {
                record.set_state(state);
                let step = OperationStep::over(before);
                (record, Some(ArmOperation::begin(id, step, now)))
            }
        };
        if is_new {
            room(&context.settings, state, id)?;
        }
        let mut changes = Vec::new();
        if !is_group {
            record.set("systemData", system_data(before, &caller, now));
            changes.extend(group_of(state, id, &caller));
        }
        changes.push(StoreChange::put(&record));
        let outcome = TransitionOutcome::new(record, is_new, operation.as_ref());
        Ok((changes, operation, outcome))
    })
    .await
}

/// The change that makes a resource's group, if it is not there yet.
fn group_of(state: &StoreState, id: &ResourceId, caller: &str) -> Option<StoreChange> {
    let id = ResourceId::group(&id.subscription, &id.group);
    if state.has(&id) {
        return None;
    }
    tracing::info!(group = %id, caller, "a resource group was made with its first resource");
    Some(StoreChange::put(&ResourceRecord::group(id)))
}

/// Begins to delete a resource, with all that belongs to it: 202 with what `show` makes of it, also while it is being
/// deleted already; 204 if it is not there.
///
/// Dropping the future does not undo the change.
///
/// # Errors
/// What `may` refuses; that what it would be in is not there, that another operation runs on it; that it cannot be
/// stored.
pub(crate) async fn delete(
    call: ServerCall<'_>,
    id: ResourceId,
    may: impl FnOnce(&StoreState, &ResourceRecord) -> Result<(), Error> + Send + 'static,
    show: impl FnOnce(&ResourceRecord) -> Option<Value>,
) -> Result<ArmAnswer, Error> {
    need_above(call, &id)?;
    let now = call.request.now;
    let deleted = change(call, move |_, state| {
        let Some(mut record) = state.get(&id) else {
            return Ok((Vec::new(), None, None));
        };
        if let Some(running) = state.running(&id)
            && running.step == OperationStep::Delete
        {
            let outcome = TransitionOutcome::new(record, false, Some(running));
            return Ok((Vec::new(), None, Some(outcome)));
        }
        idle(state, &id)?;
        may(state, &record)?;
        record.set_state("Deleting");
        let operation = ArmOperation::begin(&id, OperationStep::Delete, now);
        let put = StoreChange::put(&record);
        let outcome = TransitionOutcome::new(record, false, Some(&operation));
        Ok((vec![put], Some(operation), Some(outcome)))
    })
    .await?;
    Ok(match deleted {
        None => ArmAnswer::no_content(),
        Some(outcome) => {
            let body = show(&outcome.record);
            outcome.answer(call, StatusCode::ACCEPTED, body)
        }
    })
}

/// Stores what is decided, with the operation that it begins, and sets that going.
async fn change<T: Send + 'static>(
    call: ServerCall<'_>,
    decide: impl FnOnce(
        &ServerContext,
        &StoreState,
    ) -> Result<(Vec<StoreChange>, Option<ArmOperation>, T), Error>
    + Send
    + 'static,
) -> Result<T, Error> {
    let cause = AuditCause::of(call.request);
    let change = move |context: &Arc<ServerContext>| {
        let (begun, outcome) = context.change_now(Some(&cause), |state| {
            let (mut changes, operation, outcome) = decide(context, state)?;
            let begun = operation.as_ref().map(|operation| operation.id);
            if let Some(operation) = operation {
                changes.extend(context.expiry.due(state, context.clock.now()));
                changes.push(StoreChange::Note(operation));
            }
            Ok((changes, (begun, outcome)))
        })?;
        // Here, so that it goes on when the caller does not wait for the answer.
        if let Some(operation) = begun {
            drop(tokio::spawn(provision::finish(
                Arc::clone(context),
                operation,
            )));
        }
        Ok(outcome)
    };
    call.context.off_thread(change).await
}
