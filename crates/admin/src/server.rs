//! The server: what is at each path.

use crate::answer::{self, INDEX};
use crate::changes::{ChangeTargets, RequestedChange};
use crate::guard::{self, CallerChecks, RequestOrigin};
use crate::ledger::LedgerReport;
use crate::log_control::LogControl;
use crate::metrics::MetricsRecorder;
use crate::place::AdminPath;
use crate::refusal::AdminRefusal;
use crate::settings::ChangeListeners;
use crate::status_report::{CertificateReporter, StatusReport};
use crate::{dead_letters, gauges, history, query, remind, replays, tap, trouble};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{join, join3};
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use twinroute_audit::AuditLog;
use twinroute_listen::access::{AccessGate, CallerRole};
use twinroute_listen::{
    BodyBudget, ClientPeer, HttpLimits, ListeningSocket, RequestScheme, ServerBody, discard,
    read_body_within, serve,
};
use twinroute_router::Router;

/// Bytes of a request's body, if the limits do not say less: a replay may name 10,000 sequences.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Shows a router to its operators and lets them steer it. Cheap to clone.
#[derive(Clone)]
pub struct AdminServer {
    router: Router,
    metrics: MetricsRecorder,
    changes: ChangeListeners,
    /// Nothing where no tokens are asked for.
    gate: Option<Arc<AccessGate>>,
    audit: AuditLog,
    log: Option<LogControl>,
    certificates: CertificateReporter,
}

/// How much is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerScope {
    All,
    /// Whether it runs and is ready, but not why not.
    Probe,
}

/// What a request may read, and who sent it.
struct AdmittedCaller {
    scope: AnswerScope,
    name: String,
}

/// What the requests of one group of listeners share.
struct AdminContext {
    admin: AdminServer,
    reach: RequestOrigin,
    limits: HttpLimits,
    bodies: Arc<BodyBudget>,
}

impl AdminServer {
    /// Shows `router` and what the process counted; takes changes from this machine only.
    #[must_use]
    pub fn new(router: Router, metrics: MetricsRecorder) -> Self {
        Self {
            router,
            metrics,
            changes: ChangeListeners::Local,
            gate: None,
            audit: AuditLog::off(),
            log: None,
            certificates: CertificateReporter::new(Duration::ZERO, Vec::new),
        }
    }

    /// Asks for tokens from now on, if the gate's settings name any: on all listeners but unix sockets, reads
    /// need the role read and changes the role write. [`AdminServer::changes`] means nothing then.
    #[must_use]
    pub fn gate(self, gate: AccessGate) -> Self {
        Self {
            gate: gate.is_configured().then(|| Arc::new(gate)),
            ..self
        }
    }

    /// Notes changes in `audit` before they are made; what cannot be recorded is refused.
    #[must_use]
    pub fn audit(self, audit: AuditLog) -> Self {
        Self { audit, ..self }
    }

    /// Says on which listeners changes are taken.
    #[must_use]
    pub fn changes(self, changes: ChangeListeners) -> Self {
        Self { changes, ..self }
    }

    /// Shows what the log says, and lets it be changed. Without this there is no path for it.
    #[must_use]
    pub fn log(self, log: LogControl) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// Has the status show certificates of servers, and warn about them.
    #[must_use]
    pub fn certificates(self, certificates: CertificateReporter) -> Self {
        Self {
            certificates,
            ..self
        }
    }

    fn status(&self) -> StatusReport {
        self.certificates.report(self.router.status())
    }

    /// Answers on `listeners` until `shutdown` completes. Meanwhile, also with no listeners at all, keeps the
    /// metrics small, logs once a day what the status warns about, and sums up trouble each minute.
    pub async fn serve(
        &self,
        listeners: Vec<ListeningSocket>,
        limits: &HttpLimits,
        shutdown: impl Future<Output = ()>,
    ) {
        let shutdown = shutdown.shared();
        let bodies_max = usize::try_from(limits.bodies_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let bodies = Arc::new(BodyBudget::new(bodies_max));
        let group = |listeners: Vec<ListeningSocket>, reach| {
            let context = Arc::new(AdminContext {
                admin: self.clone(),
                reach,
                limits: limits.clone(),
                bodies: Arc::clone(&bodies),
            });
            let service = move |request: Request<Incoming>, peer| {
                let context = Arc::clone(&context);
                async move { context.answer(request, peer).await }
            };
            serve(listeners, limits, service, shutdown.clone())
        };
        let (local, remote): (Vec<_>, Vec<_>) = listeners
            .into_iter()
            .partition(|listener| listener.address().is_local());
        let serving = async {
            join(
                group(local, RequestOrigin::Local),
                group(remote, RequestOrigin::Remote),
            )
            .await;
            // With no listeners at all that was at once.
            shutdown.clone().await;
        };
        let chores = pin!(join3(
            self.metrics.upkeep(),
            remind::run(|| self.status().router.warnings),
            trouble::run(|| self.router.status())
        ));
        // The chores never end by themselves: they go on for as long as something is served, and no
        // longer.
        tokio::select! {
            biased;
            () = serving => {}
            _ = chores => {}
        }
    }
}

impl AdminContext {
    async fn answer(&self, request: Request<Incoming>, peer: ClientPeer) -> Response<ServerBody> {
        match self.reply(request, peer).await {
            Ok(response) => response,
            Err(refusal) => refusal.answer(),
        }
    }

