//! A transfer that the broker has not answered, and one that failed with its link.

use super::command::{TransferAnswer, TransferReply};
use super::fault::{parts, send_fault};
use crate::status;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp_types::messaging::{Outcome as AmqpOutcome, Rejected};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;
use twinroute_router::sink::{EndpointFault, FaultKind};

/// A transfer that the broker has not answered.
pub(super) struct UnsettledTransfer {
    pub(super) delivery: DeliveryFut<Result<AmqpOutcome, SendError>>,
    pub(super) deadline: Instant,
    pub(super) answer: Option<TransferReply>,
}

impl UnsettledTransfer {
    pub(super) fn give(&mut self, answer: TransferAnswer) {
        if let Some(waiting) = self.answer.take() {
            waiting.give(answer);
        }
    }
}

impl Future for UnsettledTransfer {
    /// What is left to be answered when the link ended.
    type Output = Option<FailedTransfer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.delivery).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => {
                if let Some(fault) = refusal(&outcome) {
                    // The link is of no more use: another one may be opened with another credential.
                    let answer = self.answer.take();
                    return Poll::Ready(Some(FailedTransfer { fault, answer }));
                }
                self.give(TransferAnswer::Outcome(outcome));
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Some(FailedTransfer {
                fault: send_fault(&error),
                answer: self.answer.take(),
            })),
        }
    }
}

/// The fault, if a transfer was rejected over the credential and not over what is in it.
fn refusal(outcome: &AmqpOutcome) -> Option<EndpointFault> {
    let AmqpOutcome::Rejected(Rejected { error: Some(error) }) = outcome else {
        return None;
    };
    let (condition, description) = parts(error);
    let fault = status::fault(condition.as_str(), description);
    (fault.kind == FaultKind::Unauthorized).then_some(fault)
}

/// A transfer that failed with its link.
pub(super) struct FailedTransfer {
    pub(super) fault: EndpointFault,
    pub(super) answer: Option<TransferReply>,
}

impl FailedTransfer {
    pub(super) fn give(self, answer: TransferAnswer) {
        if let Some(waiting) = self.answer {
            waiting.give(answer);
        }
    }
}

impl From<EndpointFault> for FailedTransfer {
    fn from(fault: EndpointFault) -> Self {
        Self {
            fault,
            answer: None,
        }
    }
}
