//! Dispositions from receivers.

use super::context::PeerContext;
use super::session::{LinkSession, UnsettledDelivery};
use crate::amqp::performative::{AmqpPerformative, DispositionFrame};
use crate::amqp::state::{AmqpError, AmqpOutcome};
use crate::amqp::value::{AmqpValue, find};
use crate::broker::queue::ReceiverSettlement;

/// The condition with which clients ask for dead-lettering; it is not itself a reason.
const DEAD_LETTER: &str = "com.microsoft:dead-letter";

/// Settles what a disposition names and confirms it with the same outcome.
pub(super) fn disposition(
    context: &mut PeerContext,
    session: &mut LinkSession,
    asked: &DispositionFrame,
) {
    if !asked.receiver {
        return;
    }
    let last = asked.last.unwrap_or(asked.first);
    if last < asked.first {
        return;
    }
    let outcome = AmqpOutcome::read(&asked.state);
    let held = session.unsettled.range(asked.first..=last);
    let ids: Vec<u32> = held.map(|(id, _)| *id).collect();
    let channel = session.channel;
    if ids.is_empty() && !asked.settled {
        // Events of a hub are not held; their receivers still want a confirmation.
        confirm(context, channel, asked.first, last, asked.state.clone());
    }
    // azure-servicebus 7.15 raises any error it sees in a confirmation, so `rejected` goes bare.
    let bare = AmqpOutcome::Rejected {
        error: None,
        info: Vec::new(),
    };
    for id in ids {
        let Some(outcome) = &outcome else { continue };
        let Some(unsettled) = session.unsettled.remove(&id) else {
            continue;
        };
        let done = settle(context, &unsettled, outcome);
        if !asked.settled {
            let state = match done {
                Ok(()) if matches!(outcome, AmqpOutcome::Rejected { .. }) => bare.value(),
                Ok(()) => asked.state.clone(),
                Err(problem) => AmqpOutcome::rejected(problem).value(),
            };
            confirm(context, channel, id, id, state);
        }
    }
}

fn settle(
    context: &PeerContext,
    held: &UnsettledDelivery,
    outcome: &AmqpOutcome,
) -> Result<(), AmqpError> {
    let now = context.broker.now();
    held.queue.settle(held.token, settlement(outcome), now)
}

fn settlement(outcome: &AmqpOutcome) -> ReceiverSettlement {
    match outcome {
        AmqpOutcome::Accepted => ReceiverSettlement::Complete,
        AmqpOutcome::Released => ReceiverSettlement::Release,
        AmqpOutcome::Modified {
            undeliverable_here: true,
            ..
        } => ReceiverSettlement::Defer,
        AmqpOutcome::Modified { .. } => ReceiverSettlement::Abandon,
        AmqpOutcome::Rejected { error, info } => {
            let text_of = |name: &str| {
                find(info, name)
                    .and_then(AmqpValue::as_str)
                    .map(str::to_owned)
            };
            let condition = error.as_ref().map(|problem| problem.condition.clone());
            let text = error.as_ref().map(|problem| problem.description.clone());
            ReceiverSettlement::DeadLetter {
                reason: text_of("DeadLetterReason")
                    .or(condition.filter(|condition| condition != DEAD_LETTER)),
                description: text_of("DeadLetterErrorDescription")
                    .or(text.filter(|text| !text.is_empty())),
            }
        }
    }
}

fn confirm(context: &mut PeerContext, channel: u16, first: u32, last: u32, state: AmqpValue) {
    let answer = DispositionFrame {
        receiver: false,
        first,
        last: Some(last),
        settled: true,
        state,
    };
    context.send(channel, &AmqpPerformative::Disposition(answer));
}
