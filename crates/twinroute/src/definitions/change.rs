//! Changes of definitions and of the program's own sinks while a router runs.

use super::{Definitions, Route};
use crate::name::{EndpointName, InstanceName, RouteId};
use crate::sink::{EndpointSink, SinkSetup};
use crate::{BuildError, Error};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::spawn_blocking;

/// The definitions in use; changes come one after the other.
#[derive(Default)]
pub(crate) struct DefinitionKeeper {
    /// Held while a change is applied.
    changing: Mutex<()>,
    current: Mutex<Arc<Definitions>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running router and the definitions that it has.
#[derive(Clone)]
pub(crate) struct TableHandle {
    pub(crate) router: twinroute_router::Router,
    pub(crate) keeper: Arc<DefinitionKeeper>,
}

/// Applies changed definitions; gives the generation in use afterwards.
type ApplyChange =
    Box<dyn FnOnce(&twinroute_router::Router, &Definitions) -> Result<u64, Error> + Send>;

impl DefinitionKeeper {
    pub(crate) fn new(definitions: Definitions) -> Self {
        Self {
            changing: Mutex::default(),
            current: Mutex::new(Arc::new(definitions)),
        }
    }

    pub(crate) fn current(&self) -> Arc<Definitions> {
        Arc::clone(&lock(&self.current))
    }

    /// Blocks for as long as the definitions are large.
    fn change(
        &self,
        router: &twinroute_router::Router,
        change: impl FnOnce(&mut Definitions) -> Result<(), Error>,
        apply: ApplyChange,
    ) -> Result<u64, Error> {
        let _turn = lock(&self.changing);
        let mut definitions = (*self.current()).clone();
        change(&mut definitions)?;
        let generation = apply(router, &definitions)?;
        *lock(&self.current) = Arc::new(definitions);
        Ok(generation)
    }
}

/// Changes definitions where blocking is allowed. Once this was polled, dropping it does not undo it.
async fn change_definitions(
    table: TableHandle,
    change: impl FnOnce(&mut Definitions) -> Result<(), Error> + Send + 'static,
    apply: ApplyChange,
) -> Result<u64, Error> {
    let changing = spawn_blocking(move || table.keeper.change(&table.router, change, apply));
    match changing
        .await
        .map_err(tokio::task::JoinError::try_into_panic)
    {
        Ok(changed) => changed,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ends, and with it whoever waits here.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Makes other definitions the table.
pub(crate) async fn apply(table: &TableHandle, definitions: Definitions) -> Result<u64, Error> {
    let change = move |current: &mut Definitions| {
        *current = definitions;
        Ok(())
    };
    change_definitions(table.clone(), change, plainly()).await
}

/// Applies definitions that no sink of the program's own comes or goes with.
fn plainly() -> ApplyChange {
    Box::new(|router, definitions| Ok(router.apply(definitions)?))
}

/// A route that is to be there, or not to be there any more; `.await` changes the table.
///
/// Gives the generation of the table in use afterwards. Once this was polled, dropping it does not undo it.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let router = Router::builder().sink("archive", sink).start().await?;
/// let generation = router.upsert_route("warm", "archive", "$body.temperature > 25").await?;
/// assert_eq!(router.definitions().instances[0].routes.len(), 1);
/// assert_eq!(router.remove_route("warm").await?, generation + 1);
/// assert!(router.remove_route("warm").await.is_err());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing changes before `.await`"]
pub struct DefinitionChange {
    table: TableHandle,
    instance: Option<String>,
    route: RouteWish,
}

enum RouteWish {
    Upsert {
        name: String,
        endpoint: String,
        filter: String,
    },
    Remove {
        name: String,
    },
}

impl DefinitionChange {
    pub(crate) fn upsert(table: &TableHandle, name: &str, endpoint: &str, filter: &str) -> Self {
        let route = RouteWish::Upsert {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            filter: filter.to_owned(),
        };
        Self::new(table, route)
    }

    pub(crate) fn remove(table: &TableHandle, name: &str) -> Self {
        let name = name.to_owned();
        Self::new(table, RouteWish::Remove { name })
    }

    fn new(table: &TableHandle, route: RouteWish) -> Self {
        Self {
            table: table.clone(),
            instance: None,
            route,
        }
    }

    /// Of an instance other than the default one.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into());
        self
    }

    async fn run(self) -> Result<u64, Error> {
        let instance = match &self.instance {
            None => self.table.router.default_instance().clone(),
            Some(name) => InstanceName::new(name).map_err(BuildError::Name)?,
        };
        let route = self.route;
        let change = move |definitions: &mut Definitions| route.change(definitions, &instance);
        change_definitions(self.table, change, plainly()).await
    }
}

impl RouteWish {
    fn change(self, definitions: &mut Definitions, instance: &InstanceName) -> Result<(), Error> {
        let routes = &mut definitions.instance_mut(instance).routes;
        match self {
            Self::Upsert {
                name,
                endpoint,
                filter,
            } => {
                let route = Route {
                    id: RouteId::new(&name).map_err(BuildError::Name)?,
                    endpoint_name: EndpointName::new(&endpoint).map_err(BuildError::Name)?,
                    filter,
                };
                match routes.iter_mut().find(|own| own.id == route.id) {
                    Some(own) => *own = route,
                    None => routes.push(route),
                }
                Ok(())
            }
            Self::Remove { name } => {
                let before = routes.len();
                routes.retain(|own| own.id.as_str() != name);
                if routes.len() == before {
                    return Err(Error::UnknownRoute {
                        instance: instance.to_string(),
                        route: name,
                    });
                }
                Ok(())
            }
        }
    }
}

impl IntoFuture for DefinitionChange {
    type Output = Result<u64, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Adds an endpoint of the program's own.
pub(crate) async fn add_sink(
    table: &TableHandle,
    name: &str,
    sink: SinkSetup,
) -> Result<u64, Error> {
    let EndpointSink {
        sink,
        settings,
        store,
    } = sink.into_parts();
    let name = name.to_owned();
    let apply: ApplyChange = Box::new(move |router, definitions| {
        Ok(router.add_sink(definitions, &name, (sink, store), settings)?)
    });
    change_definitions(table.clone(), |_| Ok(()), apply).await
}

pub(crate) async fn remove_sink(table: &TableHandle, name: &str) -> Result<u64, Error> {
    let name = name.to_owned();
    let apply: ApplyChange =
        Box::new(move |router, definitions| Ok(router.remove_sink(definitions, &name)?));
    change_definitions(table.clone(), |_| Ok(()), apply).await
}
