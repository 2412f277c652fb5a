//! The way of a request: path, credentials, form, body, events, router, answer.

use crate::allowance::CallerAllowance;
use crate::answer::{self, AnswerForm};
use crate::cloudevents;
use crate::counters::{IngressCounters, SurfaceCounters};
use crate::credentials::CallerCredentials;
use crate::error::IngressRefusal;
use crate::event_grid::{self, WebhookKind};
use crate::excerpt::excerpt;
use crate::form::{RequestForm, check_body, request_form};
use crate::notification::{self, DeliveryParts};
use crate::settings::Settings;
use crate::target::{IngressSurface, IngressTarget};
use crate::trace;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use twinroute_listen::access::AccessGate;
use twinroute_listen::{
    BodyBudget, BodyError, BodyPermit, ClientPeer, ContentEncoding, HttpLimits, InstanceNetworks,
    ListeningSocket, PrivateWay, ServerBody, discard, inflate, read_body_within, serve,
};
use twinroute_model::clock::Clock;
use twinroute_model::event::{self, Event};
use twinroute_router::accept::{AcceptedBatch, AckLevel};
use twinroute_router::{AdmissionTurn, EventProducer, Router};

// Names that are made once: a name that is a text is read and hashed for each request.
const ACK: HeaderName = HeaderName::from_static("twinroute-ack");
const ACK_DEADLINE: HeaderName = HeaderName::from_static("twinroute-ack-deadline");

/// Takes events over HTTP and hands them to a router. Cheap to clone.
#[derive(Clone)]
pub struct IngressServer(Arc<IngressState>);

struct IngressState {
    router: Router,
    clock: Arc<dyn Clock>,
    network: InstanceNetworks,
    credentials: CallerCredentials,
    counters: IngressCounters,
    ack: AckLevel,
    /// How long level `delivered` waits at most.
    ack_deadline: Duration,
    /// How long a request waits for its turn at most.
    admission_wait_max: Duration,
    /// Whether no more requests are taken: those that wait for deliveries are answered.
    closing: watch::Sender<bool>,
    webhook_origins: Vec<String>,
    events: event::EventLimits,
    limits: HttpLimits,
    bodies: BodyBudget,
}

/// When a request is answered.
#[derive(Clone, Copy)]
struct AckSettings {
    level: AckLevel,
    /// How long level `delivered` waits.
    deadline: Duration,
}

/// What a request asks for, known before its body is read.
#[derive(Clone, Copy)]
struct AskedAnswer {
    ack: AckSettings,
    form: RequestForm,
    /// `None`: one that is not known here, of a delivery that is kept as it is.
    encoding: Option<ContentEncoding>,
    answer: AnswerForm,
}

/// What was made of a body.
enum BodyContent {
    /// Events, and what has to be stored for them in bytes.
    Events(DeliveryParts, usize),
    /// Nothing to accept.
    Answered(Response<ServerBody>),
}

impl BodyContent {
    fn undecoded(head: &Parts, body: Bytes, reason: &str) -> Self {
        let bytes = body.len();
        Self::Events(notification::undecoded(head, body, reason), bytes)
    }
}

impl IngressServer {
    /// Uses settings that were checked. Counters go to the `metrics` recorder installed before.
    /// Without a gate, no bearer token is a good one; without a network, instances are open to everybody and
    /// private listeners to nobody.
    #[must_use]
    pub fn new(settings: &Settings, router: Router, clock: Arc<dyn Clock>) -> Self {
        Self::build(settings, router, clock, (None, InstanceNetworks::default()))
    }

    /// As [`IngressServer::new`], with a gate that was made from [`Settings::access`], and with what holds of each
    /// instance.
    #[must_use]
    pub fn with_gate(
        settings: &Settings,
        router: Router,
        clock: Arc<dyn Clock>,
        gate: AccessGate,
        network: InstanceNetworks,
    ) -> Self {
        Self::build(settings, router, clock, (Some(gate), network))
    }

