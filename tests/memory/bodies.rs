//! Producers whose bodies are gzip bombs.

use super::cost;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use std::io::Write as _;
use std::sync::Arc;
use tokio::task::JoinSet;
use twinroute_listen::{ContentEncoding, HttpLimits, inflate, read_body_within};

/// At a time.
const BOMBS: usize = 600;

/// What 600 tasks take beside what is counted.
const TASKS_BYTES_MAX: usize = 8 << 20;

pub(crate) async fn attack() {
    let limits = HttpLimits::default();
    // Inflates to exactly what a body may have, and to more.
    for (name, bytes) in [("that fit", 4 << 20), ("that do not fit", 64 << 20)] {
        let bomb = bomb(bytes);
        let name = format!(
            "producer: {BOMBS} gzip bombs {name} at a time, {} bytes each",
            bomb.len()
        );
        let bytes_max = limits.bodies_bytes_max.as_u64();
        let bytes_max = usize::try_from(bytes_max).unwrap() + TASKS_BYTES_MAX;
        cost(&name, bytes_max, inflate_all(&limits, &bomb)).await;
    }
}

fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let piece = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

async fn inflate_all(limits: &HttpLimits, bomb: &[u8]) {
    let budget = Arc::new(limits.budget());
    let mut requests = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(BOMBS));
    for _ in 0..BOMBS {
        let (budget, limits) = (Arc::clone(&budget), limits.clone());
        let body = Full::new(Bytes::from(bomb.to_vec()));
        let barrier = Arc::clone(&barrier);
        requests.spawn(async move {
            let mut hold = budget.hold();
            let bytes_max = limits.body_bytes();
            let read = read_body_within(body, bytes_max, limits.body_read_timeout, &mut hold);
            let Ok(read) = read.await else { return };
            barrier.wait().await;
            let inflated = inflate(ContentEncoding::Gzip, read, bytes_max, &mut hold).await;
            // Held as a request holds it while its events are read.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            drop(inflated);
        });
    }
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
}
