//! Producers that post one event after the other while keys change.

use crate::crash::daemon::PATIENCE;
use crate::crash::wire::Connection;
use anyhow::{Context as _, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How many there are. Each has twins of its own.
pub(super) const PRODUCERS: u32 = 4;

/// Twins of each.
pub(super) const TWINS: u32 = 5;

/// Producers at work.
pub(super) struct Load {
    tasks: JoinSet<anyhow::Result<u32>>,
    acknowledged: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Sets them to work; each waits for `pause` after an event.
    pub(super) fn start(address: SocketAddr, pause: Duration) -> Self {
        let (count, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for producer in 0..PRODUCERS {
            let (count, stopped) = (count.clone(), stopped.clone());
            tasks.spawn(async move { produce(address, producer, pause, &count, &stopped).await });
        }
        Self {
            tasks,
            acknowledged,
            stop,
        }
    }

    /// Events that were acknowledged so far.
    pub(super) fn count(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    /// Waits for so many more.
    pub(super) async fn more(&mut self, events: u64) -> anyhow::Result<()> {
        let goal = self.count() + events;
        let reached = self.acknowledged.wait_for(|count| *count >= goal);
        let reached = timeout(PATIENCE, reached).await;
        let reached = reached.with_context(|| format!("{events} events took too long"))?;
        drop(reached.context("the producers have ended")?);
        Ok(())
    }

    /// Ends them; gives how many events each has posted, all of them acknowledged.
    pub(super) async fn end(mut self) -> anyhow::Result<u64> {
        self.stop.send_replace(true);
        let mut all = 0;
        while let Some(ended) = self.tasks.join_next().await {
            all += u64::from(ended??);
        }
        ensure!(all == self.count(), "not all events were acknowledged");
        Ok(all)
    }
}

async fn produce(
    address: SocketAddr,
    producer: u32,
    pause: Duration,
    count: &watch::Sender<u64>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<u32> {
    let mut connection = Connection::open(address).await?;
    let mut number = 0;
    while !*stopped.borrow() {
        let request = request(producer, number);
        let answer = timeout(PATIENCE, connection.exchange(request.as_bytes())).await;
        match answer.context("a post got no answer in time")?? {
            (202, _) => {}
            (status, body) => bail!("a post got {status}: {}", String::from_utf8_lossy(&body)),
        }
        number += 1;
        count.send_modify(|count| *count += 1);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(number)
}

fn request(producer: u32, number: u32) -> String {
    let twin = number % TWINS;
    let event = format!(
        r#"{{"specversion":"1.0","id":"{producer}-{number}","source":"rotation.example","type":"t","subject":"twin-{producer}-{twin}","data":{{"n":{number}}}}}"#
    );
    format!(
        "POST /events HTTP/1.1\r\nhost: t\r\ncontent-type: application/cloudevents+json\r\n\
         content-length: {}\r\n\r\n{event}",
        event.len()
    )
}
