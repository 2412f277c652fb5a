//! The sink of Event Hubs and Service Bus: plans transfers, sends them, tells what became of each
//! event.

use super::batch::{
    self, EncodedGroup, MessageRouting, SizeLimits, TransferForm, TransferGroup, TransferPlan,
};
use super::command::{BatchCourse, MessageSizes, TransferAnswer};
use super::fault::parts;
use super::link::{LinkHandle, too_large};
use super::link_state::LinkState;
use super::target::AmqpTarget;
use crate::status;
use fe2o3_amqp_types::messaging::{Modified, Outcome as AmqpOutcome, Rejected};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use twinroute_router::sink::{
    BatchLimits, CredentialState, Delivery, DeliveryOutcome, EndpointFault, FailureReason, Sink,
};

/// Events of a lane's batch. Spread over 32 keys it still fills transfers.
const EVENTS_MAX: usize = 2_000;
/// Bytes of a lane's batch, however large messages may be.
const BYTES_MAX: usize = 4 << 20;
/// How long an answer may come after its deadline before it is abandoned: the owner task answers by
/// the deadline, so this only guards against a stuck runtime.
const MARGIN: Duration = Duration::from_secs(2);

/// The sink of one event hub or Service Bus topic.
pub(crate) struct AmqpSink {
    targets: Vec<AmqpTarget>,
    routing: MessageRouting,
    batched: bool,
    attempt_timeout: Duration,
    in_flight_max: usize,
    state: LinkState,
    link: OnceLock<LinkHandle>,
    /// Set when the link ended over the size of one of several transfers: the next batch sends one at
    /// a time, so that the one at fault shows.
    one_at_a_time: AtomicBool,
}

impl std::fmt::Debug for AmqpSink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AmqpSink")
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}

/// How a sink sends, out of the endpoint's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendSettings {
    pub(crate) routing: MessageRouting,
    pub(crate) batched: bool,
    pub(crate) attempt_timeout: Duration,
    pub(crate) in_flight_max: usize,
}

impl AmqpSink {
    /// Does no I/O; the first batch connects.
    pub(crate) fn new(targets: Vec<AmqpTarget>, manner: SendSettings) -> Self {
        Self {
            targets,
            routing: manner.routing,
            batched: manner.batched,
            attempt_timeout: manner.attempt_timeout,
            in_flight_max: manner.in_flight_max,
            state: LinkState::new(),
            link: OnceLock::new(),
            one_at_a_time: AtomicBool::new(false),
        }
    }

    fn size_limits(&self) -> SizeLimits {
        self.state.limits()
    }

    fn link(&self) -> &LinkHandle {
        self.link
            .get_or_init(|| LinkHandle::start(self.targets.clone(), self.state.clone()))
    }

    fn plan(&self, batch: &[Delivery], places: impl Iterator<Item = usize>) -> TransferPlan {
        batch::plan(
            self.routing,
            self.batched,
            self.size_limits(),
            batch,
            places,
        )
    }

    async fn send_all(&self, batch: &[Delivery]) -> Vec<DeliveryOutcome> {
        let deadline = Instant::now() + self.attempt_timeout;
        let mut results = BatchResults::new(batch.len());
        let course = BatchCourse::default();
        let plan = self.plan(batch, 0..batch.len());
        results.reject_too_large(&plan);
        let one_at_a_time = self.one_at_a_time.swap(false, Ordering::Relaxed);
        let mut waiting = Vec::with_capacity(plan.transfers.len());
        for EncodedGroup { group, sendable } in plan.transfers {
            let submitted = match &results.fault {
                None => self.link().submit(sendable, deadline, &course).await,
                Some(fault) => Err(fault.clone()),
            };
            match submitted {
                Ok(answer) if one_at_a_time => {
                    let answer = answered(answer, deadline).await;
                    self.settle(batch, group, answer, deadline, &mut results)
                        .await;
                }
                Ok(answer) => waiting.push((group, answer)),
                Err(fault) => results.set_all(&group, &DeliveryOutcome::Unavailable(fault)),
            }
        }
        for (group, answer) in waiting {
            let answer = answered(answer, deadline).await;
            self.settle(batch, group, answer, deadline, &mut results)
                .await;
        }
        if results.fault.as_ref().is_some_and(too_large) {
            self.one_at_a_time.store(true, Ordering::Relaxed);
        }
        results.finish()
    }

