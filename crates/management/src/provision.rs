//! The end of an operation: the destination is asked, and the resource gets its final state.

use crate::arm::id::{ResourceId, ResourceKind};
use crate::context::ServerContext;
use crate::digital_twins::endpoint_record;
use crate::settings::ProvisioningChecks;
use crate::store::operation::{ArmOperation, OperationFailure, OperationStep, ProvisioningVerdict};
use crate::store::record::ResourceRecord;
use crate::store::state::{StoreChange, StoreState};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::Timestamp;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::endpoint::problem::{self, DeadLetterProblem};
use twinroute_model::name::InstanceName;
use twinroute_router::sink::FaultKind;
use uuid::Uuid;

/// How long a destination may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Goes on with operations that a stop interrupted.
pub(crate) fn resume(context: &Arc<ServerContext>) {
    let state = context.store.read();
    for operation in state
        .operations()
        .filter(|operation| operation.is_running())
    {
        drop(tokio::spawn(finish(Arc::clone(context), operation.id)));
    }
}

/// Ends the operation `id`. Does nothing if it has ended.
pub(crate) async fn finish(context: Arc<ServerContext>, id: Uuid) {
    let (operation, record) = {
        let state = context.store.read();
        let Some(operation) = state.operation(id).filter(|found| found.is_running()) else {
            return;
        };
        let record = operation.resource_id().and_then(|id| state.get(&id));
        (Arc::clone(operation), record)
    };
    let verdict = match (&record, operation.step) {
        (Some(record), OperationStep::Create | OperationStep::Update)
            if record.id.kind == ResourceKind::Endpoint =>
        {
            check(&context, record).await
        }
        _ => ProvisioningVerdict::Good,
    };
    let resource = operation.resource.clone();
    context.ended().push((id, verdict));
    let _turn = context.ending.lock().await;
    // Whoever has the turn ends all that wait, in one transaction.
    let waiting = std::mem::take(&mut *context.ended());
    if waiting.is_empty() {
        return;
    }
    let ended = context
        .change(None, move |context, state| {
            let now = context.clock.now();
            let present = |id: Uuid| state.operation(id).filter(|found| found.is_running());
            let waiting = waiting.into_iter();
            let mut known: Vec<_> = waiting
                .filter_map(|(id, verdict)| Some((present(id)?, verdict)))
                .collect();
            // What goes takes along what is below it, so it goes last.
            known.sort_by_key(|(operation, _)| operation.step == OperationStep::Delete);
            let changes = known.into_iter();
            let changes =
                changes.flat_map(|(operation, verdict)| end(state, operation, verdict, now));
            Ok((changes.collect(), ()))
        })
        .await;
    if let Err(error) = ended {
        tracing::error!(%error, resource, "operations could not be ended; they are at the next start");
    }
}

/// What the end of an operation changes.
fn end(
    state: &StoreState,
    operation: &ArmOperation,
    verdict: ProvisioningVerdict,
    now: Timestamp,
) -> Vec<StoreChange> {
    let Some(id) = operation.resource_id() else {
        return vec![StoreChange::Note(operation.end(None, now))];
    };
    if operation.step == OperationStep::Delete {
        let mut changes = removal(state, &id);
        changes.push(StoreChange::Note(operation.end(None, now)));
        return changes;
    }
    let Some(mut record) = state.get(&id) else {
        return vec![StoreChange::Note(operation.end(None, now))];
    };
    let failure = settle(&mut record, verdict);
    vec![
        StoreChange::put(&record),
        StoreChange::Note(operation.end(failure, now)),
    ]
}

/// Gives a resource its final state; gives the failure that its operation ends with.
fn settle(record: &mut ResourceRecord, verdict: ProvisioningVerdict) -> Option<OperationFailure> {
    if record.id.kind == ResourceKind::Service {
        record.set_property("state", "Active");
        record.set_state("Succeeded");
        return None;
    }
    let (state, note, failure) = match verdict {
        ProvisioningVerdict::Good => ("Succeeded", None, None),
        ProvisioningVerdict::Warning(warning) => ("Warning", Some(warning), None),
        ProvisioningVerdict::Bad(failure) => ("Failed", Some(failure.clone()), Some(failure)),
    };
    record.set_state(state);
    endpoint_record::note(record, note.as_ref());
    failure
}

