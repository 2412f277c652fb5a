//! What is asked of the process over its admin API.

use super::content::{Read, hash};
use super::daemon::PATIENCE;
use super::history::{Endpoint, Ledger, Letter, Place};
use super::wire::Connection;
use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::net::SocketAddr;
use tokio::time::timeout;
use twinroute_model::clock::Timestamp;

/// Dead letters on a page of the listing.
const PAGE: u64 = 500;

/// Asks `/status` for the counts of every endpoint.
///
/// # Errors
/// The process does not answer, or an endpoint is not in the answer.
pub(super) async fn ledgers(admin: SocketAddr) -> anyhow::Result<[Ledger; 3]> {
    let body = get(admin, "/status").await?;
    let status: Value = serde_json::from_slice(&body)?;
    let reported = status["instances"][0]["endpoints"].as_array();
    let reported = reported.context("/status names no endpoints")?;
    let mut ledgers = [Ledger::default(); Endpoint::ALL.len()];
    for (ledger, endpoint) in ledgers.iter_mut().zip(Endpoint::ALL) {
        let mut all = reported.iter();
        let found = all.find(|one| one["name"] == endpoint.name());
        let found = found.with_context(|| format!("/status lacks {}", endpoint.name()))?;
        *ledger = serde_json::from_value(found.clone())?;
    }
    Ok(ledgers)
}

/// How a replay goes.
#[derive(Debug, Deserialize)]
pub(super) struct Replay {
    pub(super) number: u64,
    pub(super) state: String,
    pub(super) replayed: u64,
    pub(super) delivered: u64,
}

impl Replay {
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.state.as_str(), "running" | "waiting")
    }
}

/// All replays that the process knows.
///
/// # Errors
/// The process does not answer, or with something else.
pub(super) async fn replays(admin: SocketAddr) -> anyhow::Result<Vec<Replay>> {
    #[derive(Deserialize)]
    struct Replays {
        replays: Vec<Replay>,
    }
    let body = Conversation::open(admin).await?.get("/replays").await?;
    let all: Replays = serde_json::from_slice(&body)?;
    Ok(all.replays)
}

/// Begins to replay what is kept for an endpoint; nothing when enough of them are under way.
///
/// # Errors
/// The process does not answer, or refuses.
pub(super) async fn replay(
    admin: SocketAddr,
    endpoint: Endpoint,
    per_second: u32,
    most: u64,
) -> anyhow::Result<Option<u64>> {
    let body = serde_json::json!({
        "query": { "endpoint": endpoint.name() }, "per_second": per_second, "most": most,
    });
    let body = body.to_string();
    let request = format!(
        "POST /replays HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut conversation = Conversation::open(admin).await?;
    let (status, body) = conversation.exchange(request).await?;
    match status {
        202 => {
            let replay: Replay = serde_json::from_slice(&body)?;
            Ok(Some(replay.number))
        }
        409 => Ok(None),
        status => bail!(
            "a replay is answered with {status}: {}",
            String::from_utf8_lossy(&body)
        ),
    }
}

/// Every dead letter that the process keeps, with what its event is.
///
/// # Errors
/// The process does not answer, or what it says makes no sense.
pub(super) async fn kept(admin: SocketAddr) -> anyhow::Result<Vec<Letter>> {
    #[derive(Deserialize)]
    struct Page {
        dead_letters: Vec<View>,
        next: String,
    }
    #[derive(Deserialize)]
    struct View {
        instance: String,
        endpoint: String,
        sequence: u64,
        died_at: String,
    }
    #[derive(Deserialize)]
    struct One<'a> {
        #[serde(borrow)]
        event: &'a RawValue,
    }
    let mut conversation = Conversation::open(admin).await?;
    let mut letters = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/dead-letters?most={PAGE}{after}");
        let page = conversation.get(&path).await?;
        let page: Page = serde_json::from_slice(&page)?;
        for view in page.dead_letters {
            let mut all = Endpoint::ALL.into_iter();
            let endpoint = all.find(|endpoint| endpoint.name() == view.endpoint);
            let endpoint = endpoint.with_context(|| format!("no endpoint {}", view.endpoint))?;
            let path = format!(
                "/dead-letters/{}/{}/{}",
                view.instance, view.endpoint, view.sequence
            );
            let one = conversation.get(&path).await?;
            let one: One<'_> = serde_json::from_slice(&one)?;
            let read = Read::json(one.event.get());
            let at = Timestamp::parse_rfc3339(&view.died_at);
            letters.push(Letter {
                endpoint,
                place: Place::Kept(view.sequence),
                id: read.id,
                content: read.content,
                json: hash(one.event.get().as_bytes()),
                at: at.with_context(|| format!("{:?} is no time", view.died_at))?,
            });
        }
        if page.next.is_empty() {
            return Ok(letters);
        }
        after = format!("&after={}", page.next);
    }
}

/// Asks once.
///
/// # Errors
/// The process does not answer, or not with 200.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    Conversation::open(admin).await?.get(path).await
}

/// Requests over one connection.
struct Conversation(Connection);

impl Conversation {
    async fn open(admin: SocketAddr) -> anyhow::Result<Self> {
        let opened = timeout(PATIENCE, Connection::open(admin)).await;
        Ok(Self(opened.context("no connection in time")??))
    }

    async fn exchange(&mut self, request: String) -> anyhow::Result<(u16, Vec<u8>)> {
        let answered = timeout(PATIENCE, self.0.exchange(request.as_bytes())).await;
        Ok(answered.context("no answer in time")??)
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let (status, body) = self.exchange(request).await?;
        let answer = String::from_utf8_lossy(&body);
        ensure!(status == 200, "{path} answers {status}: {answer}");
        Ok(body)
    }
}