    fn build(
        settings: &Settings,
        router: Router,
        clock: Arc<dyn Clock>,
        (gate, network): (Option<AccessGate>, InstanceNetworks),
    ) -> Self {
        Self(Arc::new(IngressState {
            network,
            ack: settings.ack.unwrap_or_else(|| router.default_level()),
            ack_deadline: settings.ack_deadline,
            admission_wait_max: settings.admission_wait_max,
            closing: watch::Sender::new(false),
            router,
            clock,
            credentials: CallerCredentials::new(settings, gate),
            counters: IngressCounters::new(),
            webhook_origins: settings.webhook_origins.clone(),
            events: settings.event_limits(),
            limits: settings.limits.clone(),
            bodies: settings.limits.budget(),
        }))
    }

    /// Answers requests on `listeners` until `shutdown` completes and what runs has ended. Requests that
    /// wait for deliveries are then answered with what is open.
    pub async fn serve(&self, listeners: Vec<ListeningSocket>, shutdown: impl Future<Output = ()>) {
        let ingress = self.clone();
        let service = move |request, peer| {
            let ingress = ingress.clone();
            // Some 4 KiB, which would be moved for each of what the server wraps around it.
            Box::pin(async move { ingress.handle(request, peer).await })
        };
        let closing = async {
            shutdown.await;
            self.0.closing.send_replace(true);
        };
        serve(listeners, &self.0.limits, service, closing).await;
    }

    /// Answers one request.
    ///
    /// Dropping the future before the router has the events gives them up; after, they are kept and
    /// only the answer is lost.
    pub async fn handle<B>(&self, request: Request<B>, peer: ClientPeer) -> Response<ServerBody>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        let target = IngressTarget::of(head.uri.path());
        let surface = target.map(|target| target.surface);
        let counters = self.0.counters.of(surface);
        let answer = match target {
            None => Err(IngressRefusal::UnknownPath),
            Some(target) => match self.0.reached(&head, target) {
                Ok(()) => self.0.reply(&head, body, peer, target, counters).await,
                Err(refusal) => {
                    discard(body, head.version).await;
                    Err(refusal)
                }
            },
        };
        let response = answer.unwrap_or_else(|refusal| {
            if let Some(reason) = refusal.unavailable() {
                counters.unavailable(reason);
            }
            match (&head.method, WebhookKind::of(&head.headers)) {
                (&Method::POST, Ok(Some(WebhookKind::Notification))) => {
                    refusal.answer_notification(surface)
                }
                _ => refusal.answer(surface),
            }
        });
        counters.answered(response.status(), begun.elapsed());
        response
    }
}

impl IngressState {
    /// Whether the instance is reached over the listener that the request came by. Looked at for each request,
    /// so that a change acts on open connections.
    fn reached(&self, head: &Parts, target: IngressTarget<'_>) -> Result<(), IngressRefusal> {
        let way = PrivateWay::of_extensions(&head.extensions);
        let default = || self.router.default_instance().as_str();
        let instance = target.instance.unwrap_or_else(default);
        Ok(self.network.check(way, instance)?)
    }

