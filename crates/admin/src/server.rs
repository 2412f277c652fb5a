//! The server's few paths.

use crate::answer::{self, INDEX};
use crate::metrics::Metrics;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use std::future::{Future, ready};
use std::pin::pin;
use twinroute_listen::{Body, Limits, Listener, serve};
use twinroute_router::Router;

/// Shows a router to its operators. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    router: Router,
    metrics: Metrics,
}

impl Admin {
    /// Shows `router` and what the process counted.
    #[must_use]
    pub fn new(router: Router, metrics: Metrics) -> Self {
        Self { router, metrics }
    }

    /// Answers on `listeners` until `shutdown` completes. Keeps the metrics small meanwhile, also
    /// with no listeners at all.
    pub async fn serve(
        &self,
        listeners: Vec<Listener>,
        limits: &Limits,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let admin = self.clone();
        let service = move |request: Request<Incoming>, _| {
            ready(admin.answer(request.method(), request.uri()))
        };
        let serving = async {
            if listeners.is_empty() {
                shutdown.as_mut().await;
            } else {
                serve(listeners, limits, service, shutdown.as_mut()).await;
            }
        };
        tokio::select! {
            biased;
            () = serving => {}
            () = self.metrics.upkeep() => {}
        }
    }

    fn answer(&self, method: &Method, uri: &Uri) -> Response<Body> {
        let known = ["/", "/livez", "/readyz", "/metrics", "/status"];
        if !known.contains(&uri.path()) {
            let message = "no such path; GET / lists what there is";
            return answer::refusal(StatusCode::NOT_FOUND, "UnknownPath", message);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let message = "only GET and HEAD are taken here";
            let mut response = answer::refusal(status, "MethodNotAllowed", message);
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        match uri.path() {
            "/livez" => answer::text("ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => {
                // A snapshot sets the gauges.
                drop(self.router.status());
                answer::prometheus(self.metrics.render())
            }
            "/status" => {
                let pretty = uri
                    .query()
                    .is_some_and(|query| query.split('&').any(is_pretty));
                answer::json(&self.router.status(), pretty)
            }
            _ => answer::text(INDEX),
        }
    }

    fn ready(&self) -> Response<Body> {
        let readiness = self.router.readiness();
        let mut response = answer::json(&readiness, false);
        if !readiness.ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}

fn is_pretty(parameter: &str) -> bool {
    parameter == "pretty" || parameter == "pretty=true"
}
