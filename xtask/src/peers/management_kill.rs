//! A router is killed over and over while resources are put. Afterwards each is as it was before a request or as
//! after it, never something between, and whatever was answered for is there.

use super::PeerStage;
use super::managed::{DestinationChecks, INSTANCE, ManagedRouter, with_token};
use super::management::{await_state, is_whole};
use crate::http::{self, HttpRequest};
use crate::process;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const KILLS: u64 = 6;
const WRITERS: u64 = 4;

/// Endpoints and routes of a writer that it changes in turn.
const ENDPOINTS: u64 = 3;
const ROUTES: u64 = 4;

const SETTLE_MAX: Duration = Duration::from_secs(20);

const GROUP: &str = "/subscriptions/5b8f0b1e-6a53-4c51-8f0e-2f0d5d9f3a11/resourceGroups/killed/providers/\
                     Microsoft.DigitalTwins/digitalTwinsInstances";
const VERSION: &str = "api-version=2023-01-31";

/// Nothing there, or the number that its last change wrote.
type ResourceState = Option<u64>;

/// What may be found of a resource.
#[derive(Clone, Copy, Debug, Default)]
struct KnownStates {
    answered: ResourceState,
    /// Sent, and cut off before an answer came.
    open: Option<ResourceState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum KilledResource {
    Instance,
    Endpoint(u64),
    Route(u64),
}

/// One client with resources of its own.
struct ResourceWriter {
    instance: String,
    /// Counts changes; each writes its number twice.
    number: u64,
    answers: u64,
    known: BTreeMap<KilledResource, KnownStates>,
}

/// The check.
pub(super) fn kill(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let mut router = ManagedRouter::start(stage, DestinationChecks::Definitions)?;
    let mut writers: Vec<ResourceWriter> = (0..WRITERS).map(ResourceWriter::new).collect();
    for writer in &mut writers {
        writer.begin(&router)?;
    }
    for round in 1..=KILLS {
        let address = router.plain();
        std::thread::scope(|scope| {
            let writing: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(move || writer.write(address)))
                .collect();
            process::pause(Duration::from_millis(100 + 130 * round));
            router.process.kill()?;
            for writer in writing {
                match writer.join() {
                    Ok(ended) => ended?,
                    Err(_) => bail!("a writer panicked"),
                }
            }
            Ok(())
        })?;
        router = router.restart(stage, &format!("router-{round}"))?;
        for writer in &mut writers {
            let name = writer.instance.clone();
            let judged = writer.judge(&router);
            judged.with_context(|| format!("instance {name} after kill {round}"))?;
        }
    }
    let answers: u64 = writers.iter().map(|writer| writer.answers).sum();
    println!("  {answers} changes answered over {KILLS} kills, all accounted for");
    ensure!(answers > KILLS * WRITERS * 10, "too few to judge by");
    Ok(())
}

impl ResourceWriter {
    fn new(number: u64) -> Self {
        Self {
            instance: if number == 0 {
                INSTANCE.to_owned()
            } else {
                format!("killed-{number}")
            },
            number: 0,
            answers: 0,
            known: BTreeMap::new(),
        }
    }

    /// The instance, and an endpoint that never changes, for the routes.
    fn begin(&mut self, router: &ManagedRouter) -> anyhow::Result<()> {
        let instance = self.target(KilledResource::Instance);
        let settled = format!("{GROUP}/{}/endpoints/settled?{VERSION}", self.instance);
        for (target, body) in [
            (instance, json!({ "location": "westus2", "tags": tags(0) })),
            (settled, endpoint(0)),
        ] {
            let answer = router.ask(&HttpRequest::put(&target, body))?;
            ensure!(
                answer.status == 201,
                "{target}: {} {}",
                answer.status,
                answer.text
            );
            await_state(router, &target)?;
        }
        let answered = Some(0);
        self.known.insert(
            KilledResource::Instance,
            KnownStates {
                answered,
                open: None,
            },
        );
        Ok(())
    }

    fn target(&self, resource: KilledResource) -> String {
        let name = &self.instance;
        match resource {
            KilledResource::Instance => format!("{GROUP}/{name}?{VERSION}"),
            KilledResource::Endpoint(of) => format!("{GROUP}/{name}/endpoints/hub-{of}?{VERSION}"),
            KilledResource::Route(of) => {
                format!("/instances/{name}/eventroutes/route-{of}?api-version=2023-10-31")
            }
        }
    }

