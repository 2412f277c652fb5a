//! What `/status` says of the endpoints while their keys change.

use super::ENDPOINTS;
use crate::crash::admin;
use crate::crash::daemon::PATIENCE;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is asked.
const GLANCE: Duration = Duration::from_millis(10);

/// One endpoint, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) since: String,
    pub(super) credentials: Vec<Credential>,
    pub(super) matched: u64,
    pub(super) queued: u64,
    pub(super) in_flight: u64,
    pub(super) retrying: u64,
    pub(super) delivered: u64,
    pub(super) discarded: u64,
    pub(super) dead_letters: DeadLetters,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Credential {
    slot: String,
    active: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct DeadLetters {
    uploaded: u64,
    awaiting_upload: u64,
    local: u64,
    replayed: u64,
}

impl Endpoint {
    pub(super) fn pending(&self) -> u64 {
        self.queued + self.in_flight + self.retrying
    }

    pub(super) fn dead(&self) -> u64 {
        let dead = &self.dead_letters;
        dead.uploaded + dead.awaiting_upload + dead.local + dead.replayed
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state == "healthy"
    }

    pub(super) fn is_refused(&self) -> bool {
        self.state == "unauthorized" && !self.since.is_empty()
    }

    pub(super) fn uses(&self, slot: &str) -> bool {
        let mut active = self.credentials.iter().filter(|one| one.active);
        active.next().is_some_and(|one| one.slot == slot)
    }
}

/// A snapshot.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    table: Table,
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Table {
    generation: u64,
}

#[derive(Debug, Deserialize)]
struct Instance {
    endpoints: Vec<Endpoint>,
}

impl Status {
    pub(super) fn generation(&self) -> u64 {
        self.table.generation
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        let first = self.instances.first();
        first.map_or(&[], |instance| &instance.endpoints)
    }

    pub(super) fn all(&self, is: impl Fn(&Endpoint) -> bool) -> bool {
        let endpoints = self.endpoints();
        endpoints.len() == ENDPOINTS.len() && endpoints.iter().all(is)
    }
}

pub(super) async fn status(address: SocketAddr) -> anyhow::Result<Status> {
    let body = admin::get(address, "/status").await?;
    serde_json::from_slice(&body).context("/status")
}

/// Waits until `/status` is as wanted; gives how long that took.
pub(super) async fn until(
    address: SocketAddr,
    what: &str,
    is: impl Fn(&Status) -> bool,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        let status = status(address).await?;
        if is(&status) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > PATIENCE {
            bail!("not in time: {what}: {status:#?}");
        }
        tokio::time::sleep(GLANCE).await;
    }
}
