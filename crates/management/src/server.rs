//! The server: who may ask, and what is at each path.

use crate::arm::answer::{ArmAnswer, TrackingIds, respond};
use crate::arm::error::Error;
use crate::arm::path::{PathCursor, PathScope};
use crate::arm::request::{ArmRequest, RequestArrival};
use crate::audit_cause::{self, AuditCause};
use crate::context::ServerContext;
use crate::preconditions::{need_group, only, unknown_path};
use crate::{admission, digital_twins, event_routes, groups, illegal};
use crate::{openapi, operations, providers, provisioning_services};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use std::sync::Arc;
use twinroute_listen::Body;
use twinroute_listen::access::Role;
use twinroute_listen::audit::Author;
use uuid::Uuid;

/// Who asks, and over what.
pub(crate) struct RequestCaller {
    pub(crate) name: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// For the audit log.
    pub(crate) author: Author,
}

/// Answers one request of a caller who may ask it.
pub(crate) async fn reply(
    context: &Arc<ServerContext>,
    head: Parts,
    body: Bytes,
    caller: RequestCaller,
) -> Response<Body> {
    let mut tracking = TrackingIds::of(&head.headers, Uuid::new_v4());
    let arrival = RequestArrival {
        scheme: caller.scheme,
        caller: caller.name,
        author: caller.author,
        now: context.clock.now(),
        body,
    };
    let result = match ArmRequest::new(head, arrival) {
        Ok(request) => {
            tracking.request = request.id;
            let mut result = match request.segments.illegal {
                None => answer(context, &request).await,
                Some((at, reason)) => Err(illegal::refuse(&request, at, reason)),
            };
            if result.is_ok() && shows_keys(&request) {
                result = note_keys(context, &request).await.and(result);
            }
            if let Err(error) = &result
                && changes(&request)
            {
                let change = AuditCause::of(&request).asked(&request.path());
                let (status, code) = (error.status().as_u16(), error.code());
                let audit = context.audit.load();
                audit.refuse(&request.author, &change, status, code);
            }
            log(&request, &result);
            if request.is_head {
                return respond(result.map(|found| found.of_head(&request)), &tracking)
                    .map(|_| Body::default());
            }
            result
        }
        Err(error) => Err(error),
    };
    respond(result, &tracking)
}

/// Answers a request that could not even be read.
pub(crate) fn refuse(head: &Parts, error: Error) -> Response<Body> {
    let tracking = TrackingIds::of(&head.headers, Uuid::new_v4());
    respond(Err(error), &tracking)
}

/// Whether it asks for a change. A question put as a POST is none.
fn changes(request: &ArmRequest) -> bool {
    admission::role(&request.method, request.last_word()) == Role::Write
}

fn shows_keys(request: &ArmRequest) -> bool {
    request.last_word() == "listkeys"
}

/// Keys are not shown before it is noted that they were.
async fn note_keys(context: &ServerContext, request: &ArmRequest) -> Result<(), Error> {
    let audit = context.audit.load_full();
    let shown = AuditCause::of(request).asked(&request.path());
    let noted = audit.accept_one(&request.author, shown).await;
    noted.map_err(|error| audit_cause::unnoted(&error))
}

/// What changed, and what failed on our side. Bodies are never logged: they hold secrets.
fn log(request: &ArmRequest, result: &Result<ArmAnswer, Error>) {
    let (method, path) = (&request.method, request.path());
    let (caller, id) = (&request.caller, request.id);
    match result {
        Ok(_) if shows_keys(request) => {
            tracing::info!(path, caller, request = %id, "keys were shown");
        }
        Ok(answer) if matches!(*method, Method::PUT | Method::PATCH | Method::DELETE) => {
            let status = answer.status.as_u16();
            tracing::info!(%method, path, status, caller, request = %id, "a change was taken");
        }
        Ok(_) => tracing::debug!(%method, path, caller, "answered"),
        Err(error) => {
            let (status, code) = (error.status().as_u16(), error.code());
            tracing::debug!(%method, path, status, code, caller, request = %id, "refused");
        }
    }
}