/// Takes a resource away with all that belongs to it.
pub(crate) fn removal(state: &StoreState, id: &ResourceId) -> Vec<StoreChange> {
    let mut gone = vec![id.key()];
    if id.kind == ResourceKind::Group {
        let inside = state.all().filter(|record| {
            record
                .id
                .subscription
                .eq_ignore_ascii_case(&id.subscription)
                && record.id.group.eq_ignore_ascii_case(&id.group)
        });
        gone.extend(inside.map(|record| record.id.key()));
    } else {
        let kinds = ResourceKind::ALL
            .into_iter()
            .filter(|kind| kind.parent() == Some(id.kind));
        for kind in kinds {
            let prefix = id.children(kind);
            gone.extend(state.keys(&prefix).map(str::to_owned));
        }
    }
    gone.into_iter().map(StoreChange::Remove).collect()
}

/// Checks an endpoint as far as it can be checked from here.
async fn check(context: &ServerContext, record: &ResourceRecord) -> ProvisioningVerdict {
    let Some(endpoint) = endpoint_record::definition(record) else {
        return bad(
            "InvalidDefinition",
            "the stored definition cannot be read".to_owned(),
        );
    };
    let main = match context.settings.provisioning_checks {
        ProvisioningChecks::Definitions => ProvisioningVerdict::Good,
        ProvisioningChecks::Destinations => ask(context, record, &endpoint).await,
    };
    // Dead letters are beside the point of an endpoint: what is wrong with them never stops its deliveries.
    let aside = || problem::of(endpoint.dead_letter.as_ref()?, context.clock.now());
    let Some(aside) = aside() else {
        return main;
    };
    match main {
        ProvisioningVerdict::Good => warning(aside.code, aside.message),
        ProvisioningVerdict::Warning(main) => {
            ProvisioningVerdict::Warning(with_aside(main, &aside))
        }
        ProvisioningVerdict::Bad(main) => ProvisioningVerdict::Bad(with_aside(main, &aside)),
    }
}

/// Both problems in one text, the destination's first: neither hides the other.
fn with_aside(main: OperationFailure, aside: &DeadLetterProblem) -> OperationFailure {
    let message = format!(
        "{}; beside that, {}: {}",
        main.message, aside.code, aside.message
    );
    OperationFailure { message, ..main }
}

/// Asks the destination whether it answers and takes the credential.
async fn ask(
    context: &ServerContext,
    record: &ResourceRecord,
    endpoint: &Endpoint,
) -> ProvisioningVerdict {
    let instance = record.id.parent.as_deref().map(InstanceName::new);
    let Some(Ok(instance)) = instance else {
        return ProvisioningVerdict::Good;
    };
    let settings = context.beside.load().of(&instance, &endpoint.name);
    let sink = match context.connect.connect(endpoint, &settings) {
        Ok(sink) => sink,
        Err(error) => return bad("EndpointInvalid", error.reason),
    };
    // So many at a time: a store with many endpoints must not open as many connections at once.
    let Ok(_place) = context.probes.acquire().await else {
        return ProvisioningVerdict::Good;
    };
    let fault = match tokio::time::timeout(PROBE_TIMEOUT, sink.probe()).await {
        Ok(Ok(())) => return ProvisioningVerdict::Good,
        Ok(Err(fault)) => fault,
        Err(_) => {
            let seconds = PROBE_TIMEOUT.as_secs();
            let message = format!(
                "the destination did not answer within {seconds} s; events wait and are sent once it does"
            );
            return warning("DestinationUnreachable", message);
        }
    };
    let reason = fault.reason.to_string();
    match fault.kind {
        FaultKind::Unauthorized => bad(
            "DestinationUnauthorized",
            format!("the destination refuses the credential: {reason}"),
        ),
        FaultKind::Gone => bad(
            "DestinationNotFound",
            format!("the destination is not there: {reason}"),
        ),
        FaultKind::Unsupported => bad("EndpointUnsupported", reason),
        FaultKind::Throttled => warning(
            "DestinationBusy",
            format!("the destination is busy: {reason}"),
        ),
        _ => warning(
            "DestinationUnreachable",
            format!(
                "the destination does not answer: {reason}; events wait and are sent once it does"
            ),
        ),
    }
}

fn bad(code: &str, message: String) -> ProvisioningVerdict {
    ProvisioningVerdict::Bad(OperationFailure {
        code: code.to_owned(),
        message,
    })
}

fn warning(code: &str, message: String) -> ProvisioningVerdict {
    ProvisioningVerdict::Warning(OperationFailure {
        code: code.to_owned(),
        message,
    })
}
