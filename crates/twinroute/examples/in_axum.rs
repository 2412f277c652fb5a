//! Events come in by the program's own axum server, beside what else it serves.
//!
//! ```console
//! $ cargo run -p twinroute --features ingress --example in_axum
//! $ curl -H 'aeg-sas-key: secret' -H 'content-type: application/cloudevents+json' localhost:3000/twinroute/events \
//!     -d '{"specversion":"1.0","id":"1","source":"press-7","type":"t","data":{"temperature":21}}'
//! ```

use axum::routing::get;
use twinroute::prelude::*;

/// The program's server: its own pages, and events below `/twinroute`.
pub(crate) fn app(router: &Router) -> Result<axum::Router, Box<dyn std::error::Error>> {
    let events = router.ingress().access_key("secret").service()?;
    let status = router.clone();
    let delivered = move || async move {
        let status = status.status();
        let endpoints = status
            .instances
            .iter()
            .flat_map(|instance| &instance.endpoints);
        endpoints
            .map(|endpoint| endpoint.delivered)
            .sum::<u64>()
            .to_string()
    };
    let app = axum::Router::new().route("/delivered", get(delivered));
    Ok(app.nest_service("/twinroute", events))
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let print = sink_fn(|batch: Vec<Delivery>| async move {
        for delivery in &batch {
            println!("{}", String::from_utf8_lossy(&delivery.event.to_json()));
        }
        Ok(SendOutcome::all_delivered())
    });
    let builder = Router::builder().sink("printer", print);
    let router = builder.route("all", "printer", "true").start().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(&router)?).await?;
    Ok(())
}