async fn answer(context: &Arc<ServerContext>, request: &ArmRequest) -> Result<ArmAnswer, Error> {
    let words = request.segments.words();
    let path = PathCursor::new(&request.segments, &words);
    let get = || only(request, &[Method::GET], "GET");
    if !matches!(request.method, Method::GET | Method::HEAD | Method::POST) {
        context.store.is_read_only()?;
    }
    match path.words {
        [] => {
            get()?;
            Ok(ArmAnswer::text(openapi::about(request)))
        }
        ["openapi.json"] => {
            get()?;
            Ok(ArmAnswer::ok(openapi::document(request)))
        }
        ["metadata", "endpoints"] => {
            get()?;
            Ok(groups::metadata(request))
        }
        ["eventroutes", ..] => event_routes::answer(context, request, None, path.behind(1)).await,
        ["instances", _, "eventroutes", ..] => {
            let instance = Some(path.name(1));
            event_routes::answer(context, request, instance, path.behind(3)).await
        }
        ["subscriptions"] => {
            get()?;
            request.version()?;
            Ok(groups::subscriptions(context))
        }
        ["providers"] => {
            get()?;
            request.version()?;
            Ok(providers::list(context, None))
        }
        ["providers", _] => {
            get()?;
            request.version()?;
            providers::get(context, None, path.name(1))
        }
        ["providers", _, ..] => {
            request.version()?;
            let scope = PathScope {
                subscription: None,
                group: None,
            };
            provider(context, request, scope, path.behind(1)).await
        }
        ["tenants"] => {
            get()?;
            request.version()?;
            Ok(groups::tenants(context))
        }
        ["subscriptions", _, ..] => {
            in_subscription(context, request, path.name(1), path.behind(2)).await
        }
        _ => Err(unknown_path(request)),
    }
}

async fn in_subscription(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    subscription: &str,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    request.version()?;
    if Uuid::parse_str(subscription).is_err() {
        return Err(Error::InvalidSubscription {
            subscription: subscription.to_owned(),
        });
    }
    let get = || only(request, &[Method::GET], "GET");
    let mut scope = PathScope {
        subscription: Some(subscription),
        group: None,
    };
    match path.words {
        [] => {
            get()?;
            Ok(groups::subscription(subscription))
        }
        ["resourcegroups"] => groups::answer(context, request, subscription, None).await,
        ["resourcegroups", _] => {
            groups::answer(context, request, subscription, Some(path.name(1))).await
        }
        ["resourcegroups", _, "providers", _, ..] => {
            scope.group = Some(path.name(1));
            provider(context, request, scope, path.behind(3)).await
        }
        ["resourcegroups", _, "resources"] => {
            get()?;
            need_group(context, subscription, path.name(1))?;
            providers::resources(context, request, subscription, Some(path.name(1)))
        }
        ["resources"] => {
            get()?;
            providers::resources(context, request, subscription, None)
        }
        ["locations"] => {
            get()?;
            Ok(providers::locations(context, subscription))
        }
        ["providers"] => {
            get()?;
            Ok(providers::list(context, Some(subscription)))
        }
        ["providers", _] => {
            get()?;
            providers::get(context, Some(subscription), path.name(1))
        }
        ["providers", _, "register"] => {
            only(request, &[Method::POST], "POST")?;
            Ok(providers::register(context, subscription, path.name(1)))
        }
        ["providers", _, ..] => provider(context, request, scope, path.behind(1)).await,
        ["operationstatuses", _] => {
            get()?;
            operations::status(request, &context.store.read(), path.name(1))
        }
        ["operationresults", _] => {
            get()?;
            operations::result(request, &context.store.read(), path.name(1), |_| None)
        }
        _ => Err(unknown_path(request)),
    }
}

/// Hands over to the provider whose namespace is ahead.
async fn provider(
    context: &Arc<ServerContext>,
    request: &ArmRequest,
    scope: PathScope<'_>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let rest = path.behind(1);
    match path.words[0] {
        "microsoft.digitaltwins" => digital_twins::answer(context, request, scope, rest).await,
        "microsoft.devices" => provisioning_services::answer(context, request, scope, rest).await,
        _ => Err(Error::UnknownNamespace {
            namespace: path.name(0).to_owned(),
        }),
    }
}
