//! Definitions from a source of the program's own: a table that the program keeps, followed as it changes.
//!
//! ```console
//! $ cargo run -p twinroute --example own_source
//! ```

use std::collections::BTreeMap;
use tokio::sync::{Mutex, watch};
use twinroute::Source;
use twinroute::definitions::{DefinitionFault, DefinitionFaults, Definitions, Route};
use twinroute::name::{EndpointName, InstanceName, RouteId};
use twinroute::prelude::*;

/// Who wants which events: a filter by the name of a route.
pub(crate) type Wishes = BTreeMap<String, String>;

/// Makes a route to `archive` of each wish.
struct WishSource(Mutex<watch::Receiver<Wishes>>);

fn fault(object: &str, reason: impl ToString) -> DefinitionFaults {
    DefinitionFaults(vec![DefinitionFault::new(object, reason.to_string())])
}

impl Source for WishSource {
    async fn read(&self) -> Result<Definitions, DefinitionFaults> {
        let mut definitions = Definitions::default();
        let default = InstanceName::new("default").map_err(|error| fault("instance", error))?;
        let archive = EndpointName::new("archive").map_err(|error| fault("endpoint", error))?;
        for (name, filter) in &*self.0.lock().await.borrow_and_update() {
            definitions.instance_mut(&default).routes.push(Route {
                id: RouteId::new(name).map_err(|error| fault(name, error))?,
                endpoint_name: archive.clone(),
                filter: filter.clone(),
            });
        }
        Ok(definitions)
    }

    async fn changed(&self) {
        // What came since the last read counts as a change, since only that marks it as seen.
        if self.0.lock().await.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// A router whose routes are the wishes, as they change.
pub(crate) async fn follow(
    sink: impl Sink,
    wishes: watch::Receiver<Wishes>,
) -> Result<(Router, twinroute::definitions::FollowedSource), twinroute::Error> {
    let router = Router::builder().sink("archive", sink).start().await?;
    let followed = router.follow(WishSource(Mutex::new(wishes))).await?;
    Ok((router, followed))
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs the rest")]
async fn main() -> Result<(), twinroute::Error> {
    let (wishes, changes) = watch::channel(Wishes::new());
    let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
    let (router, _followed) = follow(sink, changes).await?;
    wishes.send_modify(|all| {
        all.insert("warm".to_owned(), "$body.temperature > 20".to_owned());
    });
    while router
        .definitions()
        .instances
        .iter()
        .all(|one| one.routes.is_empty())
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("generation {} is in use", router.status().table.generation);
    Ok(())
}