    /// Turns an answer into outcomes. A transfer that was refused because of some event in it is
    /// sent again in halves until that event stands alone, within the same deadline; one after the
    /// other, so that what comes behind a fault of the endpoint stays behind.
    async fn settle(
        &self,
        batch: &[Delivery],
        group: TransferGroup,
        answer: TransferAnswer,
        deadline: Instant,
        results: &mut BatchResults,
    ) {
        // What is still to be sent, the next one last.
        let mut open = results.note(&group, answer);
        while let Some(places) = open.pop() {
            if let Some(fault) = results.fault.clone() {
                results.set_places(&places, &DeliveryOutcome::Unavailable(fault));
                continue;
            }
            if Instant::now() >= deadline {
                results.set_places(&places, &not_isolated());
                continue;
            }
            let plan = self.plan(batch, places.iter().copied());
            results.reject_too_large(&plan);
            let mut transfers = plan.transfers.into_iter();
            for EncodedGroup { group, sendable } in transfers.by_ref() {
                let alone = BatchCourse::default();
                let answer = match self.link().submit(sendable, deadline, &alone).await {
                    Ok(answer) => answered(answer, deadline).await,
                    Err(fault) => TransferAnswer::Lost(fault),
                };
                let again = results.note(&group, answer);
                if !again.is_empty() || results.fault.is_some() {
                    open.extend(rest(transfers));
                    open.extend(again);
                    break;
                }
            }
        }
    }
}

/// The events of transfers that were not sent.
fn rest(transfers: impl Iterator<Item = EncodedGroup>) -> Option<Vec<usize>> {
    let places: Vec<usize> = transfers
        .flat_map(|transfer| transfer.group.places)
        .collect();
    (!places.is_empty()).then_some(places)
}

impl Sink for AmqpSink {
    fn limits(&self) -> BatchLimits {
        let batch_max = self.size_limits().batch_max;
        // Spread over keys, a larger batch makes fuller transfers.
        let bytes = if self.routing.spreads() {
            batch_max.saturating_mul(4)
        } else {
            batch_max
        };
        BatchLimits {
            events_max: EVENTS_MAX,
            bytes_max: bytes.min(BYTES_MAX),
            in_flight_max: self.in_flight_max,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        self.send_all(batch).boxed()
    }

    fn credentials(&self) -> Vec<CredentialState> {
        self.state.credentials(&self.targets)
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), EndpointFault>> {
        let deadline = Instant::now() + self.attempt_timeout;
        async move {
            let answer = self.link().probe(deadline).await?;
            match tokio::time::timeout_at(deadline + MARGIN, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(status::unreachable("connection-lost", "")),
                Err(_) => Err(status::unreachable("timeout", "no answer in time")),
            }
        }
        .boxed()
    }
}

async fn answered(answer: oneshot::Receiver<TransferAnswer>, deadline: Instant) -> TransferAnswer {
    match tokio::time::timeout_at(deadline + MARGIN, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => TransferAnswer::Lost(status::unreachable("connection-lost", "")),
        Err(_) => TransferAnswer::Lost(status::unreachable("timeout", "no answer in time")),
    }
}

fn outcome_of(answer: TransferAnswer) -> DeliveryOutcome {
    match answer {
        TransferAnswer::Outcome(AmqpOutcome::Accepted(_)) => DeliveryOutcome::Delivered,
        TransferAnswer::Outcome(AmqpOutcome::Rejected(Rejected { error: Some(error) })) => {
            let (condition, description) = parts(&error);
            status::outcome(condition.as_str(), description)
        }
        TransferAnswer::Outcome(AmqpOutcome::Rejected(Rejected { error: None })) => {
            status::outcome("", "rejected without a reason")
        }
        TransferAnswer::Outcome(AmqpOutcome::Modified(Modified {
            undeliverable_here: Some(true),
            ..
        })) => DeliveryOutcome::Reject(FailureReason::new(
            "undeliverable-here",
            "modified by the broker",
        )),
        TransferAnswer::Outcome(AmqpOutcome::Released(_)) => retry("released"),
        TransferAnswer::Outcome(_) => retry("modified"),
        TransferAnswer::TooLarge(sizes) => DeliveryOutcome::Reject(too_large_reason(sizes)),
        TransferAnswer::Lost(fault) => DeliveryOutcome::Unavailable(fault),
        TransferAnswer::Unsent => retry("unsent"),
    }
}

fn too_large_reason(sizes: Option<MessageSizes>) -> FailureReason {
    let detail = match sizes {
        Some(MessageSizes { bytes, bytes_max }) => {
            format!("{bytes} bytes encoded, and the link's max-message-size is {bytes_max}")
        }
        None => "larger than the broker's own limit".to_owned(),
    };
    FailureReason::new(status::PAYLOAD_TOO_LARGE, detail)
}

fn retry(code: &'static str) -> DeliveryOutcome {
    DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new(code, "given back by the broker"),
    }
}

