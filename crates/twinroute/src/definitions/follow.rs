//! Sources of definitions: what a router follows.

use super::{DefinitionFault, DefinitionFaults, DefinitionKeeper, Definitions, TableHandle, apply};
use crate::Error;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use twinroute_router::WeakRouter;

/// The least between two reads, whatever the source says.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// How long after a failed read the source is read again, unless it says before that it changed.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Where definitions come from. It gives all of them each time: what is missing from a listing is removed.
///
/// ```
/// use twinroute::definitions::{DefinitionFaults, Definitions, Route, Source};
/// use tokio::sync::{Mutex, watch};
/// use twinroute::name::{EndpointName, RouteId};
/// use twinroute::prelude::*;
///
/// /// A table that somebody else keeps.
/// struct Shared(Mutex<watch::Receiver<Definitions>>);
///
/// impl Source for Shared {
///     async fn read(&self) -> Result<Definitions, DefinitionFaults> {
///         Ok(self.0.lock().await.borrow_and_update().clone())
///     }
///
///     async fn changed(&self) {
///         // What came since the last read counts, since only that marks it as seen.
///         if self.0.lock().await.changed().await.is_err() {
///             std::future::pending().await
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let (table, shared) = watch::channel(Definitions::default());
/// let router = Router::builder().sink("archive", sink).start().await?;
/// let _followed = router.follow(Shared(Mutex::new(shared))).await?;
///
/// let (id, endpoint_name) = (RouteId::new("all")?, EndpointName::new("archive")?);
/// let route = Route { id, endpoint_name, filter: "true".to_owned() };
/// table.send_modify(|all| all.instance_mut(router.default_instance()).routes.push(route));
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// while router.dry_run(None, &event)?.is_empty() {
///     tokio::time::sleep(Duration::from_millis(10)).await;
/// }
/// assert_eq!(router.definitions().instances[0].routes[0].filter, "true");
/// # Ok(())
/// # }
/// ```
pub trait Source: Send + Sync + 'static {
    /// Reads all definitions. It must not block the thread; its future may be dropped.
    ///
    /// # Errors
    /// Why they cannot be read: the router keeps the table that it has, and shows this in its status.
    fn read(&self) -> impl Future<Output = Result<Definitions, DefinitionFaults>> + Send;

    /// Resolves when they may have changed since the last [`Self::read`]. Its future may be dropped, which must lose no
    /// change.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// A program may keep a source that is followed, to ask it how it goes.
impl<S: Source> Source for Arc<S> {
    async fn read(&self) -> Result<Definitions, DefinitionFaults> {
        (**self).read().await
    }

    async fn changed(&self) {
        (**self).changed().await;
    }
}

/// A source that a router follows. Dropping it ends that; the table stays as it is.
///
/// ```
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// use twinroute::definitions::{DefinitionFaults, Definitions, Source};
/// #
/// # struct Nothing;
/// # impl Source for Nothing {
/// #     async fn read(&self) -> Result<Definitions, DefinitionFaults> { Ok(Definitions::default()) }
/// #     async fn changed(&self) { std::future::pending().await }
/// # }
///
/// let router = Router::builder().start().await?;
/// let followed = router.follow(Nothing).await?;
/// assert_eq!(router.status().table.generation, 1);
/// drop(followed);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the following"]
#[derive(Debug)]
pub struct FollowedSource(AbortHandle);

