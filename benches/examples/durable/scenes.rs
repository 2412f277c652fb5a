//! What is measured.

use crate::BenchError;
use crate::daemon::{BenchDaemon, BenchReceiver, DaemonFolder};
use crate::post::{self, PostPlan};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// More than wait at a time when posts are due by the clock.
const CONNECTIONS_AT_RATE: usize = 128;
const RATE: u64 = 2_000;
const RATE_SECONDS: u64 = 15;
/// Longer than an endpoint that was unavailable needs to be tried again and to get what waited.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of three is not well.
pub(crate) async fn trouble(place: &DaemonFolder) -> Result<(), BenchError> {
    println!(
        "third     acked   CPU %   ack p50 p99 ms   got by each                 p50 (p99) ms at \
         each, /status p99 ms"
    );
    for mode in ["ok", "refuse", "503", "hang", "slow", "ok"] {
        disturbed(place, 3, mode).await?;
    }
    Ok(())
}

async fn disturbed(place: &DaemonFolder, endpoints: usize, mode: &str) -> Result<(), BenchError> {
    let mut receiver = BenchReceiver::start(place, endpoints).await?;
    let daemon = BenchDaemon::start(place, &receiver.addresses).await?;
    if mode != "ok" {
        receiver.tell(endpoints - 1, mode).await?;
    }
    let events = RATE * RATE_SECONDS;
    let posts = PostPlan {
        connections: CONNECTIONS_AT_RATE,
        events,
        batch: 1,
    };
    let before = daemon.cpu()?;
    let posted = post::at_rate(&daemon.ingress, posts, RATE).await?;
    let cpu = daemon.cpu()? - before;
    let well: Vec<usize> = (0..endpoints)
        .filter(|socket| mode == "ok" || socket + 1 < endpoints)
        .collect();
    let got = receiver.all(&well, posted.acknowledged, PATIENCE).await?;
    let latency = daemon.status("latency_p99_ms").await?;
    let counts: Vec<String> = got.iter().map(|got| got.unique.to_string()).collect();
    let times = got
        .iter()
        .map(|got| format!("{:.1} ({:.1})", got.p50_ms, got.p99_ms));
    println!(
        "{mode:7} {:7} {:7.1}   {:7.2} {:6.2}   {:25}   {}, {latency:.1?}",
        posted.acknowledged,
        cpu * 100.0 / posted.seconds,
        posted.p50_ms,
        posted.p99_ms,
        counts.join(" "),
        times.collect::<Vec<_>>().join(" "),
    );
    if mode != "ok" {
        let begun = Instant::now();
        receiver.tell(endpoints - 1, "ok").await?;
        let all: Vec<usize> = (0..endpoints).collect();
        let got = receiver.all(&all, posted.acknowledged, PATIENCE).await?;
        let last = got[endpoints - 1];
        println!(
            "        when it is well: {} of {} after {:.1} s, repeated {}; refused requests {}",
            last.unique,
            posted.acknowledged,
            begun.elapsed().as_secs_f64(),
            last.repeated,
            posted.refused,
        );
    }
    daemon.stop().await
}

/// A thousand endpoints that refuse, each with events that wait.
pub(crate) async fn down(place: &DaemonFolder) -> Result<(), BenchError> {
    const ENDPOINTS: usize = 1_000;
    const EVENTS: u64 = 20;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = nobody.local_addr()?.to_string();
    drop(nobody);
    let daemon = BenchDaemon::start(place, &vec![address; ENDPOINTS]).await?;
    let (idle, _) = daemon.memory()?;
    let posts = PostPlan {
        connections: 1,
        events: EVENTS,
        batch: 1,
    };
    post::flat_out(&daemon.ingress, posts).await?;
    for minute in 1..=3 {
        let before = daemon.cpu()?;
        sleep(Duration::from_secs(60)).await;
        let cpu = daemon.cpu()? - before;
        let queued: f64 = daemon.status("queued").await?.iter().sum();
        let (rss, rss_max) = daemon.memory()?;
        println!(
            "minute {minute}: {:.2} % of a core; {queued} of {} queued; \
             RSS {idle} MiB before, {rss} now, {rss_max} at most",
            cpu * 100.0 / 60.0,
            ENDPOINTS as u64 * EVENTS,
        );
    }
    daemon.stop().await
}
