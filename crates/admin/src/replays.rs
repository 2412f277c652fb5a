//! Replays: begin, look, end.

use crate::answer;
use crate::refusal::AdminRefusal;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use twinroute_listen::ServerBody;
use twinroute_router::Router;
use twinroute_router::replay::{ReplayRequest, ReplayStatus};

#[derive(Serialize)]
struct ReplayList {
    /// Oldest first.
    replays: Vec<ReplayStatus>,
}

pub(crate) async fn begin(
    router: &Router,
    request: ReplayRequest,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let begun = router.replay(request).await;
    let status = begun.map_err(|error| AdminRefusal::replay(router, error))?;
    let mut response = answer::json(&status, pretty);
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("/replays/{}", status.number)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) fn all(router: &Router, pretty: bool) -> Response<ServerBody> {
    let replays = ReplayList {
        replays: router.replays(),
    };
    answer::json(&replays, pretty)
}

pub(crate) fn one(
    router: &Router,
    number: u64,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let mut replays = router.replays().into_iter();
    let found = replays.find(|replay| replay.number == number);
    let status = found.ok_or(AdminRefusal::UnknownReplay(number))?;
    Ok(answer::json(&status, pretty))
}

/// Ends it; one that has ended stays as it is.
pub(crate) fn end(
    router: &Router,
    number: u64,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    if !router.cancel_replay(number) {
        return Err(AdminRefusal::UnknownReplay(number));
    }
    one(router, number, pretty)
}
