//! Steering an endpoint by hand.

use crate::answer;
use crate::place::Step;
use crate::refusal::Refusal;
use http::Response;
use serde::Deserialize;
use twinroute_listen::Body;
use twinroute_model::name::EndpointName;
use twinroute_router::Router;

/// What a purge has to say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PurgeRequest {
    /// The endpoint's name once more.
    confirm: String,
    /// Dead letters that are kept here too.
    dead_letters: bool,
}

/// What the other steps may say: nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

/// Takes the step; answers with the endpoint's status after it, a purge with what it gave up.
pub(crate) fn steer(
    router: &Router,
    (instance, endpoint): (&str, &str),
    step: Step,
    body: &[u8],
    pretty: bool,
) -> Result<Response<Body>, Refusal> {
    let Some(handle) = router.endpoint(Some(instance), endpoint) else {
        let name = format!("{instance}/{endpoint}");
        return Err(Refusal::unknown_endpoint(router, name));
    };
    if step == Step::Purge {
        let request: PurgeRequest = parse(body)?;
        let confirmed = EndpointName::new(&request.confirm);
        let (Ok(confirmed), Ok(name)) = (confirmed, EndpointName::new(endpoint)) else {
            return Err(unconfirmed(endpoint));
        };
        if confirmed != name {
            return Err(unconfirmed(endpoint));
        }
        return Ok(answer::json(&handle.purge(request.dead_letters), pretty));
    }
    let Nothing {} = parse(body)?;
    match step {
        Step::Pause => handle.pause(),
        Step::Resume => handle.resume(),
        Step::RetryNow | Step::Purge => handle.retry_now(),
    }
    let status = router.status();
    let instances = status.instances.iter();
    let endpoints = instances
        .filter(|known| known.name.eq_ignore_ascii_case(instance))
        .flat_map(|known| &known.endpoints);
    match endpoints
        .into_iter()
        .find(|known| known.name.eq_ignore_ascii_case(endpoint))
    {
        Some(status) => Ok(answer::json(status, pretty)),
        // It was removed in this moment.
        None => {
            let name = format!("{instance}/{endpoint}");
            Err(Refusal::unknown_endpoint(router, name))
        }
    }
}

fn unconfirmed(endpoint: &str) -> Refusal {
    Refusal::Unconfirmed {
        endpoint: endpoint.to_owned(),
    }
}

/// Reads a body; an empty one says nothing.
pub(crate) fn parse<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(Refusal::InvalidBody)
}