    async fn reply(
        &self,
        request: Request<Incoming>,
        peer: ClientPeer,
    ) -> Result<Response<ServerBody>, AdminRefusal> {
        let (head, body) = request.into_parts();
        let place = AdminPath::of(head.uri.path()).ok_or(AdminRefusal::UnknownPath)?;
        if !place.takes(&head.method) {
            let allow = place.allow();
            return Err(AdminRefusal::MethodNotAllowed { allow });
        }
        let asked = RequestedChange::of(&self.admin.audit, &place, &head, peer);
        let AdmittedCaller { scope, name } = match self.admit(&place, &head, peer).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                if let Some(asked) = asked {
                    asked.denied(&refusal);
                }
                discard(body, head.version).await;
                return Err(refusal);
            }
        };
        let router = &self.admin.router;
        let query = head.uri.query();
        let pretty = query::pretty(query);
        if let Some(asked) = asked {
            let body = self.body(body).await;
            let targets = ChangeTargets {
                router,
                log: self.admin.log.as_ref(),
            };
            return asked.make((targets, place), &name, body, pretty).await;
        }
        match (place, &head.method) {
            (AdminPath::Index, _) => Ok(answer::text(INDEX)),
            (AdminPath::Live, _) => Ok(answer::text("ok\n")),
            (AdminPath::Ready, _) => Ok(self.ready(scope)),
            (AdminPath::Metrics, _) => {
                // The snapshot also sets gauges of the process, so it comes first.
                let endpoints = gauges::render(&self.admin.status());
                Ok(answer::prometheus(self.admin.metrics.render() + &endpoints))
            }
            (AdminPath::Status, _) => Ok(answer::json(&self.admin.status(), pretty)),
            (AdminPath::Ledger, _) => Ok(answer::json(&LedgerReport::of(&router.status()), pretty)),
            (AdminPath::Cluster, _) => Ok(answer::json(&router.cluster_status(), pretty)),
            (AdminPath::LogLevel, _) => {
                let log = self.admin.log.as_ref();
                Ok(log.ok_or(AdminRefusal::UnknownPath)?.answer(pretty))
            }
            (AdminPath::Tap, _) => tap::watch(router, query),
            (AdminPath::DeadLetters, _) => dead_letters::page(router, query, pretty).await,
            (AdminPath::History, _) => history::page(router, query, pretty).await,
            (AdminPath::HistoryExport, _) => history::export(router, query, pretty).await,
            (AdminPath::HistoryEvents, _) => history::events(router, query, pretty).await,
            (AdminPath::Export, _) => dead_letters::export(router, query),
            (
                AdminPath::DeadLetter {
                    instance,
                    endpoint,
                    sequence,
                },
                _,
            ) => dead_letters::one(router, (instance, endpoint), sequence).await,
            // Changes all of them.
            (AdminPath::Endpoint { .. }, _) => Err(AdminRefusal::UnknownPath),
            (AdminPath::Replays, _) => Ok(replays::all(router, pretty)),
            (AdminPath::Replay(number), _) => replays::one(router, number, pretty),
        }
    }

    /// Lets a request pass: by its token where tokens are asked for, else by where it comes from. Dropping the
    /// future loses nothing.
    async fn admit(
        &self,
        place: &AdminPath<'_>,
        head: &Parts,
        peer: ClientPeer,
    ) -> Result<AdmittedCaller, AdminRefusal> {
        let admitted = |scope, name| Ok(AdmittedCaller { scope, name });
        let Some(gate) = self
            .admin
            .gate
            .as_ref()
            .filter(|_| peer != ClientPeer::Unix)
        else {
            let caller = CallerChecks {
                reach: self.reach,
                peer,
                scheme: RequestScheme::of_extensions(&head.extensions),
                uri: &head.uri,
                headers: &head.headers,
            };
            guard::check(place, &head.method, self.admin.changes, &caller)?;
            return admitted(AnswerScope::All, "local".to_owned());
        };
        let token = head.headers.get(header::AUTHORIZATION);
        if token.is_none() && place.is_probe() {
            return admitted(AnswerScope::Probe, "anybody".to_owned());
        }
        let caller = gate.admit(token).await?;
        if !guard::changes(&head.method) {
            caller.require(CallerRole::Read)?;
            return admitted(AnswerScope::All, caller.name);
        }
        caller.require(CallerRole::Write)?;
        guard::check_type(&head.method, &head.headers)?;
        let (name, path) = (caller.name, head.uri.path());
        tracing::info!(caller = name, method = %head.method, path, "change requested");
        admitted(AnswerScope::All, name)
    }

    /// Collects a body. What it holds of the budget is given back when it is read, since what is made of it
    /// is no larger.
    async fn body(&self, body: Incoming) -> Result<Bytes, AdminRefusal> {
        let limit = usize::try_from(self.limits.body_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let limit = limit.min(BODY_BYTES_MAX);
        let mut hold = self.bodies.hold();
        let timeout = self.limits.body_read_timeout;
        Ok(read_body_within(body, limit, timeout, &mut hold).await?)
    }

    fn ready(&self, scope: AnswerScope) -> Response<ServerBody> {
        let mut readiness = self.admin.router.readiness();
        if scope == AnswerScope::Probe {
            readiness.reason.clear();
        }
        let mut response = answer::json(&readiness, false);
        if !readiness.ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}
