//! Steps that the lives of all resources share.

use crate::arm::error::Error;
use crate::arm::id::ResourceId;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::operations::{Begun, Operation, Step};
use crate::store::record::Record;
use crate::store::{Change, State};
use std::sync::Arc;

/// Refuses a change while an operation runs on the resource.
pub(crate) fn idle(state: &State, id: &ResourceId) -> Result<(), Error> {
    match state.running(id) {
        None => Ok(()),
        Some(_) => Err(Error::OperationInProgress { id: id.to_string() }),
    }
}

/// The resource that something is made or changed in: it must be there, and stay.
pub(crate) fn staying(state: &State, owner: &ResourceId) -> Result<Record, Error> {
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
    desk: &Arc<Desk>,
    request: &Request,
    id: ResourceId,
    may: impl FnOnce(&State, &Record) -> Result<(), Error> + Send + 'static,
) -> Result<Option<Begun>, Error> {
    let now = request.now;
    desk.begin(&request.cause, move |_, state| {
        let Some(before) = &state.get(&id) else {
            return Ok((Vec::new(), None, None));
        };
        if let Some(running) = state.running(&id)
            && running.step == Step::Delete
        {
            let outcome = Some(Begun::new(running, Record::clone(before)));
            return Ok((Vec::new(), None, outcome));
        }
        idle(state, &id)?;
        may(state, before)?;
        let mut record = Record::clone(before);
        record.set_state("Deleting");
        let operation = Operation::begin(&id, Step::Delete, now);
        let outcome = Some(Begun::new(&operation, record.clone()));
        Ok((vec![Change::Put(record)], Some(operation), outcome))
    })
    .await
}