fn not_isolated() -> DeliveryOutcome {
    DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("batch-refused", "no time left to find the event at fault"),
    }
}

/// The outcomes of a lane's batch while they come in.
struct BatchResults {
    outcomes: Vec<Option<DeliveryOutcome>>,
    /// The first fault of the endpoint.
    fault: Option<EndpointFault>,
}

impl BatchResults {
    fn new(len: usize) -> Self {
        Self {
            outcomes: vec![None; len],
            fault: None,
        }
    }

    fn set_all(&mut self, group: &TransferGroup, outcome: &DeliveryOutcome) {
        self.set_places(&group.places, outcome);
    }

    fn set_places(&mut self, places: &[usize], outcome: &DeliveryOutcome) {
        if let DeliveryOutcome::Unavailable(fault) = outcome {
            self.fault.get_or_insert_with(|| fault.clone());
        }
        for place in places {
            self.outcomes[*place] = Some(outcome.clone());
        }
    }

    /// Takes note of a transfer's answer; gives what is to be sent again, the first of it last.
    fn note(&mut self, group: &TransferGroup, answer: TransferAnswer) -> Vec<Vec<usize>> {
        if matches!(answer, TransferAnswer::Unsent) {
            return vec![group.places.clone()];
        }
        // Nothing was sent: by the link's limit, which may only now be known, it is planned again.
        let alone = group.places.len() == 1 && group.form == TransferForm::Batch;
        if alone && matches!(answer, TransferAnswer::TooLarge(Some(_))) {
            return vec![group.places.clone()];
        }
        let outcome = outcome_of(answer);
        if matches!(outcome, DeliveryOutcome::Reject(_)) && group.places.len() > 1 {
            let (first, second) = group.places.split_at(group.places.len() / 2);
            return vec![second.to_vec(), first.to_vec()];
        }
        self.set_all(group, &outcome);
        Vec::new()
    }

    fn reject_too_large(&mut self, plan: &TransferPlan) {
        for event in &plan.too_large {
            let reason = too_large_reason(Some(MessageSizes {
                bytes: event.bytes as u64,
                bytes_max: event.bytes_max as u64,
            }));
            self.set_places(&[event.place], &DeliveryOutcome::Reject(reason));
        }
    }

    fn finish(self) -> Vec<DeliveryOutcome> {
        let missing = || retry("unanswered");
        self.outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(missing))
            .collect()
    }
}
