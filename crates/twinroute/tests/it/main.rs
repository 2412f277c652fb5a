//! The library as a program uses it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod accepting;
mod definitions;
mod dependencies;
mod documented;
mod examples;
mod history;
mod journal;
mod kit;
mod layers;
mod metrics;
#[cfg(feature = "ingress")]
mod mounted;
mod own_kinds;
mod sinks;
mod steering;

use std::sync::{Arc, Mutex};
use twinroute::prelude::*;

/// Keeps the ids of what it is given.
#[derive(Clone, Default)]
struct CollectingSink(Arc<Mutex<Vec<String>>>);

impl CollectingSink {
    fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for CollectingSink {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        let ids = batch.iter().map(|one| one.event.id().to_owned());
        self.0.lock().unwrap().extend(ids);
        Ok(SendOutcome::all_delivered())
    }
}

/// A sink that takes nothing.
fn closed() -> impl Sink {
    sink_fn(|_| async { Err(std::io::Error::other("closed").into()) })
}

fn event(id: usize) -> Event {
    let builder = Event::builder().id(&id.to_string()).source("press-7");
    builder.event_type("t").subject("room1").build().unwrap()
}

/// Waits for what comes by itself.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come");
}
