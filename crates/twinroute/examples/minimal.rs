//! A router in twenty lines: events that match a filter are appended to a file.
//!
//! ```console
//! $ cargo run -p twinroute --example minimal
//! ```

use std::path::Path;
use twinroute::prelude::*;

struct Lines(PathBuf);

impl Sink for Lines {
    async fn send(&self, batch: &[Delivery]) -> SendResult {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&self.0)
            .await?;
        for delivery in batch {
            file.write_all(&delivery.event.to_json_line()).await?;
        }
        file.sync_data().await?;
        Ok(SendOutcome::all_delivered())
    }
}

/// Routes the events of some JSON texts into `out.jsonl`.
pub(crate) async fn route(folder: &Path, texts: &[&'static str]) -> Result<(), twinroute::Error> {
    let router = Router::builder()
        .journal(folder.join("data"))
        .sink("archive", Lines(folder.join("out.jsonl")))
        .route("warm", "archive", "$body.temperature > 20")
        .map_event(|event| event.with_extension("site", "berlin"))
        .start()
        .await?;
    for text in texts {
        router.accept(Event::from_json(*text)?).await?;
    }
    router.stop(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), twinroute::Error> {
    let folder = std::env::temp_dir().join("twinroute-minimal");
    let warm =
        r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t","data":{"temperature":21}}"#;
    let cold =
        r#"{"specversion":"1.0","id":"2","source":"press-7","type":"t","data":{"temperature":19}}"#;
    route(&folder, &[warm, cold]).await?;
    println!("{}", std::fs::read_to_string(folder.join("out.jsonl"))?);
    Ok(())
}
