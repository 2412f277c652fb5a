//! The one task that owns a sink's connection.
//!
//! It connects when there is something to send, hands transfers over in order, keeps many
//! unanswered, and answers each of them in every case: with the broker's outcome, or with the
//! fault that ended the link. It never resumes a link and never sends anything a second time, with
//! one exception: a transfer that never left because an idle link had ended is handed to a new
//! connection.

use super::command::{
    BatchCourse, BatchTransfer, LinkCommand, LinkProbe, MessageSizes, TransferAnswer,
    TransferReply, timed_out,
};
use super::connection::ReadyLink;
use super::fault;
use super::link_state::{self, LinkState};
use super::target::AmqpTarget;
use super::unsettled::{FailedTransfer, UnsettledTransfer};
use crate::status;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp_types::messaging::{Batch, Data};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// Transfers that may wait for the task.
const COMMANDS_MAX: usize = 64;
/// Transfers that are handed over one after the other before outcomes and ends are looked at: the looks cost more
/// than a small transfer does.
const HANDED_OVER_IN_A_ROW_MAX: usize = 32;
/// Transfers that may be unanswered.
const UNSETTLED_MAX: usize = 2_048;

/// The way to the task.
pub(crate) struct LinkHandle {
    commands: mpsc::Sender<LinkCommand>,
}

impl LinkHandle {
    /// Starts the task; it ends when the handle is dropped.
    pub(crate) fn start(targets: Vec<AmqpTarget>, state: LinkState) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let owner = LinkTask { targets, state };
        tokio::spawn(owner.run(inbox));
        Self { commands }
    }

    /// Hands a transfer over and gives where its answer comes.
    ///
    /// Waits for room until `deadline`. Dropping the future hands nothing over.
    pub(crate) async fn submit(
        &self,
        sendable: Box<Sendable<Batch<Data>>>,
        deadline: Instant,
        course: &BatchCourse,
    ) -> Result<oneshot::Receiver<TransferAnswer>, EndpointFault> {
        let (answer, answered) = TransferReply::new(course);
        let transfer = BatchTransfer {
            sendable,
            deadline,
            answer,
            held_over: false,
        };
        self.tell(LinkCommand::Send(transfer), deadline).await?;
        Ok(answered)
    }

    /// Asks for a link and gives where the answer comes. One that stands is answer enough: a peer that
    /// went silent ends it within the idle time-out.
    ///
    /// Waits for room until `deadline`. Dropping the future is harmless.
    pub(crate) async fn probe(
        &self,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<(), EndpointFault>>, EndpointFault> {
        let (answer, answered) = oneshot::channel();
        let probe = LinkProbe { deadline, answer };
        self.tell(LinkCommand::Probe(probe), deadline).await?;
        Ok(answered)
    }

    async fn tell(&self, command: LinkCommand, deadline: Instant) -> Result<(), EndpointFault> {
        match tokio::time::timeout_at(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(status::unreachable("stopped", "the connection task ended")),
            Err(_) => Err(timed_out("no room to send")),
        }
    }
}

struct LinkTask {
    /// With the primary and, where given, the secondary credential.
    targets: Vec<AmqpTarget>,
    /// Knows which one worked last.
    state: LinkState,
}

impl LinkTask {
    /// Runs until nobody can send any more. A panic, ours or fe2o3-amqp's, costs the connection
    /// and its unanswered transfers, never the sink.
    async fn run(mut self, mut inbox: mpsc::Receiver<LinkCommand>) {
        loop {
            let working = AssertUnwindSafe(self.work(&mut inbox)).catch_unwind();
            match working.await {
                Ok(()) => return,
                Err(_) => tracing::error!("connection task panicked; it starts again"),
            }
        }
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<LinkCommand>) {
        let mut held: Option<BatchTransfer> = None;
        loop {
            let first = match held.take() {
                Some(transfer) => LinkCommand::Send(transfer),
                None => match inbox.recv().await {
                    Some(command) => command,
                    None => return,
                },
            };
            let Some(first) = first.still_wanted() else {
                continue;
            };
            match self.connect(first.deadline()).await {
                Ok(link) => {
                    let ended = serve(link, first, inbox, self.spare()).await;
                    if ended.refused {
                        // It would be refused once more.
                        self.state.set_current(self.next());
                    }
                    held = ended.held;
                }
                Err(fault) => {
                    first.fail(fault.clone());
                    while let Ok(command) = inbox.try_recv() {
                        command.fail(fault.clone());
                    }
                }
            }
        }
    }

