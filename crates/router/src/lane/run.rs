//! The lane's loop: does what the state decides, and nothing of its own.

use super::Lane;
use super::state::{Flight, Step};
use crate::sink::{EndpointFault, FaultKind, Outcome, Reason};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Starts the loop. It ends when the lane was retired and is empty.
pub(crate) fn spawn(lane: Arc<Lane>) -> JoinHandle<()> {
    tokio::spawn(run(lane))
}

async fn run(lane: Arc<Lane>) {
    let mut flights: FuturesUnordered<BoxFuture<'static, (Flight, Vec<Outcome>)>> =
        FuturesUnordered::new();
    loop {
        let step = lane.lock().step(Instant::now());
        let until = match step {
            Step::Send(flight) => {
                flights.push(send(flight).boxed());
                continue;
            }
            Step::Wait(until) => until,
            Step::End => break,
        };
        tokio::select! {
            Some((flight, outcomes)) = flights.next() => {
                lane.lock().finish(flight, outcomes, Instant::now());
                lane.settled.notify_waiters();
            }
            () = lane.wake.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }
    lane.settled.notify_waiters();
}

/// Sends a batch. A sink that panics or never ends counts as an endpoint that cannot be reached, so that
/// no delivery is left without an outcome.
async fn send(flight: Flight) -> (Flight, Vec<Outcome>) {
    let sending = AssertUnwindSafe(flight.sink.send(&flight.deliveries)).catch_unwind();
    let outcomes = match timeout(flight.deadline, sending).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(_panic)) => unavailable(&flight, "sink-panicked", "the sink panicked"),
        Err(_) => unavailable(&flight, "sink-timeout", "the sink did not end in time"),
    };
    (flight, outcomes)
}

fn unavailable(flight: &Flight, code: &'static str, detail: &str) -> Vec<Outcome> {
    let fault = EndpointFault {
        kind: FaultKind::Unreachable,
        after: None,
        reason: Reason::new(code, detail),
    };
    vec![Outcome::Unavailable(fault); flight.deliveries.len()]
}
