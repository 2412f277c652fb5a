//! Instances, endpoints and routes: what a router's table is made of, and changing it while the router runs.

mod change;
mod follow;

pub use change::DefinitionChange;
pub(crate) use change::{DefinitionKeeper, TableHandle, add_sink, apply, remove_sink};
#[cfg(feature = "watch")]
pub use follow::FolderSource;
pub(crate) use follow::follow;
pub use follow::{FollowedSource, Source};
/// ```
/// use twinroute::definitions::CustomDestination;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let lines = CustomDestination::new("lines").with("file", "out.jsonl").address("out.jsonl");
/// assert_eq!((&*lines.kind, lines.property("file")), ("lines", Some("out.jsonl")));
/// // Properties are never shown.
/// assert!(!format!("{lines:?}").contains("file\": \"out"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::endpoint::CustomDestination;
pub use twinroute_model::endpoint::{
    ConnectionCredential, ConnectionString, DeadLetterDestination, Endpoint, EndpointDestination,
    EndpointIdentity, EndpointType, EventGridTopic, FieldError, InvalidConnectionString,
    NamespaceAccess, ProvisioningState, WaitingDestination,
};
pub use twinroute_model::instance::Instance;
pub use twinroute_model::network::{
    ConnectionStatus, NetworkAccess, PrivateConnection, PublicAccess,
};
pub use twinroute_model::pasted::InvisibleCharacter;
pub use twinroute_model::route::Route;
/// ```
/// use twinroute::definitions::{Definitions, Route};
/// use twinroute::name::{EndpointName, InstanceName, RouteId};
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let mut definitions = Definitions::default();
/// let instance = definitions.instance_mut(&InstanceName::new("default")?);
/// instance.routes.push(Route {
///     id: RouteId::new("all")?,
///     endpoint_name: EndpointName::new("archive")?,
///     filter: "true".to_owned(),
/// });
/// let router = Router::builder().sink("archive", sink).definitions(definitions).start().await?;
/// assert_eq!(router.status().instances[0].routes[0].endpoint, "archive");
/// # Ok(())
/// # }
/// ```
pub use twinroute_router::source::Definitions;
pub use twinroute_router::source::{
    DefinitionFault, DefinitionFaults, DefinitionFolder, Settings, StraySettings,
};
