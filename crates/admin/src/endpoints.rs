//! Controlling an endpoint.

use crate::answer;
use crate::place::EndpointAction;
use crate::refusal::AdminRefusal;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use twinroute_listen::ServerBody;
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
struct EmptyBody {}

/// A step that can be taken.
pub(crate) enum EndpointStep {
    Pause,
    Resume,
    RetryNow,
    Purge { dead_letters: bool },
}

impl EndpointStep {
    /// Reads what is asked for.
    pub(crate) fn read(
        router: &Router,
        (instance, endpoint): (&str, &str),
        step: EndpointAction,
        body: &[u8],
    ) -> Result<Self, AdminRefusal> {
        if router.endpoint(Some(instance), endpoint).is_none() {
            let name = format!("{instance}/{endpoint}");
            return Err(AdminRefusal::unknown_endpoint(router, name));
        }
        if step == EndpointAction::Purge {
            let request: PurgeRequest = parse(body)?;
            let confirmed = EndpointName::new(&request.confirm);
            let (Ok(confirmed), Ok(name)) = (confirmed, EndpointName::new(endpoint)) else {
                return Err(unconfirmed(endpoint));
            };
            if confirmed != name {
                return Err(unconfirmed(endpoint));
            }
            let dead_letters = request.dead_letters;
            return Ok(Self::Purge { dead_letters });
        }
        let EmptyBody {} = parse(body)?;
        Ok(match step {
            EndpointAction::Pause => Self::Pause,
            EndpointAction::Resume => Self::Resume,
            EndpointAction::RetryNow | EndpointAction::Purge => Self::RetryNow,
        })
    }

    /// What the audit log says of it beside its name.
    pub(crate) fn recorded_body(&self) -> Option<Value> {
        match self {
            Self::Purge { dead_letters } => Some(json!({ "dead_letters": dead_letters })),
            Self::Pause | Self::Resume | Self::RetryNow => None,
        }
    }
}

/// Takes the step; answers with the endpoint's status after it, a purge with what it discarded.
pub(crate) fn steer(
    router: &Router,
    (instance, endpoint): (&str, &str),
    steer: &EndpointStep,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let Some(handle) = router.endpoint(Some(instance), endpoint) else {
        let name = format!("{instance}/{endpoint}");
        return Err(AdminRefusal::unknown_endpoint(router, name));
    };
    match steer {
        EndpointStep::Pause => handle.pause(),
        EndpointStep::Resume => handle.resume(),
        EndpointStep::RetryNow => handle.retry_now(),
        EndpointStep::Purge { dead_letters } => {
            return Ok(answer::json(&handle.purge(*dead_letters), pretty));
        }
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
            Err(AdminRefusal::unknown_endpoint(router, name))
        }
    }
}

fn unconfirmed(endpoint: &str) -> AdminRefusal {
    AdminRefusal::Unconfirmed {
        endpoint: endpoint.to_owned(),
    }
}

/// Reads a body; an empty one says nothing.
pub(crate) fn parse<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, AdminRefusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(AdminRefusal::InvalidBody)
}