impl Drop for FollowedSource {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads a source, and goes on doing so for as long as there is a router.
pub(crate) async fn follow(
    table: &TableHandle,
    source: impl Source,
) -> Result<FollowedSource, Error> {
    let definitions = read(&source).await?;
    apply(table, definitions).await?;
    let (weak, keeper) = (table.router.downgrade(), Arc::clone(&table.keeper));
    let following = async move {
        let mut failed = false;
        loop {
            wait(&source, failed).await;
            let Some(table) = upgraded(&weak, &keeper) else {
                return;
            };
            failed = match read(&source).await {
                Ok(definitions) => apply(&table, definitions).await.is_err(),
                Err(faults) => {
                    table.router.refuse(&faults);
                    true
                }
            };
        }
    };
    Ok(FollowedSource(tokio::spawn(following).abort_handle()))
}

fn upgraded(weak: &WeakRouter, keeper: &Arc<DefinitionKeeper>) -> Option<TableHandle> {
    let keeper = Arc::clone(keeper);
    weak.upgrade().map(|router| TableHandle { router, keeper })
}

/// Waits until the source is to be read again.
async fn wait(source: &impl Source, failed: bool) {
    sleep(READ_PAUSE).await;
    let changed = AssertUnwindSafe(source.changed()).catch_unwind();
    let changed = async {
        if changed.await.is_err() {
            tracing::error!("the program's source of definitions panicked in changed");
            sleep(RETRY_AFTER).await;
        }
    };
    if failed {
        // Either way it is read: it changed, or it is tried again.
        drop(timeout(RETRY_AFTER, changed).await);
    } else {
        changed.await;
    }
}

async fn read(source: &impl Source) -> Result<Definitions, DefinitionFaults> {
    let reading = AssertUnwindSafe(source.read()).catch_unwind().await;
    reading.unwrap_or_else(|_| {
        let why = "panicked in read; fix the program's source";
        Err(DefinitionFaults(vec![DefinitionFault::new(
            "definitions",
            why,
        )]))
    })
}

#[cfg(feature = "watch")]
mod folder {
    use super::Source;
    use crate::definitions::{
        DefinitionFault, DefinitionFaults, DefinitionFolder, Definitions, Settings,
    };
    use crate::name::InstanceName;
    use std::path::PathBuf;
    use std::time::Duration;
    use tokio::task::spawn_blocking;
    use twinroute_router::source::FileWatch;

    /// Where the system misses changes, the folder is checked this often.
    const POLL: Duration = Duration::from_secs(60);

    /// A folder of definitions, one JSON body a file, followed as its files change.
    ///
    /// ```
    /// use twinroute::definitions::FolderSource;
    /// use twinroute::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), twinroute::Error> {
    /// # let folder = tempfile::tempdir()?;
    /// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
    /// std::fs::create_dir(folder.path().join("routes"))?;
    /// let route = r#"{"endpointName":"archive","filter":"subject = 'room7'"}"#;
    /// std::fs::write(folder.path().join("routes/rooms.json"), route)?;
    ///
    /// let router = Router::builder().sink("archive", sink).start().await?;
    /// let source = FolderSource::new(folder.path(), router.default_instance().clone());
    /// let _followed = router.follow(source).await?;
    /// assert_eq!(router.definitions().instances[0].routes[0].filter, "subject = 'room7'");
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct FolderSource {
        folder: DefinitionFolder,
        settings: Settings,
        watch: FileWatch,
    }

    impl FolderSource {
        /// Follows a folder, which need not be there yet; what stands at its top belongs to `default_instance`. Blocks a
        /// little on the file system.
        #[must_use]
        pub fn new(folder: impl Into<PathBuf>, default_instance: InstanceName) -> Self {
            let folder = DefinitionFolder::new(folder, default_instance);
            let watch = FileWatch::new(&[folder.root()], &[], POLL);
            Self {
                folder,
                settings: Settings::default(),
                watch,
            }
        }

        /// With settings of endpoints, which definitions have no field for.
        #[must_use]
        pub fn settings(mut self, settings: Settings) -> Self {
            self.settings = settings;
            self
        }
    }

    impl Source for FolderSource {
        async fn read(&self) -> Result<Definitions, DefinitionFaults> {
            let folder = self.folder.clone();
            let reading = spawn_blocking(move || folder.read());
            let read = reading.await.unwrap_or_else(|error| {
                let why = format!("cannot be read: {error}");
                Err(DefinitionFaults(vec![DefinitionFault::new(
                    "the folder",
                    why,
                )]))
            });
            Ok(Definitions {
                instances: read?,
                settings: self.settings.clone(),
                folder: Some(self.folder.clone()),
                ..Definitions::default()
            })
        }

        async fn changed(&self) {
            self.watch.changed().await;
        }
    }
}

#[cfg(feature = "watch")]
pub use folder::FolderSource;
