//! A sink of the program's own that says what became of each delivery, checked by the kit before it is used.
//!
//! ```console
//! $ cargo run -p twinroute --example own_sink
//! ```

use std::path::Path;
use twinroute::prelude::*;
use twinroute::settings::EndpointSettings;
use twinroute::testing::{SinkCheck, SinkFailures};

/// Bytes of a page.
const PAGE_BYTES_MAX: usize = 64 << 10;

/// Writes each event into a file of its own; an event that fits no page is refused alone.
pub(crate) struct PageFolder(PathBuf);

impl Sink for PageFolder {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        tokio::fs::create_dir_all(&self.0).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for delivery in batch {
            outcomes.push(self.write(delivery).await?);
        }
        Ok(outcomes.into())
    }

    /// One event more, and a crash would repeat it.
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 20,
            ..BatchLimits::default()
        }
    }
}

impl PageFolder {
    /// An I/O error says that no page can be written just now: all of the batch waits.
    async fn write(&self, delivery: &Delivery) -> Result<DeliveryOutcome, SendError> {
        let page = delivery.event.to_json();
        if page.len() > PAGE_BYTES_MAX {
            return Ok(DeliveryOutcome::reject("it fits no page"));
        }
        // Ids may hold what no file name may.
        let id: String = delivery
            .event
            .id()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("{:020}-{id}.json", delivery.sequence);
        let mut file = File::create(self.0.join(name)).await?;
        file.write_all(&page).await?;
        file.sync_data().await?;
        Ok(DeliveryOutcome::Delivered)
    }
}

/// All pages, in the order of acceptance.
fn pages(folder: &Path) -> Vec<Event> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    let pages = paths.iter().filter_map(|path| std::fs::read(path).ok());
    pages
        .filter_map(|page| Event::from_json(page).ok())
        .collect()
}

fn event(id: &str, payload: &str) -> Result<Event, twinroute::Error> {
    let builder = Event::builder().id(id).source("press-7").event_type("t");
    Ok(builder.json(format_args!("\"{payload}\"")).build()?)
}

/// Whether the sink does what a router relies on.
pub(crate) async fn check(folder: &Path) -> Result<Vec<&'static str>, SinkFailures> {
    let refused = event("refused", &"x".repeat(PAGE_BYTES_MAX)).expect("it is legal");
    let check = SinkCheck::default().refused(refused).events(30);
    let report = check
        .run(|| PageFolder(folder.to_owned()), async || pages(folder))
        .await?;
    Ok(report.passed)
}

/// Delivers two events, of which one becomes a dead letter; gives what was written.
pub(crate) async fn route(folder: &Path) -> Result<Vec<Event>, twinroute::Error> {
    let quickly =
        |settings: &mut EndpointSettings| settings.attempt_timeout = Duration::from_secs(2);
    let router = Router::builder()
        .sink(
            "pages",
            SinkSetup::new(PageFolder(folder.to_owned())).settings(quickly),
        )
        .route("all", "pages", "true")
        .start()
        .await?;
    let large = event("2", &"x".repeat(PAGE_BYTES_MAX))?;
    router.accept_batch([event("1", "fine")?, large]).await?;
    router.settled().await;
    for letter in router.dead_letters().endpoint("pages").await?.dead_letters {
        println!("event {} is a dead letter: {}", letter.id, letter.outcome);
    }
    router.stop(Duration::from_secs(5)).await;
    Ok(pages(folder))
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("twinroute-own-sink");
    println!(
        "passed: {}",
        check(&folder.join("checked")).await?.join(", ")
    );
    let written = route(&folder.join("pages")).await?;
    println!("{} pages", written.len());
    Ok(())
}
