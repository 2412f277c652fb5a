//! The end of an operation: the destination is asked, and the resource gets its final state.

use crate::arm::id::{Kind, ResourceId};
use crate::desk::Desk;
use crate::digital_twins::endpoints;
use crate::operations::{Failure, Operation, Step};
use crate::provisioning_services;
use crate::settings::Checks;
use crate::store::record::Record;
use crate::store::{Change, State};
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

/// What provisioning found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// It is in use; something may still have to be done about it.
    Warning(Failure),
    /// It is not used until it is changed.
    Bad(Failure),
}

/// Ends the operation `id`. Does nothing if it has ended.
pub(crate) async fn finish(desk: Arc<Desk>, id: Uuid) {
    let (operation, record) = {
        let state = desk.store.read();
        let Some(operation) = state.operation(id).filter(|found| found.is_running()) else {
            return;
        };
        let record = operation.resource_id().and_then(|id| state.get(&id));
        (Arc::clone(operation), record)
    };
    let verdict = match (&record, operation.step) {
        (Some(record), Step::Create | Step::Update) if record.id.kind == Kind::Endpoint => {
            check(&desk, record).await
        }
        _ => Verdict::Good,
    };
    let resource = operation.resource.clone();
    desk.ended().push((id, verdict));
    let _turn = desk.ending.lock().await;
    // Whoever has the turn ends all that wait, in one transaction.
    let waiting = std::mem::take(&mut *desk.ended());
    if waiting.is_empty() {
        return;
    }
    let ended = desk
        .change(None, move |desk, state| {
            let now = desk.clock.now();
            let present = |id: Uuid| state.operation(id).filter(|found| found.is_running());
            let waiting = waiting.into_iter();
            let mut known: Vec<_> = waiting
                .filter_map(|(id, verdict)| Some((present(id)?, verdict)))
                .collect();
            // What goes takes along what is below it, so it goes last.
            known.sort_by_key(|(operation, _)| operation.step == Step::Delete);
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
fn end(state: &State, operation: &Operation, verdict: Verdict, now: Timestamp) -> Vec<Change> {
    let Some(id) = operation.resource_id() else {
        return vec![Change::Note(operation.end(None, now))];
    };
    if operation.step == Step::Delete {
        let mut changes = removal(state, &id);
        changes.push(Change::Note(operation.end(None, now)));
        return changes;
    }
    let Some(record) = state.get(&id) else {
        return vec![Change::Note(operation.end(None, now))];
    };
    let mut record = record;
    let failure = settle(&mut record, verdict, now);
    vec![
        Change::Put(record),
        Change::Note(operation.end(failure, now)),
    ]
}

/// Gives a resource its final state; gives the failure that its operation ends with.
fn settle(record: &mut Record, verdict: Verdict, now: Timestamp) -> Option<Failure> {
    if record.id.kind == Kind::Service {
        provisioning_services::settle(record, now);
        return None;
    }
    let (state, note, failure) = match verdict {
        Verdict::Good => ("Succeeded", None, None),
        Verdict::Warning(warning) => ("Warning", Some(warning), None),
        Verdict::Bad(failure) => ("Failed", Some(failure.clone()), Some(failure)),
    };
    record.set_state(state);
    endpoints::note(record, note.as_ref());
    failure
}

/// Takes a resource away with all that belongs to it.
pub(crate) fn removal(state: &State, id: &ResourceId) -> Vec<Change> {
    let mut gone = vec![id.key()];
    if id.kind == Kind::Group {
        let inside = state.all().filter(|record| {
            record
                .id
                .subscription
                .eq_ignore_ascii_case(&id.subscription)
                && record.id.group.eq_ignore_ascii_case(&id.group)
        });
        gone.extend(inside.map(|record| record.id.key()));
    } else {
        let kinds = Kind::ALL
            .into_iter()
            .filter(|kind| kind.parent() == Some(id.kind));
        for kind in kinds {
            let prefix = id.children(kind);
            gone.extend(state.keys(&prefix).map(str::to_owned));
        }
    }
    gone.into_iter().map(Change::Remove).collect()
}

/// Checks an endpoint as far as it can be checked from here.
async fn check(desk: &Desk, record: &Record) -> Verdict {
    let Some(endpoint) = endpoints::definition(record) else {
        return bad(
            "InvalidDefinition",
            "the stored definition cannot be read".to_owned(),
        );
    };
    let main = match desk.settings.provisioning_checks {
        Checks::Definitions => Verdict::Good,
        Checks::Destinations => ask(desk, record, &endpoint).await,
    };
    // Dead letters are beside the point of an endpoint: what is wrong with them never stops its deliveries.
    let aside = || problem::of(endpoint.dead_letter.as_ref()?, desk.clock.now());
    let Some(aside) = aside() else {
        return main;
    };
    match main {
        Verdict::Good => warning(aside.code, aside.message),
        Verdict::Warning(main) => Verdict::Warning(with_aside(main, &aside)),
        Verdict::Bad(main) => Verdict::Bad(with_aside(main, &aside)),
    }
}

/// Both problems in one text, the destination's first: neither hides the other.
fn with_aside(main: Failure, aside: &DeadLetterProblem) -> Failure {
    let message = format!(
        "{}; beside that, {}: {}",
        main.message, aside.code, aside.message
    );
    Failure { message, ..main }
}

/// Asks the destination whether it answers and takes the credential.
async fn ask(desk: &Desk, record: &Record, endpoint: &Endpoint) -> Verdict {
    let instance = record.id.parent.as_deref().map(InstanceName::new);
    let Some(Ok(instance)) = instance else {
        return Verdict::Good;
    };
    let settings = desk.beside.load().of(&instance, &endpoint.name);
    let sink = match desk.connect.connect(endpoint, &settings) {
        Ok(sink) => sink,
        Err(error) => return bad("EndpointInvalid", error.reason),
    };
    let Ok(_place) = desk.probes.acquire().await else {
        return Verdict::Good;
    };
    let fault = match tokio::time::timeout(PROBE_TIMEOUT, sink.probe()).await {
        Ok(Ok(())) => return Verdict::Good,
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
        FaultKind::Unreachable => warning(
            "DestinationUnreachable",
            format!(
                "the destination does not answer: {reason}; events wait and are sent once it does"
            ),
        ),
        FaultKind::Throttled => warning(
            "DestinationBusy",
            format!("the destination is busy: {reason}"),
        ),
    }
}

fn bad(code: &str, message: String) -> Verdict {
    Verdict::Bad(Failure {
        code: code.to_owned(),
        message,
    })
}

fn warning(code: &str, message: String) -> Verdict {
    Verdict::Warning(Failure {
        code: code.to_owned(),
        message,
    })
}