    /// Changes one resource after the other until the router is gone.
    fn write(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        loop {
            self.number += 1;
            let number = self.number;
            let (resource, deletes) = match number % 5 {
                0 => (KilledResource::Instance, false),
                1 | 2 => (
                    KilledResource::Endpoint(number % ENDPOINTS),
                    number.is_multiple_of(4),
                ),
                _ => (
                    KilledResource::Route(number % ROUTES),
                    number.is_multiple_of(3),
                ),
            };
            let target = self.target(resource);
            let state = (!deletes).then_some(number);
            let request = match (resource, deletes) {
                (_, true) => HttpRequest {
                    method: "DELETE".to_owned(),
                    target,
                    ..HttpRequest::default()
                },
                (KilledResource::Instance, _) => HttpRequest {
                    method: "PATCH".to_owned(),
                    target,
                    body: Some(json!({ "tags": tags(number) })),
                    ..HttpRequest::default()
                },
                (KilledResource::Endpoint(_), _) => HttpRequest::put(target, endpoint(number)),
                (KilledResource::Route(_), _) => HttpRequest::put(target, route(number)),
            };
            let known = self.known.entry(resource).or_default();
            known.open = Some(state);
            let Ok(answer) = http::ask(address, &with_token(request.clone())) else {
                return Ok(());
            };
            known.open = None;
            match answer.status {
                200 | 201 | 202 | 204 => {
                    known.answered = state;
                    self.answers += 1;
                }
                // Its last operation is not over yet; or a route that was not there.
                409 => {}
                404 if deletes => {}
                status => bail!(
                    "{} {}: {status} {}",
                    request.method,
                    request.target,
                    answer.text
                ),
            }
        }
    }

    /// Each resource must be as answered for, or as the request that was cut off would have it.
    fn judge(&mut self, router: &ManagedRouter) -> anyhow::Result<()> {
        let resources: Vec<KilledResource> = self.known.keys().copied().collect();
        for resource in resources {
            let target = self.target(resource);
            let found = settled(router, resource, &target)?;
            let known = &self.known[&resource];
            ensure!(
                found == known.answered || Some(found) == known.open,
                "{target} is {found:?}, known is {known:?}"
            );
            let known = KnownStates {
                answered: found,
                open: None,
            };
            self.known.insert(resource, known);
        }
        let present = self.known.iter().filter(|(resource, known)| {
            matches!(resource, KilledResource::Endpoint(_)) && known.answered.is_some()
        });
        let wanted = 1 + present.count();
        let list = format!("{GROUP}/{}/endpoints?{VERSION}", self.instance);
        let list = router.ask(&HttpRequest::get(list))?;
        let listed = list.body["value"].as_array().map_or(0, Vec::len);
        ensure!(
            listed == wanted,
            "{listed} endpoints are listed, not {wanted}: {}",
            list.text
        );
        Ok(())
    }
}

/// The state of a resource once no operation runs on it any more.
fn settled(
    router: &ManagedRouter,
    resource: KilledResource,
    target: &str,
) -> anyhow::Result<ResourceState> {
    let deadline = std::time::Instant::now() + SETTLE_MAX;
    let body = process::until("its operation ends", deadline, || {
        let answer = router.ask(&HttpRequest::get(target))?;
        match answer.status {
            200 => {}
            404 => return Ok(Some(Value::Null)),
            status => bail!("{target}: {status} {}", answer.text),
        }
        let state = answer.body["properties"]["provisioningState"].as_str();
        let ended = state.is_none_or(|state| state == "Succeeded");
        Ok(ended.then_some(answer.body))
    })
    .with_context(|| target.to_owned())?;
    if body.is_null() {
        return Ok(None);
    }
    number(resource, &body).map(Some)
}

/// The number that was written, which must stand in both places.
fn number(resource: KilledResource, body: &Value) -> anyhow::Result<u64> {
    let text = match resource {
        KilledResource::Instance => body["tags"]["number"].as_str(),
        KilledResource::Endpoint(_) => body["properties"]["entityPath"].as_str(),
        KilledResource::Route(_) => body["filter"].as_str(),
    };
    let digits = text.unwrap_or_default().rsplit(['-', ' ']).next();
    let number = digits.unwrap_or_default().parse();
    let number: u64 = number.with_context(|| format!("no number in {body}"))?;
    let wanted: Vec<(&str, String)> = match resource {
        KilledResource::Instance => vec![("/tags/again", number.to_string())],
        KilledResource::Endpoint(_) => vec![("/properties/deadLetterUri", letters(number))],
        KilledResource::Route(_) => vec![("/filter", filter(number))],
    };
    is_whole(body, &wanted)?;
    Ok(number)
}

fn tags(number: u64) -> Value {
    json!({ "number": number.to_string(), "again": number.to_string() })
}

fn endpoint(number: u64) -> Value {
    json!({ "properties": {
        "endpointType": "EventHub", "authenticationType": "IdentityBased",
        "endpointUri": "sb://contoso.servicebus.windows.net/", "entityPath": format!("hub-{number}"),
        "deadLetterUri": letters(number),
    } })
}

fn letters(number: u64) -> String {
    format!("https://contoso.blob.core.windows.net/letters-{number}")
}

fn route(number: u64) -> Value {
    json!({ "endpointName": "settled", "filter": filter(number) })
}

fn filter(number: u64) -> String {
    format!("$body.number = {number} AND $body.again = {number}")
}
