//! What the task that owns a link is asked to do, and how it answers.

use crate::status;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp_types::messaging::{Batch, Data, Outcome as AmqpOutcome};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;
use tokio::time::Instant;
use twinroute_router::sink::EndpointFault;

/// One thing to do, on the link or on a new one.
pub(crate) enum LinkCommand {
    Send(BatchTransfer),
    Probe(LinkProbe),
}

impl LinkCommand {
    /// Answers it if there is nothing left to do.
    pub(super) fn still_wanted(self) -> Option<Self> {
        match self {
            Self::Send(transfer) => transfer.stopped().err().map(Self::Send),
            Self::Probe(probe) => (!probe.answer.is_closed()).then_some(Self::Probe(probe)),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Send(transfer) => transfer.deadline,
            Self::Probe(probe) => probe.deadline,
        }
    }

    pub(super) fn fail(self, fault: EndpointFault) {
        match self {
            Self::Send(transfer) => transfer.fail(fault),
            Self::Probe(probe) => probe.give(Err(fault)),
        }
    }
}

/// The question whether there is a link, or can be one.
pub(crate) struct LinkProbe {
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<(), EndpointFault>>,
}

impl LinkProbe {
    pub(super) fn give(self, answer: Result<(), EndpointFault>) {
        // Nobody waits when the question was abandoned.
        drop(self.answer.send(answer));
    }
}

/// One transfer on its way.
pub(crate) struct BatchTransfer {
    pub(crate) sendable: Box<Sendable<Batch<Data>>>,
    /// When it counts as lost.
    pub(crate) deadline: Instant,
    pub(crate) answer: TransferReply,
    /// Whether it was held over to a second connection.
    pub(super) held_over: bool,
}

/// What became of a transfer.
#[derive(Debug)]
pub(crate) enum TransferAnswer {
    /// The broker's word.
    Outcome(AmqpOutcome),
    /// Larger than the link takes: by its limit, and not sent; or, without sizes, by the broker's word.
    TooLarge(Option<MessageSizes>),
    /// The link ended first; the transfer may have arrived.
    Lost(EndpointFault),
    /// Not sent, because one before it in its batch was too large.
    Unsent,
}

/// What a message has, and what it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageSizes {
    pub(crate) bytes: u64,
    /// The link's max-message-size.
    pub(crate) bytes_max: u64,
}

/// What the transfers of one lane's batch share: why those behind a failed one are not sent any more.
///
/// They could only arrive before it, and out of order.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchCourse(Arc<OnceLock<CourseStop>>);

#[derive(Clone, Debug)]
enum CourseStop {
    /// The link ended under one of them.
    Lost(EndpointFault),
    /// One of them has to be sent again, in parts.
    TooLarge,
}

/// Where the answer to a transfer goes.
pub(crate) struct TransferReply {
    sender: oneshot::Sender<TransferAnswer>,
    course: BatchCourse,
}

impl TransferReply {
    /// One of a batch, and where its answer comes.
    pub(super) fn new(course: &BatchCourse) -> (Self, oneshot::Receiver<TransferAnswer>) {
        let (sender, answered) = oneshot::channel();
        let course = course.clone();
        (Self { sender, course }, answered)
    }

    pub(super) fn give(self, answer: TransferAnswer) {
        let stop = match &answer {
            TransferAnswer::Outcome(_) | TransferAnswer::Unsent => None,
            TransferAnswer::TooLarge(_) => Some(CourseStop::TooLarge),
            TransferAnswer::Lost(fault) => Some(CourseStop::Lost(fault.clone())),
        };
        if let Some(stop) = stop {
            self.course.0.get_or_init(|| stop);
        }
        // Nobody waits when the batch was abandoned.
        drop(self.sender.send(answer));
    }
}

impl BatchTransfer {
    pub(super) fn fail(self, fault: EndpointFault) {
        self.answer.give(TransferAnswer::Lost(fault));
    }

    /// Answers it, unsent, if nobody waits for it or its batch does not go on.
    pub(super) fn stopped(self) -> Result<(), Self> {
        if self.answer.sender.is_closed() {
            return Ok(());
        }
        let answer = match self.answer.course.0.get() {
            Some(CourseStop::Lost(fault)) => TransferAnswer::Lost(fault.clone()),
            Some(CourseStop::TooLarge) => TransferAnswer::Unsent,
            None => return Err(self),
        };
        self.answer.give(answer);
        Ok(())
    }
}

pub(super) fn timed_out(detail: &str) -> EndpointFault {
    status::unreachable("timeout", detail)
}
