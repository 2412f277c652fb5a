//! How much memory peers cost that mean harm: the most that was allocated beyond rest, for each of them.
//!
//! One test runs all, one after the other, since the allocator counts for the whole process. The servers are in
//! the process too; they send what they have in statics.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code; the marks are its result"
)]

mod bodies;
mod connections;
mod containers;
mod definitions;
mod hostile;
mod logins;
mod topics;

use peak_alloc::PeakAlloc;
use std::time::Duration;
use twinroute_outgoing::OutgoingConnections;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What one peer may cost, however many requests are under way.
const COST_BYTES_MAX: usize = 8 << 20;

/// Requests that are under way at a time.
const REQUESTS: usize = 10;

/// How long an attack is watched: what has not ended by then waits for its deadline, and takes no more.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Runs an attack and prints what it cost.
async fn cost(name: &str, bytes_max: usize, attack: impl Future<Output = ()>) {
    let rest = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    drop(tokio::time::timeout(TIME_MAX, attack).await);
    let cost = ALLOCATED.peak_usage().saturating_sub(rest);
    println!("{:>8} KiB  {name}", cost >> 10);
    assert!(cost < bytes_max, "{name}: {cost} bytes");
}

/// Makes `request` as often as they are under way at a time.
async fn together<F: Future<Output = ()> + Send + 'static>(request: impl Fn(usize) -> F) {
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        requests.spawn(request(number));
    }
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
}

/// Trusts nobody, so that no store of certificates is read.
fn outgoing() -> OutgoingConnections {
    let tls = rustls::ClientConfig::builder_with_provider(twinroute_outgoing::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    OutgoingConnections::direct(std::sync::Arc::new(tls))
}

#[test]
fn no_hostile_peer_costs_more_than_8_mib_beyond_rest() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        containers::attack().await;
        topics::attack().await;
        logins::attack().await;
        definitions::attack().await;
        bodies::attack().await;
        connections::attack().await;
    });
    runtime.shutdown_background();
}
