//! A sink that comes later gets what was delivered before: the history goes out once more, to it alone.
//!
//! ```console
//! $ cargo run -p twinroute --example replay_history
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex};
use twinroute::prelude::*;

/// Keeps the ids of what it is given.
#[derive(Clone, Default)]
struct ShelfSink(Arc<Mutex<Vec<String>>>);

impl Sink for ShelfSink {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        let ids = batch.iter().map(|delivery| delivery.event.id().to_owned());
        self.0.lock().expect("no panic").extend(ids);
        Ok(SendOutcome::all_delivered())
    }
}

fn event(id: &str) -> Result<Event, twinroute::Error> {
    Ok(Event::builder()
        .id(id)
        .source("press-7")
        .event_type("t")
        .build()?)
}

/// Delivers three events to one sink, and then to another one that was added after them; gives what that one got.
pub(crate) async fn catch_up(folder: &Path) -> Result<Vec<String>, twinroute::Error> {
    let (archive, late) = (ShelfSink::default(), ShelfSink::default());
    let router = Router::builder()
        .journal(JournalOptions::new(folder).keep_bytes(64 << 20))
        .sink("archive", archive)
        .route("all", "archive", "true")
        .start()
        .await?;
    for id in ["1", "2", "3"] {
        router.accept(event(id)?).ack(AckLevel::Delivered).await?;
    }
    router.add_sink("late", late.clone()).await?;
    let replay = router.replay_history().to("late").await?;
    println!("{} events went out once more", replay.replayed);
    router.stop(Duration::from_secs(5)).await;
    let ids = late.0.lock().expect("no panic").clone();
    Ok(ids)
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), twinroute::Error> {
    let folder = std::env::temp_dir().join("twinroute-replay-history");
    println!("arrived: {}", catch_up(&folder).await?.join(", "));
    Ok(())
}
