//! The server: who may ask, and what is at each path.

use crate::arm::answer::{ArmAnswer, TrackingIds, respond};
use crate::arm::error::Error;
use crate::arm::path::{PathCursor, PathScope};
use crate::arm::request::{ArmRequest, RequestArrival};
use crate::audit_cause::{self, AuditCause};
use crate::context::{ServerCall, ServerContext};
use crate::preconditions::{need_group, only_get, only_post, unknown_path};
use crate::{admission, digital_twins, event_routes, groups, illegal};
use crate::{openapi, operations, providers, provisioning_services};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use std::sync::Arc;
use twinroute_audit::ChangeAuthor;
use twinroute_listen::ServerBody;
use twinroute_listen::access::CallerRole;
use uuid::Uuid;

/// Who asks, and over what.
pub(crate) struct RequestCaller {
    pub(crate) name: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// For the audit log.
    pub(crate) author: ChangeAuthor,
}

/// Answers one request of a caller who may ask it.
pub(crate) async fn reply(
    context: &Arc<ServerContext>,
    head: Parts,
    body: Bytes,
    caller: RequestCaller,
) -> Response<ServerBody> {
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
            let call = ServerCall {
                context,
                request: &request,
            };
            let mut result = match request.segments.illegal {
                None => answer(call).await,
                Some((at, reason)) => Err(illegal::refuse(&request, at, reason)),
            };
            if result.is_ok() && shows_keys(&request) {
                result = note_keys(call).await.and(result);
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
                    .map(|_| ServerBody::default());
            }
            result
        }
        Err(error) => Err(error),
    };
    respond(result, &tracking)
}

/// Answers a request that could not even be read.
pub(crate) fn refuse(head: &Parts, error: Error) -> Response<ServerBody> {
    let tracking = TrackingIds::of(&head.headers, Uuid::new_v4());
    respond(Err(error), &tracking)
}

/// Whether it asks for a change. A question put as a POST is none.
fn changes(request: &ArmRequest) -> bool {
    admission::role(&request.method, request.last_word()) == CallerRole::Write
}

fn shows_keys(request: &ArmRequest) -> bool {
    request.last_word() == "listkeys"
}

/// Keys are not shown before it is recorded that they were.
async fn note_keys(call: ServerCall<'_>) -> Result<(), Error> {
    let audit = call.context.audit.load_full();
    let view = AuditCause::of(call.request).asked(&call.request.path());
    let recorded = audit.accept_one(&call.request.author, view).await;
    recorded.map_err(|error| audit_cause::unrecorded(&error))
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
            tracing::info!(%method, path, status, caller, request = %id, "change accepted");
        }
        Ok(_) => tracing::debug!(%method, path, caller, "answered"),
        Err(error) => {
            let (status, code) = (error.status().as_u16(), error.code());
            tracing::debug!(%method, path, status, code, caller, request = %id, "refused");
        }
    }
}

async fn answer(call: ServerCall<'_>) -> Result<ArmAnswer, Error> {
    let words = call.request.segments.words();
    let path = PathCursor::new(&call.request.segments, &words);
    let get = || only_get(call);
    let versioned = || get().and_then(|()| call.request.version().map(drop));
    if !matches!(call.request.method, Method::GET | Method::POST) {
        call.context.store.is_read_only()?;
    }
    match path.words {
        [] => get().map(|()| ArmAnswer::text(openapi::about(call.request))),
        ["openapi.json"] => get().map(|()| ArmAnswer::ok(openapi::document(call.request))),
        ["metadata", "endpoints"] => get().map(|()| groups::metadata(call.request)),
        ["eventroutes", ..] => event_routes::answer(call, None, path.behind(1)).await,
        ["instances", _, "eventroutes", ..] => {
            let instance = Some(path.name(1));
            event_routes::answer(call, instance, path.behind(3)).await
        }
        ["subscriptions"] => versioned().map(|()| groups::subscriptions(call.context)),
        ["providers"] => versioned().map(|()| providers::list(call.context, None)),
        ["providers", _] => {
            versioned().and_then(|()| providers::get(call.context, None, path.name(1)))
        }
        ["providers", _, ..] => {
            call.request.version()?;
            provider(call, PathScope::default(), path.behind(1)).await
        }
        ["tenants"] => versioned().map(|()| groups::tenants(call.context)),
        ["subscriptions", _, ..] => in_subscription(call, path.name(1), path.behind(2)).await,
        _ => Err(unknown_path(call)),
    }
}

async fn in_subscription(
    call: ServerCall<'_>,
    subscription: &str,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    call.request.version()?;
    if Uuid::parse_str(subscription).is_err() {
        return Err(Error::InvalidSubscription {
            subscription: subscription.to_owned(),
        });
    }
    let get = || only_get(call);
    let mut scope = PathScope {
        subscription: Some(subscription),
        group: None,
    };
    match path.words {
        [] => get().map(|()| groups::subscription(subscription)),
        ["resourcegroups"] => groups::answer(call, subscription, None).await,
        ["resourcegroups", _] => groups::answer(call, subscription, Some(path.name(1))).await,
        ["resourcegroups", _, "providers", _, ..] => {
            scope.group = Some(path.name(1));
            provider(call, scope, path.behind(3)).await
        }
        ["resourcegroups", _, "resources"] => {
            get()?;
            need_group(call, subscription, path.name(1))?;
            providers::resources(call, subscription, Some(path.name(1)))
        }
        ["resources"] => get().and_then(|()| providers::resources(call, subscription, None)),
        ["locations"] => get().map(|()| providers::locations(call.context, subscription)),
        ["providers"] => get().map(|()| providers::list(call.context, Some(subscription))),
        ["providers", _] => {
            get().and_then(|()| providers::get(call.context, Some(subscription), path.name(1)))
        }
        ["providers", _, "register"] => {
            only_post(call)?;
            Ok(providers::register(
                call.context,
                subscription,
                path.name(1),
            ))
        }
        ["providers", _, ..] => provider(call, scope, path.behind(1)).await,
        ["operationstatuses", _] => {
            get().and_then(|()| operations::status(call.request, &call.state(), path.name(1)))
        }
        ["operationresults", _] => get()
            .and_then(|()| operations::result(call.request, &call.state(), path.name(1), |_| None)),
        _ => Err(unknown_path(call)),
    }
}

/// Hands over to the provider whose namespace is ahead.
async fn provider(
    call: ServerCall<'_>,
    scope: PathScope<'_>,
    path: PathCursor<'_>,
) -> Result<ArmAnswer, Error> {
    let rest = path.behind(1);
    match path.words[0] {
        "microsoft.digitaltwins" => digital_twins::answer(call, scope, rest).await,
        "microsoft.devices" => provisioning_services::answer(call, scope, rest).await,
        _ => Err(Error::UnknownNamespace {
            namespace: path.name(0).to_owned(),
        }),
    }
}