    async fn reply<B>(
        &self,
        head: &Parts,
        body: B,
        peer: ClientPeer,
        target: IngressTarget<'_>,
        counters: &SurfaceCounters,
    ) -> Result<Response<ServerBody>, IngressRefusal>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match head.method {
            Method::POST => self.post(head, body, peer, target, counters).await,
            Method::OPTIONS => event_grid::consent(head, &self.webhook_origins, &self.credentials),
            _ => Err(IngressRefusal::Method {
                found: excerpt(head.method.as_str().as_bytes()),
            }),
        }
    }

    async fn post<B>(
        &self,
        head: &Parts,
        body: B,
        peer: ClientPeer,
        target: IngressTarget<'_>,
        counters: &SurfaceCounters,
    ) -> Result<Response<ServerBody>, IngressRefusal>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let checked = self.credentials.check(head, peer, &*self.clock).await;
        let checked_head = checked.map_err(IngressRefusal::from).and_then(|who| {
            let asked = self.check_head(head, &body, target)?;
            Ok((who, asked))
        });
        // Before the body is read: who waits for his turn holds nothing of it.
        let admitted = match checked_head {
            Ok(found) => self
                .admit(body.size_hint().lower())
                .await
                .map(|admitted| (found, admitted)),
            Err(refusal) => Err(refusal),
        };
        let ((who, asked), admitted) = match admitted {
            Ok(found) => found,
            Err(refusal) => {
                discard(body, head.version).await;
                return Err(refusal);
            }
        };
        let admitted = admitted.within(trace::of_headers(&head.headers));
        let admitted = admitted.of(EventProducer {
            caller: who.map(CallerAllowance::shared_name),
            address: peer.address(),
        });
        // Held until the router has copied what it keeps; it does so before it waits for deliveries.
        let mut hold = self.bodies.hold();
        let body = self.read(body, &mut hold).await?;
        counters.read(body.len());
        let (parts, bytes) = match self.content(head, body, &mut hold, asked).await? {
            BodyContent::Events(parts, bytes) => (parts, bytes),
            BodyContent::Answered(response) => return Ok(response),
        };
        let DeliveryParts { events, unreadable } = match who {
            Some(caller) if matches!(asked.form, RequestForm::Notification) => {
                parts.set_apart(caller, head.uri.path())
            }
            _ => parts,
        };
        // Before anything is stored: a batch is taken whole or not at all.
        if let Some(caller) = who {
            caller.take(&events, bytes)?;
        }
        let kept = unreadable.len();
        if kept > 0 {
            // Before the events: when this fails, the sender repeats all of it.
            self.router
                .keep_unreadable(target.instance, unreadable)
                .await?;
            counters.unreadable(kept);
        }
        if asked.ack.level == AckLevel::Delivered {
            drop(hold);
        }
        let accepted = self.accept(admitted, target, events, asked.ack, counters);
        let accepted = accepted.await?;
        Ok(answer::accepted(
            &accepted,
            kept,
            asked.ack.level,
            asked.answer,
        ))
    }

    /// Makes events of a body.
    async fn content(
        &self,
        head: &Parts,
        body: Bytes,
        hold: &mut BodyPermit<'_>,
        asked: AskedAnswer,
    ) -> Result<BodyContent, IngressRefusal> {
        let limits = &self.events;
        let inflated = match asked.encoding {
            Some(encoding) => inflate(encoding, body.clone(), self.limits.body_bytes(), hold).await,
            None => {
                return Ok(BodyContent::undecoded(
                    head,
                    body,
                    "its content-encoding is not gzip",
                ));
            }
        };
        let body = match (inflated, asked.form) {
            (Ok(inflated), _) => inflated,
            (Err(error), RequestForm::Notification) if notification::is_kept(&error) => {
                return Ok(BodyContent::undecoded(head, body, &error.to_string()));
            }
            (Err(error), _) => return Err(error.into()),
        };
        // What is inflated counts: that is what has to be stored.
        let bytes = body.len();
        let events = match asked.form {
            RequestForm::CloudEvents(mode) => cloudevents::events(mode, head, body, limits)?,
            RequestForm::EventGrid(format) => {
                event_grid::events(format, head.uri.path(), body, limits)?
            }
            RequestForm::Notification => {
                return Ok(BodyContent::Events(
                    notification::take_apart(head, &body, limits),
                    bytes,
                ));
            }
            RequestForm::Validation => {
                return event_grid::validate(&body).map(BodyContent::Answered);
            }
            RequestForm::Deletion => return Ok(BodyContent::Answered(answer::empty())),
        };
        let unreadable = Vec::new();
        Ok(BodyContent::Events(
            DeliveryParts { events, unreadable },
            bytes,
        ))
    }

    /// Waits for the turn of a request that announced so many bytes. It holds no body, which need not be `Sync` so.
    async fn admit(&self, announced: u64) -> Result<AdmissionTurn, IngressRefusal> {
        let admitted = self.router.admit(announced, self.admission_wait_max).await;
        Ok(admitted?)
    }

    /// What is known before the body is read.
    fn check_head(
        &self,
        head: &Parts,
        body: &impl http_body::Body,
        target: IngressTarget<'_>,
    ) -> Result<AskedAnswer, IngressRefusal> {
        let form = request_form(head, target.surface)?;
        let is_notification = matches!(form, RequestForm::Notification);
        let ack = match self.ack(&head.headers) {
            // A word in a header is no reason to lose events.
            Err(_) if is_notification => self.ack_by_default(),
            Ok(ack) if is_notification && !self.router.gives(ack.level) => self.ack_by_default(),
            ack => ack?,
        };
        let encoding = match ContentEncoding::of(&head.headers) {
            Ok(encoding) => Some(encoding),
            Err(_) if is_notification => None,
            Err(found) => {
                let found = excerpt(found.as_bytes());
                return Err(IngressRefusal::ContentEncoding { found });
            }
        };
        check_body(head, body, form)?;
        let is_event_grid = is_notification || target.surface == IngressSurface::EventGrid;
        let asks_for_outcomes = ack.level == AckLevel::Delivered && head.headers.contains_key(ACK);
        Ok(AskedAnswer {
            ack,
            form,
            encoding,
            answer: AnswerForm::of(&head.headers, is_event_grid, asks_for_outcomes),
        })
    }

    /// Accepts the events of a request. More than a batch may have, which only a delivery brings, go in batches.
    async fn accept(
        &self,
        admitted: AdmissionTurn,
        target: IngressTarget<'_>,
        mut events: Vec<Event>,
        ack: AckSettings,
        counters: &SurfaceCounters,
    ) -> Result<AcceptedBatch, IngressRefusal> {
        let deadline = Instant::now() + ack.deadline;
        let (router, instance) = (&self.router, target.instance);
        let rest = events.split_off(events.len().min(self.events.batch_events_max));
        let until = self.until(deadline);
        let accepted = router.accept_admitted(admitted, instance, events, ack.level, until);
        let mut sum = accepted.await?;
        counters.accepted(sum.events);
        events = rest;
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(self.events.batch_events_max));
            let until = self.until(deadline);
            let accepted = router.accept_until(instance, events, ack.level, until);
            let accepted = accepted.await?;
            counters.accepted(accepted.events);
            sum = sum.and(accepted);
            events = rest;
        }
        Ok(sum)
    }

    /// Completes at the deadline, or when the server closes.
    async fn until(&self, deadline: Instant) {
        let mut closing = self.closing.subscribe();
        // Whoever waits for deliveries must not keep a server that closes from closing.
        tokio::select! {
            () = sleep_until(deadline) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }

    async fn read<B>(&self, body: B, hold: &mut BodyPermit<'_>) -> Result<Bytes, BodyError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (bytes_max, timeout) = (self.limits.body_bytes(), self.limits.body_read_timeout);
        read_body_within(body, bytes_max, timeout, hold).await
    }

    fn ack_by_default(&self) -> AckSettings {
        AckSettings {
            level: self.ack,
            deadline: self.ack_deadline,
        }
    }

    /// When the request wants to be answered.
    fn ack(&self, headers: &HeaderMap) -> Result<AckSettings, IngressRefusal> {
        let level = match headers.get(ACK) {
            None => self.ack,
            Some(word) => {
                let known = word.to_str().ok().and_then(AckLevel::parse);
                known.ok_or_else(|| IngressRefusal::UnknownAck {
                    word: excerpt(word.as_bytes()),
                })?
            }
        };
        let deadline = match headers.get(ACK_DEADLINE) {
            None => self.ack_deadline,
            Some(value) => seconds(value.as_bytes())
                .ok_or_else(|| IngressRefusal::AckDeadline {
                    found: excerpt(value.as_bytes()),
                })?
                .min(self.ack_deadline),
        };
        Ok(AckSettings { level, deadline })
    }
}

/// Reads a number of seconds above 0.
fn seconds(text: &[u8]) -> Option<Duration> {
    let plain = text
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
    let seconds: f64 = text.parse().ok()?;
    // What no Duration holds is above every limit.
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    (!duration.is_zero()).then_some(duration)
}
