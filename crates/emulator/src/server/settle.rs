//! Dispositions from receivers.

use super::context::ConnectionContext;
use super::session::{Session, Unsettled};
use crate::amqp::performative::{Disposition, Performative};
use crate::amqp::state::{Outcome, Problem};
use crate::amqp::value::{Value, find};
use crate::broker::queue::Settlement;

/// The condition with which clients ask for dead-lettering; it is not itself a reason.
const DEAD_LETTER: &str = "com.microsoft:dead-letter";

/// Settles what a disposition names and confirms it with the same outcome.
pub(super) fn disposition(
    context: &mut ConnectionContext,
    session: &mut Session,
    asked: &Disposition,
) {
    if !asked.receiver {
        return;
    }
    let last = asked.last.unwrap_or(asked.first);
    if last < asked.first {
        return;
    }
    let outcome = Outcome::read(&asked.state);
    let ids: Vec<u32> = session
        .unsettled
        .range(asked.first..=last)
        .map(|(id, _)| *id)
        .collect();
    if ids.is_empty() && !asked.settled {
        // Events of a hub are not held; their receivers still want a confirmation.
        confirm(
            context,
            session.channel,
            asked.first,
            last,
            asked.state.clone(),
        );
    }
    for id in ids {
        let Some(outcome) = &outcome else { continue };
        let Some(unsettled) = session.unsettled.remove(&id) else {
            continue;
        };
        let done = settle(context, &unsettled, outcome);
        if !asked.settled {
            let state = match done {
                // azure-servicebus 7.15 raises any error it sees here, so `rejected` goes bare.
                Ok(()) if matches!(outcome, Outcome::Rejected { .. }) => Outcome::Rejected {
                    error: None,
                    info: Vec::new(),
                }
                .value(),
                Ok(()) => asked.state.clone(),
                Err(problem) => Outcome::rejected(problem).value(),
            };
            confirm(context, session.channel, id, id, state);
        }
    }
}

fn settle(context: &ConnectionContext, held: &Unsettled, outcome: &Outcome) -> Result<(), Problem> {
    held.queue
        .settle(held.token, settlement(outcome), context.broker.now())
}

fn settlement(outcome: &Outcome) -> Settlement {
    match outcome {
        Outcome::Accepted => Settlement::Complete,
        Outcome::Released => Settlement::Release,
        Outcome::Modified {
            undeliverable_here: true,
            ..
        } => Settlement::Defer,
        Outcome::Modified { .. } => Settlement::Abandon,
        Outcome::Rejected { error, info } => {
            let told = |name: &str| find(info, name).and_then(Value::as_str).map(str::to_owned);
            let condition = error.as_ref().map(|problem| problem.condition.clone());
            let text = error.as_ref().map(|problem| problem.description.clone());
            Settlement::DeadLetter {
                reason: told("DeadLetterReason")
                    .or(condition.filter(|condition| condition != DEAD_LETTER)),
                description: told("DeadLetterErrorDescription")
                    .or(text.filter(|text| !text.is_empty())),
            }
        }
    }
}

fn confirm(context: &mut ConnectionContext, channel: u16, first: u32, last: u32, state: Value) {
    let answer = Disposition {
        receiver: false,
        first,
        last: Some(last),
        settled: true,
        state,
    };
    context.send(channel, &Performative::Disposition(answer));
}
