//! Names in a path that no name can be: refused by the rule of what they would name.
//!
//! The check of paths knows only that such a segment is none; that alone would hide the error which the API has
//! for it (`EventRouteIdInvalid` of the data plane's OpenAPI, for one).

use crate::arm::error::Error;
use crate::arm::names::{check_connection, check_group};
use crate::arm::path::NOT_UTF_8;
use crate::arm::request::ArmRequest;
use crate::digital_twins::names::{check_endpoint, check_instance};
use crate::{event_routes, provisioning_services};
use http::Method;

/// Why the request is refused whose path has an illegal segment at `at`.
pub(crate) fn refuse(request: &ArmRequest, at: usize, reason: &'static str) -> Error {
    match named(request, at) {
        Some(error) if reason == NOT_UTF_8 => not_utf_8(error),
        Some(error) => error,
        None => Error::InvalidPath { reason },
    }
}

/// The error of the rule, with what is wrong in the first place: the characters that are shown were not sent.
fn not_utf_8(error: Error) -> Error {
    let rule =
        "its bytes are not UTF-8; percent-encode the UTF-8 bytes of each character".to_owned();
    match error {
        Error::RouteId { .. } => Error::RouteId { rule },
        Error::InvalidName { name, .. } => Error::InvalidName { name, rule },
        other => other,
    }
}

/// The error of the rule that the segment breaks, if it stands where a name does.
fn named(request: &ArmRequest, at: usize) -> Option<Error> {
    let words = request.segments.words();
    let name = request.segments.names[at].as_str();
    let of = |checked: Result<(), Error>| checked.err();
    match &words[..at] {
        ["eventroutes"] | ["instances", _, "eventroutes"] if at + 1 == words.len() => {
            let route = event_routes::check_version(request).and_then(|()| match request.method {
                Method::PUT => event_routes::check_id(name),
                // The OpenAPI has no other error for these: there is no such route.
                _ => Err(Error::RouteNotFound),
            });
            of(route)
        }
        ["subscriptions"] => of(request.version().and(Err(Error::InvalidSubscription {
            subscription: name.chars().take(64).collect(),
        }))),
        ["subscriptions", _, "resourcegroups"] => of(request.version().and(check_group(name))),
        [
            "subscriptions",
            _,
            "resourcegroups",
            _,
            "providers",
            provider,
            below @ ..,
        ] => {
            let checked = match (*provider, below) {
                ("microsoft.digitaltwins", ["digitaltwinsinstances"]) => {
                    check_instance(name).map(drop)
                }
                (
                    "microsoft.digitaltwins",
                    [_, _, "endpoints" | "timeseriesdatabaseconnections"],
                ) => check_endpoint(name).map(drop),
                ("microsoft.digitaltwins", [_, _, "privateendpointconnections"]) => {
                    check_connection(name)
                }
                ("microsoft.devices", ["provisioningservices", ..]) => {
                    return request
                        .version()
                        .map_or_else(Some, |_| provisioning_services::illegal(below, name));
                }
                _ => Ok(()),
            };
            of(request.version().and(checked))
        }
        _ => None,
    }
}
