//! Events over HTTP, in a server of the program's own: CloudEvents and the publish surface of an Event Grid topic.
//!
//! [`Router::ingress`] makes a service of the crates `tower` and `hyper`. It answers at `/events`, `/api/events` and
//! `/instances/{name}/events`, below whatever path it is mounted at.
//!
//! ```
//! use twinroute::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = Router::builder().start().await?;
//! let events = router.ingress().access_key("a secret that producers show").service()?;
//! let app: axum::Router = axum::Router::new()
//!     .route("/health", axum::routing::get(|| async { "fine" }))
//!     .nest_service("/twinroute", events);
//! # let mut app = app;
//! # let request = http::Request::post("/twinroute/events").body(axum::body::Body::empty())?;
//! # let answer = tower_service::Service::call(&mut app, request).await?;
//! # assert_eq!(answer.status(), http::StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! Without keys and tokens, only producers that are known to be on this machine may send: those whose requests have a
//! [`ClientPeer`] that says so among their extensions. A program that has checked its callers itself says
//! [`IngressBuilder::allow_anonymous`].

pub use twinroute_ingress::{CallerSettings, Settings as IngressSettings};
pub use twinroute_listen::access::{AccessSettings, CallerRole, JwtSettings, TokenSettings};
pub use twinroute_listen::{
    BodyBudget, BodyPermit, BrokenOff, ClientPeer, HttpLimits, IpMask, IpRule, IpRuleAction,
    ListenAddress, MaskError, MutualTlsSettings, PrivateSettings, ServerBody, SocketMode,
    SocketSettings,
};
pub use twinroute_model::secret::Secret;
pub use twinroute_router::UnreadableSettings;

use crate::clock::SystemClock;
use crate::{AckLevel, Router};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use twinroute_ingress::IngressServer;

/// Collects how events come in over HTTP.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// let router = Router::builder().start().await?;
/// let events = router.ingress().access_key("a secret that producers show").ack(AckLevel::Memory).service();
/// assert!(events.is_ok());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is served before `service`"]
pub struct IngressBuilder<'a> {
    router: &'a Router,
    settings: IngressSettings,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ingress: {0}")]
pub struct InvalidIngress(String);

/// Takes events over HTTP. Cheap to clone; it is a service of `tower` and of `hyper`.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let router = Router::builder().start().await?;
/// let events = router.ingress().allow_anonymous().service()?;
/// let event = r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t"}"#;
/// let request = http::Request::post("/events").header("content-type", "application/cloudevents+json");
/// let request = request.body(http_body_util::Full::new(bytes::Bytes::from(event)))?;
/// let answer = hyper::service::Service::call(&events, request).await?;
/// assert_eq!(answer.status(), http::StatusCode::ACCEPTED);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct IngressService(IngressServer);

impl std::fmt::Debug for IngressService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("IngressService")
            .finish_non_exhaustive()
    }
}

impl Router {
    /// Begins to make a service that takes events over HTTP.
    pub fn ingress(&self) -> IngressBuilder<'_> {
        let mut settings = IngressSettings::default();
        settings.listen = Vec::new();
        IngressBuilder {
            router: self,
            settings,
        }
    }
}

impl IngressBuilder<'_> {
    /// A key that producers may show (`aeg-sas-key`, or a signature made with it).
    pub fn access_key(mut self, key: impl Into<Secret>) -> Self {
        self.settings.access_keys.push(key.into());
        self
    }

    /// Lets everybody send who reaches the service, for a program that has checked them itself.
    pub fn allow_anonymous(mut self) -> Self {
        self.settings.allow_anonymous = true;
        self
    }

    /// When a batch is acknowledged whose request does not say; as [`Router::accept_batch`] does unless set.
    pub fn ack(mut self, level: AckLevel) -> Self {
        self.settings.ack = Some(level);
        self
    }

    /// Changes the other settings, those of the table `[ingress]`. Where it listens is the program's matter.
    pub fn settings(mut self, change: impl FnOnce(&mut IngressSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// The service. It ends with its router: from [`Router::stop`] on events are answered 503.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn service(self) -> Result<IngressService, InvalidIngress> {
        self.settings.check().map_err(InvalidIngress)?;
        let router = self.router.inner().clone();
        let clock = Arc::new(SystemClock);
        Ok(IngressService(IngressServer::new(
            &self.settings,
            router,
            clock,
        )))
    }
}

type IngressFuture = Pin<Box<dyn Future<Output = Result<Response<ServerBody>, Infallible>> + Send>>;

impl IngressService {
    fn answer<B>(&self, request: Request<B>) -> IngressFuture
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let peer = request.extensions().get::<ClientPeer>().copied();
        // One that nobody knows is not on this machine.
        let peer = peer.unwrap_or(ClientPeer::Tcp(SocketAddr::from(([0, 0, 0, 0], 0))));
        let server = self.0.clone();
        Box::pin(async move { Ok(server.handle(request, peer).await) })
    }
}

impl<B> tower_service::Service<Request<B>> for IngressService
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<ServerBody>;
    type Error = Infallible;
    type Future = IngressFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Who has to wait does so in the call, before its body is read.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> IngressFuture {
        self.answer(request)
    }
}

impl<B> hyper::service::Service<Request<B>> for IngressService
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<ServerBody>;
    type Error = Infallible;
    type Future = IngressFuture;

    fn call(&self, request: Request<B>) -> IngressFuture {
        self.answer(request)
    }
}