    /// Connects with the credential that worked last; one that is refused gives way to the other.
    async fn connect(&mut self, deadline: Instant) -> Result<ReadyLink, EndpointFault> {
        let first = self.state.current();
        let mut refused: Option<EndpointFault> = None;
        for turn in 0..self.targets.len() {
            let index = (first + turn) % self.targets.len();
            let opening = ReadyLink::open(&self.targets[index], &self.state);
            let opened = tokio::time::timeout_at(deadline, opening).await;
            match opened.unwrap_or_else(|_| Err(timed_out("no connection in time"))) {
                Ok(link) => {
                    if refused.is_some() {
                        let slot = link_state::slot(index).as_str();
                        let entity = self.targets[index].entity.path();
                        tracing::warn!(entity, slot, "a credential was refused; this one is used");
                    }
                    self.state.set_current(index);
                    self.state.set_limits(link.limits);
                    return Ok(link);
                }
                Err(fault) if fault.kind == FaultKind::Unauthorized => {
                    refused = Some(match refused {
                        None => fault,
                        Some(before) => both(before, &fault, index),
                    });
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(refused.unwrap_or_else(|| status::unreachable("no-target", "")))
    }

    /// The place of the credential to try after the one in use.
    fn next(&self) -> usize {
        (self.state.current() + 1) % self.targets.len()
    }

    fn spare(&self) -> SpareCredential {
        match self.targets.len() {
            0 | 1 => SpareCredential::None,
            _ => SpareCredential::Another,
        }
    }
}

/// Whether there is another credential beside the one in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpareCredential {
    None,
    Another,
}

impl SpareCredential {
    /// What a link's end means to the lane: that the credential was refused is the endpoint's last word
    /// only if there is no other.
    fn fault_of_lane(self, fault: EndpointFault) -> EndpointFault {
        match (self, fault.kind) {
            (Self::Another, FaultKind::Unauthorized) => EndpointFault {
                kind: FaultKind::Unreachable,
                ..fault
            },
            _ => fault,
        }
    }
}

/// Both were refused: what was said to each.
fn both(before: EndpointFault, fault: &EndpointFault, index: usize) -> EndpointFault {
    let (said, second) = (&before.reason, &fault.reason);
    let [first_slot, second_slot] =
        [1 - index.min(1), index].map(|at| link_state::slot(at).as_str());
    let detail = format!("{first_slot}: {said}; {second_slot}: {second}");
    EndpointFault {
        reason: FailureReason::new(before.reason.code.clone(), status::bounded(&detail)),
        ..before
    }
}

/// What the task does next.
enum NextStep {
    HandOver(BatchTransfer),
    /// The link is over.
    Lost(FailedTransfer),
    /// The token can no longer be renewed: answer what is pending, then connect again.
    Drain(EndpointFault),
    /// Nobody can send any more.
    Close,
    Again,
}

impl NextStep {
    /// What a command asks of a link that stands.
    fn of(command: LinkCommand) -> Self {
        match command {
            LinkCommand::Send(transfer) => Self::HandOver(transfer),
            LinkCommand::Probe(probe) => {
                probe.give(Ok(()));
                Self::Again
            }
        }
    }
}

/// How a link ended.
#[derive(Default)]
struct EndedLink {
    /// A transfer that a new link should take.
    held: Option<BatchTransfer>,
    /// Whether the broker refused the credential.
    refused: bool,
}

/// Serves one link until it ends.
async fn serve(
    mut link: ReadyLink,
    first: LinkCommand,
    inbox: &mut mpsc::Receiver<LinkCommand>,
    spare: SpareCredential,
) -> EndedLink {
    let mut unsettled: FuturesUnordered<UnsettledTransfer> = FuturesUnordered::new();
    let mut cbs = link.cbs.take();
    let mut renewing = pin!(async {
        match &mut cbs {
            Some(cbs) => cbs.keep_renewed().await,
            None => std::future::pending().await,
        }
    });
    // When the oldest unanswered transfer is overdue, at the latest.
    let mut check = pin!(tokio::time::sleep_until(first.deadline()));
    let mut next = NextStep::of(first);
    let mut draining = false;
    let mut in_a_row = 0;
    loop {
        next = match next {
            NextStep::HandOver(transfer) => {
                if unsettled.is_empty() {
                    check.as_mut().reset(transfer.deadline);
                }
                match hand_over(&mut link, transfer, &mut unsettled, spare).await {
                    HandedOver::Yes if !draining => next_in_a_row(inbox, &unsettled, &mut in_a_row),
                    HandedOver::Yes => NextStep::Again,
                    HandedOver::Lost(fault) => NextStep::Lost(fault.into()),
                    HandedOver::Never(transfer, fault) => {
                        return EndedLink {
                            held: Some(transfer),
                            refused: fault.kind == FaultKind::Unauthorized,
                        };
                    }
                }
            }
            NextStep::Lost(failure) => return give_up(link, unsettled, failure, spare),
            NextStep::Close => {
                link.close().await;
                return EndedLink::default();
            }
            NextStep::Drain(fault) => {
                tracing::debug!(error = %fault.reason, "token not renewed");
                draining = true;
                NextStep::Again
            }
            NextStep::Again if draining && unsettled.is_empty() => {
                link.close().await;
                return EndedLink::default();
            }
            NextStep::Again => {
                // Settlements first, so that a link that has ended after them does not take what was
                // delivered for lost. New work is last, and none is taken while the link drains or has
                // all it may have.
                tokio::select! {
                    biased;
                    Some(ended) = unsettled.next(), if !unsettled.is_empty() => {
                        ended.map_or(NextStep::Again, NextStep::Lost)
                    }
                    error = link.sender.on_detach() => NextStep::Lost(fault::detach_fault(&error).into()),
                    result = link.session.on_end() => {
                        NextStep::Lost(fault::session_fault(&result).into())
                    }
                    result = link.connection.on_close() => {
                        NextStep::Lost(fault::connection_fault(&result).into())
                    }
                    () = &mut check, if !unsettled.is_empty() => {
                        overdue(&unsettled, check.as_mut())
                    }
                    fault = &mut renewing, if !draining => NextStep::Drain(fault),
                    command = inbox.recv(), if !draining && unsettled.len() < UNSETTLED_MAX => {
                        command.map_or(NextStep::Close, NextStep::of)
                    }
                }
            }
        };
    }
}

/// What waits already, unless so many have been handed over that outcomes and ends are to be looked at.
fn next_in_a_row(
    inbox: &mut mpsc::Receiver<LinkCommand>,
    unsettled: &FuturesUnordered<UnsettledTransfer>,
    in_a_row: &mut usize,
) -> NextStep {
    *in_a_row += 1;
    if *in_a_row < HANDED_OVER_IN_A_ROW_MAX
        && unsettled.len() < UNSETTLED_MAX
        && let Ok(command) = inbox.try_recv()
    {
        return NextStep::of(command);
    }
    *in_a_row = 0;
    NextStep::Again
}

/// Whether an unanswered transfer has passed its deadline; if not, when to look again.
fn overdue(unsettled: &FuturesUnordered<UnsettledTransfer>, check: Pin<&mut Sleep>) -> NextStep {
    let oldest = unsettled.iter().map(|transfer| transfer.deadline).min();
    match oldest {
        Some(deadline) if deadline > Instant::now() => {
            check.reset(deadline);
            NextStep::Again
        }
        // A link on which one answer is missing is not trusted with others: their answers could
        // come after the lane has sent them again.
        Some(_) => NextStep::Lost(timed_out("no outcome in time").into()),
        None => NextStep::Again,
    }
}

enum HandedOver {
    Yes,
    Lost(EndpointFault),
    /// The link had ended before, while nothing was under way.
    Never(BatchTransfer, EndpointFault),
}

/// Hands one transfer to the link, which waits for credit, until the transfer's deadline.
async fn hand_over(
    link: &mut ReadyLink,
    transfer: BatchTransfer,
    unsettled: &mut FuturesUnordered<UnsettledTransfer>,
    spare: SpareCredential,
) -> HandedOver {
    let mut transfer = match transfer.stopped() {
        Ok(()) => return HandedOver::Yes,
        Err(transfer) => transfer,
    };
    let idle = unsettled.is_empty();
    let handed = {
        let mut sending = pin!(link.sender.send_batchable_ref(&transfer.sendable));
        loop {
            // Settlements go on meanwhile: they may be what brings the credit that this waits for.
            tokio::select! {
                biased;
                result = &mut sending => break result.map_err(OpenFailure::Send),
                result = link.connection.on_close() => {
                    break Err(OpenFailure::Link(fault::connection_fault(&result)));
                }
                result = link.session.on_end() => {
                    break Err(OpenFailure::Link(fault::session_fault(&result)));
                }
                Some(ended) = unsettled.next(), if !unsettled.is_empty() => {
                    if let Some(failure) = ended {
                        let fault = failure.fault.clone();
                        failure.give(TransferAnswer::Lost(spare.fault_of_lane(fault.clone())));
                        break Err(OpenFailure::Link(fault));
                    }
                }
                () = tokio::time::sleep_until(transfer.deadline) => {
                    break Err(OpenFailure::Link(timed_out("no credit to send")));
                }
            }
        }
    };
    let fault = match handed {
        Ok(delivery) => {
            unsettled.push(UnsettledTransfer {
                delivery,
                deadline: transfer.deadline,
                answer: Some(transfer.answer),
            });
            return HandedOver::Yes;
        }
        Err(OpenFailure::Send(SendError::MessageSizeExceeded(exceeded))) => {
            transfer
                .answer
                .give(TransferAnswer::TooLarge(Some(MessageSizes {
                    bytes: exceeded.size,
                    bytes_max: exceeded.max_size,
                })));
            return HandedOver::Yes;
        }
        Err(OpenFailure::Send(error)) => link.seen(fault::send_fault(&error)),
        Err(OpenFailure::Link(fault)) => link.seen(fault),
    };
    if idle && too_large(&fault) {
        transfer.answer.give(TransferAnswer::TooLarge(None));
        return HandedOver::Lost(fault);
    }
    let in_time = transfer.deadline > Instant::now();
    if idle && in_time && !transfer.held_over {
        tracing::debug!(error = %fault.reason, "idle link had ended");
        transfer.held_over = true;
        return HandedOver::Never(transfer, fault);
    }
    transfer.fail(spare.fault_of_lane(fault.clone()));
    HandedOver::Lost(fault)
}

enum OpenFailure {
    Send(SendError),
    Link(EndpointFault),
}

/// Drops the link at once and answers everything that is pending.
///
/// Outcomes that have arrived already still count. Nothing is awaited: futures of a dead link may
/// never be ready.
fn give_up(
    link: ReadyLink,
    mut unsettled: FuturesUnordered<UnsettledTransfer>,
    mut failure: FailedTransfer,
    spare: SpareCredential,
) -> EndedLink {
    let refused = failure.fault.kind == FaultKind::Unauthorized;
    failure.fault = spare.fault_of_lane(link.seen(failure.fault));
    let fault = failure.fault.clone();
    let pending = unsettled.len() + usize::from(failure.answer.is_some());
    if pending == 0 {
        tracing::debug!(error = %fault.reason, "idle link ended");
    }
    // Alone on the link, a transfer is what the broker means.
    let alone = pending == 1 && too_large(&fault);
    let answer = || match alone {
        true => TransferAnswer::TooLarge(None),
        false => TransferAnswer::Lost(fault.clone()),
    };
    failure.give(answer());
    let mut context = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(ended)) = unsettled.poll_next_unpin(&mut context) {
        if let Some(failure) = ended {
            failure.give(answer());
        }
    }
    drop(link);
    for mut transfer in unsettled {
        transfer.give(answer());
    }
    let held = None;
    EndedLink { held, refused }
}

/// Whether the broker ended the link over the size of a message: some do not reject, they detach.
pub(crate) fn too_large(fault: &EndpointFault) -> bool {
    fault.reason.code == "message-size-exceeded"
}
