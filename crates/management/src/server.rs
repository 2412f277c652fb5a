//! The server: who may ask, and what is at each path.

use crate::arm::answer::{Answer, Tracking, respond};
use crate::arm::error::Error;
use crate::arm::request::{Arrival, Request};
use crate::desk::Desk;
use crate::lookup::{Scope, need_group, only};
use crate::{admission, cause, digital_twins, event_routes, groups, illegal};
use crate::{openapi, operations, providers, provisioning_services};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use std::sync::Arc;
use twinroute_audit::ChangeAuthor;
use twinroute_listen::Body;
use twinroute_listen::access::Role;
use uuid::Uuid;

/// Who asks, and over what.
pub(crate) struct Caller {
    pub(crate) name: String,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// For the audit log.
    pub(crate) author: ChangeAuthor,
}

/// Answers one request of a caller who may ask it.
pub(crate) async fn reply(
    desk: &Arc<Desk>,
    head: Parts,
    body: Bytes,
    caller: Caller,
) -> Response<Body> {
    let mut tracking = Tracking::of(&head.headers, Uuid::new_v4());
    let arrival = Arrival {
        scheme: caller.scheme,
        caller: caller.name,
        author: caller.author,
        now: desk.clock.now(),
        body,
    };
    let result = match Request::new(head, arrival) {
        Ok(request) => {
            tracking.request = request.id;
            let mut result = match request.illegal {
                None => answer(desk, &request).await,
                Some((at, reason)) => Err(illegal::refuse(&request, at, reason)),
            };
            if result.is_ok() && shows_keys(&request) {
                result = note_keys(desk, &request).await.and(result);
            }
            if let Err(error) = &result
                && changes(&request)
            {
                let change = request.cause.asked(&request.path());
                let (status, code) = (error.status().as_u16(), error.code());
                let audit = desk.audit.load();
                audit.refuse(request.cause.author(), &change, status, code);
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
    let tracking = Tracking::of(&head.headers, Uuid::new_v4());
    respond(Err(error), &tracking)
}

/// Whether it asks for a change. A question put as a POST is none.
fn changes(request: &Request) -> bool {
    let last = request.words.last().map_or("", String::as_str);
    admission::role(&request.method, last) == Role::Write
}

fn shows_keys(request: &Request) -> bool {
    request.words.last().is_some_and(|word| word == "listkeys")
}

/// Keys are not shown before it is noted that they were.
async fn note_keys(desk: &Desk, request: &Request) -> Result<(), Error> {
    let audit = desk.audit.load_full();
    let shown = request.cause.asked(&request.path());
    let noted = audit.accept_one(request.cause.author(), shown).await;
    noted.map_err(|error| cause::unnoted(&error))
}

/// What changed, and what failed on our side. Bodies are never logged: they hold secrets.
fn log(request: &Request, result: &Result<Answer, Error>) {
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

async fn answer(desk: &Arc<Desk>, request: &Request) -> Result<Answer, Error> {
    let words: Vec<&str> = request.words.iter().map(String::as_str).collect();
    let segments = request.segments.as_slice();
    let get = || only(request, &[Method::GET], "GET");
    if !matches!(request.method, Method::GET | Method::HEAD | Method::POST) {
        desk.store.is_read_only()?;
    }
    match words.as_slice() {
        [] => {
            get()?;
            Ok(Answer::text(openapi::about(request)))
        }
        ["openapi.json"] => {
            get()?;
            Ok(Answer::ok(openapi::document(request)))
        }
        ["metadata", "endpoints"] => {
            get()?;
            Ok(groups::metadata(request))
        }
        ["eventroutes", ..] => event_routes::answer(desk, request, None, &segments[1..]).await,
        ["instances", _, "eventroutes", ..] => {
            event_routes::answer(desk, request, Some(&segments[1]), &segments[3..]).await
        }
        ["subscriptions"] => {
            get()?;
            request.version()?;
            Ok(groups::subscriptions(desk))
        }
        ["providers"] => {
            get()?;
            request.version()?;
            Ok(providers::list(desk, None))
        }
        ["providers", _] => {
            get()?;
            request.version()?;
            providers::get(desk, None, &segments[1])
        }
        ["providers", _, ..] => {
            request.version()?;
            let scope = Scope {
                subscription: None,
                group: None,
            };
            provider(desk, request, scope, 1).await
        }
        ["tenants"] => {
            get()?;
            request.version()?;
            Ok(groups::tenants(desk))
        }
        ["subscriptions", _, ..] => in_subscription(desk, request, &words).await,
        _ => Err(Error::UnknownPath {
            path: request.path(),
        }),
    }
}

async fn in_subscription(
    desk: &Arc<Desk>,
    request: &Request,
    words: &[&str],
) -> Result<Answer, Error> {
    request.version()?;
    let segments = request.segments.as_slice();
    let subscription = segments[1].as_str();
    if Uuid::parse_str(subscription).is_err() {
        return Err(Error::InvalidSubscription {
            subscription: subscription.to_owned(),
        });
    }
    let get = || only(request, &[Method::GET], "GET");
    let mut scope = Scope {
        subscription: Some(subscription),
        group: None,
    };
    match &words[2..] {
        [] => {
            get()?;
            Ok(groups::subscription(subscription))
        }
        ["resourcegroups"] => groups::answer(desk, request, subscription, None).await,
        ["resourcegroups", _] => {
            groups::answer(desk, request, subscription, Some(&segments[3])).await
        }
        ["resourcegroups", _, "providers", _, ..] => {
            scope.group = Some(&segments[3]);
            provider(desk, request, scope, 5).await
        }
        ["resourcegroups", _, "resources"] => {
            get()?;
            need_group(desk, subscription, &segments[3])?;
            providers::resources(desk, request, subscription, Some(&segments[3]))
        }
        ["resources"] => {
            get()?;
            providers::resources(desk, request, subscription, None)
        }
        ["locations"] => {
            get()?;
            Ok(providers::locations(desk, subscription))
        }
        ["providers"] => {
            get()?;
            Ok(providers::list(desk, Some(subscription)))
        }
        ["providers", _] => {
            get()?;
            providers::get(desk, Some(subscription), &segments[3])
        }
        ["providers", _, "register"] => {
            only(request, &[Method::POST], "POST")?;
            Ok(providers::register(desk, subscription, &segments[3]))
        }
        ["providers", _, ..] => provider(desk, request, scope, 3).await,
        ["operationstatuses", _] => {
            get()?;
            operations::status(request, &desk.store.read(), &segments[3])
        }
        ["operationresults", _] => {
            get()?;
            operations::result(request, &desk.store.read(), &segments[3], |_| None)
        }
        _ => Err(Error::UnknownPath {
            path: request.path(),
        }),
    }
}

/// Hands over to the provider whose namespace stands at `at`.
async fn provider(
    desk: &Arc<Desk>,
    request: &Request,
    scope: Scope<'_>,
    at: usize,
) -> Result<Answer, Error> {
    let (rest, words) = (&request.segments[at + 1..], &request.words[at + 1..]);
    match request.words[at].as_str() {
        "microsoft.digitaltwins" => digital_twins::answer(desk, request, scope, rest, words).await,
        "microsoft.devices" => {
            provisioning_services::answer(desk, request, scope, rest, words).await
        }
        _ => Err(Error::UnknownNamespace {
            namespace: request.segments[at].clone(),
        }),
    }
}
