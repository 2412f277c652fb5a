//! Instances, endpoints and routes: what a router's table is made of, and changing it while the router runs.

mod change;
mod follow;

pub use change::DefinitionChange;
pub(crate) use change::{DefinitionKeeper, TableHandle, add_sink, apply, remove_sink};
#[cfg(feature = "watch")]
pub use follow::FolderSource;
pub(crate) use follow::follow;
pub use follow::{FollowedSource, Source};
pub use twinroute_model::endpoint::{
    ConnectionCredential, ConnectionString, CustomDestination, DeadLetterDestination, Endpoint,
    EndpointDestination, EndpointIdentity, EndpointType, EventGridTopic, FieldError,
    InvalidConnectionString, NamespaceAccess, ProvisioningState, WaitingDestination,
};
pub use twinroute_model::instance::Instance;
pub use twinroute_model::network::{
    ConnectionStatus, NetworkAccess, PrivateConnection, PublicAccess,
};
pub use twinroute_model::pasted::InvisibleCharacter;
pub use twinroute_model::route::Route;
pub use twinroute_router::source::{
    DefinitionFault, DefinitionFaults, DefinitionFolder, Definitions, Settings, StraySettings,
};
