//! Steps that the lives of all resources share.

use crate::arm::error::Error;
use crate::arm::id::ResourceId;
use crate::arm::request::ArmRequest;
use crate::context::ServerContext;
use crate::operations::{ArmOperation, Begun, OperationStep};
use crate::store::record::ResourceRecord;
use crate::store::{StoreChange, StoreState};
use std::sync::Arc;

/// Refuses a change while an operation runs on the resource.
pub(crate) fn idle(state: &StoreState, id: &ResourceId) -> Result<(), Error> {
    match state.running(id) {
        None => Ok(()),
        Some(_) => Err(Error::OperationInProgress { id: id.to_string() }),
    }
}

/// The resource that something is made or changed in: it must be there, and stay.
pub(crate) fn staying(state: &StoreState, owner: &ResourceId) -> Result<ResourceRecord, Error> {
    let record = state.get(owner).ok_or_else(|| Error::ParentNotFound {
        parent: owner.name.clone(),
    })?;
    if record.state() == "Deleting" {
        return Err(Error::OperationInProgress {
            id: owner.to_string(),
        });
    }
    Ok(record)
}

/// Begins to delete a resource, with all that belongs to it. Nothing, if it is not there; the operation
/// under way, if it is being deleted already.
pub(crate) async fn delete(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    id: ResourceId,
    may: impl FnOnce(&StoreState, &ResourceRecord) -> Result<(), Error> + Send + 'static,
) -> Result<Option<Begun>, Error> {
    let now = request.now;
    context
        .begin(&request.cause, move |_, state| {
            let Some(before) = &state.get(&id) else {
                return Ok((Vec::new(), None, None));
            };
            if let Some(running) = state.running(&id)
                && running.step == OperationStep::Delete
            {
                let outcome = Some(Begun::new(running, ResourceRecord::clone(before)));
                return Ok((Vec::new(), None, outcome));
            }
            idle(state, &id)?;
            may(state, before)?;
            let mut record = ResourceRecord::clone(before);
            record.set_state("Deleting");
            let operation = ArmOperation::begin(&id, OperationStep::Delete, now);
            let outcome = Some(Begun::new(&operation, record.clone()));
            Ok((vec![StoreChange::Put(record)], Some(operation), outcome))
        })
        .await
}
